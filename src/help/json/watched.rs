//! How a service stands, and what a pass would do.

use super::Object;

pub(super) const OBJECTS: &[Object] = &[
    Object {
        place: "status, and GET /status.json",
        fields: &[
            ("told_by", "`process`, or `journal` where no process answers. Then the store is asked, too."),
            ("held", "With `journal`: true if a process holds it."),
            ("reason", "With `journal`: why no process tells it."),
            ("exit_code", "What `evergrant status` ends with: 0, 4 or 7."),
            ("concerns", "What a person should look at, the most urgent first."),
            ("version", "The version of Evergrant."),
            ("collection", "The collection and its store."),
            ("now", "The time, by the store's clock where it has one."),
            ("started_at", "When the process began; null without one, as the next four."),
            ("phase", "What it does: `starting`, `sleeping`, `passing` or `stopping`."),
            ("since", "Since when."),
            ("hangs", "Why it hangs; null where it doesn't."),
            ("next_wake_at", "The next wake of the schedule; null where passes begin only by what is due."),
            (
                "follow_up_at",
                "When the next pass follows one that left something; null where none is planned.",
            ),
            ("wake_interval_seconds", "The longest time between two wakes in the coming year."),
            ("providers", "Each provider, by its name; `other` holds documents of no configured one."),
            ("journal", "The journal in the state directory."),
            ("store", "The store."),
            ("survey", "The fields of `forecast` in a report; null before the first survey."),
            ("survey_not_made", "Why there is no newer one: `reason` and `hint`; null where that is not so."),
        ],
    },
    Object {
        place: "status: concerns[]",
        fields: &[
            ("exit_code", "7: something can't be used. 4: something is unfinished."),
            ("provider", "The provider that it is about; null where it is about the whole."),
            ("message", "What is the matter."),
            ("hint", "What to do about it."),
        ],
    },
    Object {
        place: "status: providers.*",
        fields: &[
            (
                "state",
                "What is sent to it: `open`, `unproven`, `paused`, `outage`, `client_rejected`, `refusals` or `closed`.",
            ),
            (
                "paused_for_seconds",
                "How long nothing is sent: the provider asked for a pause, or is in an outage and is tried again then; else null.",
            ),
            ("in_flight", "Token requests that wait for their answer."),
            ("rate_factor", "Share of the rate that is used, after the provider throttled us."),
            (
                "budget_used",
                "Share of what the rate allows in its window that was used in the last one; null without a rate.",
            ),
            ("rate", "The rate: requests, and the seconds of their window; null without one."),
            ("last_granted_at", "When this process was last granted a token."),
            (
                "running",
                "The pass that runs: `started_at`, `due`, `done`, `refreshed`, `needs_login`; null without one.",
            ),
            ("last_pass", "How the last pass ended, also one of an earlier process."),
            ("last_complete_pass_at", "When a pass last came through everything that was due."),
        ],
    },
    Object {
        place: "status: providers.*.last_pass",
        fields: &[
            ("pass", "Its id, as log lines have it."),
            ("started_at", "When it began."),
            ("ended_at", "When it ended."),
            ("result", "A word of `evergrant help exit-codes`."),
            (
                "complete",
                "True if it came through everything that was due. Users who must log in again don't change that.",
            ),
            ("due", "Documents that were due; null where the store could not count them."),
            ("remaining_due", "Documents that were due when it ended."),
            ("outcomes", "Count of each outcome."),
            ("newly_marked", "Count of documents that it marked, by their new state."),
            ("still_due_reasons", "Count of each reason; codes of the provider stand under `provider_code`."),
            ("grants", "Token requests."),
            ("troubles", "What kept it from its work, a word each."),
        ],
    },
    Object {
        place: "status: journal",
        fields: &[
            ("id", "The journal's id; claims in documents bear it."),
            ("up", "False if it has failed: then the process ends."),
            ("counted_at", "When its entries were counted."),
            ("entries", "Count of entries by state (`evergrant help reasons` explains what waits)."),
            ("unknown_entries", "Entries whose state this version doesn't know."),
            ("oldest_sent_at", "When the token of the oldest entry was sent."),
            ("space", "`free_bytes` of its disk, and `floor_bytes`, below which no token is sent."),
        ],
    },
    Object {
        place: "status: store",
        fields: &[
            ("up", "True if its last call was answered; null before the first one."),
            ("errors", "Calls of this process that failed, by kind."),
            ("indexes", "True for each index of ours that is there."),
            ("space", "As the journal's, for the embedded store's file; null for a MongoDB."),
        ],
    },
    Object {
        place: "run --once --dry-run",
        fields: &[
            ("collection", "The collection and its store."),
            ("at", "The moment that it speaks of."),
            (
                "held_by",
                "The process that holds the journal; null where none does. Beside it, a pass by hand ends with exit code 6.",
            ),
            ("claimed", "Documents that a pass which runs has claimed. They are in no other number."),
            ("passes", "The pass of each provider; all run at the same time."),
        ],
    },
    Object {
        place: "run --once --dry-run: passes[]",
        fields: &[
            ("provider", "The provider; null for documents of no configured one."),
            (
                "asked",
                "The first documents whose token would be sent: `id`, `subject`, `due_at`, in their order.",
            ),
            (
                "documents",
                "Count of documents by what becomes of them: `asked`, `asked_once_more`, `marked`, `malformed`, `in_journal`, `redeemed`, `waits`, `too_late`, `beyond_limit`.",
            ),
            (
                "takes_seconds",
                "How long the requests take by the rate, or as fast as in the last pass; null where neither is known.",
            ),
            ("paused_until", "Until when the provider asked us to wait; null where it didn't."),
        ],
    },
];

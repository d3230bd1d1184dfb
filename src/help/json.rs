//! `evergrant help json`: the JSON that the commands print, and the fields of log lines.

mod providers;
mod survey;
mod watched;

use super::page::Page;
use serde_json::{Value, json};

/// One kind of object: where it stands, and its fields with their meaning.
pub(crate) struct Object {
    /// The command that prints it, or the field that holds it: `run --once`, `run --once: named[]`.
    pub(crate) place: &'static str,
    /// Its fields.
    pub(crate) fields: &'static [(&'static str, &'static str)],
}

/// Every object that a program may want to read.
pub(crate) fn objects() -> impl Iterator<Item = &'static Object> {
    OBJECTS.iter().chain(survey::OBJECTS).chain(watched::OBJECTS).chain(providers::OBJECTS)
}

/// Those of all commands but `providers`.
const OBJECTS: &[Object] = &[
    Object {
        place: "run --once",
        fields: &[
            ("collection", "The collection and its store."),
            ("documents", "Documents in the collection, an estimate; null where the store was not reached."),
            ("started_at", "When the pass began."),
            ("took_seconds", "How long it took."),
            ("due", "Documents that were due; null where the store could not count them."),
            ("taken", "Documents that the pass took of these."),
            (
                "remaining_due",
                "Documents that are due now, after the pass; null where the store could not count them.",
            ),
            ("limited", "True if the pass ended because of `--limit`."),
            ("known_needs_login", "Users who were known to need a login, and were not asked."),
            ("known_malformed", "Documents that were known to be malformed, and still are."),
            ("touched", "Documents that the pass looked at, known ones too. The outcomes add up to it."),
            ("outcomes", "Count of each outcome (`evergrant help outcomes`)."),
            ("newly_marked", "Users who were marked in this pass and not before."),
            ("newly_lost_in_flight", "Of these: marked as `lost_in_flight`."),
            ("newly_malformed", "Documents that were found malformed in this pass and not before."),
            (
                "gone_while_refused",
                "Of the documents that are gone: those whose token the provider refuses. These users must log in again.",
            ),
            ("named", "Users who must log in again, and malformed documents; at most 1000."),
            ("still_due_reasons", "Count of each reason of `still_due` (`evergrant help reasons`)."),
            ("grants", "Token requests that were sent, repeated ones among them."),
            ("throttled", "Answers that asked for a pause."),
            ("retries", "Token requests that were repeated."),
            ("orphans", "Pairs that this pass parked in the journal."),
            (
                "parked",
                "All pairs that are parked (`orphans`) and answers that could not be read (`unread`).",
            ),
            ("lost", "Users whose new pair was received and could be kept nowhere; at most 1000."),
            ("put_off", "Users who are still due, and when each is due again; at most 1000."),
            ("put_off_count", "How many these are in all."),
            ("put_off_until", "When the last of them is due again; null where there are none."),
            (
                "ending",
                "Users whose login ends within 7 days or two wakes, whichever is longer, and no refresh extends it; the soonest end first, at most 1000. Only documents that this pass wrote.",
            ),
            ("ending_count", "How many these are in all."),
            (
                "live_again",
                "Users who were marked and are live again with the same refresh token; at most 1000.",
            ),
            ("live_again_count", "How many these are in all."),
            (
                "waits_for",
                "Documents that wait for another machine, whose journal may hold their pair; at most 1000.",
            ),
            ("waits_for_count", "How many these are in all."),
            ("waits_for_new", "How many of them no earlier report spoke of."),
            (
                "left_to_others",
                "What other processes held when the pass began: `documents`, and `until` when the last claim ends (null where there are none).",
            ),
            ("recovery", "What an earlier process had left, and what became of it."),
            ("providers", "The part of each provider that had something due, by its name."),
            ("idle_providers", "Providers of which nothing was due: they have no part."),
            (
                "forecast",
                "When logins end if nothing more is refreshed, counted after the pass; null where it could not be counted, and `warnings` says why.",
            ),
            (
                "warnings",
                "What will go wrong later as things are set, rejections of the client for some tokens while others are granted, and a wrong clock of this machine. They change no exit code.",
            ),
            (
                "troubles",
                "What kept the pass from its work. `kind` says which; the other fields are its evidence, and of a failed store or journal the `message` and the `hint`.",
            ),
        ],
    },
    Object {
        place: "run --once: providers.*",
        fields: &[
            ("due", "Documents that were due; null when the store could not count them."),
            ("taken", "Of these: taken."),
            ("remaining_due", "Of these: still due now; null when the store could not count them."),
            ("known_needs_login", "Users who were known to need a login, and were not asked."),
            ("newly_marked", "Users who must log in again, found in this pass."),
            ("outcomes", "Where the documents ended, and how many (`evergrant help outcomes`)."),
            ("still_due_reasons", "Why documents are still due, and how many."),
            ("grants", "Token requests, repeated ones included."),
            ("throttled", "Answers that asked for a pause."),
            (
                "refresh_token_lives_seconds",
                "The shortest life of a refresh token by the answers of this pass, where a success extends it; null where none told it.",
            ),
            (
                "access_token_lives_seconds",
                "The shortest life of an access token by the answers of this pass; null where none told it.",
            ),
        ],
    },
    Object {
        place: "run --once: waits_for[]",
        fields: &[
            ("id", "The document's `_id`, as extended JSON in a string."),
            ("subject", "The user."),
            ("provider", "The provider; null where the document names none."),
            (
                "reason",
                "`waits_for`: that journal may hold the answer. `spent_elsewhere`: it has the pair of a redeemed token.",
            ),
            ("owner", "Host and process id of the pass that held the document; null with `spent_elsewhere`."),
            ("journal", "Id of that journal; null where an earlier version made the claim."),
            ("since", "When the claim was made, or the pair written."),
            ("sent_at", "When the token is sent by itself; null where it never is."),
            ("new", "False if an earlier report named that pass; with `spent_elsewhere`, that document."),
        ],
    },
    Object {
        place: "run --once: warnings[]",
        fields: &[
            ("provider", "The provider; null where it concerns all of them."),
            ("message", "What will go wrong, with the numbers."),
            ("hint", "What to set."),
        ],
    },
    Object {
        place: "run --once: named[]",
        fields: &[
            ("id", "The document's `_id`, as extended JSON in a string."),
            ("subject", "The user."),
            ("provider", "The provider; null where the document names none."),
            ("state", "`needs_login`, `lost_in_flight` or `malformed`."),
            ("code", "The provider's code, or one of Evergrant's."),
            ("since", "Since when."),
            ("new", "True if it was found in this pass."),
            ("asked_again_at", "When its token is sent again by itself; null: not before a new login."),
        ],
    },
    Object {
        place: "run --once: put_off[]",
        fields: &[
            ("id", "The document's `_id`, as extended JSON in a string."),
            ("subject", "The user."),
            ("provider", "The provider; null where the document names none."),
            ("code", "Why."),
            ("due_at", "When the token is due again."),
            ("new", "True if this pass put the user off, and not an earlier one."),
        ],
    },
    Object {
        place: "run --once: ending[]",
        fields: &[
            ("id", "The document's `_id`, as extended JSON in a string."),
            ("subject", "The user."),
            ("provider", "The provider; null where the document names none."),
            ("ends_at", "When the login ends, at the latest."),
        ],
    },
    Object {
        place: "run --once: live_again[]",
        fields: &[
            ("id", "The document's `_id`, as extended JSON in a string."),
            ("subject", "The user."),
            ("provider", "The provider; null where the document names none."),
            ("was", "What the mark said: `needs_login` or `lost_in_flight`."),
            ("why", "Why the mark is gone (`evergrant help outcomes`)."),
        ],
    },
    Object {
        place: "tokens list",
        fields: &[
            (
                "documents",
                "The documents, in the order of their `_id`; with `--ending-within` the soonest end first.",
            ),
            (
                "totals",
                "How many documents there are in each state; null where `--limit` ended the list early. With `--ending-within` it is never null, and `ending` is how many logins end in that time.",
            ),
        ],
    },
    Object {
        place: "tokens list: documents[]",
        fields: &[
            ("id", "The document's `_id`, as extended JSON in a string."),
            ("subject", "The user."),
            ("provider", "The value of the provider field; null where none is mapped."),
            (
                "state",
                "`new`, `live`, `needs_login`, `lost_in_flight` or `malformed`, for the token that stands there now.",
            ),
            ("since", "When the state last changed."),
            ("due_at", "When it is due; null means now."),
            ("refreshed_at", "When a pair was last written."),
            ("access_expires_at", "End of the access token; null where it is not known."),
            ("refresh_expires_at", "End of the refresh token; null where it is not known."),
            ("login_ends_at", "End of the login, which no refresh moves; null where it is not known."),
            ("failures", "Number of requests in a row that brought no pair."),
            ("last_error", "Why the last one brought none (`evergrant help document`)."),
            (
                "refused_once",
                "True if the provider refused the token, and the user is not marked for it yet.",
            ),
            ("malformed", "What is wrong with the token or the provider, in a word."),
            ("provider_meant", "The configured provider that the document probably means."),
            ("lease", "The claim of a pass on it."),
        ],
    },
    Object {
        place: "tokens show",
        fields: &[
            ("user", "What was asked for."),
            ("documents", "The documents of that user: the fields of `tokens list`, and more."),
            ("more", "True if there are more documents than are shown."),
            ("journal", "This machine's journal, as far as it can be read."),
        ],
    },
    Object {
        place: "tokens import",
        fields: &[
            ("store", "The store that has the documents now."),
            ("inserted", "Documents that were not there."),
            ("replaced", "Documents that were there: their fields are the new ones."),
            (
                "kept",
                "Documents that were there with a newer pair: it stays, and their other fields are the new ones.",
            ),
            ("generated_ids", "Of those inserted: documents that came without `_id` and were given one."),
            (
                "malformed",
                "Documents whose refresh token cannot be sent: `count`, `reasons`, and the `first` of them with `line` and `problem`.",
            ),
        ],
    },
    Object {
        place: "journal list",
        fields: &[
            ("state_dir", "The directory of the journal."),
            ("exists", "True if there is a journal in it."),
            ("held_by", "The process that uses it now; null if there is none."),
            ("entries", "The open entries, oldest first."),
            ("damaged", "Entries that cannot be read."),
            (
                "kept",
                "Received pairs that stay after they were written (`keep_pairs`): `pairs`, `in_the_clear` (not encrypted), `bytes`, and `since` (when the oldest was received).",
            ),
        ],
    },
    Object {
        place: "journal list: entries[]",
        fields: &[
            ("id", "The number of the entry."),
            (
                "state",
                "`intent`, `answer`, `unsettled`, `ask_again`, `unread`, `set_aside` or `orphan` (`evergrant journal list` explains each).",
            ),
            ("subject", "The user."),
            ("document", "The document's `_id`, as extended JSON in a string."),
            ("provider", "The provider."),
            ("sent_at", "When the token was sent."),
            ("age_seconds", "How long ago that was."),
            ("unsettled_since", "When the token was first sent without an answer that settled it."),
            (
                "turned_away_since",
                "When the token first got an answer that was not the provider's own, such as a 503 page.",
            ),
            ("why", "Why it is open (`evergrant help reasons`)."),
            ("peer", "Address that it was sent to, where the answer was lost."),
            ("received_bytes", "Bytes of the answer's body; null without an answer."),
            ("has_answer", "True if the journal holds an answer for it."),
            ("elsewhere", "The store that the entry belongs to, where it is another one; otherwise null."),
        ],
    },
    Object {
        place: "journal recover",
        fields: &[
            ("collection", "The collection and its store."),
            (
                "recovery",
                "What an earlier process left: `answers`, `written`, `unsettled`, `claims_released`, `claims_refused` (by the store: their tokens wait until the claims end), `claims_cut` (of a clock that was ahead) and `void_due_dates` (of a clock that was ahead: these documents are due now), as numbers.",
            ),
            ("held", "Pairs that are still in the journal, because the store could not take them."),
            ("parked", "Pairs that were parked in this run."),
            ("open", "Entries that are open now, by state."),
            ("troubles", "What kept it from its work."),
        ],
    },
    Object {
        place: "journal adopt",
        fields: &[
            ("store", "The store that everything in the journal belongs to now."),
            ("from", "The stores that it belonged to; empty where there was nothing to adopt."),
            ("open", "Open entries that were adopted."),
            ("answers", "How many of them hold a successful answer."),
            ("kept", "Kept pairs that were adopted."),
            ("parked", "Parked pairs that were adopted."),
        ],
    },
    Object {
        place: "journal adopt: from[]",
        fields: &[
            ("store", "The store."),
            (
                "relation",
                "How the store of today stands to it: `replaced`, `renamed`, `copy` or `other` (`journal adopt` says each in words).",
            ),
        ],
    },
    Object {
        place: "journal apply",
        fields: &[
            ("id", "The number of the entry, which is gone now."),
            ("subject", "The user."),
            ("document", "The document's `_id`, as extended JSON in a string."),
            ("provider", "The provider."),
            (
                "replaced",
                "Fingerprint of the refresh token that stood in the document; null if it was this pair's already.",
            ),
            ("written", "Fingerprint of the refresh token that stands there now."),
        ],
    },
    Object {
        place: "journal retry: retried[]",
        fields: &[
            ("id", "The number of the entry, which stays until a pair came for the token."),
            ("subject", "The user."),
            ("document", "The document's `_id`, as extended JSON in a string."),
            ("provider", "The provider."),
            ("waits", "True if the document still holds the token. Otherwise there is nothing to ask for."),
        ],
    },
    Object {
        place: "journal forget",
        fields: &[
            (
                "provider",
                "The provider of the documents; null if the named document has none that is configured.",
            ),
            ("id", "The document's `_id`, as extended JSON in a string; null where a provider was named."),
            ("documents", "Documents that were looked at."),
            (
                "forgotten",
                "Tokens that the journal or their document knew as redeemed, and do not know any more.",
            ),
            ("marked", "Users among them who are marked `needs_login` (`already_redeemed`)."),
        ],
    },
    Object {
        place: "journal capture",
        fields: &[
            ("id", "The number of the entry."),
            ("state", "Its state, as in `journal list`."),
            ("provider", "The provider that answered."),
            ("complete", "False if the answer was cut."),
            ("answer", "The answer as `curl -i` prints it, its tokens masked."),
        ],
    },
    Object {
        place: "check",
        fields: &[("checks", "All checks, in the order in which a pass needs what they look at.")],
    },
    Object {
        place: "check: checks[]",
        fields: &[
            ("name", "What was looked at."),
            ("status", "`ok`, `warning` or `failed`."),
            ("detail", "What was found."),
            ("hint", "What to do; null where there is nothing to do."),
        ],
    },
];

/// Fields of a log line with `log.format = "json"`.
const LOG: [(&str, &str); 8] = [
    ("timestamp", "When."),
    (
        "level",
        "ERROR: a person should act. WARN: something may need a person. INFO: a pass. DEBUG: each token request.",
    ),
    ("message", "A sentence, with the subject in it."),
    ("subject", "The user, in lines about one document."),
    ("provider", "The provider, in lines about one provider."),
    ("class, code", "What an answer meant (`evergrant help reasons`)."),
    ("error", "An error with its causes."),
    ("reason", "Why, in a word or in words."),
];

pub(super) fn text() -> String {
    let mut page = Page::new("JSON");
    page.paragraph(
        "`--format json` prints one JSON object for each command to stdout (`tokens export`: one for each line; `run` without \
         `--once`: none). Logs and errors go to stderr. After an error stdout is empty. Times are RFC 3339 in UTC, with \
         milliseconds. A later version may add fields.",
    );
    for object in objects() {
        page.heading(object.place);
        for (name, meaning) in object.fields {
            page.entry(name, &[meaning]);
        }
    }
    page.heading("Log lines (`log.format = \"json\"`)");
    for (name, meaning) in LOG {
        page.entry(name, &[meaning]);
    }
    page.end()
}

pub(super) fn data() -> Value {
    let fields = |fields: &[(&str, &str)]| -> Value {
        fields.iter().map(|(name, meaning)| json!({ "name": name, "meaning": meaning })).collect()
    };
    let objects: Vec<_> =
        objects().map(|object| json!({ "place": object.place, "fields": fields(object.fields) })).collect();
    json!({ "objects": objects, "log": fields(&LOG) })
}

/// Does the page name exactly the fields that this object has?
#[cfg(test)]
pub(crate) fn assert_documented(place: &str, value: &impl serde::Serialize) {
    let object = objects().find(|object| object.place == place).expect("the place is documented");
    let value = serde_json::to_value(value).unwrap();
    let fields: std::collections::BTreeSet<_> =
        value.as_object().unwrap().keys().map(String::as_str).collect();
    let documented: std::collections::BTreeSet<_> = object.fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(documented, fields, "{place}");
}

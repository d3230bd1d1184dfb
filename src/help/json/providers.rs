//! The objects of `providers test` and `providers try`.

use super::Object;

/// In the order of the commands.
pub(super) const OBJECTS: &[Object] = &[
    Object {
        place: "providers test",
        fields: &[
            ("name", "The profile's name, or its file."),
            ("request", "The request, without its secrets; null if it cannot be sent."),
            ("hostile", "What becomes of a token with unusual characters."),
            ("examples", "Its examples, in their order."),
            ("answers", "The answers of `--answer`, in their order."),
            ("unknown", "Answers that any server may give."),
            ("problems", "What a pass could not work with."),
            ("warnings", "What may go wrong, and is allowed."),
            ("hints", "What is missing, and is not wrong."),
        ],
    },
    Object {
        place: "providers test: request",
        fields: &[
            ("method", "The HTTP method."),
            ("url", "The URL."),
            ("headers", "The header fields, `name: value`."),
            ("body", "The body."),
        ],
    },
    Object {
        place: "providers test: hostile",
        fields: &[
            ("token", "The token."),
            ("sent_as", "How it stands in the request."),
            ("arrives", "True if the server reads the same token."),
            ("takes_a_space", "False if a token with a space would be `malformed`."),
        ],
    },
    Object {
        place: "providers test: examples[]",
        fields: &[
            ("means", "What it means, by the profile."),
            ("holds", "Is it found so?"),
            ("name", "The example's name."),
            ("status", "The HTTP status."),
            ("found", "What a pass takes it for."),
            ("code", "The code that a pass finds in it."),
            ("decided_by", "What decided: the tokens, a rule, a list, or the status."),
            ("access_token", "`place` and length in `characters` of the access token; null without one."),
            ("refresh_token", "`place` and length in `characters` of the refresh token; null without one."),
            (
                "access_ends_in_seconds",
                "End of the access token, by the answer or by the profile; null if unknown.",
            ),
            (
                "refresh_ends_in_seconds",
                "End of the refresh token, by the answer or by the profile; null if unknown.",
            ),
            ("unnamed", "Places of texts that could be tokens, and that no key names."),
            ("hints", "What stands in it that a key could name: an error code, a lifetime."),
            ("writes", "What would be written: `field` and `what`."),
            ("next", "What a run would do next."),
        ],
    },
    Object {
        place: "providers test: answers[]",
        fields: &[
            ("name", "The file."),
            ("status", "The HTTP status."),
            ("found", "What a pass takes it for."),
            ("code", "The code that a pass finds in it."),
            ("decided_by", "What decided: the tokens, a rule, a list, or the status."),
            ("access_token", "`place` and length in `characters` of the access token; null without one."),
            ("refresh_token", "`place` and length in `characters` of the refresh token; null without one."),
            (
                "access_ends_in_seconds",
                "End of the access token, by the answer or by the profile; null if unknown.",
            ),
            (
                "refresh_ends_in_seconds",
                "End of the refresh token, by the answer or by the profile; null if unknown.",
            ),
            ("unnamed", "Places of texts that could be tokens, and that no key names."),
            ("hints", "What stands in it that a key could name: an error code, a lifetime."),
            ("writes", "What would be written: `field` and `what`."),
            ("next", "What a run would do next."),
        ],
    },
    Object {
        place: "providers test: unknown[]",
        fields: &[
            ("answer", "What it is."),
            ("found", "What a pass takes it for."),
            ("code", "The code that a pass finds in it."),
            ("marks", "True if it says that a login is over, now or on a second occasion."),
        ],
    },
    Object {
        place: "providers try --made-up",
        fields: &[
            ("provider", "The provider."),
            ("request", "The request, without its secrets: as in `providers test`."),
            ("no_answer", "Why no answer came, in a word; null if one came."),
            ("answer", "The answer as `curl -i` prints it, its tokens masked; null without one."),
            (
                "reading",
                "What a pass makes of it: as in `providers test: answers[]`; null without an answer.",
            ),
            ("saved", "The file that the answer was written into; null if none was."),
        ],
    },
    Object {
        place: "providers try --id",
        fields: &[
            ("provider", "The provider."),
            ("id", "The document's `_id`, as extended JSON in a string."),
            ("subject", "The user."),
            ("request", "The request, without its secrets: as in `providers test`."),
            ("answers", "What came of each request; empty if nothing was sent."),
            ("before", "The document before, without its tokens."),
            ("after", "The document after; null if it is gone."),
            ("outcomes", "Count of each outcome, as in `run --once`."),
            ("still_due_reasons", "Count of each reason of `still_due`."),
            ("troubles", "What kept the pass from its work, as in `run --once`."),
        ],
    },
    Object {
        place: "providers try --id: before",
        fields: &[
            ("refresh_token", "Fingerprint of the refresh token; null if it cannot be sent."),
            ("refresh_token_characters", "Its length."),
            ("access_token_characters", "Length of the access token; null without one."),
            ("state", "The state."),
            ("due_at", "When it is due; null means now."),
            ("refreshed_at", "When a pair was last written."),
        ],
    },
    Object {
        place: "providers try --id: answers[]",
        fields: &[
            ("no_answer", "Why no answer came, in a word; null if one came."),
            ("answer", "The answer as `curl -i` prints it, its tokens masked; null without one."),
            (
                "reading",
                "What a pass makes of it: as in `providers test: answers[]`; null without an answer.",
            ),
        ],
    },
];

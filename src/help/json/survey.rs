//! The forecast of a pass' report.

use super::Object;

pub(super) const OBJECTS: &[Object] = &[
    Object {
        place: "run --once: forecast",
        fields: &[
            ("made_at", "The moment that it speaks of."),
            ("took_seconds", "How long the counting took."),
            ("first_end_at", "When the first live login ends; null where no end is known."),
            (
                "within",
                "Count of live logins that end within `1d`, `3d`, `7d`, `14d` and `30d`. Each number holds those before it.",
            ),
            ("before_next_pass", "Live logins that end before the next scheduled pass can refresh them."),
            ("ended_unseen", "Logins with the state `live` whose known end is past."),
            (
                "unknown",
                "Live logins without a known end, and documents that no pass has seen. The forecast says nothing of them.",
            ),
            ("providers", "The documents of each provider, by its name."),
            (
                "others",
                "The documents that name no configured provider; null where `documents.provider` is not set.",
            ),
        ],
    },
    Object {
        place: "run --once: forecast.providers.*",
        fields: &[
            ("live", "Documents with the state `live`."),
            ("needs_login", "Documents with the state `needs_login`."),
            ("lost_in_flight", "Documents with the state `lost_in_flight`."),
            ("malformed", "Documents with the state `malformed`."),
            ("unseen", "Documents without a state: no pass has seen them."),
            ("due", "Documents that a pass would work on now; null where there is no index to count them."),
            ("oldest_due_at", "The earliest due date of these; null where none has one."),
            ("forecast", "The fields of `forecast`, from `first_end_at` to `unknown`, for this provider."),
        ],
    },
];

#[cfg(test)]
mod tests {
    use crate::help::json::assert_documented;
    use crate::survey::{Survey, Tokens};
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn help_names_each_field_of_the_forecast() {
        let (made_at, providers) = (crate::clock::Timestamp::UNIX_EPOCH, BTreeMap::new());
        let survey = Survey { made_at, took: Duration::ZERO, providers, others: None };
        assert_documented("run --once: forecast", &survey);
        assert_documented("run --once: forecast.providers.*", &Tokens::default());
    }
}

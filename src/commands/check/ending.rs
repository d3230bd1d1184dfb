//! A forecast: how many logins end soon, whatever is refreshed until then.

use super::finding::Check;
use crate::clock::Timestamp;
use crate::commands::shown;
use crate::commands::tokens::state::{Providers, login_ends_at, state_now};
use crate::survey::{NotMade, Survey};
use crate::token::TokenDocument;
use chrono::TimeDelta;

/// The days ahead for which it is said.
const DAYS: [i64; 3] = [7, 14, 30];

/// How many logins of a sample end within each of [`DAYS`]; a warning where one does, and `None` where no document has such
/// an end.
pub(super) fn check(
    sample: &[TokenDocument],
    all: bool,
    providers: &Providers,
    now: Timestamp,
) -> Option<Check> {
    let is_asked = |document: &&TokenDocument| state_now(document, providers).is_asked();
    let ends: Vec<_> = sample.iter().filter(is_asked).filter_map(login_ends_at).collect();
    let first = ends.iter().min()?;
    let within = |days: i64| ends.iter().filter(|end| **end <= now + TimeDelta::days(days)).count();
    let counts: Vec<_> = DAYS.map(|days| format!("{} within {days} days", within(days))).into();
    let text = format!(
        "{} of {} {} have a login whose end no refresh moves: {}; the first ends at {} UTC",
        ends.len(),
        if all { "all" } else { "the first" },
        shown::count(sample.len() as u64, "document"),
        counts.join(", "),
        shown::instant(Some(*first))
    );
    Some(match DAYS.into_iter().find(|days| within(*days) > 0) {
        None => Check::ok("logins", text),
        Some(days) => Check::warning("logins", text).hint(format!(
            "`evergrant tokens list --ending-within {days}d` names these users: they must log in again by then"
        )),
    })
}

/// The forecast over all documents; a warning where a login ends before the next pass can refresh it.
pub(super) fn forecast(asked: Result<Survey, NotMade>) -> Check {
    let survey = match asked {
        Ok(survey) => survey,
        Err(NotMade { reason, hint }) => {
            let check = Check::warning("forecast", format!("when logins end is not known: {reason}"));
            return match hint {
                Some(hint) => check.hint(hint),
                None => check,
            };
        }
    };
    let forecast = survey.total().forecast;
    let text = forecast.sentence(survey.made_at);
    if forecast.before_next_pass == 0 {
        return Check::ok("forecast", text);
    }
    Check::warning("forecast", text)
        .hint("`evergrant run --once` refreshes what is due now; then let `schedule` wake more often")
}

#[cfg(test)]
mod tests {
    use super::super::finding::CheckReport;
    use super::*;
    use crate::commands::tokens::state::tests::{at, document, marked};
    use crate::token::{Bookkeeping, Malformed, State};

    fn ends(end: &str, books: Bookkeeping) -> TokenDocument {
        let mut document = document(Ok("a"), books);
        document.facts.login_ends_at = Some(at(end));
        document
    }

    #[test]
    fn a_sample_says_how_many_logins_end_soon_and_nothing_where_none_has_an_end() {
        let now = at("2026-11-21T03:00:00Z");
        let check = |documents: &[TokenDocument]| check(documents, true, &Providers::named(&[]), now);
        let new = Bookkeeping::default;
        let dead = ends("2026-11-22T03:00:00Z", marked(State::NeedsLogin, "invalid_grant", Some("a")));
        let endless = document(Ok("a"), new());
        let malformed =
            TokenDocument { refresh_token: Err(Malformed::Null), ..ends("2026-11-22T03:00:00Z", new()) };
        assert_eq!(check(&[endless.clone(), dead.clone(), malformed.clone()]), None);
        let far = check(&[ends("2027-11-21T03:00:00Z", new()), endless.clone()]);
        let soon = check(&[
            ends("2026-12-01T03:00:00Z", new()),
            ends("2026-12-20T03:00:00Z", new()),
            ends("2026-12-30T03:00:00Z", new()),
            endless,
            dead,
            malformed,
        ]);
        let checks = far.into_iter().chain(soon).collect();
        insta::assert_snapshot!(CheckReport { checks }.text());
    }
}

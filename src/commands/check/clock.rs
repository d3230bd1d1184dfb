//! This machine's clock, beside that of the store.

use super::finding::Check;
use crate::clock::Clock;
use crate::pass::{go_by_its_time, wrong_clock};
use crate::store::{Store, StoreError};

/// Sets the clock by the store's, and says where the machine's is wrong; `None` where the store has no other one.
pub(super) async fn check(store: &dyn Store, clock: &Clock) -> Result<Option<Check>, StoreError> {
    Ok(go_by_its_time(store, clock).await?.then(|| found(clock, &store.describe())))
}

fn found(clock: &Clock, store: &str) -> Check {
    match wrong_clock(clock, store) {
        Some(warned) => Check::warning("clock", warned.message).hint(warned.hint.unwrap_or_default()),
        None => Check::ok("clock", "this machine's clock goes with the store's"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;
    use crate::clock::Timestamp;
    use chrono::TimeDelta;

    #[test]
    fn a_clock_that_is_off_by_more_than_a_minute_is_a_warning_with_what_to_do() {
        let clock = Clock::steppable();
        clock.follow(&clock.reading(Timestamp::default(), clock.passed()), TimeDelta::MAX);
        let off = found(&clock, "the store");
        assert_eq!(off.status, Status::Warning, "{off:?}");
        assert!(off.detail.contains("ahead of the clock of the store"), "{off:?}");
        assert!(off.hint.is_some_and(|hint| hint.contains("NTP")));
        clock.set_machine_ahead(-clock.machine_ahead().unwrap());
        assert_eq!(found(&clock, "the store").status, Status::Ok);
    }
}

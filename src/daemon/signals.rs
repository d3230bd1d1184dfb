//! Signals, and what they say: the first takes no more and waits, the second gives up.

use super::DaemonError;
use crate::failure::with_hint;
use crate::pass::Stop;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// Listens for SIGINT, SIGTERM and SIGHUP: the first takes no more and waits `grace` for what was sent, the second gives up.
///
/// # Errors
/// When the handlers can't be installed.
pub fn stop_on_signals(stop: Stop, grace: Duration) -> Result<(), DaemonError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
    // A terminal that is closed must not cut off what was sent.
    let mut hang_up = signal(SignalKind::hangup()).map_err(DaemonError::Signals)?;
    tokio::spawn(async move {
        let mut asked = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        };
        asked().await;
        // Said before it happens: with nothing to wait for, the process may end at once.
        let unanswered = stop.unanswered.count();
        warn!(unanswered, "{}", stopping(unanswered, grace));
        stop.take_no_more.cancel();
        let again = tokio::time::timeout(grace, asked()).await.is_ok();
        let unanswered = stop.unanswered.count();
        warn!(unanswered, "{}", giving_up(unanswered, (!again).then_some(grace)));
        stop.give_up.cancel();
    });
    Ok(())
}

/// What happens after the first signal, how long it takes at most, and what a second signal costs.
fn stopping(unanswered: u64, grace: Duration) -> String {
    if unanswered == 0 {
        return "stopping: no more tokens are taken, and no grant waits for an answer".to_owned();
    }
    let wait = humantime::format_duration(grace);
    let (grants, users) = (counted(unanswered, "grant"), counted(unanswered, "user"));
    let were = if unanswered == 1 { "was" } else { "were" };
    with_hint(
        format!("stopping: no more tokens are taken; waiting for {grants} that {were} sent, {wait} at most"),
        Some(&format!("press Ctrl-C again to stop now; up to {users} may then have to log in again")),
    )
}

/// What is given up, on a second signal or after the grace period.
fn giving_up(unanswered: u64, waited: Option<Duration>) -> String {
    let why = match waited {
        None => "stopping now, as asked again".to_owned(),
        Some(grace) => {
            format!("stopping now: `stop_grace` ({}) is over", humantime::format_duration(grace))
        }
    };
    if unanswered == 0 {
        return format!("{why}; no grant is given up");
    }
    let (grants, users) = (counted(unanswered, "grant"), counted(unanswered, "user"));
    with_hint(
        format!("{why}; {grants} given up without an answer"),
        Some(&format!(
            "the journal remembers them, and the next start settles them first; up to {users} may have to log in again"
        )),
    )
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(75);

    #[test]
    fn the_first_signal_says_what_is_waited_for_and_what_a_second_one_costs() {
        assert_eq!(
            stopping(16, GRACE),
            "stopping: no more tokens are taken; waiting for 16 grants that were sent, 1m 15s at most\nhint: press Ctrl-C again to stop now; up to 16 users may then have to log in again"
        );
        assert!(
            stopping(1, GRACE).contains("1 grant that was sent") && stopping(1, GRACE).contains("1 user ")
        );
        assert!(!stopping(0, GRACE).contains("log in"));
    }

    #[test]
    fn the_second_signal_and_the_end_of_the_grace_period_say_how_many_grants_are_given_up() {
        assert!(giving_up(2, None).starts_with("stopping now, as asked again; 2 grants given up"));
        let over = giving_up(1, Some(GRACE));
        assert!(over.contains("`stop_grace` (1m 15s) is over; 1 grant given up"), "{over}");
        assert!(giving_up(0, Some(GRACE)).ends_with("no grant is given up"));
    }
}

//! This machine's own clocks.

use super::Timestamp;
use chrono::{TimeDelta, Utc};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// This machine's clocks: the wall clock, which a person, NTP or a dead battery may set to any time, and the time since the
/// machine was started, which only goes on.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    /// By how much a test has moved them; production never does.
    moved: Option<Arc<Moved>>,
    /// In a simulation: the time that it began with, and when that was on the runtime's own clock.
    simulated: Option<(Timestamp, tokio::time::Instant)>,
}

/// Milliseconds.
#[derive(Debug, Default)]
struct Moved {
    /// Time that passed, on all clocks.
    passed: AtomicI64,
    /// What the wall clock alone is ahead of the time.
    ahead: AtomicI64,
}

impl Machine {
    /// The wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub(super) fn wall(&self) -> Timestamp {
        let now = match &self.simulated {
            None => Utc::now(),
            Some((start, began)) => *start + began.elapsed(),
        };
        now + self.moved(|moved| &moved.passed) + self.moved(|moved| &moved.ahead)
    }

    /// Time since some moment before; it goes on while the machine is suspended, and no step of the wall clock moves it.
    pub(super) fn passed(&self) -> TimeDelta {
        let passed = match &self.simulated {
            None => since_boot(),
            Some((_, began)) => TimeDelta::from_std(began.elapsed()).unwrap_or(TimeDelta::MAX),
        };
        passed + self.moved(|moved| &moved.passed)
    }

    fn moved(&self, by: impl Fn(&Moved) -> &AtomicI64) -> TimeDelta {
        let millis = self.moved.as_ref().map_or(0, |moved| by(moved).load(Ordering::SeqCst));
        TimeDelta::milliseconds(millis)
    }
}

#[cfg(any(test, feature = "testing"))]
impl Machine {
    pub(super) fn movable(simulated: Option<Timestamp>) -> Self {
        let simulated = simulated.map(|start| (start, tokio::time::Instant::now()));
        Self { moved: Some(Arc::default()), simulated }
    }

    pub(super) fn pass(&self, time: TimeDelta) {
        if let Some(moved) = &self.moved {
            moved.passed.fetch_add(time.num_milliseconds(), Ordering::SeqCst);
        }
    }

    pub(super) fn set_ahead(&self, by: TimeDelta) {
        if let Some(moved) = &self.moved {
            moved.ahead.store(by.num_milliseconds(), Ordering::SeqCst);
        }
    }

    pub(super) fn has_passed(&self) -> TimeDelta {
        self.moved(|moved| &moved.passed)
    }
}

/// The time since this machine was started, suspended time included where the system tells it.
#[cfg(unix)]
fn since_boot() -> TimeDelta {
    use nix::time::{ClockId, clock_gettime};
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    let passed = clock_gettime(CLOCK).expect("POSIX systems have this clock");
    TimeDelta::seconds(passed.tv_sec()) + TimeDelta::nanoseconds(passed.tv_nsec())
}

/// The time since this process first asked.
#[cfg(not(unix))]
fn since_boot() -> TimeDelta {
    static BEGAN: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    TimeDelta::from_std(BEGAN.elapsed()).unwrap_or(TimeDelta::MAX)
}

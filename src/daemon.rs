//! Schedule × pass × signals × drain deadline.
//!
//! tokio-cron-scheduler is the alarm clock: it pokes. The supervisor decides: no overlap, a wake missed while down or
//! during a pass is caught up once, clock steps are survived, and a stop has two stages.

mod follow_up;
mod signals;
mod start;

use crate::clock::Timestamp;
use crate::exit::Exit;
use crate::failure::{Advice, told};
use crate::journal::Moment;
use crate::pass::{Pass, PassError, PassRequest, Stop};
use crate::report::summary::Summary;
use crate::report::{Outcome as Is, Report, Trouble, progress};
use crate::schedule::Schedule;
use follow_up::{FollowUp, Left};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use signals::stop_on_signals;

/// When the alarm clock pokes: every second. Whether it is time is decided here, in the schedule's real zone.
const POKE: &str = "* * * * * *";

/// The supervisor looks at the clock itself, too: the alarm clock sleeps on when the wall clock steps back.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(20);

/// The wakes that are announced.
const ANNOUNCED_WAKES: usize = 3;

/// Runs passes on the schedule until it is stopped.
#[derive(Debug)]
pub struct Daemon {
    /// What a wake does.
    pub pass: Pass,
    /// When it wakes.
    pub schedule: Schedule,
    /// First wait before a pass that left something due, or couldn't begin, is followed by another; it doubles. The
    /// same as for a document that failed, so that it is due again by then.
    pub first_backoff: Duration,
    /// Longest such wait.
    pub longest_backoff: Duration,
}

/// The alarm clock or the signals can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The alarm clock.
    #[error("the scheduler can't be started")]
    Scheduler(#[from] JobSchedulerError),
    /// Signals.
    #[error("signals can't be listened to")]
    Signals(#[source] std::io::Error),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
}

impl Advice for DaemonError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Scheduler(_) | Self::Signals(_) => None,
            Self::Journal(error) => error.hint(),
        }
    }
}

impl DaemonError {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Scheduler(_) | Self::Signals(_) => Exit::Internal,
            Self::Journal(error) => error.exit(),
        }
    }
}

impl Daemon {
    /// Sleeps and runs passes until `stop`; returns how the process should exit.
    ///
    /// # Errors
    /// When the alarm clock or the journal can't be used at the start; what goes wrong in a pass is logged.
    pub async fn run(&self, stop: &Stop) -> Result<Exit, DaemonError> {
        let (poke, mut poked) = mpsc::channel(1);
        let mut alarm = JobScheduler::new().await?;
        alarm
            .add(Job::new(POKE, move |_, _| {
                // A poke that is still waiting to be heard is as good as two.
                let _ = poke.try_send(());
            })?)
            .await?;
        alarm.start().await?;

        let mut last_wake = self.pass.journal.remembered(Moment::LastWake).await?;
        if last_wake.is_none() {
            // The first start of all: a wake that is missed while down is one after now.
            self.remember(Moment::LastWake, Some(self.pass.clock.now())).await;
        }
        let mut follow_up = FollowUp::after_restart(self).await?;
        self.announce();
        self.announce_start(last_wake, &follow_up, stop).await;
        let mut exit = Exit::Well;
        while !stop.take_no_more.is_cancelled() {
            let now = self.pass.clock.now();
            let wake = self.wake(&mut last_wake, now);
            if wake.is_none() && !follow_up.is_time() {
                tokio::select! {
                    () = stop.take_no_more.cancelled() => {}
                    _ = poked.recv() => {}
                    () = tokio::time::sleep(LOOK_AT_THE_CLOCK) => {}
                }
                continue;
            }
            if let Some(wake) = wake {
                let late = (now - wake).num_seconds();
                info!(scheduled = %wake, late_seconds = late, "waking for the scheduled pass of {}", wake.format("%Y-%m-%d %H:%M:%S UTC"));
            } else {
                info!("trying again what earlier passes left due");
            }
            let ended = self.pass_with_progress(stop).await;
            let (ended, began, left) = match ended {
                Ok(summary) => {
                    tell(&summary);
                    let (due, until) = (summary.leaves_something_due(), summary.put_off_until);
                    (summary.exit(), true, Left { due, until })
                }
                Err(error) => {
                    self.tell_failure(&error);
                    (error.exit(), false, Left { due: true, until: None })
                }
            };
            if self.pass.journal.is_broken() {
                // A journal that failed stays closed in this process, and a restart doesn't repair its disk.
                exit = Exit::JournalFailed;
                break;
            }
            if let Some(wake) = wake.filter(|_| began && !stop.take_no_more.is_cancelled()) {
                last_wake = Some(wake);
                self.remember(Moment::LastWake, Some(wake)).await;
            } else if let Some(wake) = wake {
                // Not remembered on disk: the next start catches it up. Not repeated at once here.
                last_wake = Some(wake);
            }
            // A pass that was stopped says little of what it left: the next start follows up as this one would have.
            if !stop.take_no_more.is_cancelled() {
                let waits = [self.first_backoff, self.longest_backoff];
                let planned = follow_up.plan(left, self.pass.clock.now(), waits, rand::random());
                if let Some((wait, _)) = planned {
                    let wait = humantime::format_duration(Duration::from_secs(wait.as_secs()));
                    info!("trying again what is still due in {wait}");
                }
                self.remember(Moment::FollowUp, planned.map(|(_, by)| by)).await;
            }
            if stop.give_up.is_cancelled() {
                exit = ended;
            }
            if !stop.take_no_more.is_cancelled() {
                self.announce();
            }
        }
        // It returns at once, and one more poke may come: it isn't listened to any more.
        alarm.shutdown().await?;
        info!("stopped");
        Ok(exit)
    }

    /// Runs one pass, and logs once a minute how far it is.
    async fn pass_with_progress(&self, stop: &Stop) -> Result<Summary, PassError> {
        let (request, report, done) =
            (PassRequest::default(), Arc::new(Report::new()), CancellationToken::new());
        let total = {
            let (pass, request) = (self.pass.clone(), request.clone());
            async move { pass.count_due(&request).await }
        };
        let say = |line: String| info!("{line}");
        let telling = tokio::spawn(progress::tell(report.clone(), total, done.clone(), say));
        let ended = self.pass.run(&request, stop, report).await;
        done.cancel();
        // A progress that can't be told is no reason to fail.
        let _ = telling.await;
        ended
    }

    /// The wake to answer now, if there is one. A clock that stepped back must not make us wait until it has caught up.
    fn wake(&self, last_wake: &mut Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let last = *last_wake.get_or_insert(now);
        if last > now {
            warn!(last_wake = %last, "the clock stepped back to before the last wake; the next wakes are computed from now");
            *last_wake = Some(now);
        }
        self.schedule.missed_since(*last_wake, now)
    }

    async fn remember(&self, moment: Moment, at: Option<Timestamp>) {
        if let Err(error) = self.pass.journal.remember(moment, at).await {
            error!(
                error = told(&error),
                "what comes next can't be remembered: after a restart the last pass may be caught up once more"
            );
        }
    }

    fn announce(&self) {
        let wakes: Vec<_> = self
            .schedule
            .next_wakes(self.pass.clock.now(), ANNOUNCED_WAKES)
            .iter()
            .map(std::string::ToString::to_string)
            .collect();
        info!(zone = %self.schedule.zone(), "next wakes: {}", wakes.join(", "));
    }

    fn tell_failure(&self, error: &PassError) {
        error!(
            error = told(error),
            store = self.pass.store.describe(),
            "the pass couldn't begin; no token was redeemed"
        );
    }
}

/// Logs the end of a pass: counts for programs, the people as the report shows them.
pub fn tell(summary: &Summary) {
    let count = |outcome| summary.count(outcome);
    info!(
        refreshed = count(Is::Refreshed),
        duplicate = count(Is::Duplicate),
        superseded = count(Is::Superseded),
        gone = count(Is::Gone),
        gone_while_refused = summary.gone_while_refused,
        needs_login = count(Is::NeedsLogin),
        lost_in_flight = count(Is::LostInFlight),
        malformed = count(Is::Malformed),
        still_due = count(Is::StillDue),
        held = count(Is::Held),
        lost = count(Is::Lost),
        orphans = summary.orphans,
        parked = summary.parked.orphans,
        unread = summary.parked.unread,
        known_needs_login = summary.known_needs_login,
        remaining_due = summary.remaining_due,
        "pass over {} ended: {} of {} due documents refreshed, {}",
        summary.collection,
        count(Is::Refreshed),
        summary.due.map_or_else(|| "an unknown number of".to_owned(), |due| due.to_string()),
        summary.remaining_due.map_or_else(
            || "how many remain due is not known".to_owned(),
            |remaining| format!("{remaining} remain due")
        ),
    );
    for (reason, documents) in &summary.still_due_reasons {
        warn!(reason, documents, "still due: {reason} {documents}");
    }
    for subject in &summary.lost {
        error!(%subject, "LOST: the new pair of `{subject}` was received, and neither the journal nor the document could keep it; that user must log in again");
    }
    for named in summary.named.iter().filter(|named| named.new) {
        let (subject, state, code) = (&named.subject, named.state.word(), &named.code);
        warn!(%subject, state, code, "`{subject}` is now {state} ({code})");
    }
    if let Some(first) = summary.ending.first() {
        let (users, subject, ends_at) = (summary.ending_count, &first.subject, first.ends_at);
        warn!(users, %subject, %ends_at, "users who must log in again soon: {users}, the first `{subject}` by {ends_at}; no refresh extends their logins (`evergrant tokens list --ending-within 14d`)");
    }
    for trouble in &summary.troubles {
        // A stop was asked for: no person has to act.
        if matches!(trouble, Trouble::Interrupted { given_up: 0 }) {
            info!("{}", told(trouble));
        } else {
            error!("{}", told(trouble));
        }
    }
}

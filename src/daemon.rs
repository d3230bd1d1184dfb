//! Schedule × pass × signals × drain deadline.
//!
//! tokio-cron-scheduler is the alarm clock: it pokes. The supervisor decides: no overlap, a wake missed while down or
//! during a pass is caught up once, clock steps are survived, and a stop has two stages.

mod follow_up;
mod look;
mod round;
mod signals;
mod start;
mod tell;

use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::exit::Exit;
use crate::failure::{Advice, told};
use crate::journal::{JournalError, Moment};
use crate::pass::{PassError, PassRequest, Stop, Whose};
use crate::report::summary::Summary;
use crate::report::{Reports, progress};
use crate::schedule::Schedule;
use crate::watch::Phase;
use chrono::TimeDelta;
use follow_up::Left;
use look::{Look, Looked};
use round::{Round, of};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tell::{tell, tell_troubles};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info};

pub use signals::stop_on_signals;

/// When the alarm clock pokes: every second. Whether it is time is decided here, in the schedule's real zone.
const POKE: &str = "* * * * * *";

/// The supervisor looks at the clock itself, too: the alarm clock sleeps on when the wall clock steps back.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(20);

/// The wakes that are announced.
const ANNOUNCED_WAKES: usize = 3;

/// Runs passes on the schedule until it is stopped: a loop for each provider, so that none waits for another.
#[derive(Debug)]
pub struct Daemon {
    /// What a wake goes through.
    pub engine: Engine,
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

/// The passes that are at work, and the looks for what is due.
type AtWork = JoinSet<Ended>;

/// What has ended.
#[derive(Debug)]
enum Ended {
    /// A pass of the loop with this number, for this wake.
    Pass(usize, Option<Timestamp>, Box<Result<Summary, PassError>>),
    /// A look for what is due.
    Look(Looked),
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

        let mut rounds = Round::after_restart(self).await?;
        self.settle_what_was_left(&mut rounds, stop).await;
        self.announce();
        self.announce_start(&rounds, stop).await;
        let (mut at_work, mut look, mut exit) = (AtWork::new(), Look::now(), Exit::Well);
        while !stop.take_no_more.is_cancelled() || !at_work.is_empty() {
            if !stop.take_no_more.is_cancelled() {
                self.answer_wakes(&mut rounds, &mut look, &mut at_work, stop);
            }
            self.show(&rounds, stop);
            tokio::select! {
                () = stop.take_no_more.cancelled(), if !stop.take_no_more.is_cancelled() => {}
                Some(ended) = at_work.join_next() => {
                    let (number, wake, ended) = match ended {
                        Ok(Ended::Pass(number, wake, ended)) => (number, wake, *ended),
                        Ok(Ended::Look(looked)) => {
                            look.ended(&looked);
                            self.after_look(&mut rounds, looked, &mut at_work, stop).await;
                            continue;
                        }
                        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                    };
                    let is_moved = matches!(&ended, Err(PassError::Journal(JournalError::Moved { .. })));
                    let about = rounds[number].span();
                    let ended = self.after_pass(&mut rounds[number], wake, ended, stop);
                    let ended = ended.instrument(about).await;
                    if is_moved || self.engine.base.journal.is_broken() {
                        // A journal that failed stays closed in this process, and a restart doesn't repair its disk. Nor does it
                        // bring back one that was moved: it would begin a new one beside it.
                        stop.take_no_more.cancel();
                        exit = Exit::JournalFailed;
                    } else if stop.give_up.is_cancelled() {
                        exit = exit.or_more_urgent(ended);
                    }
                    let is_quiet = at_work.is_empty() && !stop.take_no_more.is_cancelled();
                    if is_quiet && !self.schedule.is_continuous() {
                        self.announce();
                    }
                }
                _ = poked.recv() => {}
                () = tokio::time::sleep(LOOK_AT_THE_CLOCK) => {}
            }
        }
        // It returns at once, and one more poke may come: it isn't listened to any more.
        alarm.shutdown().await?;
        info!("stopped");
        Ok(exit)
    }

    /// Shows those who watch that it lives, what it does, and when it goes on.
    fn show(&self, rounds: &[Round], stop: &Stop) {
        let (life, now) = (self.engine.life(), self.engine.base.clock.now());
        let phase = if stop.take_no_more.is_cancelled() {
            Phase::Stopping
        } else if rounds.iter().any(|round| round.at_work) {
            Phase::Passing
        } else {
            Phase::Sleeping
        };
        life.enter(phase, now);
        let follow_up = rounds.iter().filter_map(|round| round.follow_up.wait()).min();
        let follow_up_at = follow_up.and_then(|wait| now.checked_add_signed(TimeDelta::from_std(wait).ok()?));
        life.beats(self.schedule.next_after(now).filter(|_| !self.schedule.is_continuous()), follow_up_at);
    }

    /// Writes back, or parks, what an earlier process had received, and gives back what it had claimed: it doesn't wait for
    /// the first wake.
    async fn settle_what_was_left(&self, rounds: &mut [Round], stop: &Stop) {
        let reports = Reports::new();
        let base = &self.engine.base;
        let left = match self.engine.open(stop, &reports).await {
            Ok(_) => {
                let summary = reports.summary(&base.store.describe(), None, base.clock.now(), Duration::ZERO);
                if !summary.recovery.is_empty() {
                    info!("{}", summary.recovery);
                }
                tell_troubles(&summary);
                summary.leaves_something_due()
            }
            Err(error) => {
                self.tell_failure(&error);
                true
            }
        };
        if left {
            for round in rounds {
                self.follow_up(round, Left { due: true, until: None, not_before: None }).await;
            }
        }
    }

    /// Plans the pass that follows what one has left.
    async fn follow_up(&self, round: &mut Round, left: Left) {
        let (now, waits) = (self.engine.base.clock.now(), [self.first_backoff, self.longest_backoff]);
        let planned = round.follow_up.plan(left, now, waits, rand::random());
        if let Some((wait, _)) = planned {
            let wait = humantime::format_duration(Duration::from_secs(wait.as_secs()));
            info!("trying again what is still due{} in {wait}", of(&[&round.name]));
        }
        self.remember(Moment::FollowUp(round.whose.name()), planned.map(|(_, by)| by)).await;
    }

    /// Tells how a pass ended, and plans the next one of its provider.
    async fn after_pass(
        &self,
        round: &mut Round,
        wake: Option<Timestamp>,
        ended: Result<Summary, PassError>,
        stop: &Stop,
    ) -> Exit {
        round.at_work = false;
        let (exit, began, left) = match ended {
            Ok(summary) => {
                round.weigh(self);
                round.rests(&summary, self);
                if round.whose.counter().is_some() || summary.touched > 0 || !summary.troubles.is_empty() {
                    tell(&summary, &round.name);
                }
                let (due, until) = (summary.leaves_something_due(), summary.put_off_until);
                (summary.exit(), true, Left { due, until, not_before: summary.paused_until() })
            }
            Err(error) => {
                self.tell_failure(&error);
                round.rests_for(self.first_backoff);
                (error.exit(), false, Left { due: true, until: None, not_before: None })
            }
        };
        if self.engine.base.journal.is_broken() {
            return exit;
        }
        let is_stopped = stop.take_no_more.is_cancelled();
        if let Some(wake) = wake {
            round.last_wake = Some(wake);
            // One that wasn't through is not remembered on disk: the next start catches it up. It is not repeated at once here.
            if began && !is_stopped {
                self.remember(Moment::LastWake(round.whose.name()), Some(wake)).await;
            }
        }
        // A pass that was stopped says little of what it left: the next start follows up as this one would have.
        if !is_stopped {
            self.follow_up(round, left).await;
        }
        exit
    }

    async fn remember(&self, moment: Moment, at: Option<Timestamp>) {
        if let Err(error) = self.engine.base.journal.remember(moment, at).await {
            error!(
                error = told(&error),
                "what comes next can't be remembered: after a restart the last pass may be caught up once more"
            );
        }
    }

    fn announce(&self) {
        if self.schedule.is_continuous() {
            info!("a pass begins when a document falls due; that is looked for about once a minute");
            return;
        }
        let wakes: Vec<_> = self
            .schedule
            .next_wakes(self.engine.base.clock.now(), ANNOUNCED_WAKES)
            .iter()
            .map(std::string::ToString::to_string)
            .collect();
        info!(zone = %self.schedule.zone(), "next wakes: {}", wakes.join(", "));
    }

    fn tell_failure(&self, error: &PassError) {
        error!(
            error = told(error),
            store = self.engine.base.store.describe(),
            "the pass couldn't begin; no token was redeemed"
        );
    }
}

/// Runs one pass, and logs once a minute how far it is.
async fn pass_with_progress(
    engine: &Engine,
    whose: Whose,
    name: &str,
    stop: &Stop,
) -> Result<Summary, PassError> {
    let (reports, done) = (Arc::new(Reports::new()), CancellationToken::new());
    let request = PassRequest::default();
    let total = {
        let (base, whose) = (engine.base.clone(), whose.clone());
        async move {
            let due = base.count_due_of(&whose).await;
            if let Some((counter, due)) = whose.counter().zip(due) {
                counter.tally.due(due);
            }
            due
        }
    };
    let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
    let say = move |line: String| info!("{name}{line}");
    let telling = tokio::spawn(progress::tell(reports.clone(), total, done.clone(), say));
    let ended = engine.run_over(vec![whose], &request, stop, reports).await;
    done.cancel();
    // A progress that can't be told is no reason to fail.
    let _ = telling.await;
    ended
}

//! What the loop of one provider remembers between its passes.

use super::Daemon;
use super::follow_up::FollowUp;
use crate::clock::Timestamp;
use crate::duration::words;
use crate::failure::with_hint;
use crate::journal::{JournalError, Moment};
use crate::pass::Whose;
use crate::provider::learned::Learned;
use crate::report::summary::Summary;
use crate::schedule::{SHORTEST_PAUSE, Schedule};
use crate::store::Waits;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Span, error_span, info, warn};

/// How often a provider is read of which only marked documents are due.
const MARKED_AGAIN: Duration = Duration::from_mins(15);

/// Providers that one line of the log names.
const MOST_NAMED: usize = 5;

/// The loop of one provider, or of the documents that belong to none.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) whose: Whose,
    /// The scheduled wake that its last pass answered.
    pub(super) last_wake: Option<Timestamp>,
    pub(super) follow_up: FollowUp,
    /// Is a pass of it at work, or is it asked whether one is needed?
    pub(super) at_work: bool,
    /// When its last pass began.
    pub(super) began_at: Option<Instant>,
    /// Shortest time between two of its passes, where it goes by what is due.
    by_due: Option<Duration>,
    /// The lives by which that was decided.
    weighed: Option<Learned>,
    /// Where it goes by what is due: no pass before that.
    rests_until: Option<Instant>,
    /// Was a document found that its last pass should have worked on?
    found_work: bool,
    /// The name in the log; empty where there is only one.
    pub(super) name: String,
}

impl Round {
    /// All of them, as an earlier process left them.
    pub(super) async fn after_restart(daemon: &Daemon) -> Result<Vec<Self>, JournalError> {
        let journal = &daemon.engine.base.journal;
        let mut rounds = Vec::new();
        for whose in daemon.engine.all_work() {
            let [wake, follow_up] = [Moment::LastWake(whose.name()), Moment::FollowUp(whose.name())];
            let (last_wake, until) = match journal.remembered(wake.clone()).await? {
                Some(last_wake) => (Some(last_wake), journal.remembered(follow_up).await?),
                // New here, or under another name: nothing that was missed under that is forgotten.
                None => (journal.earliest(wake).await?, journal.earliest(follow_up).await?),
            };
            let follow_up =
                FollowUp::after_restart(until, daemon.engine.base.clock.now(), daemon.first_backoff);
            rounds.push(Self {
                name: shown(&whose),
                by_due: daemon.schedule.is_continuous().then_some(SHORTEST_PAUSE),
                whose,
                last_wake,
                follow_up,
                at_work: false,
                began_at: None,
                weighed: None,
                rests_until: None,
                found_work: false,
            });
        }
        // Once all of them are read: none of them is the earliest for another. At the same time, so that they share a commit.
        let remembered = rounds.iter().flat_map(|round| {
            // The first start of all: a wake that is missed while down is one after now.
            let last_wake = round.last_wake.or(Some(daemon.engine.base.clock.now()));
            [
                daemon.remember(Moment::LastWake(round.whose.name()), last_wake),
                daemon.remember(Moment::FollowUp(round.whose.name()), round.follow_up.until()),
            ]
        });
        futures::future::join_all(remembered).await;
        if let [only] = &mut rounds[..] {
            only.name.clear();
        }
        for round in &mut rounds {
            if let Some(counter) = round.whose.counter() {
                counter.recall(&daemon.engine.base).await?;
            }
            round.weigh(daemon);
        }
        Ok(rounds)
    }

    /// Of each line about this loop.
    pub(super) fn span(&self) -> Span {
        error_span!("loop", provider = self.whose.counter().map(|counter| &*counter.provider.name))
    }

    /// Decides, where its answers told other lives than before, whether it goes by what is due beside the schedule.
    pub(super) fn weigh(&mut self, daemon: &Daemon) {
        let Some(counter) = self.whose.counter().filter(|_| !daemon.schedule.is_continuous()) else { return };
        let learned = counter.learned();
        if self.weighed.replace(learned) == Some(learned) {
            return;
        }
        let too_short = counter.too_short(&daemon.engine.base, &daemon.schedule);
        let provider = &counter.provider.name;
        match &too_short {
            Some(why) if self.by_due.is_none() => {
                let text = format!(
                    "`{provider}`: {why}. So its passes also begin when a document falls due, at most once in {}",
                    words(why.pause())
                );
                warn!(provider = &**provider, "{}", with_hint(text, Some(&why.advice())));
            }
            None if self.by_due.is_some() => {
                info!(provider = &**provider, "`{provider}`: the schedule is enough for its tokens again");
            }
            Some(_) | None => {}
        }
        self.by_due = too_short.map(|why| why.pause());
        counter.go_by_due(self.by_due.is_some());
    }

    /// Does it go by what is due, and not rest?
    pub(super) fn goes_by_due(&self) -> bool {
        self.by_due.is_some() && self.rests_until.is_none_or(|until| Instant::now() >= until)
    }

    /// Is a pass to begin where this waits for it?
    ///
    /// What is marked may hold a new login, and only a pass finds that out: it isn't read more often than that.
    pub(super) fn begins_for(&mut self, waits: Option<Waits>) -> bool {
        self.found_work = waits == Some(Waits::Work);
        let looked_lately = || self.began_at.is_some_and(|at| at.elapsed() < MARKED_AGAIN);
        match waits {
            None => false,
            Some(Waits::Work) => true,
            Some(Waits::Idle) => !looked_lately(),
        }
    }

    /// Plans how soon another pass may begin that goes by what is due.
    pub(super) fn rests(&mut self, summary: &Summary, daemon: &Daemon) {
        let paused =
            summary.paused_until().and_then(|until| (until - daemon.engine.base.clock.now()).to_std().ok());
        // What is due and can't be worked on must not be tried again each minute.
        let in_vain = !summary.troubles.is_empty() || self.found_work && summary.taken == 0;
        let rest = if in_vain { daemon.first_backoff } else { self.by_due.unwrap_or_default() };
        self.rests_for(paused.unwrap_or(rest));
    }

    pub(super) fn rests_for(&mut self, rest: Duration) {
        self.rests_until = Some(Instant::now() + rest);
    }

    /// The wake to answer now, if there is one. A clock that stepped back must not make us wait until it has caught up.
    pub(super) fn wake(&mut self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        if schedule.is_continuous() {
            return None;
        }
        let last = *self.last_wake.get_or_insert(now);
        if last > now {
            warn!(last_wake = %last, "the clock stepped back to before the last wake; the next wakes are computed from now");
            self.last_wake = Some(now);
        }
        schedule.missed_since(self.last_wake, now)
    }
}

fn shown(whose: &Whose) -> String {
    match whose {
        Whose::Provider(counter) => format!("`{}`", counter.provider.name),
        Whose::Strangers | Whose::Rows => "documents of no configured provider".to_owned(),
    }
}

/// Of which providers, for the end of a sentence: nothing where there is only one.
pub(super) fn of(names: &[&str]) -> String {
    let named: Vec<_> = names.iter().filter(|name| !name.is_empty()).take(MOST_NAMED).copied().collect();
    if named.is_empty() {
        return String::new();
    }
    let more = names.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(" of {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_few_providers_and_none_where_there_is_only_one() {
        assert_eq!(of(&[""]), "");
        assert_eq!(of(&["`a`", "`b`"]), " of `a`, `b`");
        assert_eq!(of(&["`a`"; 7]), " of `a`, `a`, `a`, `a`, `a` and 2 more");
    }
}

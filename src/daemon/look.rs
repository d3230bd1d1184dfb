//! A wake looks for what is due before a pass begins: only providers that have something to do get one.

use super::round::of;
use super::{AtWork, Daemon, Ended, Round, pass_with_progress};
use crate::clock::Timestamp;
use crate::failure::{error_chain, told};
use crate::journal::Moment;
use crate::pass::{PassError, Stop, Todo};
use crate::schedule::SHORTEST_PAUSE;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// A look that takes long waits this many times as long for the next one: then it costs the store a hundredth of its time.
const REST: u32 = 100;

/// Longest time between two looks.
const LONGEST: Duration = Duration::from_hours(1);

/// When loops that go by what is due look for it.
#[derive(Debug)]
pub(super) struct Look {
    next: Instant,
    /// Is the store known to be away?
    is_away: bool,
}

/// What a look has found.
#[derive(Debug)]
pub(super) struct Looked {
    /// The loops that asked, each with its scheduled wake, if that is why.
    asked: Vec<(usize, Option<Timestamp>)>,
    /// None after a stop.
    found: Option<Result<Todo, PassError>>,
    took: Duration,
}

impl Look {
    /// The first look is at the start.
    pub(super) fn now() -> Self {
        Self { next: Instant::now(), is_away: false }
    }

    fn is_time(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Plans the next one.
    pub(super) fn ended(&mut self, looked: &Looked) {
        self.next = Instant::now() + (looked.took * REST).clamp(SHORTEST_PAUSE, LONGEST);
        match &looked.found {
            Some(Ok(_)) if std::mem::take(&mut self.is_away) => info!("what is due can be looked for again"),
            // The passes of a scheduled wake begin all the same, and tell of it.
            Some(Err(error)) if looked.asked.iter().all(|(_, wake)| wake.is_none()) => {
                if std::mem::replace(&mut self.is_away, true) {
                    debug!(error = %error_chain(error), "what is due still can't be looked for");
                } else {
                    warn!(error = told(error), "what is due can't be looked for; looking again until it can");
                }
            }
            Some(_) | None => {}
        }
    }
}

impl Daemon {
    /// Begins the passes that follow others, and looks for what is due where a wake has come, of providers that have no pass at
    /// work.
    pub(super) fn answer_wakes(
        &self,
        rounds: &mut [Round],
        look: &mut Look,
        at_work: &mut AtWork,
        stop: &Stop,
    ) {
        let (now, is_time) = (self.engine.base.clock.now(), look.is_time());
        let (mut asked, mut followed): (Vec<_>, Vec<String>) = Default::default();
        for (number, round) in rounds.iter_mut().enumerate().filter(|(_, round)| !round.at_work) {
            let wake = round.wake(&self.schedule, now);
            if round.follow_up.is_time() {
                followed.push(round.name.clone());
                self.begin(round, number, wake, at_work, stop);
            } else if wake.is_some() || is_time && round.goes_by_due() {
                round.at_work = true;
                asked.push((number, wake));
            }
        }
        if !followed.is_empty() {
            info!("trying again what earlier passes left due{}", of(&names(&followed)));
        }
        if asked.is_empty() {
            return;
        }
        if is_time {
            // Until this one has ended.
            look.next = Instant::now() + LONGEST;
        }
        let (engine, stop) = (self.engine.clone(), stop.clone());
        at_work.spawn(async move {
            let began = Instant::now();
            let found = stop.take_no_more.run_until_cancelled(engine.todo()).await;
            Ended::Look(Looked { asked, found, took: began.elapsed() })
        });
    }

    /// Begins the passes of those that have something to do. For the others the wake is answered.
    pub(super) async fn after_look(
        &self,
        rounds: &mut [Round],
        Looked { asked, found, .. }: Looked,
        at_work: &mut AtWork,
        stop: &Stop,
    ) {
        let (mut woken, mut fallen_due, mut idle): (Vec<String>, Vec<String>, Vec<_>) = Default::default();
        for (number, wake) in asked {
            let round = &mut rounds[number];
            round.at_work = false;
            let begins = match &found {
                None => continue,
                Some(Ok(todo)) => round.begins_for(todo.of(&round.whose)),
                Some(Err(_)) => wake.is_some(),
            };
            if begins && !stop.take_no_more.is_cancelled() {
                let names = if wake.is_some() { &mut woken } else { &mut fallen_due };
                names.push(round.name.clone());
                self.begin(round, number, wake, at_work, stop);
            } else if let Some(wake) = wake.filter(|_| !begins) {
                round.last_wake = Some(wake);
                idle.push((
                    round.name.clone(),
                    self.remember(Moment::LastWake(round.whose.name()), Some(wake)),
                ));
            }
        }
        // At the same time, so that they share a commit.
        let (idle, remembered): (Vec<_>, Vec<_>) = idle.into_iter().unzip();
        futures::future::join_all(remembered).await;
        self.tell_wake(&names(&woken), &names(&idle));
        if !fallen_due.is_empty() {
            info!("a pass begins for what has fallen due{}", of(&names(&fallen_due)));
        }
    }

    fn tell_wake(&self, woken: &[&str], idle: &[&str]) {
        let now = self.engine.base.clock.now();
        let Some(wake) = self.schedule.last_until(now).filter(|_| woken.len() + idle.len() > 0) else {
            return;
        };
        let late = (now - wake).num_seconds();
        let at = wake.format("%Y-%m-%d %H:%M:%S UTC");
        if woken.is_empty() {
            info!(scheduled = %wake, late_seconds = late, "the scheduled wake of {at}: nothing is due{}", of(idle));
        } else {
            let others = match idle.len() {
                0 => String::new(),
                idle => format!("; nothing is due of {idle} others"),
            };
            let of = of(woken);
            info!(scheduled = %wake, late_seconds = late, "waking for the scheduled pass of {at}{of}{others}");
        }
    }

    /// Begins a pass.
    fn begin(
        &self,
        round: &mut Round,
        number: usize,
        wake: Option<Timestamp>,
        at_work: &mut AtWork,
        stop: &Stop,
    ) {
        round.at_work = true;
        round.began_at = Some(Instant::now());
        let (engine, stop) = (self.engine.clone(), stop.clone());
        let (whose, name) = (round.whose.clone(), round.name.clone());
        at_work.spawn(async move {
            let ended = pass_with_progress(&engine, whose, &name, &stop).await;
            Ended::Pass(number, wake, Box::new(ended))
        });
    }
}

fn names(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

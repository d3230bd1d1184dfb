//! What a provider did in one pass holds in the next one, in the same process and after a restart, on a paused clock.

use super::ledger::{Ledger, Rotation, Rules};
use super::life::Life;
use super::machine;
use super::peer::{Peer, Storm};
use super::world::{Inner, Script, World};
use evergrant::testing::engine::Engine;
use evergrant::testing::journal::Journal;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Reports, Trouble};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const USERS: usize = 60;

/// Time from one request to the next at the full rate, 60/min.
const GAP: Duration = Duration::from_secs(1);

fn settle(world: &mut Inner) {
    world.calm = true;
    world.documents.clear();
    let rules = Rules { rotation: Rotation::Strict, revokes_family: false };
    let drawn = Peer::of(&mut world.random);
    world.weather.peers =
        vec![Peer { rules, rate: Some("60/min"), concurrency: 4, takes: Duration::ZERO, ..drawn }];
    world.storms = vec![None];
    world.ledger = Ledger::new(vec![rules]);
    (0..USERS).for_each(|user| world.add_user(user, 0));
}

/// One process after the other over one journal, or one process alone.
struct Processes {
    world: Arc<World>,
    restarts: bool,
    running: Option<(Life, Engine, Journal)>,
}

impl Processes {
    fn new(restarts: bool) -> Self {
        let world = World::new(0, None, false);
        world.with(settle);
        Self { world, restarts, running: None }
    }

    async fn end(&mut self) {
        let Some((life, engine, journal)) = self.running.take() else { return };
        drop(engine);
        journal.close().await;
        self.world.with(|world| life.end(world));
    }

    /// A pass over this number of tokens; when its requests were sent, and how long it took.
    async fn pass(&mut self, limit: u64) -> (Summary, Vec<Instant>, Duration) {
        if self.restarts {
            self.end().await;
        }
        let (_, engine, _) = self.running.get_or_insert_with(|| {
            let life = Life::start(&self.world, 0);
            let (engine, journal) = machine::start(&life);
            (life, engine, journal)
        });
        self.world.with(|world| world.asked.clear());
        let (began, request) =
            (Instant::now(), PassRequest { limit: NonZeroU64::new(limit), ..PassRequest::default() });
        let summary = engine.run(&request, &Stop::default(), Arc::new(Reports::new())).await.unwrap();
        let mut asked: Vec<_> = self.world.with(|world| world.asked.values().flatten().copied().collect());
        asked.sort();
        assert_eq!(self.world.with(|world| world.violation.clone()), None);
        (summary, asked, began.elapsed())
    }
}

/// The average time from one request to the next.
fn gap(asked: &[Instant]) -> Duration {
    (*asked.last().unwrap() - asked[0]) / u32::try_from(asked.len() - 1).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_halved_rate_holds_in_the_next_pass_and_after_a_restart() {
    for restarts in [false, true] {
        let mut processes = Processes::new(restarts);
        let (_, at_full_rate, _) = processes.pass(10).await;
        assert!(gap(&at_full_rate) < GAP * 6 / 5, "{:?}", gap(&at_full_rate));
        let throttled = Script { status: 429, retry_after: Some("1"), body: "{}" };
        // The last one of the next pass.
        processes.world.with(|world| world.scripts.insert(14, [throttled].into()));
        processes.pass(5).await;
        let (summary, asked, _) = processes.pass(10).await;
        assert_eq!(summary.throttled, 0, "{summary:?}");
        assert!(gap(&asked) > GAP * 3 / 2, "restarts {restarts}: {:?}", gap(&asked));
        processes.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_given_up_sooner_in_the_next_pass_and_after_a_restart() {
    for restarts in [false, true] {
        let mut processes = Processes::new(restarts);
        let far = Instant::now() + Duration::from_hours(24);
        processes.world.with(|world| world.storms = vec![Some((Storm::Unreachable, far))]);
        let mut waits = Vec::new();
        for _ in 0..2 {
            let (summary, asked, took) = processes.pass(USERS as u64).await;
            assert!(matches!(summary.troubles[..], [Trouble::Outage { .. }]), "{summary:?}");
            assert!(summary.count(evergrant::testing::report::Outcome::Refreshed) == 0 && !asked.is_empty());
            waits.push(took);
        }
        let [first, second] = waits[..] else { panic!("{waits:?}") };
        assert!(first > Duration::from_mins(4), "restarts {restarts}: {waits:?}");
        assert!(second < Duration::from_mins(3), "restarts {restarts}: {waits:?}");
        // The provider is well again.
        processes.world.with(|world| world.storms = vec![None]);
        let (summary, ..) = processes.pass(5).await;
        assert_eq!(summary.grants, 5, "{summary:?}");
        processes.end().await;
    }
}

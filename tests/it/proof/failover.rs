//! The replica set fails over in the middle of passes: the primary steps down, is killed, or answers "maybe".
//!
//! The long run: `cargo test --test it -- --ignored proof::failover --nocapture`

use super::{run_pass, tell};
use crate::store::backend::mongo_beside;
use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, until};
use crate::support::replica_set::ReplicaSet;
use bson::{Document, doc, oid::ObjectId};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Outcome;
use evergrant::testing::store::mapping::Mapping;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Users of a run: a pass over them takes about a second.
const USERS: usize = 100;

/// What the store calls itself to the server, so that a fail point is for it alone.
const APPLICATION: &str = "failover";

/// What happens in the middle of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// The primary steps down.
    StepDown,
    /// The primary is killed with SIGKILL, and starts again when another one is elected.
    Kill,
    /// The primary does to the next commands what stands there in [`FAULTS`].
    Fault(usize),
}

/// The commands, and what the server does to each of them instead of a good answer.
///
/// `update` claims and writes back, `find` reads; `count`, `listCollections` and `listIndexes` are asked at the start.
const FAULTS: [(&[&str], Wrong); 18] = [
    (&["update"], Wrong::Closes),
    (&["update"], Wrong::Maybe(64)),
    (&["update"], Wrong::Maybe(91)),
    (&["update"], Wrong::Maybe(100)),
    (&["update"], Wrong::Says(91)),
    (&["update"], Wrong::Says(189)),
    (&["update"], Wrong::Says(10107)),
    (&["update"], Wrong::Says(11602)),
    (&["update"], Wrong::Blocks),
    (&["find"], Wrong::Closes),
    (&["find"], Wrong::Says(11600)),
    (&["find"], Wrong::Says(50)),
    (&["find"], Wrong::Blocks),
    (&["update", "find", "getMore", "aggregate", "findAndModify"], Wrong::Closes),
    (&["update", "find", "getMore", "aggregate", "findAndModify"], Wrong::Says(13436)),
    (&["count", "listCollections", "listIndexes", "buildInfo"], Wrong::Closes),
    (&["count", "listCollections", "listIndexes", "buildInfo"], Wrong::Says(11602)),
    (&["count", "listCollections", "listIndexes", "buildInfo"], Wrong::Blocks),
];

/// What the server's `failCommand` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// It closes the connection; nothing happens.
    Closes,
    /// It gives this error; nothing happens.
    Says(i32),
    /// It does as it was told, and says that a majority may not have it.
    Maybe(i32),
    /// It waits for a while first.
    Blocks,
}

impl Wrong {
    fn data(self) -> Document {
        match self {
            Self::Closes => doc! { "closeConnection": true },
            Self::Says(code) => doc! { "errorCode": code },
            Self::Maybe(code) => doc! { "writeConcernError": { "code": code, "errmsg": "maybe" } },
            Self::Blocks => doc! { "blockConnection": true, "blockTimeMS": 700 },
        }
    }
}

/// The figures of a run.
#[derive(Debug, Default)]
struct Figures {
    step_downs: u64,
    kills: u64,
    faults: u64,
    passes: u64,
    /// Passes that ended with exit code 7 or 4.
    cut_short: u64,
    grants: u64,
    lost: u64,
    replayed: u64,
    longest_pass: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} stepdowns, {} kills, {} faults of the server; {} passes ({} cut short), {} grants: \
             {} received and lost, {} replayed; longest pass {:.1} s",
            self.step_downs,
            self.kills,
            self.faults,
            self.passes,
            self.cut_short,
            self.grants,
            self.lost,
            self.replayed,
            self.longest_pass.as_secs_f64()
        )
    }
}

/// A set, and a rehearsal over it.
struct Scene {
    set: ReplicaSet,
    rehearsal: Rehearsal,
    figures: Figures,
}

impl Scene {
    async fn new(users: usize, more: &str) -> Option<Self> {
        let set = ReplicaSet::start().await?;
        let mut plan = Plan::users(users);
        plan.profile.concurrency = 6.try_into().unwrap();
        plan.sandbox.latency = Duration::from_millis(30);
        plan.sandbox.latency_jitter = Duration::from_millis(40);
        let uri = set.uri_as(APPLICATION) + more;
        let backend = mongo_beside(&uri, &set.uri_as("test"), APPLICATION, Mapping::default()).await;
        let rehearsal = Rehearsal::over(backend, &plan).await;
        Some(Self { set, rehearsal, figures: Figures::default() })
    }

    /// A pass over everybody that the blow hits in the middle, and one after it.
    async fn round(&mut self, blow: Blow, random: &mut StdRng) {
        let users = self.rehearsal.users.len() as u64;
        let granted = || self.rehearsal.sandbox.ledger().granted;
        // Some before the first grant: while the pass looks at the store, recovers and claims.
        let after = random.random_range(0..users * 5 / 4).saturating_sub(users / 4);
        let (at, times) = (granted() + after, random.random_range(1..=5));
        let ended = AtomicBool::new(false);
        let (set, rehearsal) = (&mut self.set, &self.rehearsal);
        let is_fault_at_the_start = |number: usize| FAULTS[number].0.contains(&"count");
        let early = matches!(blow, Blow::Fault(number) if after == 0 || is_fault_at_the_start(number));
        if early {
            strike(set, blow, times).await;
        }
        let pass = async {
            let took = timed_pass(rehearsal).await;
            ended.store(true, Ordering::SeqCst);
            took
        };
        let meanwhile = async {
            until("so many grants", || ended.load(Ordering::SeqCst) || granted() >= at).await;
            if !early {
                strike(set, blow, times).await;
            }
        };
        let ((exit, took), ()) = tokio::join!(pass, meanwhile);
        assert!(exit.is_some(), "{blow:?} at {at}: a pass begins, if need be when the set is well again");
        if let Some((Exit::Well, refreshed)) = exit {
            assert_eq!(refreshed, users, "{blow:?} at {at}: nobody is left out in silence");
        }
        self.note(exit, took);
        match blow {
            Blow::StepDown => self.figures.step_downs += 1,
            Blow::Kill => self.figures.kills += 1,
            Blow::Fault(_) => {
                self.figures.faults += 1;
                self.set.on_running(&doc! { "configureFailPoint": "failCommand", "mode": "off" }).await;
            }
        }
        self.set.until_well().await;
        let (exit, took) = timed_pass(&self.rehearsal).await;
        assert_eq!(
            exit,
            Some((Exit::Well, users)),
            "after {blow:?} at {at} the next pass refreshes everybody"
        );
        self.note(exit, took);
        self.judge(&format!("{blow:?} at {at}")).await;
    }

    fn note(&mut self, exit: Option<(Exit, u64)>, took: Duration) {
        self.figures.passes += 1;
        self.figures.cut_short += u64::from(exit.is_none_or(|(exit, _)| exit != Exit::Well));
        self.figures.longest_pass = self.figures.longest_pass.max(took);
    }

    async fn judge(&mut self, when: &str) {
        let ledger = self.rehearsal.sandbox.ledger();
        let audit = self.rehearsal.audit().await;
        self.figures.grants = ledger.granted;
        self.figures.replayed = ledger.reuses;
        self.figures.lost += audit.lost_received + audit.lost_in_flight;
        assert_eq!((ledger.reuses, ledger.requests), (0, ledger.granted), "{when}: {}", self.figures);
        self.rehearsal.assert_kept(self.rehearsal.users.len()).await;
        self.rehearsal.assert_nothing_claimed().await;
        assert!(self.rehearsal.entries().await.is_empty(), "{when}: nothing is left open");
    }

    async fn run(&mut self, of_each: usize, random: &mut StdRng) {
        for round in 0..of_each {
            self.round(Blow::StepDown, random).await;
            self.round(Blow::Kill, random).await;
            let first = random.random_range(0..FAULTS.len());
            self.round(
                Blow::Fault(if of_each < FAULTS.len() { first } else { round % FAULTS.len() }),
                random,
            )
            .await;
        }
    }
}

/// A pass over everybody; how it ended, with how many refreshed, unless it couldn't begin.
async fn timed_pass(rehearsal: &Rehearsal) -> (Option<(Exit, u64)>, Duration) {
    let began = Instant::now();
    let everybody = PassRequest { force: true, ..PassRequest::default() };
    let summary = run_pass(rehearsal, &everybody, &Stop::default()).await;
    (summary.map(|summary| (summary.exit(), summary.count(Outcome::Refreshed))), began.elapsed())
}

async fn strike(set: &mut ReplicaSet, blow: Blow, times: i32) {
    match blow {
        Blow::StepDown => set.step_down().await,
        Blow::Kill => {
            let killed = set.kill_primary().await;
            set.primary().await;
            set.restart(killed);
        }
        Blow::Fault(number) => {
            let (commands, wrong) = FAULTS[number];
            let mut data = doc! { "failCommands": commands, "appName": APPLICATION };
            data.extend(wrong.data());
            let command =
                doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data };
            set.on_running(&command).await;
        }
    }
}

#[expect(clippy::print_stdout, reason = "the seed is shown of a run that fails")]
async fn fails_over(of_each: usize) -> Option<Figures> {
    let seed = rand::random();
    let mut scene = Scene::new(USERS, "").await?;
    println!("seed {seed}");
    scene.run(of_each, &mut StdRng::seed_from_u64(seed)).await;
    Some(scene.figures)
}

#[tokio::test]
async fn a_replica_set_that_fails_over_in_the_middle_of_passes_costs_no_token_and_no_second_grant() {
    if let Some(figures) = fails_over(2).await {
        tell(&figures.to_string());
    }
}

#[tokio::test]
#[ignore = "takes a quarter of an hour: `cargo test --test it -- --ignored proof::failover --nocapture`"]
async fn fifty_of_each_failover_cost_no_token_and_no_second_grant() {
    if let Some(figures) = fails_over(50).await {
        tell(&figures.to_string());
    }
}

#[tokio::test]
async fn a_pass_that_begins_while_there_is_no_primary_waits_for_one_and_recovers_what_was_left() {
    // The driver itself waits for a moment only.
    let Some(scene) = Scene::new(6, "&serverSelectionTimeoutMS=300").await else { return };
    let Scene { mut set, rehearsal, figures } = scene;
    rehearsal
        .meddler
        .decide(|call| if matches!(call, Call::Apply(_)) { Mishap::Denied } else { Mishap::None });
    let held = rehearsal.run().await.count(Outcome::Held);
    assert!(held >= 1, "there is something to recover");
    // Of three members one is no majority.
    let killed = [set.kill_primary().await, set.kill_primary().await];
    let set = Arc::new(std::sync::Mutex::new(set));
    let (hook_set, prepares) = (set.clone(), AtomicUsize::new(0));
    rehearsal.meddler.decide(move |call| {
        if matches!(call, Call::Prepare) && prepares.fetch_add(1, Ordering::SeqCst) == 2 {
            for member in killed {
                hook_set.lock().unwrap().restart(member);
            }
        }
        Mishap::None
    });
    let summary = run_pass(&rehearsal, &PassRequest::default(), &Stop::default()).await.unwrap();
    assert_eq!((summary.exit(), summary.recovery.written), (Exit::Well, held), "{summary:?}");
    assert_eq!(summary.count(Outcome::Refreshed), 6, "{summary:?}");
    rehearsal.meddler.leave();
    let set = Arc::into_inner(set).unwrap().into_inner().unwrap();
    set.until_well().await;
    Scene { set, rehearsal, figures }.judge("after the election").await;
}

#[tokio::test]
async fn a_write_that_is_rolled_back_by_a_failover_is_written_again_from_the_journal() {
    let Some(scene) = Scene::new(3, "&socketTimeoutMS=4000").await else { return };
    let Scene { set, rehearsal, figures } = scene;
    let first = rehearsal.users[0].refresh_token.clone();
    let set = Arc::new(tokio::sync::Mutex::new(set));
    let database = rehearsal.backend.settings().database.clone().unwrap();
    let (writes, rolled_back) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (of_first, killed) = (document_id(0), Arc::new(AtomicUsize::new(usize::MAX)));
    let (hook_set, hook_killed, seen) = (set.clone(), killed.clone(), rolled_back.clone());
    rehearsal.meddler.meddle(move |call| {
        let number =
            if call.writes_pair_of(&of_first) { writes.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
        let (set, killed, seen) = (hook_set.clone(), hook_killed.clone(), seen.clone());
        let (database, first) = (database.clone(), first.clone());
        Box::pin(async move {
            let mut set = set.lock().await;
            match number {
                // Nobody copies what is written from now on.
                0 => stop_replication(&set).await,
                // It is written on the primary, which nobody has told us; it dies with it.
                2 => {
                    let primary = set.primary().await;
                    let tokens = set.client_of(primary).database(&database).collection::<Document>("tokens");
                    let id = ObjectId::from_bytes([0; 12]);
                    let there = tokens.find_one(doc! { "_id": id }).await.unwrap().unwrap();
                    seen.store(there.get_str("refresh_token").unwrap() != first, Ordering::SeqCst);
                    killed.store(set.kill_primary().await, Ordering::SeqCst);
                    let go_on = doc! { "configureFailPoint": "stopReplProducer", "mode": "off" };
                    set.on_running(&go_on).await;
                }
                _ => {}
            }
            Mishap::None
        })
    });
    let summary = run_pass(&rehearsal, &PassRequest::default(), &Stop::default()).await.unwrap();
    assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 3), "{summary:?}");
    assert!(rolled_back.load(Ordering::SeqCst), "the primary had it when it was killed");
    rehearsal.meddler.leave();
    let mut set =
        Arc::into_inner(set).map_or_else(|| panic!("the hook has gone"), tokio::sync::Mutex::into_inner);
    set.restart(killed.load(Ordering::SeqCst));
    set.until_well().await;
    Scene { set, rehearsal, figures }.judge("after the rollback").await;
}

/// Has the secondaries fetch nothing more, and waits until they don't.
async fn stop_replication(set: &ReplicaSet) {
    set.on_secondaries(&doc! { "configureFailPoint": "stopReplProducer", "mode": "alwaysOn" }).await;
    let entered = doc! { "waitForFailPoint": "stopReplProducer", "timesEntered": 1, "maxTimeMS": 20_000 };
    set.on_secondaries(&entered).await;
}

//! The line to MongoDB: a cell for each call of a pass, each stage of it and each way to break.

mod asked;

use super::{LATE, TOO_LATE, each};
use crate::proof::run_pass;
use crate::store::backend::mongo;
use crate::support::meddler::Mishap;
use crate::support::mongod;
use crate::support::proxy::{Cut, Fault, Proxy, Stage, Strike, Wire};
use crate::support::rehearsal::{Plan, Rehearsal};
use asked::{Asked, EVERY};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Longest wait for an answer, in milliseconds, where none comes; on an overloaded machine all others come in time.
const SHORT_WAIT_MS: u64 = 3000;

/// How often the line breaks: once more than the driver tries by itself.
const TIMES: u64 = 3;

/// How often it goes silent: the driver doesn't try again by itself then.
const SILENT_TIMES: u64 = 2;

/// Cells that run at once.
const CELLS_AT_ONCE: usize = 30;

const USERS: usize = 12;

const STAGES: [(&str, Stage); 5] = [
    ("nothing of the command", Stage::Request(Cut::Nothing)),
    ("half the command", Stage::Request(Cut::HalfBody)),
    ("nothing of the reply", Stage::Answer(Cut::Nothing)),
    ("half the reply", Stage::Answer(Cut::HalfBody)),
    ("the whole reply", Stage::Answer(Cut::Whole)),
];

const FAULTS: [(&str, Fault); 5] = [
    ("reset", Fault::Reset),
    ("closed", Fault::Close),
    ("black hole", Fault::BlackHole),
    ("late", Fault::Delay(LATE)),
    ("too late", Fault::Delay(TOO_LATE)),
];

/// A rehearsal whose line to MongoDB leads through the proxy.
struct Scene {
    rehearsal: Rehearsal,
    proxy: Arc<Proxy>,
}

impl Scene {
    /// `None` where there is no MongoDB.
    async fn new(test: &str, more: &str) -> Option<Self> {
        let shared = mongodb::options::ClientOptions::parse(mongod::uri()?).await.unwrap();
        let [host] = &shared.hosts[..] else {
            mongod::skip("the line to MongoDB", "EVERGRANT_TEST_MONGODB_URI names more than one host");
            return None;
        };
        let upstream: SocketAddr = host.to_string().parse().unwrap();
        let proxy = Arc::new(Proxy::start(Wire::Mongo, upstream));
        let uri = format!(
            "mongodb://{}/?directConnection=true&appName={test}&heartbeatFrequencyMS=500{more}",
            proxy.address()
        );
        let mut plan = Plan::users(USERS);
        plan.profile.concurrency = 3.try_into().unwrap();
        let mut backend = mongo(test, plan.mapping.clone()).await?;
        backend.reach_by(&uri).await;
        Some(Self { rehearsal: Rehearsal::over(backend, &plan).await, proxy })
    }

    /// Does something with the line at each of these calls, which are counted from 0.
    fn at_each(&self, asked: Asked, act: impl Fn(usize, &Proxy) + Send + Sync + 'static) {
        let (calls, unsure, proxy) = (AtomicUsize::new(0), AtomicBool::new(false), self.proxy.clone());
        self.rehearsal.meddler.decide(move |call| {
            // Only a write that may have happened makes anybody read again.
            if asked == Asked::ReadAgain && call.writes_a_pair() && !unsure.swap(true, Ordering::SeqCst) {
                return Mishap::LostAcknowledgement;
            }
            if asked.is(call) {
                act(calls.fetch_add(1, Ordering::SeqCst), &proxy);
            }
            Mishap::None
        });
    }

    /// The same, where the first of these calls meets a strike.
    fn strike_at_first(&self, asked: Asked, strike: Strike) {
        self.at_each(asked, move |number, proxy| {
            if number == 0 {
                proxy.strike(strike.clone());
            }
        });
    }

    /// Everybody has a new pair, which was asked for once, and nothing is left open.
    async fn judge(&self, name: &str) {
        let rehearsal = &self.rehearsal;
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!(
            (ledger.requests, ledger.granted, ledger.reuses),
            (USERS as u64, USERS as u64, 0),
            "{name}"
        );
        rehearsal.assert_kept(USERS).await;
        rehearsal.assert_nothing_claimed().await;
        assert!(rehearsal.entries().await.is_empty(), "{name}: nothing is left open");
    }
}

/// Runs a pass that may not be able to begin; the exit code that a process would end with.
async fn run(rehearsal: &Rehearsal, stop: &Stop) -> Exit {
    let ended = run_pass(rehearsal, &PassRequest::default(), stop).await;
    ended.map_or(Exit::Unavailable, |summary| summary.exit())
}

#[tokio::test]
async fn a_line_to_mongodb_that_breaks_at_any_call_costs_no_token_and_no_second_grant() {
    if mongod::uri().is_none() {
        return;
    }
    let cells = EVERY.into_iter().flat_map(|asked| {
        STAGES.into_iter().flat_map(move |stage| FAULTS.into_iter().map(move |fault| (asked, stage, fault)))
    });
    // Where half of a message came and the rest comes too late, nobody is there any more to tell it from a black hole.
    let cells = cells.filter(|(_, stage, fault)| {
        fault.1 != Fault::Delay(TOO_LATE) || matches!(stage.1.cut(), Some(Cut::Nothing))
    });
    let cells = cells.enumerate().map(|(number, (asked, stage, fault))| {
        let name = format!("{asked:?}: {}, {}", stage.0, fault.0);
        (name.clone(), cell(name, number, asked, stage.1, fault.1))
    });
    each(CELLS_AT_ONCE, cells).await;
}

async fn cell(name: String, number: usize, asked: Asked, stage: Stage, fault: Fault) {
    let (times, more) = if matches!(fault, Fault::BlackHole | Fault::Delay(TOO_LATE)) {
        (SILENT_TIMES, format!("&socketTimeoutMS={SHORT_WAIT_MS}"))
    } else {
        (TIMES, String::new())
    };
    let Some(scene) = Scene::new(&format!("line_{number}"), &more).await else { return };
    let rehearsal = &scene.rehearsal;
    scene.strike_at_first(asked, Strike { stage, fault, needle: Some(asked.command()), times });
    // A line that is too slow for a short wait may be so at the beginning, too.
    let may_not_begin = !more.is_empty();
    let mut exit = run(rehearsal, &Stop::default()).await;
    for _ in 0..10 {
        if !may_not_begin || exit != Exit::Unavailable || rehearsal.sandbox.ledger().requests > 0 {
            break;
        }
        if asked == Asked::Prepare {
            scene.proxy.heal();
        }
        exit = run(rehearsal, &Stop::default()).await;
    }
    assert_eq!(exit, Exit::Well, "{name}: it waits, and goes on; or it didn't begin, and redeemed nothing");
    assert!(scene.proxy.struck() >= 1, "{name}");
    scene.judge(&name).await;
}

/// MongoDB goes: nobody listens, and the connections that stood are reset.
fn goes_away(proxy: &Proxy) {
    proxy.gone();
    proxy.reset_all();
}

/// Checks something with each call, all at once.
async fn each_call(check: impl AsyncFn(usize, Asked)) {
    let check = &check;
    let running = EVERY.into_iter().enumerate().map(|(number, asked)| check(number, asked));
    futures::future::join_all(running).await;
}

#[tokio::test]
async fn a_mongodb_that_goes_away_and_comes_back_is_waited_for() {
    each_call(async |number, asked| {
        let Some(scene) = Scene::new(&format!("away_{number}"), "&serverSelectionTimeoutMS=2000").await
        else {
            return;
        };
        let rehearsal = &scene.rehearsal;
        scene.at_each(asked, |number, proxy| match number {
            0 => goes_away(proxy),
            2 => proxy.back(),
            _ => {}
        });
        assert_eq!(run(rehearsal, &Stop::default()).await, Exit::Well, "{asked:?}");
        scene.judge(&format!("{asked:?}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_mongodb_that_stays_away_ends_a_stopped_pass_and_the_next_one_has_everybody() {
    each_call(async |number, asked| {
        let Some(scene) = Scene::new(&format!("stays_away_{number}"), "&serverSelectionTimeoutMS=2000").await
        else {
            return;
        };
        let (rehearsal, stop) = (&scene.rehearsal, Stop::default());
        let told = stop.clone();
        scene.at_each(asked, move |number, proxy| match number {
            0 => goes_away(proxy),
            2 => {
                told.take_no_more.cancel();
                told.give_up.cancel();
            }
            _ => {}
        });
        let exit = run(rehearsal, &stop).await;
        assert!(matches!(exit, Exit::Unavailable | Exit::StillDue), "{asked:?}: {exit:?}");
        rehearsal.meddler.leave();
        scene.proxy.heal();
        assert_eq!(run(rehearsal, &Stop::default()).await, Exit::Well, "{asked:?}");
        scene.judge(&format!("{asked:?}")).await;
    })
    .await;
}

#[tokio::test]
async fn connections_that_went_silent_do_not_use_up_the_pool() {
    let Some(scene) = Scene::new("silent_pool", "&maxPoolSize=2&socketTimeoutMS=2000").await else { return };
    let (stage, needle) = (Stage::Answer(Cut::Nothing), Some(Asked::WriteBack.command()));
    scene.strike_at_first(Asked::WriteBack, Strike { stage, fault: Fault::BlackHole, needle, times: 4 });
    let exit = run(&scene.rehearsal, &Stop::default()).await;
    assert_eq!((exit, scene.proxy.struck()), (Exit::Well, 4), "it waits, and goes on");
    scene.judge("silent pool").await;
}

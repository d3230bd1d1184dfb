//! The daemon's wakes on a paused clock: which passes begin, and how often the store is asked for what is due.

use super::collection::Collection;
use super::ledger::{Ledger, Rotation, Rules};
use super::life::Life;
use super::machine;
use super::peer::Peer;
use super::world::{Inner, World, name_of};
use crate::support::meddler::{Call, Meddler, Mishap};
use chrono::TimeDelta;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::daemon::Daemon;
use evergrant::testing::engine::Engine;
use evergrant::testing::journal::Journal;
use evergrant::testing::pass::{PassSettings, Stop};
use evergrant::testing::provider::Profile;
use evergrant::testing::provider::keep::Keep;
use evergrant::testing::schedule::{ASSUMED_LIFE, Schedule, Wakes};
use evergrant::testing::token::{Bookkeeping, State};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A refresh token's life.
const LIFE: Duration = Duration::from_hours(14 * 24);

/// How late a document may be refreshed that falls due: a look each minute, a look at the clock, and the pass.
const LATE: TimeDelta = TimeDelta::seconds(90);

/// What the store was asked.
#[derive(Debug, Default)]
struct Asked {
    /// Passes that have begun.
    passes: AtomicUsize,
    /// Looks for what is due.
    looks: AtomicUsize,
    all: AtomicUsize,
}

/// A daemon in a calm world.
struct Scene {
    world: Arc<World>,
    engine: Engine,
    journal: Journal,
    asked: Arc<Asked>,
    /// Does the store answer?
    is_away: Arc<AtomicBool>,
    stop: Stop,
    daemon: Mutex<Option<JoinHandle<()>>>,
}

fn settle(world: &mut Inner, peers: usize) {
    world.calm = true;
    world.documents.clear();
    let rules = Rules { rotation: Rotation::Strict, revokes_family: false };
    let drawn = Peer::of(&mut world.random);
    let peer = Peer { rules, rate: None, concurrency: 8, takes: Duration::ZERO, ..drawn };
    world.weather.peers = vec![peer; peers];
    world.storms = vec![None; peers];
    world.ledger = Ledger::new(vec![rules; peers]);
}

impl Scene {
    fn new(peers: usize, change: impl Fn(&mut PassSettings, &mut Profile)) -> Self {
        let world = World::new(0, None, false);
        world.with(|world| settle(world, peers));
        Self::process(world, change)
    }

    /// A new process on the one machine.
    fn process(world: Arc<World>, change: impl Fn(&mut PassSettings, &mut Profile)) -> Self {
        let life = Life::start(&world, 0);
        let (asked, is_away) = (Arc::new(Asked::default()), Arc::new(AtomicBool::default()));
        let meddler = Meddler::new(Arc::new(Collection(life.clone())));
        let (counts, away) = (asked.clone(), is_away.clone());
        meddler.decide(move |call| {
            counts.all.fetch_add(1, Ordering::Relaxed);
            match call {
                Call::Prepare => drop(counts.passes.fetch_add(1, Ordering::Relaxed)),
                Call::Waiting => drop(counts.looks.fetch_add(1, Ordering::Relaxed)),
                _ => {}
            }
            if away.load(Ordering::Relaxed) { Mishap::Away } else { Mishap::None }
        });
        let (engine, journal) = machine::start_as(&life, meddler, |settings, profile| {
            profile.refresh_token_lifetime = Some(LIFE);
            change(settings, profile);
        });
        let (stop, daemon) = (Stop::default(), Mutex::default());
        Self { world, engine, journal, asked, is_away, stop, daemon }
    }

    fn now(&self) -> Timestamp {
        self.engine.base.clock.now()
    }

    /// A user whose document falls due in this number of minutes.
    fn add(&self, user: usize, provider: usize, due_in: i64) {
        let due_at = Some(self.now() + TimeDelta::minutes(due_in));
        self.world.with(|world| {
            world.add_user(user, provider);
            world.documents.get_mut(&user).unwrap().bookkeeping =
                Bookkeeping { due_at, ..Bookkeeping::default() };
        });
    }

    fn books(&self, user: usize) -> Bookkeeping {
        self.world.with(|world| world.documents[&user].bookkeeping.clone())
    }

    /// Starts the daemon.
    fn start(&self, schedule: &str) {
        let daemon = Daemon {
            engine: self.engine.clone(),
            schedule: Schedule::parse(schedule, "UTC", self.now()).unwrap(),
            first_backoff: Duration::from_mins(15),
            longest_backoff: Duration::from_hours(24),
        };
        let stop = self.stop.clone();
        *self.daemon.lock().unwrap() = Some(tokio::spawn(async move {
            daemon.run(&stop).await.unwrap();
        }));
    }

    fn passes(&self) -> usize {
        self.asked.passes.load(Ordering::Relaxed)
    }

    fn looks(&self) -> usize {
        self.asked.looks.load(Ordering::Relaxed)
    }

    /// Ends the process; its machine stays.
    async fn end(self) -> Arc<World> {
        self.stop.take_no_more.cancel();
        let daemon = self.daemon.lock().unwrap().take().unwrap();
        daemon.await.unwrap();
        drop(self.engine);
        self.journal.close().await;
        assert_eq!(self.world.with(|world| world.violation.clone()), None);
        self.world
    }
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn of_a_thousand_providers_only_those_with_something_due_get_a_pass() {
    let scene = Scene::new(1000, |_, _| {});
    for provider in 0..1000 {
        scene.add(provider, provider, if provider % 400 == 7 { -1 } else { 1440 });
    }
    scene.start("every 1min");
    sleep(MINUTE * 3 / 2).await;
    let refreshed: BTreeSet<usize> =
        (0..1000).filter(|user| scene.books(*user).refreshed_at.is_some()).collect();
    assert_eq!(refreshed, [7, 407, 807].into());
    assert_eq!((scene.passes(), scene.looks()), (3, 1));
    let all = scene.asked.all.load(Ordering::Relaxed);
    assert!(all <= 50, "{all} calls of the store");
    // Nothing is due any more: nothing begins, and each wake is one question.
    sleep(MINUTE * 30).await;
    assert_eq!((scene.passes(), scene.looks()), (3, 31));
    let all = scene.asked.all.load(Ordering::Relaxed);
    assert!(all <= 50 + 30, "{all} calls of the store");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn documents_of_providers_that_are_not_configured_are_still_named() {
    let scene = Scene::new(2, |_, _| {});
    scene.add(0, 0, 1440);
    scene.add(1, 1, -1);
    scene.world.with(|world| world.documents.get_mut(&1).unwrap().provider = Some(name_of(7)));
    scene.start("every 1min");
    sleep(MINUTE * 2).await;
    assert_eq!((scene.books(1).state, scene.passes()), (State::Malformed, 1));
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_continuous_schedule_begins_a_pass_when_a_document_falls_due_and_no_other() {
    let scene = Scene::new(2, |_, _| {});
    let due = [0, 7, 30, 31, 200];
    for (user, due) in due.into_iter().enumerate() {
        scene.add(user, user % 2, due);
    }
    let falls_due: Vec<_> = (0..due.len()).map(|user| scene.books(user).due_at.unwrap()).collect();
    scene.start("continuous");
    sleep(MINUTE * 60 * 6).await;
    for (user, due_at) in falls_due.into_iter().enumerate() {
        let late = scene.books(user).refreshed_at.expect("it was refreshed") - due_at;
        assert!((TimeDelta::zero()..LATE).contains(&late), "document {user}: {late}");
    }
    assert_eq!(scene.passes(), due.len());
    assert!((300..=361).contains(&scene.looks()), "{} looks in six hours", scene.looks());
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_continuous_schedule_outlives_an_empty_collection_and_a_store_that_is_away() {
    let scene = Scene::new(1, |_, _| {});
    scene.start("continuous");
    sleep(MINUTE * 60).await;
    assert_eq!(scene.passes(), 0);
    assert!((50..=61).contains(&scene.looks()), "{} looks in an hour", scene.looks());
    scene.is_away.store(true, Ordering::Relaxed);
    scene.add(0, 0, 1);
    let before = scene.looks();
    sleep(MINUTE * 60).await;
    assert_eq!((scene.passes(), scene.books(0).refreshed_at), (0, None));
    assert!((20..=61).contains(&(scene.looks() - before)), "{} looks in an hour", scene.looks() - before);
    scene.is_away.store(false, Ordering::Relaxed);
    let back = scene.now();
    sleep(MINUTE * 5).await;
    let late = scene.books(0).refreshed_at.expect("it was refreshed") - back;
    assert!(late < LATE, "{late}");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_marked_is_looked_at_for_a_new_login_now_and_then() {
    for schedule in ["continuous", "every 1min"] {
        let scene = Scene::new(1, |_, _| {});
        scene.add(0, 0, 0);
        scene.start(schedule);
        sleep(MINUTE * 2).await;
        let token = |world: &mut Inner| world.documents[&0].refresh;
        // The provider ends the login, and a pass marks it.
        scene.world.with(|world| {
            let token = token(world);
            world.ledger.revoke(token);
            world.documents.get_mut(&0).unwrap().bookkeeping.due_at = None;
        });
        sleep(MINUTE * 60).await;
        assert_eq!(scene.books(0).state, State::NeedsLogin, "{schedule}");
        let before = scene.passes();
        sleep(MINUTE * 60 * 4).await;
        let passes = scene.passes() - before;
        assert!((12..=17).contains(&passes), "{schedule}: {passes} passes in four hours");
        scene.world.with(|world| {
            let login = world.ledger.login(0, 0);
            world.ledger.tokens[login].written = true;
            let document = world.documents.get_mut(&0).unwrap();
            (document.refresh, document.access) = (login, login);
        });
        let logged_in = scene.now();
        sleep(MINUTE * 20).await;
        let books = scene.books(0);
        assert_eq!(books.state, State::Live, "{schedule}");
        assert!(books.refreshed_at.is_some_and(|at| at >= logged_in), "{schedule}: {books:?}");
        scene.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_unknown_life_is_refreshed_once_a_day_where_passes_go_by_what_is_due() {
    let scene = Scene::new(1, |settings, profile| {
        profile.refresh_token_lifetime = None;
        settings.assumed_life = Some(ASSUMED_LIFE);
    });
    scene.add(0, 0, 0);
    scene.start("continuous");
    sleep(MINUTE * 60 * 20).await;
    assert_eq!(scene.passes(), 1);
    sleep(MINUTE * 60 * 6).await;
    assert_eq!(scene.passes(), 2, "in 26 hours");
    scene.end().await;
}

/// Less than a weekly schedule needs.
fn two_days(_: &mut PassSettings, profile: &mut Profile) {
    profile.refresh_token_lifetime = Some(Duration::from_hours(48));
}

#[tokio::test(start_paused = true)]
async fn where_a_life_is_too_short_for_the_schedule_passes_go_by_what_is_due_also_after_a_restart() {
    const HOUR: Duration = Duration::from_hours(1);
    let weekly = "0 4 * * SAT";
    let scene = Scene::new(2, two_days);
    let users = 0..4;
    for user in users.clone() {
        scene.add(user, 0, 0);
    }
    // Another provider, of which nothing is known to be too short.
    scene.add(9, 1, 60 * 24);
    scene.start(weekly);
    sleep(MINUTE * 50).await;
    assert_eq!(scene.passes(), 0, "nothing is known of its lives yet");
    sleep(MINUTE * 20).await;
    assert_eq!(scene.passes(), 1, "the wake on Saturday");
    let is_alive = |scene: &Scene| {
        let now = scene.now();
        users.clone().all(|user| scene.books(user).refresh_expires_at.is_some_and(|end| end > now))
    };
    sleep(HOUR * 24 * 2).await;
    assert!(is_alive(&scene));
    let passes = scene.passes();
    // Each token lives two days, and is due after two thirds of one: what falls due within four hours is taken together.
    assert!((3..=13).contains(&passes), "{passes} passes in two days");
    assert_eq!(scene.books(9).refreshed_at, None, "it waits for Saturday");
    let world = scene.end().await;
    let scene = Scene::process(world, two_days);
    scene.start(weekly);
    sleep(HOUR * 40).await;
    assert!(is_alive(&scene), "after the restart, before the next Saturday");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_access_token_that_is_kept_good_and_too_short_for_the_schedule_is_replaced_in_time() {
    let scene = Scene::new(1, |settings, profile| {
        let (now, unknown) = ("2026-11-21T03:00:00Z".parse().unwrap(), None);
        settings.wakes = Some(Arc::new(Wakes::new(Schedule::parse("every 3h", "UTC", now).unwrap(), now)));
        // By the settings six hours; the answers say one.
        (profile.keep, profile.access_token_lifetime) = (Keep::Access, Some(Duration::from_hours(6)));
        profile.refresh_token_lifetime = unknown;
    });
    scene.add(0, 0, 0);
    scene.start("every 3h");
    sleep(MINUTE * 60 * 4).await;
    let before = scene.passes();
    for quarter in 0..48 {
        sleep(MINUTE * 15).await;
        let ends_at = scene.books(0).access_expires_at.unwrap();
        assert!(ends_at > scene.now(), "quarter {quarter}: it ended at {ends_at}");
    }
    let passes = scene.passes() - before;
    assert!((16..=30).contains(&passes), "{passes} passes in 12 hours for a token that lives one");
    scene.end().await;
}

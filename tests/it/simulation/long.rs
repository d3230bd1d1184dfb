//! A pass that goes on for hours, on a paused clock: what it has put off is asked again when its wait is over.

use super::bugs::Bug;
use super::ledger::{Ledger, Rotation, Rules};
use super::life::Life;
use super::machine;
use super::peer::Peer;
use super::weather::Weather;
use super::world::{Inner, Script, World};
use chrono::TimeDelta;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, Reports};
use evergrant::testing::token::{Bookkeeping, LastError};
use rand::{SeedableRng as _, rngs::StdRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Documents that are due when the pass begins; at the provider's rate it takes 14 hours.
const DUE: usize = 10_000;

const RATE: &str = "12/min";

/// First wait after a failure.
const FIRST_BACKOFF: Duration = Duration::from_mins(15);

/// A token that was put off is sent so soon after it is due: the time of a look, and of a page and a half.
const IN_TIME: Duration = Duration::from_secs(30);

/// Answers with a code that the profile doesn't list.
const PUT_OFF_ONCE: usize = 3;
const PUT_OFF_TWICE: usize = 5;

/// It is throttled, alone.
const RESTS: usize = 7;
const REST: Duration = Duration::from_mins(20);

/// Its login is over.
const REVOKED: usize = 9;

/// An earlier pass put it off; it is due after the begin of this one.
const PUT_OFF_BEFORE: usize = DUE;

/// It falls due while the pass runs, because its token has grown old.
const GROWS_OLD: usize = DUE + 1;

/// A new login, in a document without bookkeeping.
const NEW: usize = DUE + 2;

const STRANGE: Script = Script { status: 400, retry_after: None, body: r#"{"error":"strange"}"# };

/// A world with one provider that does what it is told, and a pass over it.
struct Long {
    world: Arc<World>,
    life: Life,
    began: Instant,
    began_at: Timestamp,
}

fn peer(world: &mut Inner, rules: Rules) -> Peer {
    Peer { rules, rate: Some(RATE), concurrency: 4, takes: Duration::ZERO, ..Peer::of(&mut world.random) }
}

fn settle(world: &mut Inner, due: usize, now: Timestamp) {
    world.calm = true;
    world.weather.first_backoff = FIRST_BACKOFF;
    world.documents.clear();
    let rules = Rules { rotation: Rotation::Strict, revokes_family: false };
    world.weather.peers = vec![peer(world, rules)];
    world.storms = vec![None];
    world.ledger = Ledger::new(vec![rules]);
    for user in 0..due {
        let ago = TimeDelta::seconds(i64::try_from(due - user).unwrap());
        add(world, user, Bookkeeping { due_at: Some(now - ago), ..Bookkeeping::default() });
    }
}

fn add(world: &mut Inner, user: usize, bookkeeping: Bookkeeping) {
    world.add_user(user, 0);
    world.documents.get_mut(&user).unwrap().bookkeeping = bookkeeping;
}

fn failed(at: Timestamp) -> LastError {
    LastError { class: "unlisted".into(), code: "strange".into(), http_status: Some(400), at, lost: None }
}

impl Long {
    fn new(due: usize, bug: Option<Bug>) -> Self {
        let world = World::new(0, bug, false);
        let began_at = world.with(|world| world.machines[0].clock.now());
        world.with(|world| settle(world, due, began_at));
        Self { life: Life::start(&world, 0), world, began: Instant::now(), began_at }
    }

    fn script(&self, user: usize, answers: &[Script]) {
        self.world.with(|world| world.scripts.insert(user, answers.iter().copied().collect()));
    }

    /// When the document of this user is due, as the time since the begin of the pass.
    fn due(&self, user: usize) -> Duration {
        let due_at = self.world.with(|world| world.documents[&user].bookkeeping.due_at).unwrap();
        (due_at - self.began_at).to_std().unwrap()
    }

    /// When this user's token was sent.
    fn asked(&self, user: usize) -> Vec<Duration> {
        let asked = self.world.with(|world| world.asked.get(&user).cloned().unwrap_or_default());
        asked.into_iter().map(|at| at - self.began).collect()
    }

    /// Runs a pass for so long, with what happens at some moments of it.
    async fn pass(&self, mut at: BTreeMap<Duration, Box<dyn FnMut() + '_>>, until: Duration) -> Summary {
        let (engine, journal) = machine::start(&self.life);
        let stop = Stop::default();
        let pass = {
            let (engine, stop) = (engine.clone(), stop.clone());
            let request = PassRequest::default();
            tokio::spawn(async move { engine.run(&request, &stop, Arc::new(Reports::new())).await })
        };
        for (moment, happens) in &mut at {
            sleep_until(self.began + *moment).await;
            happens();
        }
        sleep_until(self.began + until).await;
        stop.take_no_more.cancel();
        let summary = pass.await.unwrap().unwrap();
        drop(engine);
        journal.close().await;
        assert_eq!(self.world.with(|world| world.violation.clone()), None);
        summary
    }
}

/// Was it sent then, and not later than it should be?
#[track_caller]
fn assert_in_time(asked: Duration, due: Duration) {
    assert!(asked >= due && asked <= due + IN_TIME, "due at {due:?}, asked at {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_put_off_is_asked_again_when_it_is_due_while_a_pass_of_hours_goes_on() {
    let long = Long::new(DUE, None);
    long.script(PUT_OFF_ONCE, &[STRANGE]);
    long.script(PUT_OFF_TWICE, &[STRANGE; 2]);
    long.script(RESTS, &[Script { status: 429, retry_after: Some("1200"), body: "{}" }]);
    let soon = Some(long.began_at + TimeDelta::minutes(5));
    long.world.with(|world| {
        let revoked = world.documents[&REVOKED].refresh;
        world.ledger.revoke(revoked);
        let error = Some(failed(long.began_at - TimeDelta::minutes(10)));
        let put_off = Bookkeeping { due_at: soon, failures: 1, last_error: error, ..Bookkeeping::default() };
        add(world, PUT_OFF_BEFORE, put_off);
        add(world, GROWS_OLD, Bookkeeping { due_at: soon, ..Bookkeeping::default() });
    });
    let due = std::sync::Mutex::new(Vec::new());
    let note_due = || {
        let users = [PUT_OFF_ONCE, PUT_OFF_TWICE, RESTS].map(|user| long.due(user));
        due.lock().unwrap().push(users);
    };
    let log_in = || long.world.with(|world| add(world, NEW, Bookkeeping::default()));
    let happens: BTreeMap<Duration, Box<dyn FnMut() + '_>> =
        [(2, Box::new(note_due) as Box<dyn FnMut() + '_>), (10, Box::new(log_in)), (18, Box::new(note_due))]
            .map(|(minute, happens)| (Duration::from_mins(minute), happens))
            .into();
    let summary = long.pass(happens, Duration::from_mins(65)).await;

    let due = due.lock().unwrap().clone();
    let [first, second] = due[..] else { panic!("{due:?}") };
    for (number, user) in [PUT_OFF_ONCE, PUT_OFF_TWICE, RESTS].into_iter().enumerate() {
        assert_in_time(long.asked(user)[1], first[number]);
    }
    assert!(first[0] > FIRST_BACKOFF / 2 && first[2] >= REST, "{first:?}");
    assert_in_time(long.asked(PUT_OFF_TWICE)[2], second[1]);
    assert_eq!([PUT_OFF_ONCE, PUT_OFF_TWICE, RESTS].map(|user| long.asked(user).len()), [2, 3, 2]);
    assert_in_time(long.asked(PUT_OFF_BEFORE)[0], Duration::from_mins(5));
    assert!(long.asked(GROWS_OLD).is_empty(), "what has been due for longer comes first");
    assert_in_time(long.asked(NEW)[0], machine::LONGEST_BACKOFF);

    let (granted, requests) = long.world.with(|world| {
        (world.ledger.grants, world.asked.values().map(|asked| asked.len() as u64).sum::<u64>())
    });
    assert!(granted > 700, "the pass goes on beside: {granted}");
    assert!(summary.adds_up(), "{summary:?}");
    assert_eq!((summary.count(Outcome::Refreshed), summary.grants), (granted, requests), "{summary:?}");
    assert_eq!(summary.count(Outcome::NeedsLogin), 1, "{summary:?}");
    assert_eq!(summary.put_off_count, 0, "{summary:?}");
    let most = long.world.with(|world| world.asked.len() as u64);
    assert_eq!(summary.taken, most, "each document once: {summary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_overlooks_what_falls_due_is_found() {
    for (bug, asked) in [(None, 2), (Some(Bug::OverlooksWhatFallsDue), 1)] {
        let long = Long::new(2_000, bug);
        long.script(PUT_OFF_ONCE, &[STRANGE]);
        let summary = long.pass(BTreeMap::new(), FIRST_BACKOFF + IN_TIME).await;
        assert_eq!(long.asked(PUT_OFF_ONCE).len(), asked, "{bug:?}");
        assert_eq!(summary.put_off_count, 2 - asked as u64, "{summary:?}");
    }
}

/// Passes of minutes over a provider where everything goes wrong now and then: the judges of the simulation see each request
/// and each write.
#[tokio::test(start_paused = true)]
async fn what_is_asked_again_in_bad_weather_breaks_no_invariant_and_is_counted_once() {
    let (mut again, mut seeds) = (0, 0);
    for seed in 0..60 {
        let world = World::new(seed, None, false);
        world.with(|world| {
            let weather = Weather::of(&mut StdRng::seed_from_u64(seed));
            let rules = weather.peers[0].rules;
            world.documents.clear();
            // No process is killed or stopped, and the disk is well: a pass ends by itself.
            world.weather = Weather {
                machines: 1,
                kill: 0.0,
                pause: 0.0,
                power: 0.0,
                disk: 0.0,
                duplicate: false,
                ..weather
            };
            world.weather.peers =
                vec![Peer { rate: Some("60/min"), storm: 0.0, ..world.weather.peers[0].clone() }];
            world.storms = vec![None];
            world.ledger = Ledger::new(vec![rules]);
            (0..120).for_each(|user| world.add_user(user, 0));
        });
        let life = Life::start(&world, 0);
        let (engine, journal) = machine::start(&life);
        let summary = engine.run(&PassRequest::default(), &Stop::default(), Arc::new(Reports::new())).await;
        drop(engine);
        journal.close().await;
        world.with(|world| assert_eq!(world.violation, None, "seed {seed}"));
        let Ok(summary) = summary else { continue };
        assert!(summary.adds_up(), "seed {seed}: {summary:?}");
        assert!(summary.touched <= 120, "seed {seed}: each document once: {summary:?}");
        seeds += 1;
        let spread = |asked: &Vec<Instant>| asked.last().map(|last| *last - asked[0]).unwrap_or_default();
        let long_after = |asked: &&Vec<Instant>| spread(asked) > Duration::from_secs(25);
        again += world.with(|world| world.asked.values().filter(long_after).count());
    }
    assert!(seeds > 30 && again > 100, "{again} documents in {seeds} passes");
}

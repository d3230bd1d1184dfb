//! The built binary, killed with SIGKILL at random times and at every named point, and started again.
//!
//! `cargo test --test it -- --ignored proof::sigkill --nocapture` is the proof; `EVERGRANT_TEST_KILLS` and
//! `EVERGRANT_TEST_KILLS_AT_EACH_POINT` change how often it kills, `EVERGRANT_TEST_SEED` which kills these are.

use super::{knob, tell};
use crate::support::process::{Kind, Scene};
use evergrant::clock::{Clock, Timestamp};
use evergrant::journal::{Entry, EntryState, Intent, Journal};
use evergrant::kill_point::Point;
use evergrant::sandbox::SandboxConfig;
use evergrant::store::{Change, PairChange};
use evergrant::token::{AccessToken, Fingerprint, RefreshToken, State, TokenDocument};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::{HashMap, HashSet};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

/// Kills at random times in each world of every test run.
const RANDOM_KILLS: u64 = 10;

/// Users, few enough for a short pass and many enough for a full pool.
const USERS: usize = 60;

/// How often a kill is tried for which the process turned out to be too fast.
const TRIES: usize = 20;

/// With a grace period nothing may be lost at all: it is longer than any restart takes.
const GRACE: Duration = Duration::from_mins(2);

const ONCE: [&str; 4] = ["run", "--once", "--format", "json"];

/// A way to die.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// At some time between the start and the end of a pass.
    Random,
    /// Between two steps.
    At(Point),
}

/// What was done in a world, for the line of figures.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    points: HashSet<Point>,
    passes: u64,
    grants: u64,
    received: u64,
    received_and_lost: u64,
    replayed: u64,
    cut_off: u64,
    lost_in_flight: u64,
}

/// A store, a provider, and somebody who pulls the plug.
struct World {
    name: String,
    scene: Scene,
    grace: bool,
    random: StdRng,
    /// How long a pass takes from start to end, as the last ones did.
    pass_takes: Duration,
    /// Every token that was cut off by a kill before its answer was in the journal: only these may be sent again.
    cut_off: HashSet<Fingerprint>,
    tally: Tally,
}

/// What stands after a kill and must be so after the next pass.
struct Wreck {
    /// Whose grants were cut off before their answer was in the journal.
    cut_off: HashSet<String>,
    /// Tokens whose successes the journal held, and how often each had been presented by then.
    spent: HashMap<String, usize>,
}

impl World {
    async fn new(kind: Kind, grace: bool, seed: u64) -> Option<Self> {
        let config = SandboxConfig {
            users: USERS,
            seed,
            grace: if grace { GRACE } else { Duration::ZERO },
            latency: Duration::from_millis(2),
            latency_jitter: Duration::from_millis(10),
            ..SandboxConfig::default()
        };
        let name = format!("{kind:?} {}", if grace { "grace" } else { "strict" });
        let mut scene = Scene::new(if grace { "kill_grace" } else { "kill_strict" }, kind, config).await?;
        // Every pass finds every document due.
        scene.set("refresh_token_lifetime", "unknown");
        scene.set("concurrency", "8");
        if grace {
            scene.set("rotation", "grace");
            scene.set("grace", "2min");
        }
        Some(Self {
            name,
            scene,
            grace,
            random: StdRng::seed_from_u64(seed ^ ((kind as u64) << 1) ^ u64::from(grace)),
            pass_takes: Duration::from_millis(300),
            cut_off: HashSet::new(),
            tally: Tally::default(),
        })
    }

    /// One round: a process that is killed, sometimes a second one too, and one that ends by itself.
    async fn round(&mut self, death: Death) {
        let began = Clock::system().now();
        let mut wreck = Wreck { cut_off: HashSet::new(), spent: HashMap::new() };
        if let Death::At(point) = death
            && is_of_recovery(point)
        {
            let first = [Point::AnswerCommitted, Point::BeforeApply, Point::Applied, Point::EndWritten];
            let first = first[self.random.random_range(0..first.len())];
            self.kill(Death::At(first), &mut wreck).await;
            self.kill(death, &mut wreck).await;
        } else {
            self.kill(death, &mut wreck).await;
            // Who is killed while recovering recovers once more.
            if matches!(death, Death::At(_)) && self.random.random_bool(0.2) {
                self.kill(Death::Random, &mut wreck).await;
            }
        }
        let started = Instant::now();
        let ended = self.scene.run(&ONCE).await;
        self.pass_takes = started.elapsed();
        self.tally.passes += 1;
        assert!(matches!(ended.code, Some(0 | 3)), "{} {death:?}: {ended:?}", self.name);
        self.judge(death, began, wreck).await;
    }

    /// Starts a process, kills it, and looks at what is left.
    async fn kill(&mut self, death: Death, wreck: &mut Wreck) {
        let mut times = match death {
            Death::At(point) => self.random.random_range(1..=reached_at_most(point)),
            Death::Random => 0,
        };
        for _ in 0..TRIES {
            let killed = match death {
                Death::At(point) => self.killed_at(point, times).await,
                Death::Random => self.killed_at_random().await,
            };
            self.tally.passes += 1;
            if killed {
                self.tally.kills += 1;
                self.tally.points.extend(if let Death::At(point) = death { Some(point) } else { None });
                self.look_at(wreck).await;
                return;
            }
            // It ended before it got there so often: sooner, then.
            times = 1;
        }
        panic!("{}: {death:?} never came, in {TRIES} passes", self.name);
    }

    async fn killed_at(&self, point: Point, times: u64) -> bool {
        let mut command = self.scene.command(&ONCE);
        command.env("EVERGRANT_TEST_KILL_AT", format!("{}:{times}", point.name()));
        let mut child = command.spawn().unwrap();
        let ended = child.wait().await.unwrap();
        assert!(ended.signal().is_some() || matches!(ended.code(), Some(0 | 3)), "{point:?}: {ended}");
        ended.signal() == Some(Signal::SIGKILL as i32)
    }

    /// At a moment of the whole run, or of its busy part: after so many redemptions.
    async fn killed_at_random(&mut self) -> bool {
        let before = self.scene.sandbox.ledger().granted;
        let by_time = self.random.random_bool(0.5);
        let wait = self.pass_takes.mul_f64(self.random.random_range(0.0..1.0));
        let after = before + self.random.random_range(0..USERS as u64);
        let mut child = self.scene.start(&ONCE);
        if by_time {
            tokio::time::sleep(wait).await;
        } else {
            self.scene.until(&mut child, |sandbox| sandbox.ledger().granted >= after).await;
        }
        if let Some(id) = child.id() {
            // An error says that it has just ended by itself, and then the wait below tells.
            let _ = kill(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGKILL);
        }
        child.wait().await.unwrap().signal() == Some(Signal::SIGKILL as i32)
    }

    /// What the killed process had received is what its journal holds; what it had sent is there as an intent.
    async fn look_at(&mut self, wreck: &mut Wreck) {
        self.quiet().await;
        for entry in Journal::peek(&self.scene.state_folder()).unwrap() {
            match entry.state {
                // A refusal says again what it said, whoever asks; only a success is never asked for again.
                EntryState::Answer if !is_success(&entry) => {}
                EntryState::Answer => {
                    let token = self.token_of(&entry.intent);
                    let record = self.scene.sandbox.token_history(&token).unwrap();
                    wreck.spent.insert(token, record.presentations.len());
                }
                EntryState::Intent | EntryState::Unsettled => {
                    wreck.cut_off.insert(entry.intent.subject.as_str().to_owned());
                    if self.cut_off.insert(entry.intent.fingerprint) {
                        self.tally.cut_off += 1;
                    }
                }
                EntryState::Unread | EntryState::Orphan => panic!("{}: {entry:?}", self.name),
            }
        }
    }

    /// The refresh token that the journal knows by its fingerprint: one of the last that its user was handed.
    fn token_of(&self, intent: &Intent) -> String {
        let user = self.scene.sandbox.user(intent.subject.as_str()).unwrap();
        let mut token = Some(user.current_refresh_token);
        while let Some(candidate) = token {
            if RefreshToken::new(candidate.clone()).fingerprint() == intent.fingerprint {
                return candidate;
            }
            token = self.scene.sandbox.token_history(&candidate).and_then(|record| record.predecessor);
        }
        panic!("{}: nobody handed out {intent:?}", self.name)
    }

    /// Waits until the provider has done with what a dead client had sent.
    async fn quiet(&self) {
        while self.scene.sandbox.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn judge(&mut self, death: Death, began: Timestamp, wreck: Wreck) {
        let round = format!("{} {death:?} (kill {})", self.name, self.tally.kills);
        for (token, presented) in &wreck.spent {
            let now = self.scene.sandbox.token_history(token).unwrap().presentations.len();
            assert_eq!(
                now, *presented,
                "{round}: a token was sent again after its answer was in the journal"
            );
        }
        let replays = self.scene.sandbox.replays().into_iter();
        let replayed: Vec<_> =
            replays.filter(|replay| !self.may_be_sent_again(&replay.refresh_token)).collect();
        self.tally.replayed += replayed.len() as u64;
        assert!(replayed.is_empty(), "{round}: replayed: {replayed:?}");

        let open = Journal::peek(&self.scene.state_folder()).unwrap();
        assert!(open.is_empty(), "{round}: still open: {open:?}");
        let documents = self.scene.documents().await;
        assert_eq!(documents.len(), USERS, "{round}");
        let audit = self.scene.audit().await;
        let lost: HashSet<_> = audit.lost.iter().map(|lost| format!("{}@example.com", lost.user)).collect();
        self.tally.received_and_lost += lost.difference(&wreck.cut_off).count() as u64;
        assert!(lost.is_subset(&wreck.cut_off), "{round}: received and lost: {:?}", audit.lost);
        assert!(!self.grace || lost.is_empty(), "{round}: lost within the grace: {:?}", audit.lost);
        assert_eq!(
            (audit.held_crossed, audit.unknown, audit.kept),
            (0, 0, (USERS - lost.len()) as u64),
            "{round}"
        );
        for document in &documents {
            let subject = document.subject.as_str();
            let bookkeeping = &document.bookkeeping;
            let expected = if lost.contains(subject) { State::LostInFlight } else { State::Live };
            assert_eq!(bookkeeping.state, expected, "{round}: {subject} {bookkeeping:?}");
            assert_eq!(bookkeeping.lease, None, "{round}: {subject} is still claimed");
            let refreshed = bookkeeping.refreshed_at >= Some(began);
            assert!(refreshed || expected == State::LostInFlight, "{round}: {subject} {bookkeeping:?}");
            let token = document.refresh_token.as_ref().unwrap().expose();
            let record = self.scene.sandbox.token_history(token).unwrap();
            let access_token = document.access_token.as_ref().map(AccessToken::expose);
            assert_eq!(access_token, Some(record.access_token.as_str()), "{round}: {subject} of two answers");
        }
        self.tally.lost_in_flight += lost.len() as u64;
        for document in documents.iter().filter(|document| lost.contains(document.subject.as_str())) {
            self.log_in(document).await;
        }
    }

    fn may_be_sent_again(&self, token: &str) -> bool {
        self.cut_off.contains(&RefreshToken::new(token.to_owned()).fingerprint())
    }

    /// Whoever was lost logs in again, as people do.
    async fn log_in(&self, document: &TokenDocument) {
        let login = self.scene.sandbox.login(document.subject.as_str()).unwrap();
        let change = Change {
            id: document.id.clone(),
            expect_refresh_token: None,
            expect_lease: None,
            pair: Some(PairChange {
                refresh_token: RefreshToken::new(login.refresh_token),
                access_token: AccessToken::new(login.access_token),
            }),
            bookkeeping: document.bookkeeping.clone(),
        };
        self.scene.store.apply(&[change]).await.unwrap();
    }

    /// Lives through all of these, and says what happened.
    async fn live(mut self, deaths: Vec<Death>) -> Tally {
        for death in deaths {
            self.round(death).await;
        }
        let ledger = self.scene.sandbox.ledger();
        self.tally.grants = ledger.granted;
        self.tally.received = ledger.delivered;
        self.tally
    }
}

fn is_success(entry: &Entry) -> bool {
    entry.answer.as_ref().is_some_and(|answer| (200..300).contains(&answer.get().status))
}

/// How often a pass over [`USERS`] reaches a point, at least once each time.
const fn reached_at_most(point: Point) -> u64 {
    match point {
        Point::PassBegun
        | Point::RecoveryRead
        | Point::RecoverySorted
        | Point::RecoveryWritten
        | Point::RecoveryReleases
        | Point::RecoveryReleased
        | Point::RecoveryEnds
        | Point::PageRead
        | Point::Claimed
        | Point::PassEnds
        | Point::PassFinished => 1,
        Point::IntentWritten
        | Point::IntentCommitted
        | Point::AnswerWritten
        | Point::AnswerCommitted
        | Point::BeforeApply
        | Point::Applied
        | Point::BeforeEnd
        | Point::EndWritten
        | Point::EndCommitted
        | Point::Ended => 6,
        Point::IntentKnown
        | Point::BeforePost
        | Point::AnswerBegun
        | Point::AnswerReceived
        | Point::AnswerRead => USERS as u64,
    }
}

/// Does it say something only where there is something to recover?
const fn is_of_recovery(point: Point) -> bool {
    matches!(
        point,
        Point::RecoveryRead
            | Point::RecoverySorted
            | Point::RecoveryWritten
            | Point::RecoveryReleases
            | Point::RecoveryReleased
            | Point::RecoveryEnds
    )
}

fn deaths(random: u64, at_each_point: u64) -> Vec<Death> {
    let points = Point::ALL.into_iter().map(Death::At);
    let points = (0..at_each_point).flat_map(|_| points.clone());
    points.chain((0..random).map(|_| Death::Random)).collect()
}

async fn survives(kind: Kind, grace: bool, deaths: Vec<Death>) {
    if let Some(world) = World::new(kind, grace, 1).await {
        let kills = deaths.len() as u64;
        assert!(world.live(deaths).await.kills >= kills);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_it_had_received_sqlite_strict() {
    survives(Kind::Sqlite, false, deaths(RANDOM_KILLS, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_it_had_received_mongodb_strict() {
    survives(Kind::Mongo, false, deaths(RANDOM_KILLS, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_grace_period_a_killed_process_loses_nothing_at_all_sqlite() {
    survives(Kind::Sqlite, true, deaths(RANDOM_KILLS, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_grace_period_a_killed_process_loses_nothing_at_all_mongodb() {
    survives(Kind::Mongo, true, deaths(RANDOM_KILLS, 0)).await;
}

/// The refusal is in the journal and its mark in the document: nobody asks again, so the row must not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_was_written_before_the_kill_leaves_no_row() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let config = SandboxConfig::default();
        let Some(scene) = Scene::new("marked", kind, config).await else { continue };
        for plan in ["AnswerReceived:1", "Applied:1"] {
            let ended = scene.command(&ONCE).env("EVERGRANT_TEST_KILL_AT", plan).status().await.unwrap();
            assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{plan}");
        }
        let document = scene.documents().await.remove(0);
        assert_eq!(document.bookkeeping.state, State::LostInFlight);
        let ended = scene.run(&ONCE).await;
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let open = Journal::peek(&scene.state_folder()).unwrap();
        assert!(open.is_empty(), "{open:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "proof: 2,000 kills at random times and 20 at each named point; about half an hour on 2 cores"]
async fn no_kill_loses_or_replays_what_was_received() {
    let began = Instant::now();
    let (random, at_each_point) =
        (knob("EVERGRANT_TEST_KILLS", 2000), knob("EVERGRANT_TEST_KILLS_AT_EACH_POINT", 20));
    let seed = knob("EVERGRANT_TEST_SEED", 1);
    let mut worlds = Vec::new();
    for (kind, grace) in
        [(Kind::Sqlite, false), (Kind::Sqlite, true), (Kind::Mongo, false), (Kind::Mongo, true)]
    {
        worlds.extend(World::new(kind, grace, seed).await);
    }
    let share = worlds.len() as u64;
    let deaths = deaths(random.div_ceil(share), at_each_point.div_ceil(share));
    let lives = worlds.into_iter().map(|world| tokio::spawn(world.live(deaths.clone())));
    let tallies: Vec<_> =
        futures::future::join_all(lives).await.into_iter().map(|life| life.expect("it held")).collect();
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let points: HashSet<_> = tallies.iter().flat_map(|tally| &tally.points).collect();
    assert_eq!(points.len(), Point::ALL.len(), "at every point");
    tell(&format!(
        "sigkill: {} kills ({random} at random times, {at_each_point} at each of {} points, and those before them), \
         {} passes, {} grants, {} answers received: {} received and lost, {} replayed; of {} grants cut off {} lost \
         in flight; took {} s",
        sum(|tally| tally.kills),
        points.len(),
        sum(|tally| tally.passes),
        sum(|tally| tally.grants),
        sum(|tally| tally.received),
        sum(|tally| tally.received_and_lost),
        sum(|tally| tally.replayed),
        sum(|tally| tally.cut_off),
        sum(|tally| tally.lost_in_flight),
        began.elapsed().as_secs(),
    ));
}

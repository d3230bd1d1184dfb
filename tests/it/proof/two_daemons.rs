//! Two daemons on one collection, killed and paused in turn, while the application refreshes and people log in.
//!
//! `cargo test --test it -- --ignored proof::two_daemons --nocapture` is the proof.

use super::{knob, tell};
use crate::support::app::{App, Done};
use crate::support::process::{Ended, Kind, ONCE, Scene};
use bson::Document;
use evergrant::sandbox::{Outcome, SandboxConfig};
use evergrant::testing::journal::{EntryState, Journal};
use evergrant::testing::token::{Fingerprint, RefreshToken, State};
use futures::StreamExt as _;
use mongodb::Collection;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

/// The shortest lease that is allowed with [`REQUEST_TIMEOUT`], and a margin.
const LEASE: Duration = Duration::from_secs(37);
const REQUEST_TIMEOUT: &str = "5s";

/// Longer than the lease, and shorter than two of them.
const LONG_PAUSE: Duration = Duration::from_mins(1);

/// No wait of a proof takes longer.
const PATIENCE: Duration = Duration::from_mins(5);

/// How often the ledger is looked at.
const TICK: Duration = Duration::from_millis(5);

/// What a run is made of.
struct Plan {
    users: usize,
    grants: u64,
    /// What each daemon may send.
    rate: &'static str,
    /// One of the two is paused for so long, while the other one is killed so often; then the other way round.
    turns: usize,
    pause: Duration,
    kills: usize,
}

/// One `evergrant run` with a state directory of its own.
struct Daemon {
    name: &'static str,
    child: Child,
}

/// The whole play.
struct Play {
    scene: Scene,
    random: StdRng,
    /// Tokens whose grants a kill cut off before their answer was in the journal: only these may be sent again.
    cut_off: HashSet<Fingerprint>,
    kills: u64,
    pauses: u64,
}

impl Play {
    async fn new(plan: &Plan) -> Option<Self> {
        let config = SandboxConfig {
            users: plan.users,
            latency: Duration::from_millis(5),
            latency_jitter: Duration::from_millis(60),
            ..SandboxConfig::default()
        };
        let mut scene = Scene::new("two_daemons", Kind::Mongo, config).await?;
        let lease = format!("{}s", LEASE.as_secs());
        for (key, value) in [
            // Every wake finds every token due, and there is one each second.
            ("refresh_token_lifetime", "unknown"),
            ("schedule", "* * * * * *"),
            ("retry_after_failure", "1s"),
            ("rate", plan.rate),
            ("request_timeout", REQUEST_TIMEOUT),
            ("lease", &lease),
            ("log.level", "warn"),
        ] {
            scene.set(key, value);
        }
        let (cut_off, random) = (HashSet::new(), StdRng::seed_from_u64(11));
        Some(Self { scene, random, cut_off, kills: 0, pauses: 0 })
    }

    fn state(&self, name: &str) -> PathBuf {
        self.scene.folder.path().join(name)
    }

    fn start(&self, name: &'static str) -> Daemon {
        let log =
            std::fs::File::options().create(true).append(true).open(self.state(name).with_extension("log"));
        let mut command = self.scene.command(&["run"]);
        command.env("EVERGRANT_STATE_DIR", self.state(name));
        // A pipe that nobody reads would stop the process that writes to it.
        let child = command.stdout(Stdio::null()).stderr(log.unwrap()).spawn().unwrap();
        Daemon { name, child }
    }

    async fn kill(&mut self, mut daemon: Daemon) -> Daemon {
        daemon.signal(Signal::SIGKILL);
        daemon.child.wait().await.unwrap();
        self.kills += 1;
        let entries = Journal::peek(&self.state(daemon.name)).unwrap().into_iter();
        let in_doubt = [EntryState::Intent, EntryState::Unsettled, EntryState::AskAgain];
        let cut_off = entries.filter(|entry| in_doubt.contains(&entry.state));
        self.cut_off.extend(cut_off.map(|entry| entry.intent.fingerprint));
        self.start(daemon.name)
    }

    /// Waits until the provider has granted so many more.
    async fn until_granted(&self, more: u64, daemons: &mut [&mut Daemon]) {
        let wanted = self.scene.sandbox.ledger().granted + more;
        let deadline = Instant::now() + PATIENCE;
        while self.scene.sandbox.ledger().granted < wanted {
            for daemon in &mut *daemons {
                let ended = daemon.child.try_wait().unwrap();
                assert!(ended.is_none(), "{} ended: {ended:?}\n{}", daemon.name, self.log(daemon.name));
            }
            assert!(Instant::now() < deadline, "nothing is granted any more\n{}", self.log("a"));
            tokio::time::sleep(TICK).await;
        }
    }

    /// One is paused in the middle of its work, the other is killed in the middle of its own.
    async fn turn(&mut self, plan: &Plan, mut paused: Daemon, mut killed: Daemon) -> (Daemon, Daemon) {
        let more = self.random.random_range(50..250);
        self.until_granted(more, &mut [&mut paused, &mut killed]).await;
        paused.signal(Signal::SIGSTOP);
        let until = tokio::time::Instant::now() + plan.pause;
        self.pauses += 1;
        for _ in 0..plan.kills {
            let more = self.random.random_range(50..250);
            self.until_granted(more, &mut [&mut paused, &mut killed]).await;
            killed = self.kill(killed).await;
        }
        tokio::time::sleep_until(until).await;
        paused.signal(Signal::SIGCONT);
        (paused, killed)
    }

    /// The last lines that a daemon has logged.
    fn log(&self, name: &str) -> String {
        let log = std::fs::read_to_string(self.state(name).with_extension("log")).unwrap_or_default();
        let from = log.lines().count().saturating_sub(20);
        log.lines().skip(from).collect::<Vec<_>>().join("\n")
    }

    /// Ends a daemon as a person does, and settles what it left.
    async fn finish(&self, daemon: Daemon) {
        daemon.signal(Signal::SIGTERM);
        let name = daemon.name;
        let ended = Ended::within(PATIENCE, daemon.child).await;
        assert!(ended.code.is_some(), "{name}: {ended:?}");
    }

    async fn settle(&self, name: &str) {
        let mut command = self.scene.command(&ONCE);
        let once = command.env("EVERGRANT_STATE_DIR", self.state(name)).spawn().unwrap();
        let ended = Ended::within(PATIENCE, once).await;
        assert!(matches!(ended.code, Some(0 | 3)), "{name}: {ended:?}");
    }
}

impl Daemon {
    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }
}

/// Every refresh token that each document held, in order, as the server tells it.
struct Watch {
    stop: CancellationToken,
    held: tokio::task::JoinHandle<HashMap<String, Vec<String>>>,
}

impl Watch {
    async fn start(collection: Collection<Document>, seeded: HashMap<String, Vec<String>>) -> Self {
        let stop = CancellationToken::new();
        let mut changes = collection.watch().await.unwrap();
        let (stopping, mut held) = (stop.clone(), seeded);
        let held = tokio::spawn(async move {
            // After the stop one event is awaited, which is the last of all.
            loop {
                let change = changes.next().await.unwrap().unwrap();
                let id = change.document_key.as_ref().and_then(|key| key.get("_id")).unwrap().to_string();
                let Some(update) = change.update_description else {
                    assert!(stopping.is_cancelled(), "{:?}", change.operation_type);
                    return held;
                };
                if let Ok(token) = update.updated_fields.get_str("refresh_token") {
                    held.get_mut(&id).expect("a document of ours").push(token.to_owned());
                }
            }
        });
        Self { stop, held }
    }

    /// All that has happened by now.
    async fn held(self, collection: &Collection<Document>) -> HashMap<String, Vec<String>> {
        self.stop.cancel();
        collection.insert_one(bson::doc! { "_id": "the end" }).await.unwrap();
        let held = self.held.await.unwrap();
        collection.delete_one(bson::doc! { "_id": "the end" }).await.unwrap();
        held
    }
}

fn fingerprint(token: &str) -> Fingerprint {
    RefreshToken::new(token.to_owned()).fingerprint()
}

async fn seeded(collection: &Collection<Document>) -> HashMap<String, Vec<String>> {
    let all = collection.find(bson::doc! {}).await.unwrap().map(|document| {
        let document = document.unwrap();
        let token = document.get_str("refresh_token").unwrap().to_owned();
        (document.get("_id").unwrap().to_string(), vec![token])
    });
    all.collect().await
}

/// Plays the plan to its end, and holds everything against the provider's ledger; returns the line of figures.
async fn nothing_is_replayed_or_overwritten(plan: Plan) -> Option<String> {
    let began = Instant::now();
    let mut play = Play::new(&plan).await?;
    let sandbox = play.scene.sandbox.clone();
    let collection = play.scene.collection().await;
    let watch = Watch::start(collection.clone(), seeded(&collection).await).await;
    let app_stop = CancellationToken::new();
    let app = tokio::spawn(App::new(play.scene.collection().await, sandbox.clone()).run(app_stop.clone()));

    let (mut one, mut other) = (play.start("a"), play.start("b"));
    for _ in 0..plan.turns {
        let (paused, killed) = play.turn(&plan, one, other).await;
        (one, other) = (killed, paused);
    }
    let missing = plan.grants.saturating_sub(sandbox.ledger().granted);
    play.until_granted(missing, &mut [&mut one, &mut other]).await;
    app_stop.cancel();
    let done = app.await.unwrap();
    play.finish(one).await;
    play.finish(other).await;
    play.settle("a").await;
    play.settle("b").await;

    let held = watch.held(&collection).await;
    judge(&play, &done, &held).await;
    let ledger = sandbox.ledger();
    Some(format!(
        "two daemons and the app: {} users, {} grants, {} kills, {} pauses of {} s with a lease of {} s; the app \
         refreshed {} and came too late for {}, {} new logins: 0 replays, 0 newer tokens overwritten, 0 received \
         and lost, {} grants cut off, {} users lost in flight and logged in again; took {} s",
        plan.users,
        ledger.granted,
        play.kills,
        play.pauses,
        plan.pause.as_secs(),
        LEASE.as_secs(),
        done.redeemed.len(),
        done.refused.len(),
        done.logins,
        play.cut_off.len(),
        done.marked.len(),
        began.elapsed().as_secs(),
    ))
}

async fn judge(play: &Play, done: &Done, held: &HashMap<String, Vec<String>>) {
    let sandbox = &play.scene.sandbox;
    let told = |name: &str| format!("{name}:\n{}", play.log(name));
    let mut wrong = Vec::new();

    // Once: what came after an answer was a stranger's, or of a grant that a kill had cut off.
    let mut replays: HashMap<String, Vec<_>> = HashMap::new();
    for replay in sandbox.replays() {
        replays.entry(replay.refresh_token.clone()).or_default().push(replay);
    }
    for (token, replays) in &replays {
        let too_late = done.refused.get(token).copied().unwrap_or_default();
        let by_the_app = (done.redeemed.contains(token), too_late);
        let was_cut_off = play.cut_off.contains(&fingerprint(token));
        let allowed = usize::from(by_the_app.0).max(too_late) + usize::from(was_cut_off);
        if replays.len() > allowed {
            let presented = sandbox.token_history(token).unwrap().presentations;
            wrong.push(format!(
                "replayed: {replays:?}; the app redeemed it, came too late so often: {by_the_app:?}; cut off: {was_cut_off}; {presented:?}"
            ));
        }
    }

    // Never backwards: each token comes out of the one before, or out of a later login.
    for tokens in held.values() {
        for pair in tokens.windows(2) {
            let [before, after] = [&pair[0], &pair[1]].map(|token| sandbox.token_history(token).unwrap());
            let mut ancestor = after.predecessor.clone();
            while let Some(token) = ancestor.clone().filter(|token| *token != before.refresh_token) {
                ancestor = sandbox.token_history(&token).unwrap().predecessor;
            }
            if after.family < before.family || (after.family == before.family && ancestor.is_none()) {
                wrong.push(format!("overwritten: {before:?} by {after:?}"));
            }
        }
    }

    // Kept: what was received is in a document, or parked; only a kill may come between the wire and the journal.
    let parked: HashSet<_> = ["a", "b"]
        .iter()
        .flat_map(|name| Journal::peek(&play.state(name)).unwrap())
        .inspect(|entry| assert_eq!(entry.state, EntryState::Orphan, "{entry:?}"))
        .map(|entry| entry.intent.fingerprint)
        .collect();
    let all: HashSet<_> = held.values().flatten().collect();
    for token in &all {
        let record = sandbox.token_history(token).unwrap();
        for answer in record.presentations.iter().filter(|answer| answer.outcome == Outcome::Delivered) {
            let kept = answer.successor.as_ref().is_some_and(|successor| all.contains(successor));
            let known = [&parked, &play.cut_off].iter().any(|known| known.contains(&fingerprint(token)));
            if !kept && !known {
                wrong.push(format!("received and lost: {} {answer:?}", record.user));
            }
        }
    }

    // Named: lost is whose grant was cut off; nobody else is marked for good, and nobody is claimed.
    for marked in &done.marked {
        let by_the_app = done.redeemed.contains(&marked.refresh_token);
        let record = sandbox.token_history(&marked.refresh_token).unwrap();
        let lost = play.cut_off.contains(&fingerprint(&marked.refresh_token))
            || record.delivery().is_some_and(|outcome| outcome == Outcome::Untaken);
        let named = if marked.state == "lost_in_flight" { lost } else { by_the_app };
        if !named {
            wrong.push(format!("marked without a reason: {marked:?} {:?}", record.presentations));
        }
    }
    for document in play.scene.documents().await {
        let subject = document.subject.as_str();
        let user = sandbox.user(subject).unwrap();
        let newest = document.refresh_token.as_ref().unwrap().expose() == user.current_refresh_token;
        let state = document.bookkeeping.state;
        if !(newest && state == State::Live || !newest && state == State::LostInFlight) {
            wrong.push(format!("at the end: {subject} {state:?}, the newest token: {newest}"));
        }
        if document.bookkeeping.lease.is_some() {
            wrong.push(format!("still claimed: {subject}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}\n{}\n{}", wrong.len(), wrong.join("\n"), told("a"), told("b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_and_the_app_neither_replay_nor_overwrite() {
    // A pause that is longer than a lease takes longer than a test may: that is for the proof.
    let pause = Duration::from_secs(2);
    let plan = Plan { users: 150, grants: 1000, rate: "100/s", turns: 2, pause, kills: 1 };
    nothing_is_replayed_or_overwritten(plan).await;
}

/// Time that a process was not awake is not time in which it waited: the answer is in its socket.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_came_during_a_pause_longer_than_the_timeout_is_taken() {
    let (timeout, latency) = (Duration::from_secs(2), Duration::from_millis(300));
    let config = SandboxConfig { users: 8, latency, ..SandboxConfig::default() };
    let mut scene = Scene::new("paused", Kind::Sqlite, config).await.unwrap();
    scene.set("request_timeout", "2s");
    let mut child = scene.start(&ONCE);
    // The canary first, then all others at once.
    scene.until(&mut child, |sandbox| sandbox.ledger().granted == 1 && sandbox.in_flight() == 7).await;
    let daemon = Daemon { name: "paused", child };
    daemon.signal(Signal::SIGSTOP);
    tokio::time::sleep(timeout * 2).await;
    assert_eq!((scene.sandbox.in_flight(), scene.sandbox.ledger().granted), (0, 8), "all answers are out");
    daemon.signal(Signal::SIGCONT);
    let ended = Ended::of(daemon.child).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.json()["retries"], 0, "{ended:?}");
    assert_eq!((scene.audit().await.kept, scene.sandbox.replays().len()), (8, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "proof: 20,000 grants by two daemons, paused for longer than their lease; some minutes"]
async fn of_20_000_grants_none_is_replayed_and_none_overwritten() {
    let grants = knob("EVERGRANT_TEST_GRANTS", 20_000);
    let plan = Plan { users: 1500, grants, rate: "90/s", turns: 4, pause: LONG_PAUSE, kills: 2 };
    if let Some(figures) = nothing_is_replayed_or_overwritten(plan).await {
        tell(&figures);
    }
}

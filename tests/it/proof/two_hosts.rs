//! Two machines over one MongoDB, with a state directory each: one of them is killed in a pass, and then is gone for good,
//! comes back, or comes back from a copy of its state directory.
//!
//! `cargo test --test it -- --ignored proof::two_hosts --nocapture` is the proof; `EVERGRANT_TEST_GRANTS` changes its length.

use super::{knob, tell};
use crate::support::process::{Ended, Kind, ONCE, Scene};
use bson::doc;
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::journal::{EntryState, Journal, JournalSettings};
use evergrant::testing::token::{Fingerprint, RefreshToken, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What becomes of the machine that was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It starts again with its state directory.
    Back,
    /// It starts again with a copy that was made before the pass.
    Copy,
    /// It never starts again; a person says so to the other one.
    Gone,
}

/// How the provider rotates, and whether it may be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kindness {
    Strict,
    Never,
    Grace,
    None,
}

/// The figures of a run.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    grants: u64,
    /// Pairs that only the killed machine's journal held.
    held: u64,
    /// Documents of which the other machine said that they wait for it.
    waited: u64,
    cut_off: u64,
    replayed: u64,
    lost: u64,
}

struct World {
    scene: Scene,
    kindness: Kindness,
    users: usize,
    random: StdRng,
    /// Tokens that may be sent although they were sent before: no answer was kept, or a person said so.
    excused: HashSet<Fingerprint>,
    tally: Tally,
}

/// What the journal of the killed machine says.
#[derive(Debug, Default)]
struct Wreck {
    /// Whose pairs only it has.
    held: HashSet<String>,
    /// Whose answers never arrived.
    cut_off: HashSet<String>,
}

impl World {
    async fn new(kindness: Kindness, users: usize) -> Option<Self> {
        let mut config = SandboxConfig {
            users,
            seed: 5 + kindness as u64,
            latency: std::time::Duration::from_millis(5),
            latency_jitter: std::time::Duration::from_millis(40),
            ..SandboxConfig::default()
        };
        if kindness == Kindness::Grace {
            config.grace = std::time::Duration::from_mins(30);
        }
        if kindness == Kindness::None {
            config.rotation = evergrant::sandbox::Rotation::Keep;
        }
        let mut scene = Scene::new("two_hosts", Kind::Mongo, config).await?;
        // Every pass finds every document due.
        scene.set("refresh_token_lifetime", "unknown");
        scene.set("concurrency", "8");
        match kindness {
            Kindness::Strict => {}
            Kindness::Never => scene.set("ask_again", "never"),
            Kindness::Grace => {
                scene.set("rotation", "grace");
                scene.set("grace", "30min");
            }
            Kindness::None => scene.set("rotation", "none"),
        }
        let random = StdRng::seed_from_u64(kindness as u64);
        let (excused, tally) = (HashSet::new(), Tally::default());
        Some(Self { scene, kindness, users, random, excused, tally })
    }

    fn state(&self, host: &str) -> PathBuf {
        self.scene.folder.path().join(host)
    }

    fn start(&self, host: &str, arguments: &[&str]) -> tokio::process::Child {
        self.scene.command(arguments).env("EVERGRANT_STATE_DIR", self.state(host)).spawn().unwrap()
    }

    async fn run(&self, host: &str, more: &[&str]) -> Ended {
        let ended = Ended::of(self.start(host, &[&ONCE, more].concat())).await;
        assert!(matches!(ended.code, Some(0 | 3 | 4)), "{:?}: {ended:?}", self.kindness);
        ended
    }

    /// Both begin a pass, and the first one is killed in it.
    async fn killed_beside_the_other(&mut self) {
        let before = self.scene.sandbox.ledger().granted;
        let after = before + self.random.random_range(1..self.users as u64);
        let mut child = self.start("first", &ONCE);
        let other = self.start("second", &ONCE);
        self.scene.until(&mut child, |sandbox| sandbox.ledger().granted >= after).await;
        if let Some(id) = child.id() {
            let _ = kill(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGKILL);
        }
        child.wait().await.unwrap();
        let ended = Ended::of(other).await;
        assert!(matches!(ended.code, Some(0 | 3 | 4)), "{:?}: {ended:?}", self.kindness);
        while self.scene.sandbox.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn look_at(&mut self) -> Wreck {
        let mut wreck = Wreck::default();
        let documents = self.scene.documents().await.into_iter();
        let there: HashSet<_> =
            documents.filter_map(|document| Some(document.refresh_token.ok()?.fingerprint())).collect();
        let state = self.state("first");
        for entry in Journal::look(&state).unwrap().entries {
            let subject = entry.intent.subject.as_str().to_owned();
            let whole =
                Journal::look_at(&state, entry.id, JournalSettings::default()).unwrap().unwrap().unwrap();
            let is_success = whole.answer.is_some_and(|answer| (200..300).contains(&answer.get().status));
            match entry.state {
                EntryState::Answer if is_success && there.contains(&entry.intent.fingerprint) => {
                    wreck.held.insert(subject);
                }
                // A refusal, or a pair that its document had taken before the row could end.
                EntryState::Answer => {}
                EntryState::Intent | EntryState::Unsettled | EntryState::AskAgain => {
                    self.excused.insert(entry.intent.fingerprint);
                    wreck.cut_off.insert(subject);
                }
                // Its document had taken it before the row could end, and the other machine has refreshed that more than once: what
                // came for it isn't known here.
                EntryState::Orphan if entry.why.as_deref() == Some("superseded") => {}
                state => panic!("{state:?}: {entry:?}"),
            }
        }
        self.tally.held += wreck.held.len() as u64;
        self.tally.cut_off += wreck.cut_off.len() as u64;
        wreck
    }

    /// Takes the provider a token that was sent before?
    const fn takes_again(&self) -> bool {
        matches!(self.kindness, Kindness::Grace | Kindness::None)
    }

    /// Time goes by, as far as the claims know.
    async fn let_claims_end(&self) {
        let past = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - 3_600_000);
        let claimed = doc! { "evergrant.lease": { "$exists": true } };
        let change = doc! { "$set": { "evergrant.lease.until": past, "evergrant.due_at": past } };
        self.scene.collection().await.update_many(claimed, change).await.unwrap();
    }

    async fn round(&mut self, fate: Fate) {
        copy(&self.state("first"), &self.state("copy"));
        self.killed_beside_the_other().await;
        let wreck = self.look_at().await;
        // Its claims live, and then have ended: either way the other one leaves what may have been sent.
        self.run("second", &[]).await;
        self.let_claims_end().await;
        let summary = self.run("second", &[]).await.json();
        let waits = summary["waits_for_count"].as_u64().unwrap();
        self.tally.waited += waits;
        if self.takes_again() {
            assert_eq!(waits, 0, "{fate:?}: {summary}");
        } else {
            assert!(
                waits >= (wreck.held.len() + wreck.cut_off.len()) as u64,
                "{fate:?} {wreck:?}: {summary}"
            );
        }
        self.assert_nothing_replayed(fate);
        match fate {
            Fate::Back => {
                self.run("first", &[]).await;
            }
            Fate::Copy | Fate::Gone => {
                let host = if fate == Fate::Copy {
                    std::fs::remove_dir_all(self.state("first")).unwrap();
                    std::fs::rename(self.state("copy"), self.state("first")).unwrap();
                    self.run("first", &[]).await;
                    self.assert_nothing_replayed(fate);
                    "first"
                } else {
                    std::fs::remove_dir_all(self.state("first")).unwrap();
                    "second"
                };
                // A person says that what that journal held is lost: these tokens are sent once more.
                self.excuse(&wreck.held).await;
                // The report names the journal.
                match summary["waits_for"][0]["journal"].as_str() {
                    Some(journal) => self.run(host, &["--take-over", journal]).await,
                    None => self.run(host, &[]).await,
                };
            }
        }
        self.judge(fate, wreck).await;
        self.tally.rounds += 1;
    }

    /// Only what no journal holds an answer for may have been sent twice.
    fn assert_nothing_replayed(&mut self, fate: Fate) {
        if self.takes_again() {
            return;
        }
        let replays = self.scene.sandbox.replays().into_iter();
        let replayed: Vec<_> = replays
            .filter(|replay| {
                !self.excused.contains(&RefreshToken::new(replay.refresh_token.clone()).fingerprint())
            })
            .collect();
        self.tally.replayed += replayed.len() as u64;
        assert!(replayed.is_empty(), "{:?} {fate:?}: {replayed:?}", self.kindness);
    }

    async fn excuse(&mut self, subjects: &HashSet<String>) {
        let documents = self.scene.documents().await.into_iter();
        let theirs = documents.filter(|document| subjects.contains(document.subject.as_str()));
        self.excused.extend(theirs.filter_map(|document| Some(document.refresh_token.ok()?.fingerprint())));
    }

    /// Every pair is where it belongs, or its user is named; then those who are lost log in again.
    async fn judge(&mut self, fate: Fate, wreck: Wreck) {
        let round = format!("{:?} {fate:?} round {}", self.kindness, self.tally.rounds);
        self.assert_nothing_replayed(fate);
        let documents = self.scene.documents().await;
        let audit = self.scene.audit().await;
        let lost: HashSet<_> = audit.lost.iter().map(|lost| format!("{}@example.com", lost.user)).collect();
        let may_be_lost = match fate {
            _ if self.takes_again() => HashSet::new(),
            Fate::Back => wreck.cut_off,
            Fate::Copy | Fate::Gone => wreck.held.union(&wreck.cut_off).cloned().collect(),
        };
        self.tally.lost += lost.difference(&may_be_lost).count() as u64;
        assert!(lost.is_subset(&may_be_lost), "{round}: {:?}", audit.lost);
        assert_eq!((audit.held_crossed, audit.unknown), (0, 0), "{round}");
        assert_eq!(audit.kept, (self.users - lost.len()) as u64, "{round}");
        for document in &documents {
            let (subject, books) = (document.subject.as_str(), &document.bookkeeping);
            // What may be spent isn't asked again, and so it isn't found out that it wasn't.
            let is_unasked = self.kindness == Kindness::Never && may_be_lost.contains(subject);
            let is_right = match books.state {
                State::LostInFlight => lost.contains(subject) || is_unasked,
                State::Live => !lost.contains(subject),
                State::NeedsLogin | State::Malformed => false,
            };
            assert!(is_right, "{round}: {subject} {books:?}");
            assert_eq!(books.lease, None, "{round}: {subject} is still claimed");
        }
        for document in documents.iter().filter(|document| document.bookkeeping.state == State::LostInFlight)
        {
            self.scene.log_in(document).await;
        }
        self.tally.grants = self.scene.sandbox.ledger().granted;
    }
}

/// Copies the files of a state directory that no process holds.
fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    if !from.exists() {
        std::fs::create_dir(from).unwrap();
    }
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

const FATES: [Fate; 3] = [Fate::Back, Fate::Copy, Fate::Gone];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_machine_holds_is_left_to_it_and_is_sent_again_only_by_a_person() {
    let Some(mut world) = World::new(Kindness::Strict, 60).await else { return };
    for fate in FATES {
        world.round(fate).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "proof: 20,000 grants; some minutes on 2 cores"]
async fn no_pair_of_a_killed_machine_is_burned_by_the_other_one() {
    let (began, grants) = (Instant::now(), knob("EVERGRANT_TEST_GRANTS", 20_000));
    for kindness in [Kindness::Strict, Kindness::Never, Kindness::Grace, Kindness::None] {
        let Some(mut world) = World::new(kindness, 400).await else { return };
        while world.tally.grants < grants / 4 {
            for fate in FATES {
                world.round(fate).await;
            }
        }
        tell(&format!("two hosts: {kindness:?} {:?}; {} s in all", world.tally, began.elapsed().as_secs()));
    }
}

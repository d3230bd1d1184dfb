//! A world of power cuts: its rounds, and how a process comes to its end in it.

use super::acknowledged::acknowledged;
use crate::support::power_cut::{PowerCut, killed};
use crate::support::process::{Ended, Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::clock::Clock;
use evergrant::testing::kill_point::Point;
use evergrant::testing::store::Store;
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::sqlite::SqliteStore;
use evergrant::testing::token::RefreshToken;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Users, few enough for a short pass and many enough for a full pool.
pub(super) const USERS: usize = 40;

/// Grants that may be under way at once.
const CONCURRENCY: u64 = 8;

/// The moments at which most is at stake: around each commit, and around each write into the store.
const POINTS: [Point; 14] = [
    Point::PassBegun,
    Point::Claimed,
    Point::IntentCommitted,
    Point::BeforePost,
    Point::AnswerReceived,
    Point::AnswerWritten,
    Point::AnswerCommitted,
    Point::AnswerRead,
    Point::BeforeApply,
    Point::Applied,
    Point::EndWritten,
    Point::EndCommitted,
    Point::Ended,
    Point::PassFinished,
];

/// When the power goes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So many grants after the start; a process that ends before that loses it then.
    Grants(u64),
    /// When a point is reached for the nth time.
    At(Point, u64),
}

/// The first cuts, the worst ones, and with which probability something survives: in the pass that makes the journal, where one
/// more sync would be too late, and where the journal must still have what the store has not.
const WORST: [(Moment, f64); 5] = [
    (Moment::Grants(USERS as u64 / 2), 0.0),
    (Moment::At(Point::Claimed, 1), 0.0),
    (Moment::At(Point::AnswerCommitted, 2), 0.0),
    (Moment::At(Point::BeforeApply, 2), 1.0),
    (Moment::At(Point::Ended, 1), 0.0),
];

/// What was done in a world, for the line of figures.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) cuts: u64,
    pub(super) passes: u64,
    pub(super) grants: u64,
    pub(super) received: u64,
    pub(super) acknowledged: u64,
    pub(super) unsynced: u64,
    pub(super) sectors: u64,
    pub(super) names: u64,
    pub(super) cut_off: u64,
    pub(super) lost_in_flight: u64,
    pub(super) unlabelled: u64,
}

/// A promise that was not kept.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a world is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// Does the journal keep pairs that were written? Then it mends a store that has lost them.
    pub(super) keeps_pairs: bool,
    pub(super) seed: u64,
    /// Syncs that are left out: see [`PowerCut::deaf_to`].
    pub(super) deaf: Option<&'static str>,
}

impl Plan {
    pub(super) const fn new(kind: Kind, keeps_pairs: bool, seed: u64) -> Self {
        Self { kind, keeps_pairs, seed, deaf: None }
    }
}

/// A strict provider, a store, and a disk that loses power.
pub(super) struct World {
    plan: Plan,
    pub(super) scene: Scene,
    power: PowerCut,
    random: StdRng,
    /// Tokens whose successes were acknowledged, and how often each had been presented by then.
    pub(super) spent: HashMap<String, usize>,
    pub(super) tally: Tally,
}

impl World {
    pub(super) async fn new(plan: Plan) -> Option<Self> {
        let Plan { kind, keeps_pairs, seed, deaf } = plan;
        let config = SandboxConfig {
            users: USERS,
            seed,
            latency: Duration::from_millis(2),
            latency_jitter: Duration::from_millis(10),
            ..SandboxConfig::default()
        };
        let mut scene = Scene::new("power", kind, config).await?;
        let mut power = PowerCut::new(scene.folder.path())?;
        if let Some(ending) = deaf {
            power = power.deaf_to(ending);
        }
        if kind == Kind::Sqlite {
            // A connection of ours beside the process' would keep its log from being recovered.
            let away = Arc::clone(&scene.store);
            let url = format!("sqlite:{}", power.root().join("tokens.db").display());
            scene.put_store_at(&url).await;
            scene.store = away;
        }
        let state = power.root().join("state");
        for (key, value) in [
            ("state_dir", state.to_str().unwrap()),
            // Every pass finds every document due.
            ("refresh_token_lifetime", "unknown"),
            ("concurrency", &CONCURRENCY.to_string()),
            ("keep_pairs", if keeps_pairs { "7d" } else { "0s" }),
        ] {
            scene.set(key, value);
        }
        let random = StdRng::seed_from_u64(seed);
        Some(Self { plan, scene, power, random, spent: HashMap::new(), tally: Tally::default() })
    }

    pub(super) fn state(&self) -> std::path::PathBuf {
        self.power.root().join("state")
    }

    /// The documents' store, for as long as no process has it.
    pub(super) async fn store(&self) -> Result<Arc<dyn Store>, Broken> {
        match self.plan.kind {
            Kind::Mongo => Ok(Arc::clone(&self.scene.store)),
            Kind::Sqlite => {
                let opened =
                    SqliteStore::open(&self.power.root().join("tokens.db"), Mapping::default()).await;
                Ok(Arc::new(opened.map_err(|error| self.broken(&format!("{error:?}")))?))
            }
        }
    }

    pub(super) fn broken(&self, what: &str) -> Broken {
        Broken(format!("{:?}, cut {}: {what}", self.plan, self.tally.cuts))
    }

    pub(super) fn must(&self, holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
        if holds { Ok(()) } else { Err(self.broken(&what())) }
    }

    fn command(&self, further: &[&str]) -> tokio::process::Command {
        let mut command = self.scene.command(&[&ONCE, further].concat());
        command.envs(self.power.environment());
        command
    }

    /// One round: a process whose power is cut, sometimes a second one too, and one that ends by itself.
    async fn round(&mut self) -> Result<(), Broken> {
        let began = Clock::system().now();
        self.loses_power().await?;
        // Who recovers from one may meet the next.
        while self.random.random_bool(0.25) {
            self.loses_power().await?;
        }
        // A cut takes intents, and with them the reason of refusals: too many for so few users, unless a person accepts them.
        let ended = Ended::of(self.command(&["--accept-refusals"]).spawn().unwrap()).await;
        self.tally.passes += 1;
        self.must(matches!(ended.code, Some(0 | 3)), || format!("{ended:?}"))?;
        self.judge(began).await?;
        self.note_acknowledged();
        Ok(())
    }

    /// When the power goes, and with which probability something survives that is not synced.
    fn any_cut(&mut self) -> (Moment, f64) {
        let moment = if self.random.random_bool(0.5) {
            let times = *[1, 1, 2, 3, 5].choose(&mut self.random).unwrap();
            Moment::At(*POINTS.choose(&mut self.random).unwrap(), times)
        } else {
            Moment::Grants(self.random.random_range(0..=USERS as u64))
        };
        (moment, *[0.0, 0.0, 0.1, 0.5, 0.9, 1.0].choose(&mut self.random).unwrap())
    }

    /// Starts a process, cuts its power, and notes what must not be lost by that.
    async fn loses_power(&mut self) -> Result<(), Broken> {
        let granted = self.scene.sandbox.ledger().granted;
        let worst = usize::try_from(self.tally.cuts).ok().and_then(|cut| WORST.get(cut));
        let (moment, survival) = worst.copied().unwrap_or_else(|| self.any_cut());
        let mut command = self.command(&[]);
        match moment {
            Moment::At(point, times) => {
                let plan = format!("{}:{times}", point.name());
                command.env("EVERGRANT_TEST_KILL_AT", plan).spawn().unwrap().wait().await.unwrap();
            }
            Moment::Grants(grants) => {
                let mut child = command.spawn().unwrap();
                let wanted = granted + grants;
                self.scene.until(&mut child, |sandbox| sandbox.ledger().granted >= wanted).await;
                killed(&mut child).await;
            }
        }
        self.tally.passes += 1;
        while self.scene.sandbox.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let granted = self.scene.sandbox.ledger().granted - granted;
        let cut_off = granted.saturating_sub(self.note_acknowledged());
        self.tally.cut_off += cut_off;
        // Those under way, and those whose answers the last commit held.
        self.must(cut_off <= 2 * CONCURRENCY, || format!("{cut_off} of {granted} grants were cut off"))?;
        let taken = self.power.cut(survival, &mut self.random);
        self.tally.cuts += 1;
        self.tally.unsynced += taken.unsynced;
        self.tally.sectors += taken.sectors;
        self.tally.names += taken.names;
        Ok(())
    }

    /// Reads the journal as the process left it, and not as a cut leaves it; says how many there are more.
    fn note_acknowledged(&mut self) -> u64 {
        let acknowledged = acknowledged(&self.state(), &self.power);
        let before = self.spent.len();
        for user in self.scene.sandbox.users() {
            let current = self.scene.sandbox.user(&user.email).unwrap().current_refresh_token;
            let mut token = Some(current);
            while let Some(candidate) = token.filter(|token| !self.spent.contains_key(token)) {
                let record = self.scene.sandbox.token_history(&candidate).unwrap();
                token = record.predecessor;
                if acknowledged.contains(&RefreshToken::new(candidate.clone()).fingerprint().to_string()) {
                    self.spent.insert(candidate, record.presentations.len());
                }
            }
        }
        let noted = (self.spent.len() - before) as u64;
        self.tally.acknowledged += noted;
        noted
    }

    /// Lives until `cuts` have happened, and says what they did.
    pub(super) async fn live(mut self, cuts: u64) -> Result<Tally, Broken> {
        while self.tally.cuts < cuts {
            self.round().await?;
        }
        let ledger = self.scene.sandbox.ledger();
        (self.tally.grants, self.tally.received) = (ledger.granted, ledger.delivered);
        Ok(self.tally)
    }
}

//! `evergrant demo`: made-up users, a local provider, one real pass over real HTTP, checked against the provider's ledger.
//!
//! The pass is this very binary in a process of its own, so that `--crash` can kill it as a power cut would.

mod verdict;

use super::{CommandError, Surroundings, print};
use crate::cli::{DemoArgs, Format};
use crate::config::{FILE_NAME, keys::PREFIX};
use crate::exit::Exit;
use crate::journal::{EntryState, Journal};
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::store::mapping::Mapping;
use crate::store::sqlite::SqliteStore;
use crate::token::Subject;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use verdict::{Crash, Verdict};

/// One in this many users has a refresh token that the provider refuses.
const DEAD_SHARE: usize = 150;

/// How long a redeemed token works again, unless the demo is strict: what Okta gives by default.
const GRACE: Duration = Duration::from_secs(30);

/// A quiet moment in which a few answers are 429 with `Retry-After: 1`, and one answer in 200 that is a 503.
fn faults(users: usize) -> String {
    let late = (users * 3 / 5).max(1);
    format!("429(1)@{late}..{}, 503:0.5%", late + 3)
}

/// How often the ledger is looked at while the pass runs.
const LOOK_AT_LEDGER: Duration = Duration::from_millis(5);

/// Share of the users after which the process is killed, in percent.
const CRASH_AT_PERCENT: u64 = 40;

/// A folder that is removed when the demo ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, CommandError> {
        let name = format!("evergrant-demo-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)
            .map_err(CommandError::io(format!("make the folder {}", path.display())))?;
        let scratch = Self(path);
        // An empty settings file, so that the machine's own isn't read.
        let file = scratch.0.join(FILE_NAME);
        std::fs::write(&file, "").map_err(CommandError::io(format!("write {}", file.display())))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is a folder of made-up tokens in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the demo; a ledger that disagrees with us exits with [`Exit::Internal`].
///
/// Ctrl-C ends it; the folder with the made-up tokens goes in any case.
pub async fn run(args: DemoArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    surroundings.start_logging();
    tokio::select! {
        ended = play(args, surroundings) => ended,
        _ = tokio::signal::ctrl_c() => {
            tracing::warn!("the demo was interrupted");
            Ok(Exit::StillDue)
        }
    }
}

async fn play(args: DemoArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let scratch = Scratch::new()?;
    let sandbox = provider(&args, surroundings).await?;
    let store_file = scratch.0.join("tokens.db");
    let store = fill(&store_file, &sandbox).await?;
    if surroundings.global.format == Format::Text {
        print(&format!(
            "{} made-up users in an embedded store, a provider at {}\nthe limit is {}, {} users are dead, some answers are 429 or 503\n",
            args.users,
            sandbox.base_url(),
            args.rate,
            sandbox.config().dead_users
        ))?;
    }
    let pass = PassProcess { folder: &scratch.0, store_file: &store_file, sandbox: &sandbox, args: &args };
    let crash = if args.crash { Some(crash(&pass, surroundings).await?) } else { None };
    let summary = pass.finish(pass.start(surroundings)?).await?;
    let verdict = Verdict::new(&sandbox, &store, &summary, crash).await?;
    surroundings.print(&verdict.to_string(), &verdict)?;
    sandbox.stop().await;
    Ok(if verdict.agrees() { Exit::Well } else { Exit::Internal })
}

async fn provider(args: &DemoArgs, surroundings: &Surroundings) -> Result<Sandbox, CommandError> {
    let config = SandboxConfig {
        users: args.users.get(),
        dead_users: args.users.get().div_ceil(DEAD_SHARE),
        grace: if args.strict { Duration::ZERO } else { GRACE },
        latency: Duration::from_millis(20),
        latency_jitter: Duration::from_millis(60),
        faults: faults(args.users.get())
            .parse()
            .map_err(|error| CommandError::Internal(format!("{error}")))?,
        clock: surroundings.clock.clone(),
        ..SandboxConfig::default()
    };
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Sandbox::start(config, listen).await.map_err(CommandError::io("start the local provider"))
}

/// Writes the documents as a team that never heard of Evergrant has them.
async fn fill(store_file: &Path, sandbox: &Sandbox) -> Result<SqliteStore, CommandError> {
    let store = SqliteStore::open(store_file, Mapping::default()).await?;
    let documents: Vec<Map<String, Value>> = sandbox
        .users()
        .into_iter()
        .enumerate()
        .map(|(index, user)| {
            let document = json!({
                "_id": { "$oid": format!("{index:024x}") },
                "userId": user.user,
                "email": user.email,
                "access_token": user.access_token,
                "refresh_token": user.refresh_token,
            });
            if let Value::Object(fields) = document { fields } else { Map::new() }
        })
        .collect();
    store.import(documents).await?;
    Ok(store)
}

/// Starts the pass, kills it in the middle, and looks at what is left.
async fn crash(pass: &PassProcess<'_>, surroundings: &Surroundings) -> Result<Crash, CommandError> {
    let mut child = pass.start(surroundings)?;
    let enough = pass.args.users.get() as u64 * CRASH_AT_PERCENT / 100;
    while pass.sandbox.ledger().granted < enough {
        if child.try_wait().map_err(CommandError::io("watch the pass"))?.is_some() {
            return Err(CommandError::Internal("the pass ended before it could be killed".to_owned()));
        }
        tokio::time::sleep(LOOK_AT_LEDGER).await;
    }
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id {
        // An error says that it has just ended by itself, and then the wait below tells.
        let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
    }
    child.wait().await.map_err(CommandError::io("wait for the killed pass"))?;
    let entries = Journal::peek(&pass.folder.join("state"))?;
    let of_state = |state| entries.iter().filter(move |entry| entry.state == state);
    let received: Vec<Subject> =
        of_state(EntryState::Answer).map(|entry| entry.intent.subject.clone()).collect();
    let crash = Crash {
        rotated: pass.sandbox.ledger().granted,
        cut_off: of_state(EntryState::Intent).count() as u64,
        received,
    };
    if surroundings.global.format == Format::Text {
        print(&format!(
            "killed with SIGKILL after {} rotations: {} answers in the journal and not yet written back, {} requests without an answer\nstarting again\n",
            crash.rotated,
            crash.received.len(),
            crash.cut_off
        ))?;
    }
    Ok(crash)
}

/// `evergrant run --once` in a process of its own.
struct PassProcess<'a> {
    folder: &'a Path,
    store_file: &'a Path,
    sandbox: &'a Sandbox,
    args: &'a DemoArgs,
}

impl PassProcess<'_> {
    fn start(&self, surroundings: &Surroundings) -> Result<Child, CommandError> {
        let program = std::env::current_exe().map_err(CommandError::io("find this program's own file"))?;
        let quiet = surroundings.global.verbose == 0;
        let mut command = Command::new(program);
        // No settings: no environment, no `.env`, no settings file of the folder in which the demo was started.
        command.env_clear().current_dir(self.folder).args(["run", "--once", "--format", "json"]);
        command.args(quiet.then_some("-qq"));
        let grace = if self.args.strict {
            Vec::new()
        } else {
            vec![("rotation", "grace".to_owned()), ("grace", "30s".to_owned())]
        };
        let settings = [
            ("store.url", format!("sqlite:{}", self.store_file.display())),
            ("state_dir", self.folder.join("state").display().to_string()),
            ("provider", "generic".to_owned()),
            ("token_url", self.sandbox.token_url()),
            ("client_id", self.sandbox.config().client_id.clone()),
            ("client_secret", self.sandbox.config().client_secret.clone()),
            ("refresh_token_lifetime", "14d".to_owned()),
            ("rate", self.args.rate.to_string()),
            ("concurrency", "32".to_owned()),
        ];
        for (key, value) in settings.into_iter().chain(grace) {
            command.env(format!("{PREFIX}{}", key.replace('.', "_").to_uppercase()), value);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(CommandError::io("start the pass"))
    }

    /// Waits for the pass and reads its report.
    async fn finish(&self, child: Child) -> Result<Value, CommandError> {
        let output = child.wait_with_output().await.map_err(CommandError::io("wait for the pass"))?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            CommandError::Internal(format!(
                "the pass ended with {} and no readable report: {error}",
                output.status
            ))
        })
    }
}

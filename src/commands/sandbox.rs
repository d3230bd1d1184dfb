//! `evergrant sandbox`: a local OAuth provider, with the lines to try it by.

use super::{CommandError, Surroundings};
use crate::cli::{Format, RotationArg, SandboxArgs};
use crate::clock::Clock;
use crate::exit::Exit;
use crate::sandbox::{LedgerSummary, RateLimit, Reuse, Rotation, Sandbox, SandboxConfig};
use played::Played;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

mod played;
mod text;

/// What `sandbox --format json` prints once it listens; the ledger is at `ledger_url`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listening {
    /// `http://127.0.0.1:8089`
    pub base_url: String,
    /// The token endpoint.
    pub token_url: String,
    /// The users as token documents, a line each, as `tokens import` reads them.
    pub users_url: String,
    /// What happened so far, in numbers.
    pub ledger_url: String,
    /// The client id that it knows.
    pub client_id: String,
    /// That client's secret; a rehearsal secret, not a real one.
    pub client_secret: String,
    /// Users at the start.
    pub users: usize,
    /// The seed of tokens and faults: `--seed` repeats it.
    pub seed: u64,
    /// The file that the users were written into, with `--documents`.
    pub documents: Option<PathBuf>,
    /// The profile that it plays, or the path of its file; `null` without `--profile`.
    pub profile: Option<String>,
    /// The variables that make Evergrant refresh at this sandbox, in a store of its own.
    pub environment: BTreeMap<String, String>,
    /// The same with Autodesk's profile, for a rehearsal over a MongoDB; `null` with `--profile`.
    pub environment_autodesk: Option<BTreeMap<String, String>>,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn run(args: SandboxArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    surroundings.start_logging();
    let listen = args.listen;
    let documents = args.documents.as_deref().map(absolute).transpose()?;
    let played = args.profile.as_deref().map(Played::load).transpose()?;
    let mut config = sandbox_config(args, surroundings.clock.clone())?;
    if let Some(played) = &played {
        if config.reuse == Reuse::RevokeFamily && played.keeps() {
            return Err(CommandError::usage(
                "`--revoke-family` is about a token that was rotated, and this profile keeps it",
                "leave it out",
            ));
        }
        config = played.by(config)?;
    }
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandError::io("listen to signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CommandError::io("listen to signals"))?;
    let (sandbox, serving) = Sandbox::bind(config, listen).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => CommandError::usage(
            format!("another program listens on {listen}"),
            "`--listen 127.0.0.1:0` takes a free port",
        ),
        _ => CommandError::io(format!("listen on {listen}"))(error),
    })?;
    if let Some(file) = &documents {
        write_documents(&sandbox, file)?;
    }
    let listening = Listening::new(&sandbox, documents, played.as_ref());
    surroundings.print(&text::listening(&listening, &sandbox), &listening)?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    serving.run(stop).await;
    let ledger = sandbox.ledger();
    match surroundings.global.format {
        Format::Text => super::print(&format!("\n{}", ledger_text(&ledger)))?,
        // stdout has its one object.
        Format::Json => tracing::info!("{}", ledger_text(&ledger)),
    }
    Ok(Exit::Well)
}

fn absolute(file: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(file).map_err(CommandError::io(format!("use the path `{}`", file.display())))
}

/// Writes the users as token documents, a line each; only this user may read them, as with real ones.
fn write_documents(sandbox: &Sandbox, file: &Path) -> Result<(), CommandError> {
    let failed = || CommandError::io(format!("write `{}`", file.display()));
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file).map_err(failed())?;
    let mut writer = BufWriter::new(opened);
    sandbox.write_documents(&mut writer).and_then(|()| writer.flush()).map_err(failed())
}

fn sandbox_config(args: SandboxArgs, clock: Clock) -> Result<SandboxConfig, CommandError> {
    if args.dead > args.users {
        return Err(CommandError::usage(
            format!(
                "`--dead {}` contradicts `--users {}`: the dead ones are some of the users",
                args.dead, args.users
            ),
            "make more users",
        ));
    }
    let rotation = match args.rotation {
        RotationArg::Rotate => Rotation::Rotate,
        RotationArg::Keep => Rotation::Keep,
        RotationArg::KeepAndOmit => Rotation::KeepAndOmit,
    };
    if rotation != Rotation::Rotate && (!args.grace.is_zero() || args.revoke_family) {
        return Err(CommandError::usage(
            "`--grace` and `--revoke-family` are about a token that was rotated, and `--rotation` keeps it",
            "leave them out, or use `--rotation rotate`",
        ));
    }
    Ok(SandboxConfig {
        // Another one each time: tokens that an earlier rehearsal redeemed must not come again. Short, to be typed.
        seed: args.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        client_id: args.client_id,
        client_secret: args.client_secret,
        users: args.users,
        dead_users: args.dead,
        rotation,
        grace: args.grace,
        reuse: if args.revoke_family { Reuse::RevokeFamily } else { Reuse::Refuse },
        rate_limit: args.rate_limit,
        latency: args.latency,
        latency_jitter: args.latency_jitter,
        faults: args.fault,
        clock,
        ..SandboxConfig::default()
    })
}

impl Listening {
    fn new(sandbox: &Sandbox, documents: Option<PathBuf>, played: Option<&Played>) -> Self {
        let config = sandbox.config();
        let base_url = sandbox.base_url();
        let environment = match played {
            Some(played) => {
                let mut settings = played.environment(config, &sandbox.token_url());
                settings.extend(rate(config));
                settings
            }
            None => environment(config, &sandbox.token_url()),
        };
        let environment_autodesk = played.is_none().then(|| {
            let mut settings = environment.clone();
            settings.insert("EVERGRANT_PROVIDER".to_owned(), "autodesk".to_owned());
            settings
        });
        Self {
            token_url: sandbox.token_url(),
            users_url: format!("{base_url}/users"),
            ledger_url: format!("{base_url}/ledger"),
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            users: config.users,
            seed: config.seed,
            documents,
            profile: played.map(|played| played.name.clone()),
            environment,
            environment_autodesk,
            base_url,
        }
    }
}

/// The settings of a client that knows how this sandbox behaves; state directory and store are the caller's to choose.
fn environment(config: &SandboxConfig, token_url: &str) -> BTreeMap<String, String> {
    let set = |name: &str, value: &str| (format!("EVERGRANT_{name}"), value.to_owned());
    let mut variables = BTreeMap::from([
        set("PROVIDER", "generic"),
        set("TOKEN_URL", token_url),
        set("CLIENT_ID", &config.client_id),
        set("CLIENT_SECRET", &config.client_secret),
    ]);
    variables.extend(rate(config));
    match config.rotation {
        Rotation::Rotate if !config.grace.is_zero() => {
            variables.extend([
                set("ROTATION", "grace"),
                set("GRACE", &humantime::format_duration(config.grace).to_string()),
            ]);
        }
        Rotation::Rotate => {}
        Rotation::Keep | Rotation::KeepAndOmit => variables.extend([set("ROTATION", "none")]),
    }
    variables
}

fn rate(config: &SandboxConfig) -> Option<(String, String)> {
    config.rate_limit.and_then(client_rate).map(|rate| ("EVERGRANT_RATE".to_owned(), rate))
}

/// The sandbox's limit as the client's rate; a window that the client has no unit for is left to the 429s.
fn client_rate(limit: RateLimit) -> Option<String> {
    let units =
        [("s", Duration::from_secs(1)), ("min", Duration::from_mins(1)), ("h", Duration::from_hours(1))];
    let (unit, _) = units.into_iter().find(|(_, window)| *window == limit.window)?;
    Some(format!("{}/{unit}", limit.grants))
}

fn ledger_text(ledger: &LedgerSummary) -> String {
    let mut text = format!("{} requests to the token endpoint", ledger.requests);
    let answers = [
        ("granted", ledger.granted, ""),
        ("  delivered", ledger.delivered, ""),
        ("  answer lost", ledger.answers_lost, "by a fault"),
        ("  answer not taken", ledger.answers_untaken, "the client hung up"),
        ("refused", ledger.refused, "invalid_grant"),
        ("throttled", ledger.throttled, "429 by the rate limit"),
        ("client rejected", ledger.client_rejected, "invalid_client"),
        ("invalid requests", ledger.invalid_requests, ""),
        ("not processed", ledger.unprocessed, "by a fault"),
        ("reuses", ledger.reuses, "of a redeemed token"),
        ("users alive", ledger.alive_users, ""),
        ("users dead", ledger.dead_users, ""),
    ];
    let always = ["granted", "users alive"];
    for (what, count, note) in
        answers.into_iter().filter(|(what, count, _)| *count > 0 || always.contains(what))
    {
        // Writing into a text can't fail.
        let _ = write!(text, "\n  {:<40}", format!("{what:<20}{count:>8}  {note}"));
        text.truncate(text.trim_end().len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::keys::KEYS;
    use crate::failure::told;
    use crate::provider::rate::Rate;
    use clap::Parser as _;

    fn args(line: &str) -> SandboxArgs {
        let line = format!("evergrant sandbox {line}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Sandbox(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_variable_of_the_block_is_a_key() {
        for line in ["--rate-limit 50/s --grace 30s", "--rotation keep", "--rate-limit 10/10s"] {
            let config = sandbox_config(args(line), Clock::system()).unwrap();
            for (name, value) in environment(&config, "http://127.0.0.1:8089/token") {
                assert!(KEYS.iter().any(|key| key.variable() == name), "{name}");
                assert!(name != "EVERGRANT_RATE" || value.parse::<Rate>().is_ok(), "{value}");
            }
        }
    }

    #[tokio::test]
    async fn the_block_can_be_pasted() {
        let mut config =
            sandbox_config(args("--users 3 --dead 1 --rate-limit 50/s --seed 7"), Clock::system()).unwrap();
        config.client_secret = "it's a secret".to_owned();
        let (sandbox, _serving) = Sandbox::bind(config, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let text = text::listening(&Listening::new(&sandbox, None, None), &sandbox);
        insta::assert_snapshot!(text.replace(&sandbox.address().port().to_string(), "PORT"));
    }

    #[test]
    fn each_rehearsal_has_a_seed_of_its_own_unless_one_is_given() {
        let seed = |line: &str| sandbox_config(args(line), Clock::system()).unwrap().seed;
        assert_eq!(seed("--seed 7"), 7);
        let drawn: std::collections::BTreeSet<_> = (0..8).map(|_| seed("")).collect();
        assert!(drawn.len() > 1, "{drawn:?}");
    }

    #[tokio::test]
    async fn an_address_that_others_reach_is_warned_of() {
        for (address, warned) in [("127.0.0.1:0", false), ("0.0.0.0:0", true), ("[::]:0", true)] {
            let config = sandbox_config(args("--users 1"), Clock::system()).unwrap();
            let Ok((sandbox, _serving)) = Sandbox::bind(config, address.parse().unwrap()).await else {
                // A machine without IPv6.
                assert!(address.starts_with('['), "{address}");
                continue;
            };
            let text = text::listening(&Listening::new(&sandbox, None, None), &sandbox);
            assert_eq!(text.contains("warning: other machines can reach this sandbox"), warned, "{text}");
        }
    }

    #[tokio::test]
    async fn the_users_are_written_as_the_documents_that_an_import_reads() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users.json");
        let config = sandbox_config(args("--users 600"), Clock::system()).unwrap();
        let (sandbox, _serving) = Sandbox::bind(config, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        write_documents(&sandbox, &file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let read = std::fs::read(&file).unwrap();
        let read = crate::store::import::read_documents(read.as_slice(), None);
        let documents: Vec<_> = read.map(|document| document.unwrap().1).collect();
        let users = sandbox.users();
        assert_eq!(documents.len(), users.len());
        assert_eq!(documents[599]["email"], users[599].email.as_str());
        assert_eq!(documents[599]["refresh_token"], users[599].refresh_token.as_str());
        assert!(documents[0]["_id"]["$oid"].is_string());
    }

    #[test]
    fn contradictions_are_refused() {
        for (line, part) in [
            ("--users 3 --dead 4", "`--dead 4` contradicts `--users 3`"),
            ("--rotation keep --grace 1s", "`--grace` and `--revoke-family`"),
            ("--rotation keep-and-omit --revoke-family", "`--grace` and `--revoke-family`"),
        ] {
            let error = sandbox_config(args(line), Clock::system()).unwrap_err();
            assert!(told(&error).starts_with(part), "{}", told(&error));
            assert_eq!(error.exit(), Exit::Usage);
        }
    }

    #[test]
    fn the_last_words_are_those_counts_that_say_something() {
        let ledger = LedgerSummary {
            requests: 9,
            granted: 6,
            delivered: 5,
            answers_lost: 1,
            refused: 3,
            alive_users: 6,
            dead_users: 3,
            ..LedgerSummary::default()
        };
        insta::assert_snapshot!(ledger_text(&ledger));
    }
}

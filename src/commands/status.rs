//! `evergrant status`: how the service stands, as it says itself; where no process answers, by its journal and the store.

mod by_journal;

use super::{CommandError, Surroundings, print};
use crate::cli::{Format, StatusArgs};
use crate::config::{Config, Need};
use crate::exit::Exit;
use crate::journal::{Journal, JournalError, Looked};
use crate::watch::admin::{EXIT_HEADER, JOURNAL_HEADER};
use crate::watch::{Listen, Said, ask};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Prints how it stands, and ends with what that asks for.
pub async fn run(args: &StatusArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    // A person who may not read the providers' secrets may know how the service stands.
    let config = match surroundings.config_in_silence(Need::Provider) {
        Ok(config) => config,
        Err(_) => surroundings.config_in_silence(Need::Store)?,
    };
    if args.live {
        return live(&config).await;
    }
    let looked = look(&config).await;
    let id = looked.as_ref().ok().map(|looked| &*looked.id);
    match process(&config, id, surroundings.global.format).await {
        Ok(said) => {
            print(said.text.trim_end())?;
            Ok(exit_of(said.headers.get(EXIT).and_then(Option::as_deref)))
        }
        Err(reason) => {
            let standing = by_journal::standing(&config, looked?, reason, surroundings).await?;
            surroundings.print(&standing.to_string(), &standing)?;
            Ok(standing.exit)
        }
    }
}

/// The headers that are asked for, and the place of each among them.
const HEADERS: [&str; 2] = [JOURNAL_HEADER, EXIT_HEADER];
const JOURNAL: usize = 0;
const EXIT: usize = 1;

async fn look(config: &Config) -> Result<Looked, CommandError> {
    let directory = config.state_dir.clone();
    let looked = tokio::task::spawn_blocking(move || Journal::look_at_passes(&directory));
    let panicked = |source| CommandError::Panicked { what: "reading the journal", source };
    Ok(looked.await.map_err(panicked)?.map_err(|error: JournalError| error)?)
}

/// Does the process work? Needs no token.
async fn live(config: &Config) -> Result<Exit, CommandError> {
    let Some(address) = address(config) else {
        return Err(CommandError::usage(
            "`admin.listen` is `off`, so the process can't be asked",
            "set `admin.listen` to an address, like `127.0.0.1:9877`",
        ));
    };
    match ask(address, "/livez", None, &[]).await {
        Ok(said) => {
            print(said.text.trim_end())?;
            Ok(if said.status == 200 { Exit::Well } else { Exit::Unavailable })
        }
        Err(reason) => {
            print(&format!("no process answers at {address}: {reason}"))?;
            Ok(Exit::Unavailable)
        }
    }
}

/// What the process says that holds the journal with this id; else why that isn't known, in words.
async fn process(config: &Config, id: Option<&str>, format: Format) -> Result<Said, String> {
    let address = address(config).ok_or("`admin.listen` is `off`")?;
    let path = match format {
        Format::Text => "/status",
        Format::Json => "/status.json",
    };
    let asked = ask(address, path, config.watch.token.as_ref(), &HEADERS).await;
    let said = asked.map_err(|reason| format!("no process answers at {address} ({reason})"))?;
    match (said.status, said.headers.get(JOURNAL).cloned().flatten()) {
        (200, Some(theirs)) if id.is_none_or(|ours| ours == theirs) => Ok(said),
        (200, Some(_)) => Err(format!("the process at {address} holds the journal of another `state_dir`")),
        (401 | 403, _) => Err(format!("the process at {address} does not tell it: {}", said.text.trim())),
        (status, _) => Err(format!("what answers at {address} is no service of Evergrant (HTTP {status})")),
    }
}

/// Where a process of this machine is asked that listens as the settings say.
fn address(config: &Config) -> Option<SocketAddr> {
    let Listen { address, .. } = config.watch.listen?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, address.port()))
}

/// The exit code that a process named; an unknown one is of a later version.
fn exit_of(code: Option<&str>) -> Exit {
    let named = |exit: &Exit| code.and_then(|code| code.parse().ok()) == Some(exit.code());
    Exit::ALL.into_iter().find(named).unwrap_or(Exit::StillDue)
}

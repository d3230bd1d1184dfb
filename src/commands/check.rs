//! `evergrant check`: everything that a pass needs, looked at before one is needed. Changes nothing but the due index.

mod clock;
mod collection;
mod ending;
mod endpoint;
mod finding;
mod foreign;
#[cfg(test)]
mod given;
mod keep;
mod learned;
mod state;

pub(super) use endpoint::made_up_token;

use super::{CommandError, Surroundings, remark};
use crate::cli::CheckArgs;
use crate::clock::Timestamp;
use crate::config::{Config, Need};
use crate::exit::Exit;

pub use finding::{Check, CheckReport};

/// The wakes that are shown.
const SHOWN_WAKES: usize = 3;

/// Looks at everything, prints what it found, and ends with the most urgent code of the checks that failed.
///
/// # Errors
/// Settings that can't be used: then there is nothing to check.
pub async fn run(args: &CheckArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let config = surroundings.config_in_silence(Need::Provider)?;
    let clock = &surroundings.clock;
    let mut checks = settings(&config);
    checks.extend(state::checks(&config.state_dir, config.journal.free_space_floor_bytes, clock.now()).await);
    checks.extend(remark::about_state(&config).await?.into_iter().map(Check::remark));
    let looked = collection::checks(&config, args.allow_empty, clock).await;
    checks.extend(looked.checks);
    checks.push(wakes(&config, clock.now()));
    for provider in &config.providers {
        let learned = learned::recall(&config.state_dir, provider).await;
        let (documents, probe) = (looked.documents, args.probe_client);
        checks.extend(endpoint::checks(provider, &config, learned, documents, probe, clock).await);
    }
    let report = CheckReport { checks };
    surroundings.print(&report.text(), &report)?;
    Ok(report.exit())
}

fn settings(config: &Config) -> Vec<Check> {
    let from = match config.sources.as_slice() {
        [] => "from environment, command line and defaults; no settings file was found".to_owned(),
        sources => format!("from {}, beside environment and command line", sources.join(", ")),
    };
    let names: Vec<_> = config
        .providers
        .iter()
        .map(|provider| {
            let profile = &provider.profile_name;
            if *provider.name == **profile {
                profile.clone()
            } else {
                format!("{} (profile `{profile}`)", provider.name)
            }
        })
        .collect();
    let word = if names.len() == 1 { "provider" } else { "providers" };
    let mut checks = vec![Check::ok("settings", format!("{from}; {word}: {}", names.join(", ")))];
    checks.extend(endpoint::other_warnings(config).map(|warning| Check::warned("settings", warning)));
    checks
}

fn wakes(config: &Config, now: Timestamp) -> Check {
    if config.schedule.is_continuous() {
        let when = "continuous: a service begins a pass when a document falls due, and looks for that about once a minute";
        return Check::ok("schedule", when);
    }
    let wakes = config.schedule.next_wakes(now, SHOWN_WAKES);
    let wakes: Vec<_> = wakes.iter().map(ToString::to_string).collect();
    Check::ok("schedule", format!("{}; next: {}", config.schedule, wakes.join(", ")))
}

//! How it stands where no process tells it: by the journal in the state directory, and by the store, which is asked once.

use crate::assembly;
use crate::clock::Timestamp;
use crate::commands::{CommandError, Surroundings, forecast};
use crate::config::Config;
use crate::failure::{Advice as _, error_chain};
use crate::journal::{Journal, Looked};
use crate::pass::{go_by_its_time, must_exist};
use crate::room::free_bytes;
use crate::store::{Health, Store, StoreError};
use crate::survey::{NotMade, Survey};
use crate::watch::standing::{Source, Standing};
use crate::watch::{JournalStatus, OTHER, ProviderStatus, Space, Status, StoreStatus};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longest time for the store: a person waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the store said.
struct Asked {
    collection: String,
    survey: Result<Survey, NotMade>,
    is_away: bool,
}

/// Puts it together; `reason` says why no process was asked.
pub(super) async fn standing(
    config: &Config,
    looked: Looked,
    reason: String,
    surroundings: &Surroundings,
) -> Result<Standing, CommandError> {
    let holder = Journal::holder(&config.state_dir)?;
    let reason = match &holder {
        Some(holder) => format!("{reason}; the journal is held by {holder}"),
        None if Journal::exists(&config.state_dir) => {
            format!("no process holds the journal in {}; {reason}", config.state_dir.display())
        }
        None => format!("there is no journal in {} yet; {reason}", config.state_dir.display()),
    };
    let source = Source::Journal { held: holder.is_some(), reason };
    let asked = ask_the_store(config, surroundings).await;
    let now = surroundings.clock.now();
    let interval = config.schedule.longest_gap(now).to_std().ok();
    let floor_bytes = config.journal.free_space_floor_bytes;
    let space = |place: &Path| Some(Space { free_bytes: free_bytes(place).ok()?, floor_bytes });
    let up = asked.survey.is_ok().then_some(true).or(asked.is_away.then_some(false));
    let (survey, survey_not_made) = match asked.survey {
        Ok(survey) => (Some(survey), None),
        Err(why) => (None, Some(why)),
    };
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        collection: asked.collection,
        now,
        started_at: None,
        phase: None,
        since: None,
        hangs: None,
        next_wake_at: None,
        follow_up_at: None,
        wake_interval_seconds: interval.map(|interval| interval.as_secs()),
        providers: providers(config, &looked, now),
        journal: JournalStatus {
            id: looked.id,
            up: true,
            counted_at: Some(now),
            entries: looked.census.states,
            unknown_entries: looked.census.unknown,
            oldest_sent_at: looked.census.oldest_sent_at,
            space: space(&config.state_dir),
        },
        store: StoreStatus {
            up,
            health: Health { up, ..Health::default() },
            indexes: BTreeMap::new(),
            space: assembly::embedded_file(config).and_then(Path::parent).and_then(space),
        },
        survey,
        survey_not_made,
    };
    Ok(Standing::of(status, source))
}

/// How the tokens stand, by the store; the clock goes by the store's from then on.
async fn ask_the_store(config: &Config, surroundings: &Surroundings) -> Asked {
    let not_made = |error: &CommandError| NotMade {
        reason: error_chain(error),
        hint: error.hint().map(Cow::into_owned),
    };
    let store = match connect(config).await {
        Ok(store) => store,
        Err(error) => {
            let file = assembly::embedded_file(config).map(|file| file.display().to_string());
            return Asked {
                collection: file.unwrap_or_default(),
                survey: Err(not_made(&error)),
                is_away: false,
            };
        }
    };
    let collection = store.describe();
    let (config, clock) = (config.clone(), surroundings.clock.clone());
    // A task of its own, because a store's method must run to completion.
    let asking = tokio::spawn(async move {
        must_exist(&store.existence().await?)?;
        go_by_its_time(&*store, &clock).await?;
        Ok::<_, CommandError>(forecast::ask(&*store, &config, clock.now()).await)
    });
    let (survey, is_away) = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(Ok(survey))) => (survey, false),
        Ok(Ok(Err(error))) => {
            let is_away = matches!(&error, CommandError::Store(StoreError::Unavailable { .. }));
            (Err(not_made(&error)), is_away)
        }
        Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        Err(_) => {
            let reason = format!("the store has not answered for {} s", PATIENCE.as_secs());
            (Err(NotMade { reason, hint: None }), true)
        }
    };
    Asked { collection, survey, is_away }
}

/// Opens what is there; asks no server yet.
async fn connect(config: &Config) -> Result<Arc<dyn Store>, CommandError> {
    // To open an embedded store that isn't there would be to make it.
    assembly::must_be_there(config)?;
    Ok(assembly::store(config).await?)
}

/// The configured providers, and what is noted of documents of no configured one.
fn providers(config: &Config, looked: &Looked, now: Timestamp) -> BTreeMap<String, ProviderStatus> {
    let of = |name: &str| {
        let last = looked.passes.get(name).cloned().unwrap_or_default().known_at(now);
        ProviderStatus {
            last_pass: last.record.as_deref().and_then(|json| serde_json::from_str(json).ok()),
            last_complete_pass_at: last.complete_at,
            ..ProviderStatus::unknown()
        }
    };
    let mut providers: BTreeMap<_, _> =
        config.provider_names.iter().map(|name| (name.clone(), of(name))).collect();
    if config.store.mapping.provider.is_some() {
        providers.entry(OTHER.to_owned()).or_insert_with(|| of(""));
    }
    providers
}

//! `evergrant run`: one pass, or passes on the schedule.

mod plan;
mod watching;

use super::remark::Remark;
use super::{CommandError, Surroundings, forecast, journal, remark};
use crate::assembly;
use crate::cli::{RunArgs, SucceedOn};
use crate::clock::Timestamp;
use crate::config::{Chances, Config, Keeping, MAX_RETRY_AFTER_FAILURE, Need, Warning, drain_warning};
use crate::daemon::{Daemon, stop_on_signals};
use crate::engine::Engine;
use crate::exit::Exit;
use crate::failure::{Advice as _, told, with_hint};
use crate::grant::http::Https;
use crate::pass::{Base, PassError, PassRequest, Stop};
use crate::provider::Provider;
use crate::report::summary::{Summary, Warned};
use crate::report::{Reports, Trouble, progress};
use crate::store::{Existence, IndexState, Readiness};
use crate::survey::NotMade;
use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use tracing::{info, warn};
use watching::Watching;

/// Runs until the pass is through, or until a signal.
pub async fn run(args: RunArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Provider)?;
    if args.dry_run {
        return plan::run(&args, &config, surroundings).await;
    }
    if !args.allow_empty {
        assembly::must_be_there(&config)?;
    }
    let engine = assembly::engine(&config, &surroundings.clock, &Https).await?;
    let stop = Stop::default();
    stop_on_signals(stop.clone(), config.stop_grace)?;
    engine.life().wakes_every(config.schedule.longest_gap(surroundings.clock.now()).to_std().ok());
    let watching = if args.once {
        Watching::of_one_pass(&config.watch, &engine).await
    } else {
        Watching::of_a_service(&config.watch, &engine).await?
    };
    let ended = passes(args, &config, &engine, &stop, surroundings).await;
    if ended.is_err() {
        engine.could_not_begin();
    }
    watching.end().await;
    engine.close().await;
    ended
}

/// One pass, or passes until a signal.
async fn passes(
    args: RunArgs,
    config: &Config,
    engine: &Engine,
    stop: &Stop,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let base = &engine.base;
    let request = PassRequest {
        force: args.force,
        limit: args.limit,
        provider: args.provider,
        only: None,
        accept_refusals: args.accept_refusals,
        take_over: args.take_over,
    };
    if args.adopt_store {
        adopt_store(base).await?;
    }
    // A stop that comes first is the pass' to tell.
    let readiness = engine.ready(stop, args.allow_empty).await?;
    if readiness.is_some() {
        tell_remarks(config, base).await?;
    }
    if args.once {
        if let Some(readiness) = &readiness {
            tell_existence(base, &readiness.existence);
        }
        return once(config, engine, &request, &args.succeed_on, stop, surroundings).await;
    }
    if let Some(readiness) = &readiness {
        tell_readiness(config, base, readiness, surroundings);
    }
    let daemon = Daemon {
        engine: engine.clone(),
        schedule: config.schedule.clone(),
        first_backoff: config.retry_after_failure,
        longest_backoff: MAX_RETRY_AFTER_FAILURE,
    };
    Ok(daemon.run(stop).await?)
}

/// Says what `check` would, and notes by which settings this process works.
async fn tell_remarks(config: &Config, base: &Base) -> Result<(), CommandError> {
    let remarks = remark::about_state(config).await?;
    // A store that is away by now is the pass' to tell.
    let about_identity = base.store.identity().await.ok().and_then(|here| remark::about_identity(&here));
    remarks.iter().chain(&about_identity).for_each(Remark::tell);
    Ok(base.journal.note_documents(remark::settings_now(config)).await.map_err(PassError::from)?)
}

/// Makes the journal's rows those of this store, and says so.
pub(super) async fn adopt_store(base: &Base) -> Result<(), CommandError> {
    let here = base.store.describe();
    let adoption = base.adopt_store().await?;
    if adoption.from.is_empty() {
        info!("`--adopt-store`: all entries of the journal belong to {here} already");
    } else {
        warn!("{}", journal::adopted_text(&adoption, &here));
    }
    Ok(())
}

async fn once(
    config: &Config,
    engine: &Engine,
    request: &PassRequest,
    succeed_on: &[SucceedOn],
    stop: &Stop,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let reports = Arc::new(Reports::new());
    let done = tokio_util::sync::CancellationToken::new();
    let bar = {
        let (base, request) = (engine.base.clone(), request.clone());
        let total = async move { base.count_due(&request).await };
        tokio::spawn(progress::draw(surroundings.talk.clone(), reports.clone(), total, done.clone()))
    };
    for provider in &config.providers {
        let chances = Chances::of(config, provider, surroundings.clock.now());
        // What a service is warned of was told with the settings. A person at a terminal starts one pass by hand.
        if !io::stderr().is_terminal()
            && let Some(chances) = chances.filter(|chances| chances.warning().is_none())
            && let Some(warning) = chances.warning_for_once()
        {
            warn!("{}", told(&warning));
        }
    }
    info!("one pass over {}", engine.base.store.describe());
    let summary = engine.run(request, stop, reports).await;
    done.cancel();
    // A bar that can't be drawn is no reason to fail.
    let _ = bar.await;
    let mut summary = summary?;
    if summary.documents == Some(0) {
        warn!("{}", with_hint(format!("0 documents in {}", summary.collection), Some(RIGHT_STORE)));
    }
    let documents = summary.documents.unwrap_or_default();
    summary.warnings.extend(warned(config, engine, documents, surroundings).await?);
    add_forecast(&mut summary, config, engine, stop, surroundings).await;
    surroundings.print(&summary.to_string(), &summary)?;
    Ok(exit_but_for(&summary, succeed_on))
}

/// The most urgent reason that doesn't count as success.
fn exit_but_for(summary: &Summary, succeed_on: &[SucceedOn]) -> Exit {
    let (success, others): (Vec<_>, Vec<_>) = summary
        .reasons()
        .into_iter()
        .partition(|exit| succeed_on.iter().any(|success| success.exit() == *exit));
    for exit in success {
        info!("exit code {} ({}) counts as success, as `--succeed-on` says", exit.code(), exit.word());
    }
    others.into_iter().fold(Exit::Well, Exit::or_more_urgent)
}

/// Adds when logins end from now on, or why that isn't known.
async fn add_forecast(
    summary: &mut Summary,
    config: &Config,
    engine: &Engine,
    stop: &Stop,
    surroundings: &Surroundings,
) {
    let is_away = summary.troubles.iter().any(|trouble| matches!(trouble, Trouble::Store { .. }));
    // A store that is away has been told of, and an empty one has no login.
    if is_away || summary.documents.unwrap_or_default() == 0 {
        return;
    }
    let (store, now) = (engine.base.store.clone(), surroundings.clock.now());
    match forecast::ask_unless(stop, store, config, now).await {
        Some(Ok(survey)) => {
            engine.note_survey(Ok(survey.clone()));
            summary.forecast = Some(survey);
        }
        Some(Err(NotMade { reason, hint })) => {
            let message = format!("when logins end is not known: {reason}");
            summary.warnings.push(Warned { provider: None, message, hint });
        }
        None => {}
    }
}

/// What to ask oneself where there is nothing to do.
const RIGHT_STORE: &str = "is this the database and collection that you meant?";

/// Says whether the collection is there, where it isn't, or where that can't be asked.
fn tell_existence(base: &Base, existence: &Existence) {
    let at = base.store.describe();
    match existence {
        Existence::There => {}
        Existence::Absent { .. } => {
            warn!("{}", with_hint(format!("{at} doesn't exist"), Some(RIGHT_STORE)));
        }
        Existence::Unknown(reason) => {
            warn!("the store doesn't let us list the collections ({reason}): is {at} there?");
        }
    }
}

/// Says at the start what would surprise later.
fn tell_readiness(config: &Config, base: &Base, readiness: &Readiness, surroundings: &Surroundings) {
    info!(
        documents = readiness.documents,
        server = readiness.server,
        "{} documents in {}",
        readiness.documents,
        base.store.describe()
    );
    tell_existence(base, &readiness.existence);
    let claims = match &readiness.claims {
        IndexState::Ready => None,
        IndexState::Older { reason, command, .. } | IndexState::Missing { reason, command } => Some((
            format!("the index of claims is missing ({reason}), so every pass looks for claims by a scan"),
            command,
        )),
    };
    let missing = match &readiness.index {
        IndexState::Ready => None,
        IndexState::Older { index, reason, command } => Some((
            format!(
                "the due index that begins with the provider is missing ({reason}), so each wake reads what is due by `{index}`"
            ),
            command,
        )),
        IndexState::Missing { reason, command } => Some((
            format!("the due index is missing ({reason}), so every pass scans the collection"),
            command,
        )),
    };
    let expiry = match &readiness.expiry {
        IndexState::Ready => None,
        IndexState::Older { reason, command, .. } | IndexState::Missing { reason, command } => {
            Some((format!("the expiry index is missing ({reason}), so there is no forecast"), command))
        }
    };
    for (missing, command) in missing.into_iter().chain(claims).chain(expiry) {
        let hint = format!("ask a person who may create indexes to run in `mongosh`: {command}");
        warn!("{}", with_hint(missing, Some(&hint)));
    }
    tell_drain(config, readiness.documents, surroundings);
}

/// Warns where a pass over `documents` documents can take longer than a token lives.
fn tell_drain(config: &Config, documents: u64, surroundings: &Surroundings) {
    let now = surroundings.clock.now();
    for provider in &config.providers {
        slow_passes(config, provider, documents, now).for_each(|warning| warn!("{}", told(&warning)));
    }
}

/// What `check` would warn of, with the documents that there are.
fn slow_passes(
    config: &Config,
    provider: &Provider,
    documents: u64,
    now: Timestamp,
) -> impl Iterator<Item = Warning> {
    let drain = drain_warning(documents, provider, &config.schedule, config.renew_after, now);
    let keeping = Keeping::of(config, provider, now);
    let keeping = keeping.and_then(|keeping| keeping.warning(documents, provider.profile.rate));
    drain.into_iter().chain(keeping)
}

/// The same for the report, and which lives, by the answers, are too short for the schedule.
async fn warned(
    config: &Config,
    engine: &Engine,
    documents: u64,
    surroundings: &Surroundings,
) -> Result<Vec<Warned>, CommandError> {
    let now = surroundings.clock.now();
    let mut warned = Vec::new();
    for provider in &config.providers {
        warned.extend(slow_passes(config, provider, documents, now).map(|warning| Warned {
            provider: Some(provider.name.to_string()),
            message: warning.to_string(),
            hint: warning.hint().map(Cow::into_owned),
        }));
    }
    // A journal that has failed has told so.
    if engine.base.journal.is_broken() {
        return Ok(warned);
    }
    warned.extend(engine.too_short(&config.schedule).await?.into_iter().map(|(provider, why)| Warned {
        message: format!("`{provider}`: {why}"),
        hint: Some(why.advice_for_once()),
        provider: Some(provider.to_string()),
    }));
    Ok(warned)
}

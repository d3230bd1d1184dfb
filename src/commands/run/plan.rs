//! `evergrant run --once --dry-run`: whom a pass would ask now, in which order, and how long it takes. Nothing is claimed, asked or
//! written, so it can be run beside a service.

mod text;

use super::super::CommandError;
use super::super::Surroundings;
use super::super::tokens::connect_existing;
use crate::cli::RunArgs;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::exit::Exit;
use crate::journal::{Journal, KnownTokens, Looked};
use crate::pass::PassError;
use crate::provider::Provider;
use crate::provider::memory::Memory;
use crate::provider::rate::Rate;
use crate::report::PassRecord;
use crate::select::{ClaimTerms, Foresight, Intended, sendable};
use crate::store::{DueQuery, Position, ProviderFilter, Store};
use crate::token::{Fingerprint, RefreshToken, Subject, TokenDocument, TokenId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Documents read at once.
const PAGE: usize = 500;

/// Documents of a provider that are listed, unless `--limit` says how many a pass takes.
const LISTED: u64 = 100;

/// What a pass would do now.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The collection and its store.
    pub collection: String,
    /// The moment that it speaks of.
    pub at: Timestamp,
    /// The process that holds the journal, in words: a pass by hand ends with exit code 6 beside it.
    pub held_by: Option<String>,
    /// Documents that a pass which runs has claimed; they are in no other number.
    pub claimed: u64,
    /// Each provider's pass; all of them run at the same time.
    pub passes: Vec<PlannedPass>,
}

/// What a pass of one provider would do.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedPass {
    /// The provider; none for documents of no configured one.
    pub provider: Option<String>,
    /// The first documents whose token would be sent, in the order in which they are taken.
    pub asked: Vec<PlannedDocument>,
    /// How many documents would end in which way, by the words of [`Way`].
    pub documents: BTreeMap<Way, u64>,
    /// How long its requests take at least, in seconds: by the rate, or without one as fast as the last pass was; none where neither is
    /// known.
    pub takes_seconds: Option<f64>,
    /// Until when the provider asked us to wait: a pass before that asks for nothing.
    pub paused_until: Option<Timestamp>,
}

/// A document whose token would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedDocument {
    /// Its `_id`, as extended JSON.
    pub id: TokenId,
    /// How a person recognises it.
    pub subject: Subject,
    /// When it is due; none means at once.
    pub due_at: Option<Timestamp>,
}

/// What becomes of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Its token is sent.
    Asked,
    /// It is marked, and long enough ago: its token is sent once more, after all others.
    AskedOnceMore,
    /// It is marked, and only named again.
    Marked,
    /// It holds no token that can be sent.
    Malformed,
    /// Its answer is in the journal already: that is written back, and nothing is sent.
    InJournal,
    /// The journal knows that its token was redeemed: it isn't sent.
    Redeemed,
    /// The process of another machine may hold its answer: it waits.
    Waits,
    /// Another process may have sent its token, and its life is over: it is marked.
    TooLate,
    /// Behind what `--limit` lets a pass take.
    BeyondLimit,
}

/// Prints what a pass would do.
pub(super) async fn run(
    args: &RunArgs,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let store = connect_existing(config, &surroundings.clock).await?;
    let here = store.identity().await?;
    let looked = {
        let directory = config.state_dir.clone();
        blocking(move || {
            let other = Journal::look_for_other_store(&directory, &here)?;
            Ok::<_, CommandError>((
                other.map(|other| PassError::other_store(&directory, other, &here)),
                Journal::look_at_passes(&directory)?,
                Journal::holder(&directory)?,
            ))
        })
        .await??
    };
    // A pass would refuse to begin.
    let (refusal, looked, holder) = looked;
    if let Some(refusal) = refusal {
        return Err(refusal.into());
    }
    let planner = Planner { args, config, store: &*store, looked: &looked, surroundings };
    let plan = Plan {
        collection: store.describe(),
        at: surroundings.clock.now(),
        held_by: holder.map(|holder| holder.to_string()),
        claimed: planner.claimed().await?,
        passes: planner.passes().await?,
    };
    surroundings.print(&plan.to_string(), &plan)?;
    Ok(Exit::Well)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CommandError> {
    let panicked = |source| CommandError::Panicked { what: "reading the journal", source };
    tokio::task::spawn_blocking(work).await.map_err(panicked)
}

struct Planner<'a> {
    args: &'a RunArgs,
    config: &'a Config,
    store: &'a dyn Store,
    looked: &'a Looked,
    surroundings: &'a Surroundings,
}

impl Planner<'_> {
    /// How many documents a pass that runs has claimed.
    async fn claimed(&self) -> Result<u64, CommandError> {
        let (mut after, mut claimed, by) = (None, 0, self.takes_over_from());
        loop {
            let page = self.store.claimed(after.as_ref(), PAGE).await?;
            let lives = |document: &&TokenDocument| {
                document.bookkeeping.lease.as_ref().is_some_and(|lease| lease.until > by)
            };
            claimed += page.documents.iter().filter(lives).count() as u64;
            after = page.next;
            if after.is_none() {
                return Ok(claimed);
            }
        }
    }

    fn takes_over_from(&self) -> Timestamp {
        ClaimTerms::takes_over(self.config.lease, &self.surroundings.clock)
    }

    async fn passes(&self) -> Result<Vec<PlannedPass>, CommandError> {
        let (asked_for, all) = (self.args.provider.as_deref(), &self.config.providers);
        let chosen: Vec<_> =
            all.iter().filter(|provider| asked_for.is_none_or(|name| *provider.name == *name)).collect();
        if let (true, Some(name)) = (chosen.is_empty(), asked_for) {
            let names = self.config.provider_names.join(", ");
            return Err(PassError::NoSuchProvider(name.to_owned(), names).into());
        }
        let by_name = self.config.store.mapping.provider.is_some();
        let mut passes = Vec::new();
        for provider in chosen {
            let filter =
                if by_name { ProviderFilter::Named(provider.name.to_string()) } else { ProviderFilter::Any };
            passes.push(self.pass(Some(provider), filter).await?);
        }
        if by_name && asked_for.is_none() {
            let others = self.pass(None, ProviderFilter::NoneOf(self.config.provider_names.clone())).await?;
            passes.extend((!others.documents.is_empty()).then_some(others));
        }
        Ok(passes)
    }

    async fn pass(
        &self,
        provider: Option<&Arc<Provider>>,
        filter: ProviderFilter,
    ) -> Result<PlannedPass, CommandError> {
        let memory = match provider {
            Some(provider) => self.memory(provider).await?,
            None => None,
        };
        let mut tally = Tally::new(self.args.limit.map(std::num::NonZeroU64::get));
        let now = self.surroundings.clock.now();
        let given_up = self.args.take_over.iter().cloned().collect::<BTreeSet<_>>();
        let foresight = Foresight {
            profile: provider.map(|provider| &provider.profile),
            force: self.args.force,
            journal: &self.looked.id,
            given_up: &given_up,
            learned_life: memory.and_then(|memory| memory.learned.refresh),
            lease: self.config.lease,
            now,
        };
        let mut after = None;
        loop {
            let (documents, next) = self.page(now, &filter, after).await?;
            let documents: Vec<_> = documents
                .into_iter()
                .map(|document| sendable(document, &filter, provider.map(Arc::as_ref), now))
                .collect();
            let known = self.known(&documents).await?;
            for document in documents {
                let way = match foresight.of(&document) {
                    Intended::Known => Way::Marked,
                    Intended::NoToken(_) => Way::Malformed,
                    Intended::Wait { .. } => Way::Waits,
                    Intended::TooLate => Way::TooLate,
                    asked @ (Intended::Ask | Intended::LookAgain) => match known_way(&document, &known) {
                        Some(way) => way,
                        None if asked == Intended::Ask => Way::Asked,
                        None => Way::AskedOnceMore,
                    },
                };
                tally.add(way, document);
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let (requests, last) = (tally.requests(), provider.and_then(|provider| self.last(&provider.name)));
        let takes = provider
            .and_then(|provider| takes(requests, provider.profile.rate, memory.as_ref(), last.as_ref()));
        Ok(PlannedPass {
            provider: provider.map(|provider| provider.name.to_string()),
            asked: tally.listed(),
            documents: tally.documents,
            takes_seconds: takes.map(|takes| takes.as_secs_f64()),
            paused_until: memory.and_then(|memory| memory.paused_until).filter(|until| *until > now),
        })
    }

    async fn page(
        &self,
        now: Timestamp,
        filter: &ProviderFilter,
        after: Option<Position>,
    ) -> Result<(Vec<TokenDocument>, Option<Position>), CommandError> {
        let query = DueQuery {
            due_by: now,
            due_after: None,
            force: self.args.force,
            now: self.takes_over_from(),
            limit: PAGE,
            after,
            providers: filter.clone(),
        };
        let page = self.store.due_page(&query).await?;
        Ok((page.documents, page.next))
    }

    /// What the journal knows of the tokens in these documents.
    async fn known(&self, documents: &[TokenDocument]) -> Result<KnownTokens, CommandError> {
        let directory = self.config.state_dir.clone();
        let tokens: Vec<Fingerprint> = documents
            .iter()
            .filter_map(|document| document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint))
            .collect();
        Ok(blocking(move || Journal::known(&directory, &tokens)).await??)
    }

    async fn memory(&self, provider: &Provider) -> Result<Option<Memory>, CommandError> {
        let (directory, name) = (self.config.state_dir.clone(), provider.name.clone());
        Ok(blocking(move || Journal::look_at_standing(&directory, &name)).await??)
    }

    fn last(&self, provider: &str) -> Option<PassRecord> {
        serde_json::from_str(self.looked.passes.get(provider)?.record.as_deref()?).ok()
    }
}

fn known_way(document: &TokenDocument, known: &KnownTokens) -> Option<Way> {
    let token = document.refresh_token.as_ref().ok()?.fingerprint();
    if known.on_their_way.contains(&token) {
        return Some(Way::InJournal);
    }
    known.redeemed.contains(&token).then_some(Way::Redeemed)
}

/// How long these requests take at least.
fn takes(
    requests: u64,
    rate: Option<Rate>,
    memory: Option<&Memory>,
    last: Option<&PassRecord>,
) -> Option<Duration> {
    if let Some(rate) = rate {
        let factor = memory.map_or(1.0, |memory| memory.factor);
        return Some(rate.time_for(requests).div_f64(factor));
    }
    let last = last.filter(|last| last.grants > 0)?;
    let took = (last.ended_at - last.started_at).to_std().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let share = requests as f64 / last.grants as f64;
    Some(took.mul_f64(share))
}

/// What was foreseen of the documents so far.
struct Tally {
    limit: Option<u64>,
    taken: u64,
    first: Vec<PlannedDocument>,
    once_more: Vec<PlannedDocument>,
    documents: BTreeMap<Way, u64>,
}

impl Tally {
    fn new(limit: Option<u64>) -> Self {
        Self { limit, taken: 0, first: Vec::new(), once_more: Vec::new(), documents: BTreeMap::new() }
    }

    fn add(&mut self, way: Way, document: TokenDocument) {
        let is_asked = matches!(way, Way::Asked | Way::AskedOnceMore);
        let way = if is_asked && self.limit.is_some_and(|limit| self.taken >= limit) {
            Way::BeyondLimit
        } else {
            way
        };
        *self.documents.entry(way).or_default() += 1;
        let list = match way {
            Way::Asked => &mut self.first,
            Way::AskedOnceMore => &mut self.once_more,
            _ => return,
        };
        self.taken += 1;
        if (list.len() as u64) < self.limit.unwrap_or(LISTED) {
            let TokenDocument { id, subject, bookkeeping, .. } = document;
            list.push(PlannedDocument { id, subject, due_at: bookkeeping.due_at });
        }
    }

    const fn requests(&self) -> u64 {
        self.taken
    }

    fn listed(&mut self) -> Vec<PlannedDocument> {
        let mut listed = std::mem::take(&mut self.first);
        listed.append(&mut self.once_more);
        listed.truncate(usize::try_from(self.limit.unwrap_or(LISTED)).unwrap_or(usize::MAX));
        listed
    }
}

#[cfg(test)]
mod tests;

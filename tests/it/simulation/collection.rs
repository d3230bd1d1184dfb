//! The store of a simulation: the documents of the world, over calls that fail, and judged at each write.

use super::bugs::Bug;
use super::calls::unavailable;
use super::ledger::{Ledger, access_text};
use super::life::Life;
use super::world::{Document, Inner, Look};
use async_trait::async_trait;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::store::{
    Applied, Change, Claim, Claimed, DuePage, DueQuery, Identity, IndexState, Later, Position,
    ProviderFilter, Readiness, Store, StoreError, Strangers, TtlIndex, Waiting, Waits, WhoWaits,
};
use evergrant::testing::survey::{NotMade, SurveyQuery, Surveyed};
use evergrant::testing::token::{AccessToken, Lease, RefreshToken, State, Subject, TokenDocument, TokenId};
use rand::Rng as _;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The store as one process sees it.
#[derive(Debug)]
pub(super) struct Collection(pub(super) Life);

/// The `_id` of a document: its number as a string.
pub(super) fn id_of(document: usize) -> TokenId {
    TokenId::from_extended_json(format!("\"{document}\""))
}

pub(super) fn place_of(id: &TokenId) -> usize {
    id.as_str().trim_matches('"').parse().unwrap()
}

fn belongs(document: &Document, providers: &ProviderFilter) -> bool {
    match providers {
        ProviderFilter::Any => true,
        ProviderFilter::Named(name) => document.provider.as_ref() == Some(name),
        ProviderFilter::NoneOf(names) => document.provider.as_ref().is_none_or(|name| !names.contains(name)),
    }
}

pub(super) fn shown(ledger: &Ledger, id: usize, document: &Document) -> TokenDocument {
    TokenDocument {
        id: id_of(id),
        subject: Subject::new(&format!("user-{}", document.user)),
        provider: document.provider.clone(),
        refresh_token: Ok(RefreshToken::new(ledger.text(document.refresh))),
        access_token: Some(AccessToken::new(access_text(document.access))),
        facts: evergrant::testing::token::Facts::default(),
        bookkeeping: document.bookkeeping.clone(),
    }
}

fn due_at(document: &Document) -> i64 {
    document.bookkeeping.due_at.map_or(i64::MIN, |at| at.timestamp_millis())
}

fn is_leased(document: &Document, now: Timestamp) -> bool {
    document.bookkeeping.lease.as_ref().is_some_and(|lease| lease.until > now)
}

fn set_lease(document: &mut Document, lease: Lease) {
    document.bookkeeping.due_at = Some(lease.until);
    document.bookkeeping.lease = Some(lease);
}

#[async_trait]
impl Store for Collection {
    fn describe(&self) -> String {
        "the simulation".into()
    }

    async fn identity(&self) -> Result<Identity, StoreError> {
        Ok(self.0.world.with(|world| world.identity_for(&self.0)))
    }

    async fn prepare(&self) -> Result<Readiness, StoreError> {
        self.call("prepare", |world| Readiness {
            existence: world.existence_for(&self.0),
            documents: world.documents.len() as u64,
            server: "a simulation".into(),
            index: IndexState::Ready,
            claims: IndexState::Ready,
            expiry: IndexState::Ready,
        })
        .await
    }

    async fn due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError> {
        let was_put_off = query.due_after.is_some_and(|after| after.only == Later::PutOff);
        self.call("read a page", |world| {
            if was_put_off && world.bug == Some(Bug::OverlooksWhatFallsDue) {
                return DuePage { documents: Vec::new(), next: None };
            }
            let after: Option<(i64, usize)> =
                query.after.as_ref().map(|Position(value)| serde_json::from_value(value.clone()).unwrap());
            let mut due: Vec<_> = world
                .documents
                .iter()
                .filter(|(_, document)| due_at(document) <= query.due_by.timestamp_millis())
                .filter(|(_, document)| {
                    query.due_after.is_none_or(|after| {
                        due_at(document) > after.at.timestamp_millis() && after.admits(&document.bookkeeping)
                    })
                })
                .filter(|(_, document)| !is_leased(document, query.now))
                .filter(|(_, document)| belongs(document, &query.providers))
                .map(|(id, document)| ((due_at(document), *id), document))
                .filter(|(place, _)| after.is_none_or(|after| *place > after))
                .collect();
            due.sort_by_key(|(place, _)| *place);
            let more = due.len() > query.limit;
            due.truncate(query.limit);
            let next = due.last().filter(|_| more).map(|(place, _)| Position(serde_json::json!(place)));
            let mut documents: Vec<_> =
                due.iter().map(|((_, id), document)| self.shown(&world.ledger, *id, document)).collect();
            if world.bug == Some(Bug::ForgetsWhoClaimed) {
                for document in &mut documents {
                    document.bookkeeping.lease = None;
                }
            }
            DuePage { documents, next }
        })
        .await
    }

    async fn survey(&self, _query: &SurveyQuery) -> Result<Surveyed, StoreError> {
        // No pass asks for it: what a person is told is not simulated.
        let reason = "a simulation counts nothing".to_owned();
        Ok(Surveyed::NotMade(NotMade { reason, hint: None }))
    }

    async fn draw(&self, query: &DueQuery) -> Result<Vec<TokenDocument>, StoreError> {
        self.call("draw documents", |world| {
            let is_wanted = |document: &&Document| {
                due_at(document) <= query.due_by.timestamp_millis()
                    && !is_leased(document, query.now)
                    && belongs(document, &query.providers)
                    && document.bookkeeping.state == State::Live
            };
            let mut due: Vec<_> =
                world.documents.iter().filter(|(_, document)| is_wanted(document)).collect();
            // From the far end: what is due last is what a pass would come to last.
            due.sort_by_key(|(id, document)| std::cmp::Reverse((due_at(document), **id)));
            due.into_iter()
                .take(query.limit)
                .map(|(id, document)| self.shown(&world.ledger, *id, document))
                .collect()
        })
        .await
    }

    async fn waiting(&self, who: &WhoWaits) -> Result<Waiting, StoreError> {
        self.call("look for what is due", |world| {
            let mut found = Waiting::default();
            for document in world.documents.values() {
                if due_at(document) > who.due_by.timestamp_millis() {
                    continue;
                }
                let is_work = document.bookkeeping.state == State::Live && !is_leased(document, who.now);
                let waits = Some(if is_work { Waits::Work } else { Waits::Idle });
                let named = who
                    .providers
                    .iter()
                    .find(|name| belongs(document, &ProviderFilter::Named((*name).clone())));
                match (named, waits) {
                    (Some(name), Some(waits)) => {
                        let known = found.providers.entry(name.clone()).or_insert(waits);
                        *known = waits.max(*known);
                    }
                    (_, waits) => found.others = found.others.max(waits),
                }
            }
            found
        })
        .await
    }

    async fn count_due(&self, _query: &DueQuery) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.call("tell the time", |world| {
            let tells = !world.rare.is_local && world.bug != Some(Bug::BelievesTheMachinesClock);
            tells.then(|| world.store_clock.now())
        })
        .await
    }

    async fn latest_due(&self, providers: &[String]) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        self.call("look for what is due last", |world| {
            let latest = world.documents.values().filter_map(|document| document.bookkeeping.due_at).max();
            latest.map_or_else(BTreeMap::new, |latest| {
                providers.iter().map(|name| (name.clone(), latest)).collect()
            })
        })
        .await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let wanted = claim.clone();
        self.seen(
            &claim.ids,
            self.write("claim", move |this, world| {
                let claim = &wanted;
                if this.0.elsewhere {
                    world.judge_write_of_a_copy(&this.0);
                }
                let blind = world.bug == Some(Bug::ClaimsWithoutLease);
                let mut claimed = Claimed::default();
                let store_now = world.store_clock.now();
                for id in &claim.ids {
                    let place = place_of(id);
                    let Some(document) = world.documents.get_mut(&place) else { continue };
                    let held = document.bookkeeping.lease.as_ref();
                    let ours = held.is_some_and(|lease| lease.id == claim.lease.id);
                    let due = claim.due_by.is_none_or(|due_by| due_at(document) <= due_by.timestamp_millis());
                    let is_of = |lease: &Lease| claim.over.is_empty() || claim.over.contains(&lease.id);
                    let given_back = claim.lease.taken_over && !held.is_some_and(is_of);
                    // By the store's clock, whatever the process says the time is.
                    let judges = claim.lease.taken_over && !world.rare.is_local;
                    let lives = judges && is_leased(document, store_now - claim.ended_for);
                    let is_free = !given_back && !lives && !is_leased(document, claim.now);
                    if !(ours || blind || due && is_free) {
                        continue;
                    }
                    let taken_over = held.is_some() && !ours;
                    set_lease(document, this.0.written(&claim.lease));
                    claimed.documents.push(this.shown(&world.ledger, place, document));
                    let refresh = document.refresh;
                    if taken_over {
                        world.ledger.tokens[refresh].in_doubt += 1;
                    }
                    let until = this.ends(world, &claim.lease);
                    this.look(world, place, Some(until));
                }
                claimed
            }),
        )
        .await
    }

    async fn claimed(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError> {
        let (after_until, after_place): (i64, usize) =
            after.map_or((i64::MIN, 0), |after| serde_json::from_value(after.0.clone()).unwrap());
        self.call("read what is claimed", |world| {
            let until = |document: &Document| document.bookkeeping.lease.as_ref().map(|it| it.until);
            let mut claimed: Vec<_> = world
                .documents
                .iter()
                .filter_map(|(place, document)| {
                    Some((
                        until(document)?.timestamp_millis(),
                        *place,
                        self.shown(&world.ledger, *place, document),
                    ))
                })
                .filter(|(until, place, _)| after.is_none() || (*until, *place) > (after_until, after_place))
                .collect();
            claimed.sort_by_key(|(until, place, _)| (*until, *place));
            let more = claimed.len() > limit;
            claimed.truncate(limit);
            let last = claimed.last().filter(|_| more);
            let next = last.map(|(until, place, _)| Position(serde_json::json!([until, place])));
            DuePage { documents: claimed.into_iter().map(|(_, _, document)| document).collect(), next }
        })
        .await
    }

    async fn renew(&self, ids: &[TokenId], lease: &Lease) -> Result<Vec<TokenId>, StoreError> {
        let (ids, lease) = (ids.to_vec(), lease.clone());
        self.write("renew leases", move |this, world| {
            let mut ours = Vec::new();
            for id in &ids {
                let Some(document) = world.documents.get_mut(&place_of(id)) else { continue };
                if document.bookkeeping.lease.as_ref().is_some_and(|held| held.id == lease.id) {
                    set_lease(document, this.0.written(&lease));
                    ours.push(id.clone());
                    let key = (this.0.machine, this.0.number, place_of(id));
                    let until = this.ends(world, &lease);
                    if let Some(look) = world.looks.get_mut(&key) {
                        look.lease_until = Some(until);
                    }
                }
            }
            ours
        })
        .await
    }

    async fn apply(&self, changes: &[Change]) -> Result<Applied, StoreError> {
        let some = self.0.world.with(|world| {
            let chance = world.weather.store_cuts;
            world.happens(chance).then(|| world.random.random_range(0..=changes.len()))
        });
        let taken = changes[..some.unwrap_or(changes.len())].to_vec();
        let written = self
            .write("write", move |this, world| {
                let matched = taken.iter().filter(|change| this.change(world, change)).count();
                let every_matched = matched == taken.len();
                Applied { every_matched, refused: Vec::new() }
            })
            .await;
        // The connection broke in the middle of a bulk.
        let applied = if some.is_some() { Err(unavailable("write")) } else { written };
        let careless = self.0.world.with(|world| world.bug == Some(Bug::TakesAnErrorForDone));
        if applied.is_err() && careless {
            return Ok(Applied { every_matched: true, refused: Vec::new() });
        }
        applied
    }

    async fn read(&self, ids: &[TokenId]) -> Result<Vec<TokenDocument>, StoreError> {
        self.seen(
            ids,
            self.call("read documents", |world| {
                let mut documents = Vec::new();
                for place in ids.iter().map(place_of) {
                    let key = (self.0.machine, self.0.number, place);
                    let believed =
                        world.looks.get(&key).filter(|_| world.bug == Some(Bug::BelievesTheFirstRead));
                    let believed = believed.map(|look| look.refresh);
                    let Some(document) = world.documents.get(&place) else { continue };
                    let mut document = document.clone();
                    let lease_until = world.looks.get(&key).and_then(|look| look.lease_until);
                    self.look(world, place, lease_until);
                    document.refresh = believed.unwrap_or(document.refresh);
                    documents.push(self.shown(&world.ledger, place, &document));
                }
                documents
            }),
        )
        .await
    }

    async fn list(&self, _after: Option<&Position>, _limit: usize) -> Result<DuePage, StoreError> {
        Err(unavailable("list"))
    }

    async fn of_subject(&self, _subject: &str, _limit: usize) -> Result<Vec<TokenDocument>, StoreError> {
        Err(unavailable("look for a subject"))
    }

    async fn left_out(&self, _ids: &[TokenId]) -> Result<Vec<TokenId>, StoreError> {
        Err(unavailable("look for documents outside of the filter"))
    }

    async fn strangers(&self, _providers: &[String]) -> Result<Strangers, StoreError> {
        Err(unavailable("count documents of other providers"))
    }

    async fn ttl_indexes(&self) -> Result<Vec<TtlIndex>, StoreError> {
        Err(unavailable("list the indexes"))
    }
}

impl Collection {
    /// The document as this process reads it.
    fn shown(&self, ledger: &Ledger, id: usize, document: &Document) -> TokenDocument {
        let shown = shown(ledger, id, document);
        TokenDocument { bookkeeping: self.0.known(shown.bookkeeping), ..shown }
    }

    /// When a lease of this process ends: it began when it was asked for.
    fn ends(&self, world: &Inner, lease: &Lease) -> Instant {
        let left = lease.until - world.machines[self.0.machine].clock.now();
        Instant::now() + left.to_std().unwrap_or_default()
    }

    /// Notes when the answer of a call that showed these documents has come.
    async fn seen<T>(
        &self,
        ids: &[TokenId],
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = call.await?;
        self.0.world.with(|world| {
            for place in ids.iter().map(place_of) {
                if let Some(look) = world.looks.get_mut(&(self.0.machine, self.0.number, place)) {
                    look.seen_at = Instant::now();
                }
            }
        });
        Ok(answer)
    }

    fn look(&self, world: &mut Inner, place: usize, lease_until: Option<Instant>) {
        let Some(document) = world.documents.get(&place) else { return };
        let look = Look { refresh: document.refresh, lease_until, seen_at: Instant::now() };
        world.looks.insert((self.0.machine, self.0.number, place), look);
    }
}

//! The store of a simulation: the documents of the world, over calls that fail, and judged at each write.

use super::bugs::Bug;
use super::calls::unavailable;
use super::ledger::{Reached, Rotation, Who, access_text, by_text, refresh_text};
use super::weather::REQUEST_TIMEOUT;
use super::world::{Document, Inner, Life, Look};
use async_trait::async_trait;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::store::{
    Applied, Change, Claim, Claimed, DuePage, DueQuery, Existence, Fence, Identity, IndexState, Later,
    Position, ProviderFilter, Readiness, Store, StoreError, Strangers, TtlIndex, Waiting, Waits, WhoWaits,
};
use evergrant::testing::survey::{NotMade, SurveyQuery, Surveyed};
use evergrant::testing::token::{AccessToken, Lease, RefreshToken, State, Subject, TokenDocument, TokenId};
use rand::Rng as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The store as one process sees it.
#[derive(Debug)]
pub(super) struct Collection(pub(super) Life);

/// The `_id` of a document: its number as a string.
pub(super) fn id_of(document: usize) -> TokenId {
    TokenId::from_extended_json(format!("\"{document}\""))
}

fn place_of(id: &TokenId) -> usize {
    id.as_str().trim_matches('"').parse().unwrap()
}

fn belongs(document: &Document, providers: &ProviderFilter) -> bool {
    match providers {
        ProviderFilter::Any => true,
        ProviderFilter::Named(name) => document.provider.as_ref() == Some(name),
        ProviderFilter::NoneOf(names) => document.provider.as_ref().is_none_or(|name| !names.contains(name)),
    }
}

fn shown(id: usize, document: &Document) -> TokenDocument {
    TokenDocument {
        id: id_of(id),
        subject: Subject::new(&format!("user-{}", document.user)),
        provider: document.provider.clone(),
        refresh_token: Ok(RefreshToken::new(refresh_text(document.refresh))),
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

fn set_lease(document: &mut Document, lease: &Lease) {
    document.bookkeeping.due_at = Some(lease.until);
    document.bookkeeping.lease = Some(lease.clone());
}

#[async_trait]
impl Store for Collection {
    fn describe(&self) -> String {
        "the simulation".into()
    }

    async fn identity(&self) -> Result<Identity, StoreError> {
        Ok(Identity::named("the simulation"))
    }

    async fn prepare(&self) -> Result<Readiness, StoreError> {
        self.call("prepare", |world| Readiness {
            existence: Existence::There,
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
            let mut documents: Vec<_> = due.iter().map(|((_, id), document)| shown(*id, document)).collect();
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
            due.into_iter().take(query.limit).map(|(id, document)| shown(*id, document)).collect()
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
        self.call("tell the time", |world| Some(world.store_clock.now())).await
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
                    let lives = claim.lease.taken_over && is_leased(document, store_now - claim.ended_for);
                    let is_free = !given_back && !lives && !is_leased(document, claim.now);
                    if !(ours || blind || due && is_free) {
                        continue;
                    }
                    let taken_over = held.is_some() && !ours;
                    set_lease(document, &claim.lease);
                    claimed.documents.push(shown(place, document));
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
                    Some((until(document)?.timestamp_millis(), *place, shown(*place, document)))
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
                    set_lease(document, &lease);
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
                    documents.push(shown(place, &document));
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

    /// One compare-and-swap, judged: `KEPT`, `WHOLE`, `NEVER BACKWARDS` and `OUR FAULT IS NOT THEIRS`.
    fn change(&self, world: &mut Inner, change: &Change) -> bool {
        let place = place_of(&change.id);
        let Some(document) = world.documents.get(&place).cloned() else { return false };
        let now_there = refresh_text(document.refresh);
        let access_now = AccessToken::new(access_text(document.access));
        let is_mark = change.pair.is_none();
        let blind =
            world.bug == Some(if is_mark { Bug::MarksWithoutCompare } else { Bug::WritesWithoutCompare });
        // By the store's clock, whatever the process says the time is.
        let store_now = world.store_clock.now();
        let lives = matches!(&change.expect_lease, Fence::Ended { until, ended_for, .. } if *until > store_now - *ended_for);
        let expected = change.expect_refresh_token.as_ref().is_none_or(|token| token.expose() == now_there)
            && !lives
            && change.expect_lease.admits(&document.bookkeeping)
            && change.pair.as_ref().is_none_or(|pair| pair.replaces.admits(Some(&access_now)));
        if !expected && !blind {
            return false;
        }
        if world.bug == Some(Bug::LeavesMarks) && matches!(change.expect_lease, Fence::Marked(_)) {
            return true;
        }
        let mut written = document.clone();
        written.bookkeeping = change.bookkeeping.clone();
        match world.bug {
            Some(Bug::ForgetsWhoRefreshed) => written.bookkeeping.refreshed_by = None,
            Some(Bug::ForgetsWhatWasSpent) => written.bookkeeping.spent = None,
            _ => {}
        }
        if let Some(pair) = &change.pair {
            let refresh = by_text(pair.refresh_token.expose()).unwrap();
            written.refresh = refresh;
            if world.bug != Some(Bug::WritesHalfAPair) {
                let access = pair.access_token.as_ref().unwrap().expose();
                written.access = access.strip_prefix("at-").unwrap().parse().unwrap();
            }
            if written.access != written.refresh {
                world.violated(format!(
                    "WHOLE: document {place} holds rt-{refresh} and at-{}",
                    written.access
                ));
            }
            if !world.ledger.supersedes(refresh, document.refresh) {
                let before = document.refresh;
                world.violated(format!(
                    "NEVER BACKWARDS: document {place} held rt-{before}, rt-{refresh} overwrites it"
                ));
            }
            // A pair that is put back may have been sent since its document first held it: what the document said of that is gone.
            world.ledger.tokens[refresh].memory_lost |= world.ledger.tokens[refresh].written;
            world.wrote(refresh);
            self.look_after_writing(world, place, refresh);
        } else if document.bookkeeping.state != written.bookkeeping.state
            || document.bookkeeping.fingerprint != written.bookkeeping.fingerprint
        {
            // A mark of the token that was there before is no mark of this one.
            judge_mark(world, place, &document, written.bookkeeping.state);
        }
        let books = &written.bookkeeping;
        let is_kept = books.last_error.as_ref().is_some_and(super::judge::is_kept);
        let of_this_token = RefreshToken::new(refresh_text(written.refresh)).fingerprint();
        if is_kept && books.fingerprint == Some(of_this_token) {
            world.ledger.tokens[written.refresh].noted = true;
        }
        world.note(|| format!("document {place}: rt-{}, {:?}", written.refresh, written.bookkeeping.state));
        world.documents.insert(place, written);
        true
    }

    fn look_after_writing(&self, world: &mut Inner, place: usize, refresh: usize) {
        let look = Look { refresh, lease_until: None, seen_at: Instant::now() };
        world.looks.insert((self.0.machine, self.0.number, place), look);
    }
}

/// Is the mark true, and is it the right one?
fn judge_mark(world: &mut Inner, place: usize, document: &Document, state: State) {
    let refresh = document.refresh;
    if matches!(state, State::Live | State::Malformed) {
        return;
    }
    // An old copy of a token that we have redeemed is not sent again once its grace is over by our clock: it began when the
    // token was sent, and the provider's a little later.
    let redeemed =
        world.ledger.tokens[refresh].redemptions.iter().any(|success| success.reached == Reached::Kept);
    let soon = if redeemed { REQUEST_TIMEOUT + world.weather.skew } else { Duration::ZERO };
    if world.ledger.would_accept(refresh, Instant::now() + soon) {
        world.judge_mark_of_the_living(place, refresh, state);
    }
    let token = &world.ledger.tokens[refresh];
    let ours = token.redemptions.first().is_some_and(|first| {
        matches!(first.by, Who::Process(..)) && !world.ledger.tokens[first.child].written
    });
    let rotated_by_us = ours && world.ledger.rotation_of(refresh) != Rotation::Keep;
    let kept = token.redemptions.iter().any(|redemption| redemption.reached == Reached::Kept);
    // A commit that failed may have recorded an intent that was never sent: nobody can know.
    // Two documents hold one token: what became of it is written into the one that was asked for.
    let twin = world.weather.duplicate;
    // And an old copy may have brought a claim back, under which the token may have been sent.
    let in_doubt = token.in_doubt > 0 || world.weather.disk > 0.0 || token.memory_lost;
    if state == State::NeedsLogin && rotated_by_us && !kept && !token.memory_lost && !twin {
        world.violated(format!(
            "TOLD APART: document {place} is marked NeedsLogin, and it was us who lost what came for rt-{refresh}"
        ));
    }
    if state == State::LostInFlight && !in_doubt {
        world.violated(format!(
            "TOLD APART: document {place} is marked LostInFlight, and rt-{refresh} was never in doubt"
        ));
    }
}

//! What is due, in which order: the pull side. Pages are read and claimed only as fast as the gate takes tokens.

use crate::clock::{Clock, Timestamp};
use crate::kill_point::{Point, reach};
use crate::provider::rate::Rate;
use crate::store::{Claim, Claimed, DueQuery, Position, ProviderFilter, Store, StoreError};
use crate::token::{DueToken, Lease, Malformed, State, Subject, TokenDocument};
use chrono::TimeDelta;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Largest page, in documents: a few MiB at most with the fields that we read.
const LARGEST_PAGE: usize = 500;

/// Pages in hand when one is in use and the next is being read.
const PAGES_IN_HAND: u32 = 2;

/// Share of the lease in which the pages in hand must have passed the gate.
const LEASE_SHARE: u32 = 4;

/// The code of a document whose token was not asked for again after a lost answer, as its provider's profile says.
pub const NOT_ASKED_AGAIN: &str = "not_asked_again";

/// What a document asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    /// Claim it, and redeem its token (or name it as malformed).
    Claim,
    /// Nothing has changed since it was marked; it is only counted, and named again.
    Known,
}

/// Decides what a document asks for. With `force` every token is asked for again, dead or not; but not one that
/// [`NOT_ASKED_AGAIN`] speaks of, as long as its provider `punishes_reuse`.
#[must_use]
pub fn select(document: &TokenDocument, force: bool, punishes_reuse: bool) -> Selected {
    let bookkeeping = &document.bookkeeping;
    let known = match (&document.refresh_token, bookkeeping.state) {
        (Ok(token), State::NeedsLogin | State::LostInFlight) => {
            let spared = punishes_reuse
                && bookkeeping.last_error.as_ref().is_some_and(|error| error.code == NOT_ASKED_AGAIN);
            (!force || spared) && bookkeeping.fingerprint == Some(token.fingerprint())
        }
        (Err(malformed), State::Malformed) => {
            bookkeeping.last_error.as_ref().is_some_and(|error| error.code == malformed.code())
        }
        (Ok(_), State::Live | State::Malformed)
        | (Err(_), State::Live | State::NeedsLogin | State::LostInFlight) => false,
    };
    if known { Selected::Known } else { Selected::Claim }
}

/// How many documents to claim at once: what passes the gate in a part of the lease, and fills the pool.
#[must_use]
pub fn page_limit(rate: Option<Rate>, concurrency: NonZeroUsize, lease: Duration) -> usize {
    let Some(rate) = rate else { return LARGEST_PAGE };
    let share = lease / LEASE_SHARE / PAGES_IN_HAND;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a page right away"
    )]
    let passes = (rate.per_second() * share.as_secs_f64()) as usize;
    passes.clamp(1, LARGEST_PAGE.min((8 * concurrency.get()).max(64)))
}

/// What comes out of the store for the pipeline.
#[derive(Debug)]
pub enum Pulled {
    /// Claimed; its token goes to the gate.
    Token(DueToken),
    /// Claimed; it holds no token that can be sent.
    Malformed(TokenDocument),
    /// Not claimed: marked before, and nothing changed.
    Known(TokenDocument),
    /// Not claimed: the store can't write into it; why.
    NoRoom(TokenDocument, String),
}

/// What a pass claims with.
#[derive(Debug, Clone)]
pub struct ClaimTerms {
    /// The fence of this pass.
    pub lease_id: String,
    /// `host:pid`.
    pub owner: String,
    /// How long a claim lasts.
    pub lease: Duration,
    /// Due by then.
    pub due_by: Timestamp,
    /// Everything, due or not.
    pub force: bool,
    /// Documents a page.
    pub page: usize,
    /// Does the provider's profile say that a token whose answer was lost is never sent again?
    pub punishes_reuse: bool,
}

impl ClaimTerms {
    /// A lease from `now` on.
    #[must_use]
    pub fn lease_from(&self, now: Timestamp) -> Lease {
        let lasts = TimeDelta::from_std(self.lease).unwrap_or(TimeDelta::MAX);
        let until = now.checked_add_signed(lasts).unwrap_or(Timestamp::MAX_UTC);
        Lease { id: self.lease_id.clone(), owner: self.owner.clone(), until }
    }

    /// Claims of others that ended before this may be taken over, also by force.
    ///
    /// Only one lease length after their end: a process that was stopped, or cut off from the store, for longer than
    /// its claims lasted may hold an answer, and gets as much time again to write it. Its own next start gives its
    /// claims back at once.
    #[must_use]
    pub fn takes_over_from(&self, now: Timestamp) -> Timestamp {
        Self::takes_over(self.lease, now)
    }

    /// The same for a lease of this length.
    #[must_use]
    pub fn takes_over(lease: Duration, now: Timestamp) -> Timestamp {
        let lasts = TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX);
        now.checked_sub_signed(lasts).unwrap_or(Timestamp::MIN_UTC)
    }
}

/// The claimed stream: keyset pages, one in use and one on the way.
#[derive(Debug)]
pub struct Claims {
    source: Arc<Source>,
    ready: VecDeque<Pulled>,
    next_page: Option<JoinHandle<Result<Page, Interrupted>>>,
    /// A page that was read and couldn't be claimed, or nobody knows.
    unclaimed: Option<Unclaimed>,
    after: Option<Position>,
    exhausted: bool,
}

/// What [`Claims::rest`] hands out.
#[derive(Debug)]
pub struct Rest {
    /// Claimed and not taken.
    pub pulled: Vec<Pulled>,
    /// Is that all? Otherwise the store went away during a claim, and more may carry our lease.
    pub complete: bool,
}

#[derive(Debug)]
struct Source {
    store: Arc<dyn Store>,
    terms: ClaimTerms,
    providers: ProviderFilter,
    clock: Clock,
}

/// A page that was read; of its documents only `wanted` are to be claimed.
#[derive(Debug)]
struct Unclaimed {
    known: Vec<Pulled>,
    wanted: Vec<TokenDocument>,
    next: Option<Position>,
}

#[derive(Debug)]
struct Page {
    pulled: Vec<Pulled>,
    next: Option<Position>,
}

/// The store failed; what was read is kept, because a claim may have happened all the same.
#[derive(Debug)]
struct Interrupted {
    error: StoreError,
    unclaimed: Option<Unclaimed>,
}

impl Claims {
    /// A stream over the documents of `providers`; reads nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, terms: ClaimTerms, providers: ProviderFilter, clock: Clock) -> Self {
        let source = Arc::new(Source { store, terms, providers, clock });
        Self {
            source,
            ready: VecDeque::new(),
            next_page: None,
            unclaimed: None,
            after: None,
            exhausted: false,
        }
    }

    /// The next document, or `None` when there are no more. Cancel-safe.
    ///
    /// # Errors
    /// After an error the same page is read, or claimed, again by the next call.
    pub async fn next(&mut self) -> Result<Option<Pulled>, StoreError> {
        loop {
            if let Some(pulled) = self.ready.pop_front() {
                return Ok(Some(pulled));
            }
            if self.exhausted {
                return Ok(None);
            }
            self.start_page();
            let Some(handle) = &mut self.next_page else { return Ok(None) };
            let page = handle.await;
            self.next_page = None;
            let page = match page {
                Ok(Ok(page)) => page,
                Ok(Err(Interrupted { error, unclaimed })) => {
                    self.unclaimed = unclaimed;
                    return Err(error);
                }
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            self.ready = page.pulled.into();
            self.exhausted = page.next.is_none();
            self.after = page.next;
            if !self.exhausted {
                self.start_page();
            }
        }
    }

    /// Ends the stream, and hands out what was claimed and not yet taken, so that it can be released.
    pub async fn rest(&mut self) -> Rest {
        self.exhausted = true;
        let mut rest = Rest { pulled: self.ready.drain(..).collect(), complete: true };
        if self.unclaimed.is_some() {
            self.start_page();
        }
        if let Some(handle) = self.next_page.take() {
            match handle.await {
                Ok(Ok(page)) => rest.pulled.extend(page.pulled),
                Ok(Err(interrupted)) => rest.complete = interrupted.unclaimed.is_none(),
                Err(_) => rest.complete = false,
            }
        }
        rest
    }

    fn start_page(&mut self) {
        if self.next_page.is_none() {
            let (source, unclaimed, after) = (self.source.clone(), self.unclaimed.take(), self.after.clone());
            self.next_page = Some(tokio::spawn(async move { source.page(unclaimed, after).await }));
        }
    }
}

impl Source {
    async fn page(&self, unclaimed: Option<Unclaimed>, after: Option<Position>) -> Result<Page, Interrupted> {
        let unclaimed = match unclaimed {
            Some(unclaimed) => unclaimed,
            None => self.read(after).await.map_err(|error| Interrupted { error, unclaimed: None })?,
        };
        reach(Point::PageRead);
        match self.claim(&unclaimed.wanted).await {
            Ok(claimed) => {
                let pulled = unclaimed.known.into_iter().chain(claimed).collect();
                Ok(Page { pulled, next: unclaimed.next })
            }
            Err(error) => Err(Interrupted { error, unclaimed: Some(unclaimed) }),
        }
    }

    async fn read(&self, after: Option<Position>) -> Result<Unclaimed, StoreError> {
        let query = DueQuery {
            due_by: self.terms.due_by,
            force: self.terms.force,
            now: self.terms.takes_over_from(self.clock.now()),
            limit: self.terms.page,
            after,
            providers: self.providers.clone(),
        };
        let page = self.store.due_page(&query).await?;
        let (mut known, mut wanted) = (Vec::new(), Vec::new());
        for document in page.documents.into_iter().map(|document| self.whose(document)) {
            match select(&document, self.terms.force, self.terms.punishes_reuse) {
                Selected::Known => known.push(Pulled::Known(document)),
                Selected::Claim => wanted.push(document),
            }
        }
        Ok(Unclaimed { known, wanted, next: page.next })
    }

    /// Claims what was read. May be repeated: what carries our lease already is handed out again.
    async fn claim(&self, wanted: &[TokenDocument]) -> Result<Vec<Pulled>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let due_by = (!self.terms.force).then_some(self.terms.due_by);
        let ids = wanted.iter().map(|document| document.id.clone()).collect();
        let claim =
            Claim { ids, lease: self.terms.lease_from(now), due_by, now: self.terms.takes_over_from(now) };
        // Read back after the lease is set: the token as it is now, not as it was on the page.
        let Claimed { documents: mut claimed, refused } = self.store.claim(&claim).await?;
        reach(Point::Claimed);
        let read: HashMap<_, _> =
            wanted.iter().enumerate().map(|(place, document)| (&document.id, (place, document))).collect();
        claimed.sort_by_key(|document| read.get(&document.id).map(|(place, _)| *place));
        // A document that went to another provider between the page and the claim: its lease ends by itself.
        let claimed = claimed.into_iter().filter(|document| self.is_of_this_lane(document));
        let pulled = claimed.map(|document| self.whose(document)).map(|mut document| {
            let before = read.get(&document.id).map(|(_, read)| &read.bookkeeping);
            // The claim moved it; what isn't taken gets it back.
            document.bookkeeping.due_at = before.and_then(|before| before.due_at);
            let lease_before = before.and_then(|before| before.lease.as_ref());
            let taken_over = lease_before.is_some_and(|lease| lease.id != self.terms.lease_id);
            match document.refresh_token {
                Ok(refresh_token) => Pulled::Token(DueToken {
                    id: document.id,
                    subject: document.subject,
                    refresh_token,
                    bookkeeping: document.bookkeeping,
                    taken_over,
                }),
                Err(_) => Pulled::Malformed(document),
            }
        });
        let refused = refused.into_iter().filter_map(|(id, reason)| {
            let (_, document) = read.get(&id)?;
            Some(Pulled::NoRoom((*document).clone(), reason))
        });
        Ok(pulled.chain(refused).collect())
    }

    fn is_of_this_lane(&self, document: &TokenDocument) -> bool {
        match &self.providers {
            ProviderFilter::Any => true,
            ProviderFilter::Named(name) => document.provider.as_ref() == Some(name),
            ProviderFilter::NoneOf(names) => {
                document.provider.as_ref().is_none_or(|found| !names.contains(found))
            }
        }
    }

    /// A document of a provider that nobody configured has no token that can be sent.
    fn whose(&self, mut document: TokenDocument) -> TokenDocument {
        if matches!(self.providers, ProviderFilter::NoneOf(_)) {
            document.refresh_token = Err(match &document.provider {
                Some(name) => Malformed::UnknownProvider(Subject::new(name)),
                None => Malformed::NoProvider,
            });
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Bookkeeping, Fingerprint, LastError, RefreshToken, TokenId};

    fn document(
        token: Result<&str, Malformed>,
        state: State,
        fingerprint: Option<Fingerprint>,
        code: &str,
    ) -> TokenDocument {
        let last_error = Some(LastError {
            class: "c".into(),
            code: code.into(),
            http_status: None,
            at: Timestamp::default(),
            lost: None,
        });
        TokenDocument {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            provider: None,
            refresh_token: token.map(|token| RefreshToken::new(token.into())),
            access_token: None,
            bookkeeping: Bookkeeping { state, fingerprint, last_error, ..Bookkeeping::default() },
        }
    }

    #[test]
    fn a_dead_token_is_asked_for_again_only_when_it_changed_or_by_force() {
        let dead = Some(RefreshToken::new("dead".into()).fingerprint());
        for (token, state, fingerprint, force, expected) in [
            (Ok("dead"), State::NeedsLogin, dead, false, Selected::Known),
            (Ok("dead"), State::LostInFlight, dead, false, Selected::Known),
            (Ok("dead"), State::NeedsLogin, dead, true, Selected::Claim),
            (Ok("new login"), State::NeedsLogin, dead, false, Selected::Claim),
            (Ok("dead"), State::NeedsLogin, None, false, Selected::Claim),
            (Ok("dead"), State::Live, dead, false, Selected::Claim),
            (Ok("mended"), State::Malformed, None, false, Selected::Claim),
            (Err(Malformed::Null), State::Malformed, None, false, Selected::Known),
            (Err(Malformed::Empty), State::Malformed, None, false, Selected::Claim),
            (Err(Malformed::Null), State::Live, None, false, Selected::Claim),
        ] {
            let document = document(token.clone(), state, fingerprint, "null");
            assert_eq!(select(&document, force, false), expected, "{token:?} {state:?} {force}");
        }
    }

    #[test]
    fn a_page_passes_the_gate_well_within_its_lease() {
        let lease = Duration::from_mins(10);
        let rate = |text: &str| Some(text.parse::<Rate>().unwrap());
        let concurrency = NonZeroUsize::new(16).unwrap();
        assert_eq!(page_limit(None, concurrency, lease), LARGEST_PAGE);
        assert_eq!(page_limit(rate("400/min"), concurrency, lease), 128);
        assert_eq!(page_limit(rate("30/min"), concurrency, lease), 37);
        assert_eq!(page_limit(rate("1/h"), concurrency, lease), 1);
    }
}

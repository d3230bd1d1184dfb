//! One page: read, sorted into what is wanted and what is known, and claimed in parts.

mod draw;
mod give_back;
mod second_looks;
mod sendable;

pub use sendable::sendable;

use super::again::{Again, Look, Looked, between};
use super::looks::MOST_LOOKS;
use super::takeover::Takeover;
use super::{ClaimTerms, Found, Pulled, Selected, falls_due_after_its_access_token, select};
use crate::clock::{Clock, ReadAt, Timestamp};
use crate::kill_point::{Point, reach};
use crate::store::{Claim, DueAfter, DuePage, DueQuery, Position, ProviderFilter, Store, StoreError};
use crate::token::{DueToken, Lease, TokenDocument, TokenId};
use chrono::TimeDelta;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Share of the lease after which the documents of a page are read again before they are claimed: another process may
/// have claimed one meanwhile, and be gone.
const LEASE_SHARE: u32 = 4;

/// Where the pages of one lane come from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) store: Arc<dyn Store>,
    pub(super) terms: ClaimTerms,
    pub(super) providers: ProviderFilter,
    pub(super) clock: Clock,
    /// Where the lane looks for what falls due while it reads.
    pub(super) again: Option<Again>,
}

/// A document that is to be claimed.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    document: TokenDocument,
    found: Found,
}

/// What was read and isn't claimed yet. No document stands on it twice: it would be claimed twice.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Of these a claim may have happened: the store failed in the middle of it.
    in_doubt: Vec<Wanted>,
    wanted: VecDeque<Wanted>,
    /// Of this page; handed out with its first part.
    known: Vec<Pulled>,
    read_at: Option<ReadAt>,
    after: Option<Position>,
    was_last: bool,
    /// When the last document that was read is due.
    come_to: Option<Timestamp>,
    looked: Looked,
    /// What was marked long enough ago to be asked for once more, when all others were asked.
    second_looks: VecDeque<TokenId>,
    /// What was drawn, where a pass may come to it once more: not all that is drawn moves behind what is due.
    drawn: HashSet<TokenId>,
}

impl Shelf {
    pub(super) const fn is_in_doubt(&self) -> bool {
        !self.in_doubt.is_empty()
    }

    pub(super) fn is_done(&self) -> bool {
        let is_read = self.was_last && self.wanted.is_empty() && self.known.is_empty();
        is_read && self.second_looks.is_empty() && !self.is_in_doubt()
    }
}

/// A part of a page that was claimed, and what of the page needs no claim.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) pulled: Vec<Pulled>,
    /// Are these drawn from all over what is due?
    pub(super) is_drawn: bool,
}

impl Source {
    /// Claims up to `at_once` documents of the shelf, or as many as are to be drawn from all over what is due; reads the next
    /// page first where it is empty.
    ///
    /// What was read stays on the shelf when the store fails, because a claim may have happened all the same.
    pub(super) async fn part(
        &self,
        mut shelf: Shelf,
        at_once: usize,
        to_draw: Option<usize>,
    ) -> (Shelf, Result<Part, StoreError>) {
        let part = self.take(&mut shelf, at_once, to_draw).await;
        (shelf, part)
    }

    async fn take(
        &self,
        shelf: &mut Shelf,
        at_once: usize,
        to_draw: Option<usize>,
    ) -> Result<Part, StoreError> {
        let mut is_drawn = false;
        if !shelf.is_in_doubt() {
            if let Some(size) = to_draw {
                shelf.in_doubt = self.draw(shelf, size).await;
                is_drawn = true;
            } else {
                self.look(shelf).await?;
            }
            if !is_drawn && shelf.wanted.is_empty() && shelf.known.is_empty() {
                if !shelf.was_last {
                    self.read(shelf).await?;
                    reach(Point::PageRead);
                } else if !shelf.second_looks.is_empty() {
                    self.read_second_looks(shelf, at_once).await?;
                }
            }
            let at_once = if is_drawn { 0 } else { shelf.wanted.len().min(at_once) };
            let mut taken: Vec<_> = shelf.wanted.drain(..at_once).collect();
            let is_old = shelf.read_at.is_some_and(|at| !at.is_within(&self.clock, self.page_lasts()));
            if is_old && !taken.is_empty() {
                match self.read_again(&taken).await {
                    Ok(now_there) => taken = now_there,
                    Err(error) => {
                        taken.into_iter().rev().for_each(|wanted| shelf.wanted.push_front(wanted));
                        return Err(error);
                    }
                }
            }
            shelf.in_doubt.extend(taken);
        }
        let due_by = shelf.looked.due_by.map_or(self.terms.due_by, |due_by| due_by.max(self.terms.due_by));
        let claimed = self.claim(&shelf.in_doubt, due_by).await?;
        shelf.in_doubt.clear();
        if is_drawn {
            return Ok(Part { pulled: claimed, is_drawn });
        }
        Ok(Part { pulled: shelf.known.drain(..).chain(claimed).collect(), is_drawn })
    }

    fn page_lasts(&self) -> Duration {
        self.terms.lease / LEASE_SHARE
    }

    /// The documents as they are now, in the same order; one that is gone is left out.
    async fn read_again(&self, taken: &[Wanted]) -> Result<Vec<Wanted>, StoreError> {
        let ids: Vec<_> = taken.iter().map(|wanted| wanted.document.id.clone()).collect();
        let read = self.store.read(&ids).await?;
        let mut read: HashMap<_, _> =
            read.into_iter().map(|document| (document.id.clone(), document)).collect();
        let now_there = |wanted: &Wanted| {
            let document = self.sendable(read.remove(&wanted.document.id)?);
            Some(Wanted { document, found: wanted.found })
        };
        Ok(taken.iter().filter_map(now_there).collect())
    }

    /// Looks for what has fallen due since the pass began, if it is time for that, and if more of what was due then is still to
    /// be read: otherwise the pass is about to end, and the next one reads all of it.
    async fn look(&self, shelf: &mut Shelf) -> Result<(), StoreError> {
        let Some(again) = &self.again else { return Ok(()) };
        if shelf.was_last
            || shelf.read_at.is_none()
            || shelf.wanted.iter().any(|wanted| wanted.found == Found::Again)
        {
            return Ok(());
        }
        let (terms, now) = (&self.terms, self.clock.now());
        let Some(look) = shelf.looked.next(again, terms.due_by, shelf.come_to, now) else { return Ok(()) };
        let read_at = self.clock.read_at();
        let query = DueQuery {
            due_by: look.due_by,
            due_after: look.due_after.map(DueAfter::put_off),
            force: false,
            now: terms.takes_over_from(&self.clock),
            limit: terms.page,
            after: look.after.clone(),
            providers: self.providers.clone(),
        };
        let (ids, silent) = self.silent(again, &look).await?;
        let page = self.store.due_page(&query).await?;
        again.report.looked_at(&ids);
        shelf.looked.read(&look, page.next);
        let mut found: Vec<Wanted> = Vec::new();
        for document in page.documents.into_iter().chain(silent).map(|document| self.sendable(document)) {
            let is_there = |wanted: &Wanted| wanted.document.id == document.id;
            if again.wants(&look, &document, terms) && !shelf.wanted.iter().chain(&found).any(is_there) {
                found.push(Wanted { document, found: Found::Again });
            }
        }
        if shelf.wanted.is_empty() {
            shelf.read_at = Some(read_at);
        }
        between(found, &mut shelf.wanted);
        Ok(())
    }

    /// What the pass has put off without a word in the document, as far as that is due by the look.
    async fn silent(
        &self,
        again: &Again,
        look: &Look,
    ) -> Result<(Vec<TokenId>, Vec<TokenDocument>), StoreError> {
        let ids = match look {
            Look { due_after: Some(_), due_by, after: None } => again.report.silent(*due_by, self.terms.page),
            Look { .. } => Vec::new(),
        };
        if ids.is_empty() {
            return Ok((ids, Vec::new()));
        }
        let is_due = |document: &TokenDocument| {
            self.is_of_this_lane(document)
                && document.bookkeeping.due_at.is_some_and(|due_at| due_at <= look.due_by)
        };
        let documents = self.store.read(&ids).await?.into_iter().filter(is_due).collect();
        Ok((ids, documents))
    }

    async fn read(&self, shelf: &mut Shelf) -> Result<(), StoreError> {
        let query = DueQuery {
            due_by: self.terms.due_by,
            due_after: None,
            force: self.terms.all,
            now: self.terms.takes_over_from(&self.clock),
            limit: self.terms.page,
            after: shelf.after.clone(),
            providers: self.providers.clone(),
        };
        let read_at = self.clock.read_at();
        let page = match &self.terms.only {
            // The claim respects the leases of others.
            Some(only) => {
                DuePage { documents: self.store.read(std::slice::from_ref(only)).await?, next: None }
            }
            None => self.store.due_page(&query).await?,
        };
        let last = page.documents.last().filter(|_| !self.terms.all);
        shelf.come_to = last.and_then(|document| document.bookkeeping.due_at);
        let mut documents: Vec<_> =
            page.documents.into_iter().map(|document| self.sendable(document)).collect();
        let takeovers = self.takeovers(documents.iter()).await;
        self.give_back(&mut documents, &takeovers).await?;
        for document in documents {
            if !self.is_asked_for(&document) || shelf.drawn.contains(&document.id) {
                continue;
            }
            let asks = self.asks(&document);
            if let (true, Some(Takeover::Wait { sent_at })) = (asks, takeovers.get(&document.id)) {
                shelf.known.push(Pulled::Waits { document, sent_at: *sent_at });
            } else if asks {
                shelf.wanted.push_back(Wanted { document, found: Found::Due });
            } else if shelf.second_looks.len() < MOST_LOOKS && self.is_time_for_a_look(&document) {
                shelf.second_looks.push_back(document.id);
            } else {
                shelf.known.push(Pulled::Known(document));
            }
        }
        (shelf.read_at, shelf.was_last, shelf.after) = (Some(read_at), page.next.is_none(), page.next);
        Ok(())
    }

    /// Claims what was read. May be repeated: what carries our lease already is handed out again.
    async fn claim(&self, wanted: &[Wanted], due_by: Timestamp) -> Result<Vec<Pulled>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let (now, read_at) = (self.clock.now(), self.clock.read_at());
        let due_by = (!self.terms.all).then_some(due_by);
        // Those of a process that is never heard of again by themselves: the claim says so, in the same write.
        let of_others = |wanted: &&Wanted| {
            let lease = wanted.document.bookkeeping.lease.as_ref();
            lease.is_some_and(|lease| lease.id != self.terms.lease_id)
        };
        let takeovers = self.takeovers(wanted.iter().map(|wanted| &wanted.document)).await;
        let waits =
            |wanted: &&Wanted| matches!(takeovers.get(&wanted.document.id), Some(Takeover::Wait { .. }));
        let (taken_over, free): (Vec<_>, Vec<_>) =
            wanted.iter().filter(|wanted| !waits(wanted)).partition(of_others);
        let (mut claimed, mut refused) = (Vec::new(), Vec::new());
        for (documents, taken_over) in [(free, false), (taken_over, true)] {
            if documents.is_empty() {
                continue;
            }
            let leases = documents.iter().filter_map(|wanted| wanted.document.bookkeeping.lease.as_ref());
            let over = leases.map(|lease| lease.id.clone()).collect::<BTreeSet<_>>().into_iter().collect();
            let ids = documents.into_iter().map(|wanted| wanted.document.id.clone()).collect();
            let lease = Lease { taken_over, ..self.terms.lease_from(now) };
            // What had no claim when it was read has none now: whose may be taken over is decided by who made it.
            let ended_by =
                if taken_over { self.terms.takes_over_from(&self.clock) } else { Timestamp::UNIX_EPOCH };
            // Read back after the lease is set: the token as it is now, not as it was on the page.
            let ended_for = TimeDelta::from_std(self.terms.lease).unwrap_or(TimeDelta::MAX);
            let part = Claim { ids, lease, due_by, now: ended_by, over, ended_for };
            let part = self.store.claim(&part).await?;
            claimed.extend(part.documents);
            refused.extend(part.refused);
        }
        reach(Point::Claimed);
        let read: HashMap<_, _> =
            wanted.iter().enumerate().map(|(place, wanted)| (&wanted.document.id, (place, wanted))).collect();
        claimed.sort_by_key(|document| read.get(&document.id).map(|(place, _)| *place));
        let pulled = claimed.into_iter().map(|mut document| {
            // The claim moved it; what isn't taken gets it back.
            let read = read.get(&document.id).map(|(_, wanted)| *wanted);
            document.bookkeeping.due_at = read.and_then(|read| read.document.bookkeeping.due_at);
            let found = read.map_or(Found::Due, |read| read.found);
            if !self.is_of_this_lane(&document) {
                if let Ok(token) = &document.refresh_token {
                    document.bookkeeping = document.bookkeeping.noting_the_takeover(token.fingerprint(), now);
                }
                return Pulled::Stray(document);
            }
            match self.sendable(document).into_due_token() {
                Ok(token) => {
                    let fingerprint = token.refresh_token.fingerprint();
                    let bookkeeping = match takeovers.get(&token.id) {
                        Some(Takeover::TooLate { sent_at }) => {
                            token.bookkeeping.noting_the_sending(fingerprint, *sent_at, now)
                        }
                        Some(_) | None => token.bookkeeping.noting_the_takeover(fingerprint, now),
                    };
                    Pulled::Token { token: DueToken { bookkeeping, ..token }, read_at, found }
                }
                Err(document) => Pulled::Malformed(*document),
            }
        });
        let refused = refused.into_iter().filter_map(|(id, reason)| {
            // One that a look has found is counted where the pass comes to it, or was.
            let (_, wanted) = read.get(&id).filter(|(_, wanted)| wanted.found == Found::Due)?;
            Some(Pulled::NoRoom(wanted.document.clone(), reason))
        });
        Ok(pulled.chain(refused).collect())
    }

    /// Is its provider asked for it, or was it marked before?
    fn asks(&self, document: &TokenDocument) -> bool {
        let asks_marked = self.terms.force || self.terms.only.is_some();
        select(document, asks_marked, self.terms.profile(), self.clock.now()) == Selected::Claim
    }

    /// In a look over the whole collection: is it due, or does it fall due too late?
    fn is_asked_for(&self, document: &TokenDocument) -> bool {
        let bookkeeping = &document.bookkeeping;
        let is_due = bookkeeping.due_at.is_none_or(|at| at <= self.terms.due_by);
        let is_only_looked_at = self.terms.all && !self.terms.force && self.terms.only.is_none();
        let late = self.terms.looks_for.as_ref();
        let is_late = || late.is_some_and(|late| falls_due_after_its_access_token(bookkeeping, late));
        !is_only_looked_at || is_due || is_late()
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
}

//! Claims of passes that never finished, given back with what is known of their tokens.

use super::settle::first_sending;
use super::{Line, PassError};
use crate::clock::Timestamp;
use crate::journal::{Entry, Moment};
use crate::kill_point::{Point, reach};
use crate::store::{Change, DueQuery, ProviderFilter};
use crate::token::{
    Bookkeeping, Code, Evidence, Fingerprint, LastError, Lost, RefreshToken, TokenDocument, TokenId, Word,
};
use crate::write_back::{in_doubt, taken_over_noted};
use chrono::TimeDelta;
use std::collections::HashMap;

/// Documents read or changed at once.
const BATCH: usize = 500;

/// A pass may have claimed so much later than it, or anything of its, was last noted in the journal.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::days(2);

/// The documents whose tokens the journal has open rows for, and what it knows of these.
pub(super) type CutOff = HashMap<TokenId, Vec<Known>>;

/// What the journal knows of a token: it goes into the document, because another machine, which may ask for the token
/// next, doesn't see our journal.
#[derive(Debug)]
pub(super) struct Known {
    /// Of which token.
    pub(super) fingerprint: Fingerprint,
    pub(super) evidence: LastError,
}

impl Known {
    /// It was sent, and nobody knows what became of it.
    pub(super) fn in_doubt(entry: &Entry, cause: Word<Code>, now: Timestamp) -> Self {
        let first = entry.unsettled_since.or(entry.turned_away_since);
        let lost = Lost {
            cause: entry.why.as_deref().map_or(cause, Word::read),
            sent_at: first.or(Some(entry.intent.sent_at)),
            peer: entry.peer.clone(),
            received_bytes: entry.received_bytes.unwrap_or_default(),
            turned_away: entry.unsettled_since.is_none() && entry.turned_away_since.is_some(),
        };
        Self { fingerprint: entry.intent.fingerprint, evidence: in_doubt(lost, now) }
    }

    /// It was answered with a success that can't be read, or that has no way into its document yet, and isn't sent again.
    pub(super) fn unread(entry: &Entry, code: Word<Code>, http_status: u16, now: Timestamp) -> Self {
        let (class, http_status) = (Evidence::Unreadable.into(), Some(http_status));
        let evidence = LastError { class, code, http_status, at: now, lost: None };
        Self { fingerprint: entry.intent.fingerprint, evidence }
    }
}

/// The bookkeeping of a document whose claim is given back.
fn released(line: &Line, document: &TokenDocument, cut_off: Option<&Vec<Known>>) -> Bookkeeping {
    let due_at = cut_off.is_none().then_some(line.policy.due_by);
    let before = document.bookkeeping.clone();
    let Some(now_there) = document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint) else {
        return Bookkeeping { lease: None, due_at, ..before };
    };
    let before = taken_over_noted(before, now_there, line.clock.now());
    let known = cut_off.into_iter().flatten().find(|known| known.fingerprint == now_there);
    let Some(Known { evidence, .. }) = known else { return Bookkeeping { lease: None, due_at, ..before } };
    let before = before.speaking_of(now_there, evidence.at);
    let noted = before.last_error.as_ref();
    let lost =
        first_sending(noted.and_then(|error| error.lost.clone()).into_iter().chain(evidence.lost.clone()));
    // Another machine's journal may hold an answer for it: that isn't hidden behind what ours doesn't know, unless ours
    // was sent after that, by force.
    let sent_at = evidence.lost.as_ref().and_then(|lost| lost.sent_at);
    let is_answered = |error: &&LastError| error.class.is(Evidence::Unreadable);
    let theirs = noted.filter(is_answered).filter(|noted| sent_at.is_none_or(|sent_at| noted.at >= sent_at));
    // Nor is anything hidden behind a page that turned a request away.
    let is_page = evidence.lost.as_ref().is_some_and(|lost| lost.turned_away);
    let theirs = if is_page { noted } else { theirs };
    let says = theirs.filter(|_| !is_answered(&evidence)).unwrap_or(evidence).clone();
    Bookkeeping { lease: None, due_at, last_error: Some(LastError { lost, ..says }), ..before }
}

/// Gives back what passes that never finished had claimed: due again in this one, the `cut_off` ones before all others,
/// because a provider that forgives a lost answer doesn't do so for long.
pub(super) async fn release_claims(
    line: &Line,
    unfinished: &[String],
    cut_off: &CutOff,
) -> Result<(), PassError> {
    // Wherever the clock of that process stood.
    let latest = line.journal.remembered(Moment::LatestPass).await?;
    let latest = latest.unwrap_or_default().max(line.clock.now());
    let lease = TimeDelta::from_std(line.settings.lease).unwrap_or(TimeDelta::MAX);
    let horizon = latest.checked_add_signed(lease + CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX_UTC);
    let mut query = DueQuery {
        due_by: horizon,
        force: false,
        now: horizon,
        limit: BATCH,
        after: None,
        providers: ProviderFilter::Any,
    };
    loop {
        let page = line.insist_at_the_start(|| line.store.due_page(&query)).await?;
        let changes: Vec<_> = page
            .documents
            .into_iter()
            .filter_map(|document| {
                let lease_id = document.bookkeeping.lease.as_ref().map(|lease| lease.id.clone())?;
                unfinished.contains(&lease_id).then(|| Change {
                    expect_refresh_token: None,
                    expect_lease: Some(lease_id),
                    pair: None,
                    bookkeeping: released(line, &document, cut_off.get(&document.id)),
                    id: document.id,
                })
            })
            .collect();
        if !changes.is_empty() {
            reach(Point::RecoveryReleases);
            line.insist_at_the_start(|| line.store.apply(&changes)).await?;
            reach(Point::RecoveryReleased);
            line.report.recovered(|recovery| recovery.claims_released += changes.len() as u64);
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(());
        }
    }
}

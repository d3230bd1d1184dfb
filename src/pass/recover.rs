//! Recovery, before the first grant of a pass: answers that an earlier process had are written back, its claims are
//! given back, and the tokens whose answers were cut off fall due first.

use super::plan::{Landed, Next};
use super::release::{CutOff, Known, release_claims};
use super::sink::Sink;
use super::{Line, Pass, PassError, PassRequest, Stop};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::grant::answer::{Class, Granted, Reading, holds_a_token, read_answer};
use crate::journal::{Ending, Entry, EntryId, EntryState, Journaled};
use crate::kill_point::{Point, reach};
use crate::provider::{Profile, Provider, Rotation};
use crate::report::Report;
use crate::report::summary::Summary;
use crate::select::{Selected, select};
use crate::token::{Code, DueToken, LEASE_MARGIN, ParkedWhy, RefreshToken, TokenDocument, Word};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Documents read or changed at once.
const BATCH: usize = 500;

/// A pair that an earlier process received, and what the journal knows of it.
struct Found {
    entry: Entry,
    granted: Journaled<Granted>,
    received_at: Timestamp,
    provider: Arc<Provider>,
}

impl Pass {
    /// Settles what an earlier process left, and redeems nothing: pairs go into their documents or are parked, claims
    /// are given back. The summary's outcomes are those of the pairs; cut-off grants stay for the next pass.
    ///
    /// **Must run to completion**; killed midway, it does the rest when it is run again.
    ///
    /// # Errors
    /// [`PassError`] when store or journal aren't ready. What goes wrong later is in the summary.
    pub async fn recover(&self) -> Result<Summary, PassError> {
        let (started_at, began) = (self.clock.now(), Instant::now());
        let readiness = self.prepare(&CancellationToken::new()).await?;
        let report = Arc::new(Report::new());
        let line =
            self.line(&PassRequest::default(), &self.providers, &Stop::default(), report.clone(), started_at);
        let unfinished = self.begin(&line).await?;
        let mut sink = Sink::new(line.clone());
        recover(&line, &mut sink, &self.providers, &unfinished).await?;
        self.stand(&line).await;
        self.journal.finish_pass(&line.terms.lease_id).await?;
        Ok(report.summary(&self.store.describe(), Some(readiness.documents), started_at, began.elapsed()))
    }
}

/// Settles what an earlier process left. `unfinished` are the lease ids of its passes.
pub(super) async fn recover(
    line: &Arc<Line>,
    sink: &mut Sink,
    providers: &[Arc<Provider>],
    unfinished: &[String],
) -> Result<(), PassError> {
    let (mut cut_off, mut after) = (CutOff::new(), None);
    loop {
        // A page at a time: memory must not grow with what is left.
        let page = line.journal.page(after).await?;
        recover_page(line, sink, providers, page.entries, &mut cut_off).await?;
        for damaged in page.damaged {
            let (id, problem) = (damaged.id, damaged.problem);
            error!(%id, problem, "the journal's entry {id} can't be read ({problem}); it is kept as it is");
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !unfinished.is_empty() {
        release_claims(line, unfinished, &cut_off).await?;
    }
    reach(Point::RecoveryEnds);
    for lease_id in unfinished {
        line.journal.finish_pass(lease_id).await?;
    }
    Ok(())
}

async fn recover_page(
    line: &Arc<Line>,
    sink: &mut Sink,
    providers: &[Arc<Provider>],
    entries: Vec<Entry>,
    cut_off: &mut CutOff,
) -> Result<(), PassError> {
    let entries = forget(line, entries, providers).await?;
    reach(Point::RecoveryRead);
    let left = |state| entries.iter().filter(|entry| entry.state == state).count() as u64;
    let (answers, unsettled) = (left(EntryState::Answer), left(EntryState::Unsettled));
    line.report.recovered(|recovery| {
        recovery.answers += answers;
        recovery.unsettled += unsettled;
    });
    if answers + unsettled > 0 {
        info!(
            answers,
            unsettled,
            "recovering what an earlier process left: {answers} answers, {unsettled} requests without an answer"
        );
    }
    let sorted = sort(line, entries, providers, cut_off);
    end(line, sorted.endings).await?;
    reach(Point::RecoverySorted);
    let mut found = sorted.found.into_iter().peekable();
    while found.peek().is_some() {
        let batch: Vec<_> = found.by_ref().take(BATCH).collect();
        write_back(line, sink, batch).await?;
    }
    Ok(())
}

/// Ends the cut-off grants that nobody asks again, because their document has gone, holds another token or is marked
/// already; returns the others. Without this they would be found by every pass for ever.
async fn forget(
    line: &Line,
    entries: Vec<Entry>,
    providers: &[Arc<Provider>],
) -> Result<Vec<Entry>, PassError> {
    let success =
        |entry: &Entry| entry.answer.as_ref().is_some_and(|answer| (200..300).contains(&answer.get().status));
    // A success that was cut holds nothing for anybody, unless a refresh token stands in what came of it.
    let holds_nothing = |entry: &Entry| {
        let provider = provider_of(entry, providers);
        !entry
            .answer
            .as_ref()
            .is_some_and(|answer| success(entry) && is_of_use(line, entry, answer.get(), provider))
    };
    let is_cut_off = |entry: &&Entry| match entry.state {
        EntryState::Unsettled => holds_nothing(entry),
        // An answer without a pair says no more than none: its document may have been marked just before the crash.
        EntryState::Answer => !success(entry),
        // Nor does one that stayed beside the next try, without a token in it.
        EntryState::Orphan => {
            entry.parked_why().is_some_and(|why| why.is(ParkedWhy::Unreadable)) && holds_nothing(entry)
        }
        EntryState::Intent | EntryState::Unread => false,
    };
    let cut_off: Vec<_> = entries.iter().filter(is_cut_off).collect();
    let mut over = HashMap::new();
    for batch in cut_off.chunks(BATCH) {
        let ids: Vec<_> = batch.iter().map(|entry| entry.intent.document.clone()).collect();
        let documents = line.insist_at_the_start(|| line.store.read(&ids)).await?;
        for entry in batch {
            let document = documents.iter().find(|document| document.id == entry.intent.document);
            let timeout = provider_of(entry, providers).map(|provider| provider.profile.request_timeout);
            let written_within = timeout.unwrap_or_default() + LEASE_MARGIN;
            over.extend(ending(entry, document, written_within).map(|ending| (entry.id, ending)));
        }
    }
    let entries = entries.into_iter().filter(|entry| !over.contains_key(&entry.id)).collect();
    end(line, over.into_iter().collect()).await?;
    Ok(entries)
}

/// Is there a refresh token in a success, wherever it stands, or a pair where the profile says by now, or something that an
/// earlier version took for a lost answer and that may hold a pair?
fn is_of_use(line: &Line, entry: &Entry, answer: &RawAnswer, provider: Option<&Arc<Provider>>) -> bool {
    let says = |provider: &Arc<Provider>| match reading_of(line, answer, provider).class {
        Class::Granted(_) => true,
        Class::Unreadable => was_misread(entry, provider),
        _ => false,
    };
    holds_a_token(answer) || provider.is_some_and(says)
}

fn reading_of(line: &Line, answer: &RawAnswer, provider: &Provider) -> Reading {
    read_answer(answer, &provider.profile.answer, line.clock.now())
}

/// Was a success that can't be read taken for a lost answer when it came? Not where a person has given its token free.
fn was_misread(entry: &Entry, provider: &Provider) -> bool {
    entry.state == EntryState::Unsettled
        && entry.why.as_deref() != Some(Code::Unreadable.word())
        && provider.profile.rotation != Rotation::None
}

/// How the row of a cut-off grant ends; `None` while its token waits to be asked for again. A pair that came for it was
/// `written_within` this time.
fn ending(entry: &Entry, document: Option<&TokenDocument>, written_within: Duration) -> Option<Ending> {
    let Some(document) = document else { return Some(Ending::Settled) };
    let now_there = document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
    if now_there == Some(entry.intent.fingerprint) {
        // What stands in a cut answer stays for a person for as long as it could be of use.
        let is_over = entry.state != EntryState::Orphan && select(document, false, false) != Selected::Claim;
        return is_over.then_some(Ending::Settled);
    }
    // Written by us right then: the journal had failed, and the pair went straight into its document. The old token is
    // redeemed all the same, and a second document may hold it, whatever the application has made of the pair since.
    // What was written later may be another login's.
    let books = &document.bookkeeping;
    let after = books.refreshed_at.and_then(|at| (at - entry.intent.sent_at).to_std().ok());
    let written = books.fingerprint.filter(|written| *written != entry.intent.fingerprint);
    Some(match written.filter(|_| after.is_some_and(|after| after < written_within)) {
        Some(successor) => Ending::Redeemed { successor },
        None => Ending::Settled,
    })
}

/// What the rows of an earlier process say.
#[derive(Default)]
struct Sorted {
    /// Pairs to write back.
    found: Vec<Found>,
    /// Rows whose answers say something else.
    endings: Vec<(EntryId, Ending)>,
}

/// Reads the answers, and notes in `cut_off` what is known of each token that waits.
fn sort(line: &Line, entries: Vec<Entry>, providers: &[Arc<Provider>], cut_off: &mut CutOff) -> Sorted {
    let mut sorted = Sorted::default();
    for mut entry in entries {
        let document = entry.intent.document.clone();
        let known = sorted.take(line, &mut entry, providers);
        if entry.state != EntryState::Orphan {
            cut_off.entry(document).or_default().extend(known);
        }
    }
    sorted
}

impl Sorted {
    /// Sorts one row; returns what its document must say.
    fn take(&mut self, line: &Line, entry: &mut Entry, providers: &[Arc<Provider>]) -> Option<Known> {
        let now = line.clock.now();
        let unsettled = |entry: &Entry, why: Word<Code>| Some(Known::in_doubt(entry, why, now));
        let was_unsettled = entry.state == EntryState::Unsettled
            || entry.unsettled_since.is_some()
            || entry.turned_away_since.is_some();
        // What couldn't be read may be readable by now, and the place of an orphan may be free again.
        let Some(answer) = entry.answer.take() else {
            return was_unsettled.then(|| unsettled(entry, Code::Stopped.into())).flatten();
        };
        let Some(provider) = provider_of(entry, providers) else {
            let (subject, name) = (&entry.intent.subject, &entry.intent.provider);
            warn!(%subject, "the journal holds an answer of the provider `{name}`, which is not configured any more; it is kept");
            let is_success = (200..300).contains(&answer.get().status);
            // Another machine may know the provider, and must not ask it again for what this one holds.
            let holds = matches!(entry.state, EntryState::Answer | EntryState::Unread) && is_success;
            return if holds {
                Some(Known::unread(entry, Code::UnknownProvider.into(), answer.get().status, now))
            } else {
                was_unsettled.then(|| unsettled(entry, Code::Stopped.into())).flatten()
            };
        };
        let (received_at, status) = (answer.get().received_at, answer.get().status);
        let answer = answer.map(|raw| reading_of(line, &raw, provider));
        let code: Word<Code> = Word::read(&answer.get().code);
        let class = answer.get().class.clone();
        match (class, entry.state) {
            (Class::Granted(granted), _) => {
                let rotated = granted.refresh_token.as_ref().map(RefreshToken::fingerprint);
                let rotated = rotated.is_some_and(|new| new != entry.intent.fingerprint);
                let granted = answer.map(|_| granted);
                self.found.push(Found {
                    granted,
                    received_at,
                    provider: provider.clone(),
                    entry: entry.clone(),
                });
                // For as long as the document doesn't take the pair.
                rotated.then(|| Known::unread(entry, Code::Held.into(), status, now))
            }
            (_, EntryState::Orphan) => None,
            (Class::Unreadable, EntryState::Unsettled) if was_misread(entry, provider) => {
                self.endings.push((entry.id, Ending::Unread(code.clone())));
                Some(Known::unread(entry, code, status, now))
            }
            (_, EntryState::Unsettled | EntryState::Intent) => unsettled(entry, code),
            // It was kept because it may hold the only copy of a pair. Whoever says by now that nothing is rotated may be
            // wrong, or another provider: the token is asked for again, and the answer stays until a pair came for it.
            (Class::Unreadable, EntryState::Unread) if provider.profile.rotation == Rotation::None => {
                self.endings.push((entry.id, Ending::Unsettled(code)));
                None
            }
            // The old token stays good whatever was said.
            (Class::Unreadable, _) if provider.profile.rotation == Rotation::None => {
                self.endings.push((entry.id, Ending::NotProcessed));
                None
            }
            (_, EntryState::Unread) => Some(Known::unread(entry, code, status, now)),
            (Class::Unreadable, EntryState::Answer) => {
                self.endings.push((entry.id, Ending::Unread(code.clone())));
                Some(Known::unread(entry, code, status, now))
            }
            (Class::Ambiguous, EntryState::Answer) => {
                self.endings.push((entry.id, Ending::Unsettled(code.clone())));
                entry.unsettled_since.get_or_insert(entry.intent.sent_at);
                unsettled(entry, code)
            }
            (
                Class::ClientRejected | Class::Throttled(_) | Class::Transient | Class::Unlisted,
                EntryState::Answer,
            ) if !answer.get().settles && provider.profile.rotation != Rotation::None => {
                self.endings.push((entry.id, Ending::TurnedAway(code.clone())));
                entry.turned_away_since.get_or_insert(entry.intent.sent_at);
                unsettled(entry, code)
            }
            // Whatever was said of the token then, the provider says again when it is asked again.
            (
                Class::Refused
                | Class::Suspected
                | Class::ClientRejected
                | Class::Throttled(_)
                | Class::Transient
                | Class::Unlisted,
                EntryState::Answer,
            ) => {
                self.endings.push((entry.id, Ending::NotProcessed));
                entry.received_bytes = None;
                was_unsettled.then(|| unsettled(entry, Code::Stopped.into())).flatten()
            }
        }
    }
}

/// The provider that a row's token was sent to. One that was given another name: where there is only one, it is the one.
pub(super) fn provider_of<'a>(entry: &Entry, providers: &'a [Arc<Provider>]) -> Option<&'a Arc<Provider>> {
    let named = providers.iter().find(|provider| *provider.name == *entry.intent.provider);
    let only = if let [only] = providers { Some(only) } else { None };
    named.or(only)
}

/// Brings pairs into their documents, or parks them.
async fn write_back(line: &Arc<Line>, sink: &mut Sink, batch: Vec<Found>) -> Result<(), PassError> {
    let ids: Vec<_> = batch.iter().map(|found| found.entry.intent.document.clone()).collect();
    let documents = line.insist_at_the_start(|| line.store.read(&ids)).await?;
    let documents: HashMap<_, _> =
        documents.into_iter().map(|document| (document.id.clone(), document)).collect();
    let (mut landed, mut endings) = (Vec::new(), Vec::new());
    for Found { entry, granted, received_at, provider } in batch {
        let old = entry.intent.fingerprint;
        let new = granted.get().refresh_token.as_ref().filter(|new| new.fingerprint() != old);
        let mut park = |why: ParkedWhy| {
            if entry.state == EntryState::Orphan {
                return;
            }
            // A pair that kept the refresh token holds nothing that the document's next grant doesn't give again.
            let ending = if new.is_some() { Ending::Orphaned(why) } else { Ending::Settled };
            if new.is_some() {
                line.report.orphaned();
            }
            endings.push((entry.id, ending));
        };
        let Some(document) = documents.get(&entry.intent.document).cloned() else {
            park(ParkedWhy::Gone);
            continue;
        };
        // The bookkeeping says so of one that can't be sent, which isn't read, and of one that the application has
        // redeemed since: it speaks of a token only when that stood in the document.
        let held = |new: &RefreshToken| match &document.refresh_token {
            Ok(token) if token.fingerprint() == old => false,
            Ok(token) if token == new => true,
            Ok(_) | Err(_) => document.bookkeeping.fingerprint == Some(new.fingerprint()),
        };
        if let Some(new) = new
            && held(new)
        {
            line.report.recovered(|recovery| recovery.written += 1);
            endings.push((entry.id, Ending::Redeemed { successor: new.fingerprint() }));
            continue;
        }
        if line.settings.documents_name_provider && document.provider.as_deref() != Some(&*provider.name) {
            // Its next grant would send one provider's token to another one.
            park(ParkedWhy::ProviderChanged);
            continue;
        }
        match document.refresh_token {
            // An access token that has ended is of no use to anybody, and the application may have a newer one.
            Ok(token)
                if token.fingerprint() == old
                    && new.is_none()
                    && has_ended(granted.get(), &provider.profile, received_at, line.clock.now()) =>
            {
                endings.push((entry.id, Ending::Settled));
            }
            // The refresh token stays: what was written since then came out of this answer, or of a later one.
            Ok(token)
                if token.fingerprint() == old
                    && new.is_none()
                    && document.bookkeeping.refreshed_at >= Some(received_at) =>
            {
                line.report.recovered(|recovery| recovery.written += 1);
                endings.push((entry.id, Ending::Renewed));
            }
            Ok(token) if token.fingerprint() == old => {
                line.report.touched();
                let token = DueToken {
                    id: document.id,
                    subject: document.subject,
                    refresh_token: token,
                    bookkeeping: document.bookkeeping,
                };
                let next = Next::WriteBack { granted, received_at, recovered: true };
                landed.push(Landed::Token { token, provider, next });
            }
            _ => park(ParkedWhy::Superseded),
        }
    }
    sink.settle(landed).await;
    reach(Point::RecoveryWritten);
    end(line, endings).await
}

/// Has the access token of an answer ended by now, as far as its life is known?
fn has_ended(granted: &Granted, profile: &Profile, received_at: Timestamp, now: Timestamp) -> bool {
    let lifetime = granted.expires_in.or(profile.access_token_lifetime);
    lifetime.is_some_and(|lifetime| (now - received_at).to_std().is_ok_and(|age| age >= lifetime))
}

async fn end(line: &Line, endings: Vec<(EntryId, Ending)>) -> Result<(), PassError> {
    if !endings.is_empty() {
        line.journal.end(endings, line.clock.now()).await?;
    }
    Ok(())
}

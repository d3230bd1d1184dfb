//! Recovery, before the first grant of a pass: a source of cases beside the lanes. Answers that an earlier process had are
//! written back, its claims are given back, and the tokens whose answers were cut off fall due first.

use super::landed::Landed;
use super::release::{CutOff, release_claims};
use super::sink::Sink;
use super::span::document_span;
use super::{Base, Line, PassError, Stop};
use crate::grant::answer::{holds_a_token, read_answer};
use crate::journal::{Entry, EntryState};
use crate::kill_point::{Point, reach};
use crate::provider::Provider;
use crate::report::Report;
use crate::token::{Code, TokenDocument, TokenId};
use crate::verdict::{Left, LeftAnswer, LeftVerdict, Rule, Verdict, judge_left};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tracing::{Instrument as _, error, info, warn};

/// Which rows are recovered.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// All: before the first pass of a process nothing is in hand.
    All,
    /// Those of a provider that has no pass at work; of other providers something may be in hand.
    Of(&'a Provider),
    /// None: claims alone are given back.
    None,
}

impl Rows<'_> {
    fn hold(self, entry: &Entry, providers: &[Arc<Provider>]) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Of(provider) => {
                provider_of(entry, providers).is_some_and(|known| known.name == provider.name)
            }
        }
    }
}

impl Base {
    /// Settles what earlier processes left, and redeems nothing: pairs go into their documents or are parked, claims are
    /// given back. The outcomes in the report are those of the pairs; cut-off grants stay for the next pass.
    ///
    /// Before the first pass of this process. **Must run to completion**; killed midway, it does the rest when it is run
    /// again.
    ///
    /// # Errors
    /// [`PassError`] when store or journal aren't ready. What goes wrong later is in the report.
    pub async fn recover(&self, stop: &Stop, report: Arc<Report>) -> Result<Held, PassError> {
        let line = Arc::new(Line::of_rows(self, stop, report));
        let span = line.span();
        let settle = async {
            let unfinished = line.begin_process().await?;
            let mut sink = Sink::new(line.clone());
            recover(&line, &mut sink, Rows::All, &unfinished).await?;
            line.stand().await;
            let held = std::mem::take(&mut *line.held());
            Ok(Held(Arc::new(held)))
        };
        settle.instrument(span).await
    }
}

/// Documents whose new pair is in the journal and couldn't be written yet.
#[derive(Debug, Clone)]
pub struct Held(pub(super) Arc<HashSet<TokenId>>);

/// Settles what ended passes left. `unfinished` are the lease ids of those of which something may be claimed still.
pub(super) async fn recover(
    line: &Arc<Line>,
    sink: &mut Sink,
    rows: Rows<'_>,
    unfinished: &[String],
) -> Result<(), PassError> {
    let (mut cut_off, mut after) = (CutOff::new(), None);
    loop {
        // A page at a time: memory must not grow with what is left.
        let mut page = line.base.journal.page(after).await?;
        page.entries.retain(|entry| rows.hold(entry, &line.base.providers));
        // Of two answers for one token the later one has the good pair, and its document takes the first that comes.
        page.entries.sort_by_key(|entry| Reverse(entry.id));
        recover_page(line, sink, page.entries, &mut cut_off).await?;
        for damaged in page.damaged.into_iter().filter(|_| matches!(rows, Rows::All)) {
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
        line.base.journal.finish_pass(lease_id, line.base.clock.now()).await?;
    }
    Ok(())
}

async fn recover_page(
    line: &Arc<Line>,
    sink: &mut Sink,
    entries: Vec<Entry>,
    cut_off: &mut CutOff,
) -> Result<(), PassError> {
    let documents = documents_of(line, &entries).await?;
    reach(Point::RecoveryRead);
    let (mut answers, mut unsettled) = (0, 0);
    let mut landed = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let state = entry.state;
        let LeftVerdict { verdict, known, is_open } = judge_entry(line, &mut entry, &documents);
        // An answer that was set aside is one, too, once a pair is found in it.
        let is_a_pair =
            matches!(verdict.rule, Rule::LeftPairThere | Rule::LeftPairWritten | Rule::LeftPairFinished);
        answers += u64::from(is_a_pair || is_open && state == EntryState::Answer);
        if is_open {
            unsettled += u64::from(matches!(state, EntryState::Unsettled | EntryState::AskAgain));
            cut_off.entry(entry.intent.document.clone()).or_default().extend(known);
        }
        landed.push(left_landed(line, entry, verdict));
    }
    line.report.recovered(|recovery| {
        recovery.answers += answers;
        recovery.unsettled += unsettled;
    });
    if answers + unsettled > 0 {
        info!(
            answers,
            unsettled,
            "settling what earlier passes left: {answers} answers, {unsettled} requests without an answer"
        );
    }
    reach(Point::RecoverySorted);
    sink.execute(landed).await?;
    reach(Point::RecoveryWritten);
    Ok(())
}

/// The documents of a page of rows.
async fn documents_of(line: &Line, entries: &[Entry]) -> Result<HashMap<TokenId, TokenDocument>, PassError> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.intent.document.clone()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let documents = line.insist_at_the_start(|| line.base.store.read(&ids)).await?;
    Ok(documents.into_iter().map(|document| (document.id.clone(), document)).collect())
}

/// What follows from a row, by its answer as today's profile reads it and its document as it is now.
fn judge_entry(line: &Line, entry: &mut Entry, documents: &HashMap<TokenId, TokenDocument>) -> LeftVerdict {
    let provider = provider_of(entry, &line.base.providers);
    let around = line.around();
    let answer = entry.answer.take().map(|raw| {
        let (http_status, received_at) = (raw.get().status, raw.get().received_at);
        let holds_a_token = holds_a_token(raw.get());
        let read = |profile| raw.map(|raw| read_answer(&raw, profile, around.now));
        let reading = provider.map(|provider| read(&provider.profile));
        LeftAnswer { http_status, received_at, reading, holds_a_token }
    });
    let left = Left { entry, provider: provider.map(|provider| &**provider), answer };
    judge_left(&left, documents.get(&left.entry.intent.document), &around)
}

/// The row as the sink takes it; says what a person should know, and counts it.
fn left_landed(line: &Line, entry: Entry, verdict: Verdict) -> Landed {
    let (subject, provider) = (entry.intent.subject, entry.intent.provider.to_string());
    match verdict.rule {
        Rule::LeftUnknownProvider => {
            let _about = document_span(Some(&provider), &entry.intent.document, &subject).entered();
            let code = Code::UnknownProvider.word();
            warn!(
                code,
                "the journal holds an answer of the provider `{provider}`, which is not configured any more; it is kept"
            );
        }
        Rule::LeftPairThere => line.report.recovered(|recovery| recovery.written += 1),
        Rule::LeftPairWritten | Rule::LeftPairFinished => line.report.touched(),
        _ => {}
    }
    Landed::left(entry.intent.document, subject, provider, verdict)
}

/// The provider that a row's token was sent to. One that was given another name: where there is only one, it is the one.
pub(super) fn provider_of<'a>(entry: &Entry, providers: &'a [Arc<Provider>]) -> Option<&'a Arc<Provider>> {
    let named = providers.iter().find(|provider| *provider.name == *entry.intent.provider);
    let only = if let [only] = providers { Some(only) } else { None };
    named.or(only)
}

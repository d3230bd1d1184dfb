//! Recovery, before the first grant of a pass: a source of cases beside the lanes. Answers that an earlier process had are
//! written back, its claims are given back, and the tokens whose answers were cut off fall due first.

use super::landed::Landed;
use super::release::{CutOff, release_claims};
use super::sink::Sink;
use super::{Line, Pass, PassError, PassRequest, Stop};
use crate::grant::answer::{holds_a_token, read_answer};
use crate::journal::{Entry, EntryState};
use crate::kill_point::{Point, reach};
use crate::provider::Provider;
use crate::report::Report;
use crate::report::summary::Summary;
use crate::token::{TokenDocument, TokenId};
use crate::verdict::{Left, LeftAnswer, LeftVerdict, Rule, Verdict, judge_left};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

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
        let line = self.line(
            &PassRequest::default(),
            &self.providers,
            &Stop::default(),
            report.clone(),
            started_at,
            readiness.documents,
        );
        let unfinished = self.begin(&line).await?;
        let mut sink = Sink::new(line.clone());
        recover(&line, &mut sink, &self.providers, &unfinished).await?;
        self.stand(&line).await;
        self.journal.finish_pass(&line.terms.lease_id, self.clock.now()).await?;
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
        line.journal.finish_pass(lease_id, line.clock.now()).await?;
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
    let documents = documents_of(line, &entries).await?;
    reach(Point::RecoveryRead);
    let (mut answers, mut unsettled) = (0, 0);
    let mut landed = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let state = entry.state;
        let LeftVerdict { verdict, known, is_open } = judge_entry(line, &mut entry, providers, &documents);
        if is_open {
            answers += u64::from(state == EntryState::Answer);
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
            "recovering what an earlier process left: {answers} answers, {unsettled} requests without an answer"
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
    let documents = line.insist_at_the_start(|| line.store.read(&ids)).await?;
    Ok(documents.into_iter().map(|document| (document.id.clone(), document)).collect())
}

/// What follows from a row, by its answer as today's profile reads it and its document as it is now.
fn judge_entry(
    line: &Line,
    entry: &mut Entry,
    providers: &[Arc<Provider>],
    documents: &HashMap<TokenId, TokenDocument>,
) -> LeftVerdict {
    let provider = provider_of(entry, providers);
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
            warn!(%subject, "the journal holds an answer of the provider `{provider}`, which is not configured any more; it is kept");
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

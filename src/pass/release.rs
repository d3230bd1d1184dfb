//! Claims of passes that never finished, given back with what is known of their tokens.

use super::span::document_span;
use super::{Line, PassError};
use crate::failure::told;
use crate::kill_point::{Point, reach};
use crate::store::{Change, Fence, Unwritable};
use crate::token::{Reason, TokenDocument, TokenId};
use crate::verdict::{Known, released};
use std::collections::HashMap;
use tracing::warn;

/// Documents read or changed at once.
const BATCH: usize = 500;

/// The documents whose tokens the journal has open rows for, and what it knows of these.
pub(super) type CutOff = HashMap<TokenId, Vec<Known>>;

/// Gives back what passes that never finished had claimed: due again in this one, the `cut_off` ones before all others,
/// because a provider that forgives a lost answer doesn't do so for long.
pub(super) async fn release_claims(
    line: &Line,
    unfinished: &[String],
    cut_off: &CutOff,
) -> Result<(), PassError> {
    let mut after = None;
    loop {
        let page = line.insist_at_the_start(|| line.base.store.claimed(after.as_ref(), BATCH)).await?;
        let is_left = |document: &TokenDocument| {
            document.bookkeeping.lease.as_ref().is_some_and(|lease| unfinished.contains(&lease.id))
        };
        let left: Vec<_> = page.documents.into_iter().filter(is_left).collect();
        let given_back = |document: &TokenDocument| {
            let known = cut_off.get(&document.id).map(Vec::as_slice);
            Some(Change {
                expect_refresh_token: None,
                expect_lease: Fence::Lease(document.bookkeeping.lease.as_ref()?.id.clone()),
                pair: None,
                bookkeeping: released(document, known, line.policy.due_by, line.base.clock.now()),
                id: document.id.clone(),
            })
        };
        let changes: Vec<_> = left.iter().filter_map(given_back).collect();
        if !changes.is_empty() {
            reach(Point::RecoveryReleases);
            let applied = line.insist_at_the_start(|| line.base.store.apply(&changes)).await?;
            reach(Point::RecoveryReleased);
            for (index, reason) in &applied.refused {
                tell_refused(line, &left[*index], reason);
            }
            let refused = applied.refused.len();
            line.report.recovered(|recovery| {
                recovery.claims_released += (changes.len() - refused) as u64;
                recovery.claims_refused += refused as u64;
            });
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Says of a document that the store refuses to write into why its token waits. Nothing is lost: a claim ends by itself.
fn tell_refused(line: &Line, document: &TokenDocument, reason: &Unwritable) {
    let (subject, code) = (&document.subject, Reason::RefusedByStore.word());
    let provider = line.provider_name(document);
    let _about = document_span(provider.as_deref(), &document.id, subject).entered();
    let until = document.bookkeeping.lease.as_ref().map(|lease| lease.until);
    let until = until.map_or_else(String::new, |until| format!(" until {until}"));
    let told = told(reason);
    warn!(
        code,
        %reason,
        "the store refuses to give back an earlier pass's claim of `{subject}`, so its token waits{until}: {told}"
    );
}

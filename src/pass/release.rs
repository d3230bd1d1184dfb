//! Claims of passes that never finished, given back with what is known of their tokens.

use super::{Line, PassError};
use crate::clock::Timestamp;
use crate::kill_point::{Point, reach};
use crate::store::{Change, DueQuery, Fence, ProviderFilter};
use crate::token::TokenId;
use crate::verdict::{Known, released};
use chrono::TimeDelta;
use std::collections::HashMap;

/// Documents read or changed at once.
const BATCH: usize = 500;

/// A pass may have claimed so much later than it, or anything of its, was last noted in the journal.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::days(2);

/// The documents whose tokens the journal has open rows for, and what it knows of these.
pub(super) type CutOff = HashMap<TokenId, Vec<Known>>;

/// Gives back what passes that never finished had claimed: due again in this one, the `cut_off` ones before all others,
/// because a provider that forgives a lost answer doesn't do so for long.
pub(super) async fn release_claims(
    line: &Line,
    unfinished: &[String],
    cut_off: &CutOff,
) -> Result<(), PassError> {
    // Wherever the clock of that process stood.
    let latest = line.latest_clock().await?;
    let lease = TimeDelta::from_std(line.base.settings.lease).unwrap_or(TimeDelta::MAX);
    let horizon = latest.checked_add_signed(lease + CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX_UTC);
    let mut query = DueQuery {
        due_by: horizon,
        due_after: None,
        force: false,
        now: horizon,
        limit: BATCH,
        after: None,
        providers: ProviderFilter::Any,
    };
    loop {
        let page = line.insist_at_the_start(|| line.base.store.due_page(&query)).await?;
        let changes: Vec<_> = page
            .documents
            .into_iter()
            .filter_map(|document| {
                let lease_id = document.bookkeeping.lease.as_ref().map(|lease| lease.id.clone())?;
                unfinished.contains(&lease_id).then(|| Change {
                    expect_refresh_token: None,
                    expect_lease: Fence::Lease(lease_id),
                    pair: None,
                    bookkeeping: released(
                        &document,
                        cut_off.get(&document.id).map(Vec::as_slice),
                        line.policy.due_by,
                        line.base.clock.now(),
                    ),
                    id: document.id,
                })
            })
            .collect();
        if !changes.is_empty() {
            reach(Point::RecoveryReleases);
            line.insist_at_the_start(|| line.base.store.apply(&changes)).await?;
            reach(Point::RecoveryReleased);
            line.report.recovered(|recovery| recovery.claims_released += changes.len() as u64);
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(());
        }
    }
}

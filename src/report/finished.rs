//! The finished report of a pass.

use super::summary::Summary;
use super::{Outcome, Report};
use crate::clock::Timestamp;
use crate::token::Vocabulary as _;
use std::collections::BTreeMap;
use std::time::Duration;

impl Report {
    /// The finished report.
    #[must_use]
    pub fn summary(
        &self,
        collection: &str,
        documents: Option<u64>,
        started_at: Timestamp,
        took: Duration,
    ) -> Summary {
        let inner = self.lock().clone();
        Summary {
            collection: collection.to_owned(),
            documents,
            started_at,
            took,
            due: inner.untaken.map(|untaken| inner.worked_on() + untaken),
            taken: inner.worked_on() - inner.put_offs.at_once(),
            remaining_due: inner.untaken.map(|untaken| inner.put_offs.at_once() + untaken),
            limited: inner.limited,
            known_needs_login: inner.known_needs_login,
            known_malformed: inner.known_malformed,
            touched: inner.touched,
            outcomes: Outcome::ALL
                .iter()
                .map(|&outcome| (outcome, inner.outcomes.get(&outcome).copied().unwrap_or_default()))
                .collect(),
            newly_marked: inner.newly_marked,
            newly_lost_in_flight: inner.newly_lost_in_flight,
            newly_malformed: inner.newly_malformed,
            gone_while_refused: inner.gone_while_refused,
            named: inner.named,
            // Those that were asked again are counted no longer.
            still_due_reasons: inner.reasons.into_iter().filter(|(_, count)| *count > 0).collect(),
            grants: inner.grants,
            throttled: inner.throttled,
            retries: inner.retries,
            orphans: inner.orphans,
            parked: inner.parked,
            lost: inner.lost,
            put_off_count: inner.put_offs.count(),
            put_off_until: inner.put_offs.until(),
            put_off: inner.put_offs.into_named(),
            waits_for_count: inner.waits.count,
            waits_for_new: inner.waits.new,
            waits_for: inner.waits.named,
            left_to_others: inner.left_to_others,
            ending_count: inner.endings.count(),
            ending: inner.endings.into_list(),
            live_again: inner.live_again,
            live_again_count: inner.live_again_count,
            recovery: inner.recovery,
            passes: inner.passes,
            providers: BTreeMap::new(),
            idle_providers: 0,
            forecast: None,
            warnings: inner.warnings,
            troubles: inner.troubles,
        }
    }
}

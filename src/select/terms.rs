//! What a pass claims with: for how long, and how much at once.

use super::Others;
use crate::clock::{Clock, Timestamp};
use crate::provider::rate::Rate;
use crate::provider::{Profile, Provider};
use crate::schedule::LateAccess;
use crate::token::{ClaimedBy, Lease, TokenId};
use chrono::TimeDelta;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Largest page, in documents: a few MiB at most with the fields that we read.
const LARGEST_PAGE: usize = 500;

/// Share of the lease in which a page must have passed the gate: what was read of it is of use for so long.
const LEASE_SHARE: u32 = 8;

/// How many leases long no claim is taken over after a leap of the store's clock: one until the holder has lost the claim that it
/// had at the leap, and one in which it may write an answer.
pub const LEASES_AFTER_A_LEAP: u32 = 2;

/// What a pass claims with.
#[derive(Debug, Clone)]
pub struct ClaimTerms {
    /// The fence of this pass.
    pub lease_id: String,
    /// `host:pid`.
    pub owner: String,
    /// What is known of claims that aren't this pass'.
    pub others: Others,
    /// How long a claim lasts.
    pub lease: Duration,
    /// Due by then.
    pub due_by: Timestamp,
    /// The whole collection, and not what is due alone.
    pub all: bool,
    /// Without force: what falls due later than this is wanted, too.
    pub looks_for: Option<LateAccess>,
    /// This document alone, due or not, marked or not.
    pub only: Option<TokenId>,
    /// Everything, due or not, dead or not.
    pub force: bool,
    /// Is what was marked long enough ago asked for once more?
    pub second_looks: bool,
    /// Documents read at once; fewer are claimed at once.
    pub page: usize,
    /// Whose documents these are; `None` of those that belong to none.
    pub provider: Option<Arc<Provider>>,
}

impl ClaimTerms {
    /// How the provider of these documents is asked.
    #[must_use]
    pub fn profile(&self) -> Option<&Profile> {
        self.provider.as_ref().map(|provider| &provider.profile)
    }

    /// A lease from `now` on.
    #[must_use]
    pub fn lease_from(&self, now: Timestamp) -> Lease {
        let until = now.checked_add_signed(delta(self.lease)).unwrap_or(Timestamp::MAX_UTC);
        let by = ClaimedBy {
            journal: self.others.journal.id().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: now,
        };
        let (id, owner) = (self.lease_id.clone(), self.owner.clone());
        Lease { id, owner, until, taken_over: false, by: Some(by) }
    }

    /// Claims of others that ended before this may be taken over, also by force.
    ///
    /// Only one lease length after their end: a process that was stopped, or cut off from the store, for longer than
    /// its claims lasted may hold an answer, and gets as much time again to write it. Its own next start gives its
    /// claims back at once.
    #[must_use]
    pub fn takes_over_from(&self, clock: &Clock) -> Timestamp {
        Self::takes_over(self.lease, clock)
    }

    /// The same for a lease of this length. None has ended while a leap of the store's clock may be why it seems so: by the end
    /// of [`LEASES_AFTER_A_LEAP`] each holder has renewed its claim, or has lost it by its own clock.
    #[must_use]
    pub fn takes_over(lease: Duration, clock: &Clock) -> Timestamp {
        let lasts = delta(lease);
        if clock.leapt_within(delta(lease.saturating_mul(LEASES_AFTER_A_LEAP))) {
            return Timestamp::MIN_UTC;
        }
        clock.now().checked_sub_signed(lasts).unwrap_or(Timestamp::MIN_UTC)
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// How many documents to read at once: what passes the gate in a part of the lease, and fills the pool.
///
/// They are claimed in parts, as [`Flow`](super::Flow) says.
#[must_use]
pub fn page_limit(rate: Option<Rate>, concurrency: NonZeroUsize, lease: Duration) -> usize {
    let Some(rate) = rate else { return LARGEST_PAGE };
    let share = lease / LEASE_SHARE;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a page right away"
    )]
    let passes = (rate.per_second() * share.as_secs_f64()) as usize;
    passes.clamp(1, LARGEST_PAGE.min((8 * concurrency.get()).max(64)))
}

#[cfg(test)]
mod tests {
    use super::*;

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

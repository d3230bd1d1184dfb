//! What is claimed when a pass begins: claims that no process can have made so are cut, and those of others are counted.

use super::span::document_span;
use super::{Line, PassError, Whose};
use crate::clock::Timestamp;
use crate::report::LeftToOthers;
use crate::store::ProviderFilter;
use crate::token::{Lease, TokenDocument};
use chrono::TimeDelta;
use std::collections::BTreeSet;
use tracing::warn;

/// Documents read at once.
const BATCH: usize = 500;

/// A claim that ends later than so much from now on was made under a clock that was ahead: no lease lasts half as
/// long.
const FAR: TimeDelta = TimeDelta::days(1);

impl Line {
    /// Cuts the claims that end in days, and counts what other processes hold.
    pub(super) async fn look_at_claims(&self) -> Result<(), PassError> {
        if matches!(self.whose, Whose::Rows) {
            return Ok(());
        }
        let (mut left, mut earlier, mut after) = (LeftToOthers::default(), BTreeSet::new(), None);
        loop {
            let store = &self.base.store;
            let page = self.insist_at_the_start(|| store.claimed(after.as_ref(), BATCH)).await?;
            let (now, by) = (self.base.clock.now(), self.terms.takes_over_from(&self.base.clock));
            let ours: Vec<_> =
                page.documents.into_iter().filter(|document| self.is_of_this_pass(document)).collect();
            let known = self.known_passes(&ours).await?;
            for document in &ours {
                let Some(lease) = &document.bookkeeping.lease else { continue };
                if lease.until > now + FAR {
                    let until = self.cut(document, lease, now).await?;
                    left.add(until.unwrap_or(lease.until));
                } else if lease.until > by && !known.contains(&lease.id) {
                    left.add(lease.until);
                    if lease.until > now && is_of_an_earlier_version(lease) {
                        earlier.insert(lease.owner.clone());
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for owner in earlier {
            warn!(
                owner,
                "`{owner}` works on the same documents with an earlier version of Evergrant, which takes over claims that this one would wait for. Stop it, or update it"
            );
        }
        self.report.left_to_others(left);
        Ok(())
    }

    fn is_of_this_pass(&self, document: &TokenDocument) -> bool {
        let Some(counter) = self.whose.counter() else {
            let names = self.base.provider_names();
            return document.provider.as_ref().is_none_or(|name| !names.contains(name));
        };
        match self.base.filter(&counter.provider) {
            ProviderFilter::Named(name) => document.provider.as_ref() == Some(&name),
            ProviderFilter::Any | ProviderFilter::NoneOf(_) => true,
        }
    }

    async fn known_passes(&self, documents: &[TokenDocument]) -> Result<BTreeSet<String>, PassError> {
        let leases = documents.iter().filter_map(|document| document.bookkeeping.lease.as_ref());
        Ok(self.base.journal.known_passes(leases).await?)
    }

    /// Lets a claim end after one lease from now on, whichever pass made it; when it ends, unless it has gone meanwhile.
    async fn cut(
        &self,
        document: &TokenDocument,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PassError> {
        let until = self.terms.lease_from(now).until;
        let cut = Lease { until, ..lease.clone() };
        let store = &self.base.store;
        if !self.insist_at_the_start(|| store.cut(&document.id, &cut, FAR)).await? {
            return Ok(None);
        }
        let (subject, owner, far) = (&document.subject, &lease.owner, lease.until);
        let provider = self.provider_name(document);
        let _about = document_span(provider.as_deref(), &document.id, subject).entered();
        warn!(
            owner,
            until = %far,
            "`{owner}` has claimed `{subject}` until {far}: its clock was ahead. The claim ends at {until} now"
        );
        self.report.recovered(|recovery| recovery.claims_cut += 1);
        Ok(Some(until))
    }
}

/// Was it made by an earlier version than this one? The earliest versions told none.
pub(super) fn is_of_an_earlier_version(lease: &Lease) -> bool {
    let numbers = |version: &str| {
        let core = version.split(['-', '+']).next().unwrap_or_default();
        core.split('.').map(|number| number.parse().unwrap_or(0)).collect::<Vec<u64>>()
    };
    let ours = numbers(env!("CARGO_PKG_VERSION"));
    lease.by.as_ref().is_none_or(|by| numbers(&by.version) < ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::ClaimedBy;

    #[test]
    fn a_claim_without_a_version_or_with_a_lower_one_is_of_an_earlier_version() {
        let since = Timestamp::default();
        let of = |version: Option<&str>| {
            let by = version.map(|version| ClaimedBy { journal: "j".into(), version: version.into(), since });
            is_of_an_earlier_version(&Lease {
                id: "l".into(),
                owner: "o".into(),
                until: since,
                taken_over: false,
                by,
            })
        };
        for (version, expected) in [
            (None, true),
            (Some("0.0.1"), true),
            (Some(env!("CARGO_PKG_VERSION")), false),
            (Some("99.0.0"), false),
            (Some("9.10.0-rc.1"), false),
        ] {
            assert_eq!(of(version), expected, "{version:?}");
        }
    }
}

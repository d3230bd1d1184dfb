//! A store whose clock goes with the clock that a test steps: what passes there passes at the server, too.
//!
//! A real server's clock can't be moved. It is asked for its time, and judges claims by it, only in `time`, `claim`, `cut` and `apply`.

use async_trait::async_trait;
use chrono::TimeDelta;
use evergrant::testing::clock::{Clock, Timestamp};
use evergrant::testing::store::{
    Applied, Change, Claim, Claimed, DuePage, DueQuery, Existence, Fence, Identity, Position, Readiness,
    Store, StoreError, Strangers, Trial, TtlIndex, Waiting, WhoWaits,
};
use evergrant::testing::survey::{SurveyQuery, Surveyed};
use evergrant::testing::token::{Lease, TokenDocument, TokenId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The store, in step with a clock.
#[derive(Debug)]
pub(crate) struct InStep {
    inner: Arc<dyn Store>,
    clock: Clock,
    /// By how much the store's clock alone has leapt, in milliseconds.
    leapt: AtomicI64,
}

impl InStep {
    pub(crate) fn with(inner: Arc<dyn Store>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { inner, clock, leapt: AtomicI64::new(0) })
    }

    /// Lets the store's clock leap by so much.
    pub(crate) fn leap(&self, by: TimeDelta) {
        self.leapt.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }

    /// How far the store's clock is ahead of the real one.
    fn ahead(&self) -> TimeDelta {
        self.clock.stepped() + TimeDelta::milliseconds(self.leapt.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Store for InStep {
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.inner.time().await?.map(|time| time + self.ahead()))
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let claim = Claim { ended_for: claim.ended_for - self.ahead(), ..claim.clone() };
        self.inner.claim(&claim).await
    }

    async fn cut(&self, id: &TokenId, lease: &Lease, far: TimeDelta) -> Result<bool, StoreError> {
        self.inner.cut(id, lease, far + self.ahead()).await
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn in_mongosh(&self) -> Option<String> {
        self.inner.in_mongosh()
    }

    async fn identity(&self) -> Result<Identity, StoreError> {
        self.inner.identity().await
    }

    async fn prepare(&self) -> Result<Readiness, StoreError> {
        self.inner.prepare().await
    }

    async fn existence(&self) -> Result<Existence, StoreError> {
        self.inner.existence().await
    }

    async fn trial(&self, now: Timestamp) -> Result<Trial, StoreError> {
        self.inner.trial(now).await
    }

    async fn due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError> {
        self.inner.due_page(query).await
    }

    async fn draw(&self, query: &DueQuery) -> Result<Vec<TokenDocument>, StoreError> {
        self.inner.draw(query).await
    }

    async fn latest_due(&self, providers: &[String]) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        self.inner.latest_due(providers).await
    }

    async fn count_due(&self, query: &DueQuery) -> Result<u64, StoreError> {
        self.inner.count_due(query).await
    }

    async fn waiting(&self, who: &WhoWaits) -> Result<Waiting, StoreError> {
        self.inner.waiting(who).await
    }

    async fn claimed(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError> {
        self.inner.claimed(after, limit).await
    }

    async fn survey(&self, query: &SurveyQuery) -> Result<Surveyed, StoreError> {
        self.inner.survey(query).await
    }

    async fn renew(&self, ids: &[TokenId], lease: &Lease) -> Result<Vec<TokenId>, StoreError> {
        self.inner.renew(ids, lease).await
    }

    async fn apply(&self, changes: &[Change]) -> Result<Applied, StoreError> {
        let mut changes = changes.to_vec();
        for change in &mut changes {
            if let Fence::Ended { ended_for, .. } = &mut change.expect_lease {
                *ended_for -= self.ahead();
            }
        }
        self.inner.apply(&changes).await
    }

    async fn read(&self, ids: &[TokenId]) -> Result<Vec<TokenDocument>, StoreError> {
        self.inner.read(ids).await
    }

    async fn list(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError> {
        self.inner.list(after, limit).await
    }

    async fn of_subject(&self, subject: &str, limit: usize) -> Result<Vec<TokenDocument>, StoreError> {
        self.inner.of_subject(subject, limit).await
    }

    async fn left_out(&self, ids: &[TokenId]) -> Result<Vec<TokenId>, StoreError> {
        self.inner.left_out(ids).await
    }

    async fn strangers(&self, providers: &[String]) -> Result<Strangers, StoreError> {
        self.inner.strangers(providers).await
    }

    async fn ttl_indexes(&self) -> Result<Vec<TtlIndex>, StoreError> {
        self.inner.ttl_indexes().await
    }
}

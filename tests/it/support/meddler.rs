//! A store between the pass and the real one, where things go wrong at the moment that a test names.

use async_trait::async_trait;
use chrono::TimeDelta;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::store::{
    Applied, Change, Claim, Claimed, DuePage, DueQuery, Identity, Position, Readiness, Store, StoreError,
    Strangers, Trial, TtlIndex, Unwritable, Waiting, WhoWaits,
};
use evergrant::testing::survey::{SurveyQuery, Surveyed};
use evergrant::testing::token::{Lease, TokenDocument, TokenId};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What the pass is about to ask of the store.
pub(crate) enum Call {
    Prepare,
    DuePage,
    /// What is claimed now is read.
    Claimed,
    Waiting,
    Claim,
    Renew,
    Apply(Vec<Change>),
    Read(Vec<TokenId>),
}

impl Call {
    /// Does it write a new pair into this document?
    pub(crate) fn writes_pair_of(&self, id: &TokenId) -> bool {
        matches!(self, Self::Apply(changes) if changes.iter().any(|change| change.pair.is_some() && change.id == *id))
    }

    /// Does it write any new pair?
    pub(crate) fn writes_a_pair(&self) -> bool {
        matches!(self, Self::Apply(changes) if changes.iter().any(|change| change.pair.is_some()))
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    None,
    /// The store isn't there; nothing happens.
    Away,
    /// It happens, and nobody is told.
    LostAcknowledgement,
    /// The store is there and refuses.
    Denied,
}

type Refuses = dyn Fn(&TokenId) -> bool + Send + Sync;

type Hook = dyn Fn(Call) -> BoxFuture<'static, Mishap> + Send + Sync;

/// The store in between.
pub(crate) struct Meddler {
    inner: Arc<dyn Store>,
    hook: Mutex<Option<Arc<Hook>>>,
    refuses: Mutex<Option<Arc<Refuses>>>,
}

impl std::fmt::Debug for Meddler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl Meddler {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, hook: Mutex::new(None), refuses: Mutex::new(None) })
    }

    /// Decides about every call from now on.
    pub(crate) fn decide(&self, hook: impl Fn(&Call) -> Mishap + Send + Sync + 'static) {
        self.meddle(move |call| {
            let mishap = hook(&call);
            Box::pin(async move { mishap })
        });
    }

    /// Does something before every call from now on, and decides about it.
    pub(crate) fn meddle(&self, hook: impl Fn(Call) -> BoxFuture<'static, Mishap> + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Refuses new pairs for these documents from now on, as a validator does that takes the bookkeeping.
    pub(crate) fn refuse_pairs(&self, refuses: impl Fn(&TokenId) -> bool + Send + Sync + 'static) {
        *self.refuses.lock().unwrap() = Some(Arc::new(refuses));
    }

    /// Applies what isn't refused.
    async fn apply_rest(&self, changes: &[Change]) -> Result<Applied, StoreError> {
        let Some(refuses) = self.refuses.lock().unwrap().clone() else {
            return self.inner.apply(changes).await;
        };
        let is_refused = |change: &Change| change.pair.is_some() && refuses(&change.id);
        let (taken, rest): (Vec<_>, Vec<_>) =
            changes.iter().cloned().enumerate().filter(|(_, change)| !is_refused(change)).unzip();
        let mut applied = if rest.is_empty() {
            Applied { every_matched: true, refused: Vec::new() }
        } else {
            self.inner.apply(&rest).await?
        };
        applied.refused.iter_mut().for_each(|(index, _)| *index = taken[*index]);
        let refused = changes.iter().enumerate().filter(|(_, change)| is_refused(change));
        applied.refused.extend(refused.map(|(index, _)| (index, Unwritable::Validator)));
        applied.every_matched &= applied.refused.is_empty();
        Ok(applied)
    }

    /// Leaves the store alone again.
    pub(crate) fn leave(&self) {
        *self.refuses.lock().unwrap() = None;
        *self.hook.lock().unwrap() = None;
    }

    async fn call<T, F>(&self, call: Call, inner: F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let hook = self.hook.lock().unwrap().clone();
        let mishap = match hook {
            Some(hook) => hook(call).await,
            None => Mishap::None,
        };
        let (at, source) = (self.describe(), "a test meddles");
        match mishap {
            Mishap::None => inner.await,
            Mishap::Away => Err(StoreError::Unavailable { at, action: "be asked", source: source.into() }),
            Mishap::LostAcknowledgement => {
                inner.await?;
                Err(StoreError::Unavailable { at, action: "answer", source: source.into() })
            }
            Mishap::Denied => Err(StoreError::Denied {
                at,
                action: "be asked",
                hint: "leave it alone".into(),
                source: source.into(),
            }),
        }
    }
}

#[async_trait]
impl Store for Meddler {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn identity(&self) -> Result<Identity, StoreError> {
        self.inner.identity().await
    }

    async fn prepare(&self) -> Result<Readiness, StoreError> {
        self.call(Call::Prepare, self.inner.prepare()).await
    }

    async fn trial(&self, now: evergrant::testing::clock::Timestamp) -> Result<Trial, StoreError> {
        self.inner.trial(now).await
    }

    async fn due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError> {
        self.call(Call::DuePage, self.inner.due_page(query)).await
    }

    async fn draw(&self, query: &DueQuery) -> Result<Vec<TokenDocument>, StoreError> {
        self.call(Call::DuePage, self.inner.draw(query)).await
    }

    async fn waiting(&self, who: &WhoWaits) -> Result<Waiting, StoreError> {
        self.call(Call::Waiting, self.inner.waiting(who)).await
    }

    async fn latest_due(&self, providers: &[String]) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        self.inner.latest_due(providers).await
    }

    async fn count_due(&self, query: &DueQuery) -> Result<u64, StoreError> {
        self.inner.count_due(query).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.call(Call::Claim, self.inner.claim(claim)).await
    }

    async fn claimed(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError> {
        self.call(Call::Claimed, self.inner.claimed(after, limit)).await
    }

    async fn survey(&self, query: &SurveyQuery) -> Result<Surveyed, StoreError> {
        self.inner.survey(query).await
    }

    async fn renew(&self, ids: &[TokenId], lease: &Lease) -> Result<Vec<TokenId>, StoreError> {
        self.call(Call::Renew, self.inner.renew(ids, lease)).await
    }

    async fn cut(&self, id: &TokenId, lease: &Lease, far: TimeDelta) -> Result<bool, StoreError> {
        self.call(Call::Renew, self.inner.cut(id, lease, far)).await
    }

    async fn apply(&self, changes: &[Change]) -> Result<Applied, StoreError> {
        self.call(Call::Apply(changes.to_vec()), self.apply_rest(changes)).await
    }

    async fn read(&self, ids: &[TokenId]) -> Result<Vec<TokenDocument>, StoreError> {
        self.call(Call::Read(ids.to_vec()), self.inner.read(ids)).await
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

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.time().await
    }
}

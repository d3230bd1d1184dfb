//! A store whose calls are watched: does it answer, and what went wrong?

use super::{
    Applied, Change, Claim, Claimed, DuePage, DueQuery, Existence, Identity, Position, Readiness, Store,
    StoreError, Strangers, Trial, TtlIndex, Waiting, WhoWaits,
};
use crate::clock::Timestamp;
use crate::survey::{SurveyQuery, Surveyed};
use crate::token::{Lease, TokenDocument, TokenId};
use async_trait::async_trait;
use chrono::TimeDelta;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How a store has answered since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Did the last call end well, or with a refusal that only a store that is there can give? None before the first call.
    pub up: Option<bool>,
    /// Calls that failed, in the order of [`Self::KINDS`].
    pub errors: [u64; Self::KINDS.len()],
}

impl Health {
    /// What can be wrong: it does not answer; it refuses; its disk is full; its disk failed.
    pub const KINDS: [&str; 4] = ["unavailable", "denied", "full", "failed"];

    fn met(&mut self, error: Option<&StoreError>) {
        let kind = match error {
            // Nothing was asked.
            Some(StoreError::Settings(_)) => return,
            None => None,
            Some(StoreError::Unavailable { .. }) => Some(0),
            Some(StoreError::Denied { .. }) => Some(1),
            Some(StoreError::Full { .. }) => Some(2),
            Some(StoreError::Failed { .. }) => Some(3),
        };
        self.up = Some(matches!(kind, None | Some(1)));
        if let Some(kind) = kind {
            self.errors[kind] += 1;
        }
    }
}

/// Where the health of a store is noted; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Health>>);

impl Pulse {
    /// How it is now.
    #[must_use]
    pub fn health(&self) -> Health {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        // Plain counts: a panic elsewhere leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).met(answer.as_ref().err());
        answer
    }
}

/// A store whose calls are watched.
#[derive(Debug)]
pub struct Watched {
    store: Arc<dyn Store>,
    pulse: Pulse,
}

impl Watched {
    /// Watches this one from now on.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, pulse: Pulse) -> Self {
        Self { store, pulse }
    }
}

/// Every call goes on as it is, and its answer is looked at.
macro_rules! watched {
    ($($call:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for Watched {
            fn describe(&self) -> String {
                self.store.describe()
            }

            fn in_mongosh(&self) -> Option<String> {
                self.store.in_mongosh()
            }

            $(async fn $call(&self, $($name: $type),*) -> Result<$answer, StoreError> {
                self.pulse.taken(self.store.$call($($name),*).await)
            })+
        }
    };
}

watched! {
    identity() -> Identity;
    prepare() -> Readiness;
    existence() -> Existence;
    trial(now: Timestamp) -> Trial;
    due_page(query: &DueQuery) -> DuePage;
    draw(query: &DueQuery) -> Vec<TokenDocument>;
    count_due(query: &DueQuery) -> u64;
    survey(query: &SurveyQuery) -> Surveyed;
    waiting(who: &WhoWaits) -> Waiting;
    latest_due(providers: &[String]) -> BTreeMap<String, Timestamp>;
    claim(claim: &Claim) -> Claimed;
    claimed(after: Option<&Position>, limit: usize) -> DuePage;
    renew(ids: &[TokenId], lease: &Lease) -> Vec<TokenId>;
    cut(id: &TokenId, lease: &Lease, far: TimeDelta) -> bool;
    apply(changes: &[Change]) -> Applied;
    read(ids: &[TokenId]) -> Vec<TokenDocument>;
    list(after: Option<&Position>, limit: usize) -> DuePage;
    of_subject(subject: &str, limit: usize) -> Vec<TokenDocument>;
    left_out(ids: &[TokenId]) -> Vec<TokenId>;
    strangers(providers: &[String]) -> Strangers;
    ttl_indexes() -> Vec<TtlIndex>;
    time() -> Option<Timestamp>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_refuses_is_there_and_one_that_does_not_answer_is_not() {
        let pulse = Pulse::default();
        let at = || "db.tokens".to_owned();
        assert_eq!(pulse.health().up, None);
        let denied =
            StoreError::Denied { at: at(), action: "read", hint: String::new(), source: "no".into() };
        let _ = pulse.taken::<()>(Err(denied));
        assert_eq!(pulse.health(), Health { up: Some(true), errors: [0, 1, 0, 0] });
        let away = || StoreError::Unavailable { at: at(), action: "read", source: "gone".into() };
        let _ = pulse.taken::<()>(Err(away()));
        let _ = pulse.taken::<()>(Err(away()));
        assert_eq!(pulse.health(), Health { up: Some(false), errors: [2, 1, 0, 0] });
        let _ = pulse.taken::<()>(Err(StoreError::Settings("a field".into())));
        assert_eq!(pulse.health().up, Some(false), "nothing was asked");
        let _ = pulse.taken(Ok(()));
        assert_eq!(pulse.health().up, Some(true));
    }
}

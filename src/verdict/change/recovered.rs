//! A pair that recovery writes, before the pass has taken its first document.

use super::{Change, DuePolicy};
use crate::clock::Timestamp;
use crate::grant::answer::Granted;
use crate::journal::Received;
use crate::provider::{Profile, keep::Keep};
use crate::token::{DueToken, State};
use chrono::TimeDelta;

impl DuePolicy {
    /// The change that puts the pair of an earlier process into its document. What has fallen due again while the pair lay in
    /// the journal is due in this very pass: at the next one its token may have ended.
    ///
    /// Where no life is known, nothing says that the pair is old: it is due after this pass, as any other.
    #[must_use]
    pub fn recovered(
        &self,
        granted: &Received<Granted>,
        token: &DueToken,
        profile: &Profile,
        received_at: Timestamp,
        jitter_unit: f64,
    ) -> Change {
        let before = Self { due_by: received_at, ..self.clone() };
        let change = before.renewal(granted, token, profile, received_at, jitter_unit);
        let books = &change.bookkeeping;
        let by_a_life = books.due_at > Some(received_at + TimeDelta::milliseconds(1));
        let access_is_over = profile.keep == Keep::Access
            && books.access_expires_at.is_some_and(|ends_at| ends_at <= self.due_by);
        if books.state == State::Live && (by_a_life || access_is_over) {
            change
        } else {
            self.renewal(granted, token, profile, received_at, jitter_unit)
        }
    }
}

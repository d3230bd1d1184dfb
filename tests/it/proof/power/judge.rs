//! What must be so after the pass that follows a cut.

use super::world::{Broken, USERS, World};
use evergrant::testing::clock::Timestamp;
use evergrant::testing::journal::Journal;
use evergrant::testing::token::{AccessToken, State, TokenDocument};
use std::collections::HashSet;

impl World {
    /// Then the users that were lost log in again.
    pub(super) async fn judge(&mut self, began: Timestamp) -> Result<(), Broken> {
        for (token, presented) in &self.spent {
            let now = self.scene.sandbox.token_history(token).unwrap().presentations.len();
            self.must(now == *presented, || "replayed: a token whose success was acknowledged".to_owned())?;
        }
        let open = Journal::peek(&self.state()).unwrap();
        self.must(open.is_empty(), || format!("still open: {open:?}"))?;

        let store = self.store().await?;
        let away = std::mem::replace(&mut self.scene.store, store);
        let (documents, audit) = (self.scene.documents().await, self.scene.audit().await);
        let lost: HashSet<_> = audit.lost.iter().map(|lost| format!("{}@example.com", lost.user)).collect();
        self.must(documents.len() == USERS, || format!("{} documents", documents.len()))?;
        let counts = (audit.held_crossed, audit.unknown, audit.kept);
        self.must(counts == (0, 0, (USERS - lost.len()) as u64), || format!("{audit:?}"))?;
        for document in &documents {
            self.judge_document(document, lost.contains(document.subject.as_str()), began)?;
        }
        let marked =
            |state| documents.iter().filter(|document| document.bookkeeping.state == state).count() as u64;
        self.tally.lost_in_flight += marked(State::LostInFlight);
        self.tally.unlabelled += marked(State::NeedsLogin);
        for document in documents.iter().filter(|document| lost.contains(document.subject.as_str())) {
            self.scene.log_in(document).await;
        }
        self.scene.store = away;
        Ok(())
    }

    fn judge_document(
        &self,
        document: &TokenDocument,
        is_lost: bool,
        began: Timestamp,
    ) -> Result<(), Broken> {
        let (subject, bookkeeping) = (document.subject.as_str(), &document.bookkeeping);
        let token = document.refresh_token.as_ref().unwrap().expose();
        let is_received = is_lost && self.spent.contains_key(token);
        self.must(!is_received, || format!("received and lost: {subject} {bookkeeping:?}"))?;
        // Its intent may be gone as well: then nothing tells it from a login that has ended.
        let expected: &[_] = if is_lost { &[State::LostInFlight, State::NeedsLogin] } else { &[State::Live] };
        self.must(expected.contains(&bookkeeping.state), || format!("{subject} {bookkeeping:?}"))?;
        self.must(bookkeeping.lease.is_none(), || format!("{subject} is still claimed: {bookkeeping:?}"))?;
        let is_refreshed = is_lost || bookkeeping.refreshed_at >= Some(began);
        self.must(is_refreshed, || format!("{subject} isn't refreshed: {bookkeeping:?}"))?;
        let record = self.scene.sandbox.token_history(token).unwrap();
        let access_token = document.access_token.as_ref().map(AccessToken::expose);
        let is_whole = access_token == Some(record.access_token.as_str());
        self.must(is_whole, || format!("{subject} of two answers"))
    }
}

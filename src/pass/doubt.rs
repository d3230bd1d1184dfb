//! What stays in doubt after a sending: no answer came, or one that isn't the provider's own said that nothing was done.

use super::redeem::{Attempt, Redeemer};
use super::settle::first_sending;
use crate::clock::Timestamp;
use crate::grant::Sent;
use crate::grant::answer::{Class, Reading};
use crate::journal::{Doubts, Ending, EntryId};
use crate::provider::Rotation;
use crate::token::{Bookkeeping, Code, DueToken, LastError, Lost, Word};
use crate::write_back::in_doubt;

impl Attempt {
    /// Gives the token up, with what is known of a lost answer in its bookkeeping: whoever asks for it next must know,
    /// on another machine too.
    pub(super) fn into_token(self, now: Timestamp) -> DueToken {
        let lost = self.lost.is_some().then(|| lost(&self, Doubts::default())).flatten();
        let mut token = self.token;
        if let Some(lost) = lost {
            let bookkeeping = token.bookkeeping.speaking_of(token.refresh_token.fingerprint(), now);
            let says = match bookkeeping.last_error.clone().filter(|_| lost.turned_away) {
                // What was known before isn't hidden behind a page.
                Some(error) => LastError { lost: Some(lost), ..error },
                None => in_doubt(lost, now),
            };
            token.bookkeeping = Bookkeeping { last_error: Some(says), ..bookkeeping };
        }
        token
    }

    /// Takes note of a sending that isn't settled: of the first one, and of one without an answer before all others.
    pub(super) fn note(&mut self, lost: &Lost) {
        if self.lost.as_ref().is_none_or(|known| known.turned_away && !lost.turned_away) {
            self.lost = Some(lost.clone());
        }
    }
}

impl Redeemer {
    /// What there is to say of a request that its answer doesn't settle. Where the provider doesn't rotate, only of one that
    /// nobody answered.
    pub(super) fn doubt(&self, reading: &Reading, sent: &Sent, sent_at: Timestamp) -> Option<Lost> {
        let turned_away = match reading.class {
            Class::Ambiguous => false,
            Class::Throttled(_) | Class::Transient | Class::Unlisted | Class::ClientRejected => {
                if reading.settles || self.provider.profile.rotation == Rotation::None {
                    return None;
                }
                true
            }
            Class::Granted(_) | Class::Refused | Class::Suspected | Class::Unreadable => return None,
        };
        let received_bytes = match sent {
            Sent::Answered(raw) => raw.body.len() as u64,
            Sent::NotSent(_) | Sent::Lost(_) => 0,
        };
        let (cause, peer) = (Word::read(&reading.code), self.endpoint.peer());
        Some(Lost { cause, sent_at: Some(sent_at), peer, received_bytes, turned_away })
    }

    /// Ends the row of a request that wasn't processed, as its answer says; it stays where that isn't the provider's word.
    pub(super) async fn end_unprocessed(&self, entry: EntryId, doubt: Option<Lost>) {
        let Some(Lost { cause, peer, .. }) = doubt else {
            return self.end(entry, Ending::NotProcessed).await;
        };
        let peer = peer.map(|peer| (entry, Ending::SentTo(peer)));
        self.end_all(peer.into_iter().chain([(entry, Ending::TurnedAway(cause))]).collect()).await;
    }
}

/// What is known of the first sending that no answer has settled: by the document, this pass, or the journal alone.
pub(super) fn lost(attempt: &Attempt, doubts: Doubts) -> Option<Lost> {
    let bookkeeping = &attempt.token.bookkeeping;
    let of_this_token = bookkeeping.fingerprint == Some(attempt.token.refresh_token.fingerprint());
    let earlier = bookkeeping.last_error.as_ref().filter(|_| of_this_token);
    let since = |since, cause: Code, turned_away| Lost {
        cause: cause.into(),
        sent_at: Some(since),
        peer: None,
        received_bytes: 0,
        turned_away,
    };
    let known = [
        earlier.and_then(|error| error.lost.clone()),
        attempt.lost.clone(),
        doubts.unsettled_since.map(|at| since(at, Code::Stopped, false)),
        doubts.turned_away_since.map(|at| since(at, Code::TurnedAway, true)),
    ];
    first_sending(known.into_iter().flatten())
}

//! Claims that ran out in other hands. Pure.

use crate::clock::Timestamp;
use crate::store::Change;
use crate::token::{Bookkeeping, LastError, Lost, TokenDocument};
use crate::write_back::in_doubt;

/// What is known of a sending by a process that is never heard of again.
const CLAIM_ENDED: &str = "claim_ended";

/// The change that notes in a claimed document that its token may have been sent, as long as it carries that claim.
/// `None` for one that isn't claimed, or says so already.
///
/// The process that held the claim may have sent the token, and may hold its answer: a refusal then means lost, not
/// revoked.
pub(super) fn noted(document: &TokenDocument, now: Timestamp) -> Option<Change> {
    let lease = document.bookkeeping.lease.as_ref()?;
    let token = document.refresh_token.as_ref().ok()?;
    let bookkeeping = document.bookkeeping.clone().speaking_of(token.fingerprint(), now);
    let lost = Lost { cause: CLAIM_ENDED.to_owned(), sent_at: None, peer: None, received_bytes: 0 };
    let evidence = match bookkeeping.last_error.clone() {
        Some(error) if error.lost.is_some() => return None,
        Some(error) => LastError { lost: Some(lost), ..error },
        None => in_doubt(lost, now),
    };
    Some(Change {
        id: document.id.clone(),
        expect_refresh_token: Some(token.clone()),
        expect_lease: Some(lease.id.clone()),
        pair: None,
        // The claim stays what it is: it ends, and is taken over, as it would have been.
        bookkeeping: Bookkeeping { last_error: Some(evidence), ..bookkeeping },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Lease, RefreshToken, Subject, TokenId};

    #[test]
    fn what_was_known_of_a_token_stays_and_a_sending_that_is_known_is_not_hidden() {
        let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let refresh_token = RefreshToken::new("r".into());
        let mut document = TokenDocument {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a@example.com"),
            provider: None,
            refresh_token: Ok(refresh_token.clone()),
            access_token: None,
            bookkeeping: Bookkeeping::default(),
        };
        assert!(noted(&document, now).is_none(), "nobody has claimed it");
        document.bookkeeping.lease = Some(Lease { id: "theirs".into(), owner: "host:1".into(), until: now });
        let change = noted(&document, now).unwrap();
        assert_eq!(change.expect_lease.as_deref(), Some("theirs"));
        assert_eq!(change.bookkeeping.lease, document.bookkeeping.lease);
        assert_eq!(change.bookkeeping.fingerprint, Some(refresh_token.fingerprint()));
        let evidence = change.bookkeeping.last_error.clone().unwrap();
        assert_eq!((&*evidence.class, &*evidence.lost.unwrap().cause), ("ambiguous", CLAIM_ENDED));
        document.bookkeeping = change.bookkeeping;
        assert!(noted(&document, now).is_none(), "once is enough");
        let error = document.bookkeeping.last_error.as_mut().unwrap();
        (error.class, error.lost) = ("unreadable".into(), None);
        let evidence = noted(&document, now).unwrap().bookkeeping.last_error.unwrap();
        assert_eq!((&*evidence.class, evidence.lost.is_some()), ("unreadable", true));
    }
}

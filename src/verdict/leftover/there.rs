//! What a document says of the pair that came for its token.

use crate::clock::Timestamp;
use crate::grant::answer::Granted;
use crate::journal::Entry;
use crate::provider::Profile;
use crate::token::{AccessToken, Fingerprint, RefreshToken, TokenDocument};
use crate::verdict::Around;
use std::time::Duration;

/// Has the server itself written the new token into the document, where nothing has happened to it since? Then access token
/// and bookkeeping are missing there. A claim of another process is one on the new token, which it may have sent.
pub(super) fn is_unfinished(
    entry: &Entry,
    new: &RefreshToken,
    document: &TokenDocument,
    around: &Around<'_>,
) -> bool {
    let books = &document.bookkeeping;
    entry.state.is_open()
        && document.refresh_token.as_ref() == Ok(new)
        && books.fingerprint != Some(new.fingerprint())
        && books.lease.as_ref().is_none_or(|lease| around.is_our_claim(&lease.id))
}

/// Does a document hold this pair, or did it hold it? The bookkeeping says so of a token that can't be sent, which isn't
/// read, and of one that the application has redeemed since: it speaks of a token only when that stood in the document.
pub(super) fn holds(document: &TokenDocument, new: &RefreshToken) -> bool {
    let (books, new_one) = (&document.bookkeeping, new.fingerprint());
    document.refresh_token.as_ref() == Ok(new)
        || books.fingerprint == Some(new_one)
        || books.spent.contains(new_one)
}

/// Has the login gone on since this pair came for `old`, which a stale save brought back? The pair was redeemed, or another
/// machine wrote a later one. Not where `old` is the good token of its document: the provider has handed out `new` again.
pub(super) fn has_gone_on(
    document: &TokenDocument,
    old: Fingerprint,
    new: &RefreshToken,
    received_at: Timestamp,
) -> bool {
    let books = &document.bookkeeping;
    let is_over = books.spent.contains(old) && books.refreshed_at > Some(received_at);
    let is_good = books.fingerprint == Some(old) && !books.spent.contains(old);
    !is_good && (is_over || books.spent.contains(new.fingerprint()))
}

pub(super) fn access_now(document: &TokenDocument) -> Option<Fingerprint> {
    document.access_token.as_ref().map(AccessToken::fingerprint)
}

/// Has the access token of an answer ended by now, as far as its life is known?
pub(super) fn has_ended(
    granted: &Granted,
    profile: &Profile,
    received_at: Timestamp,
    now: Timestamp,
) -> bool {
    let lifetime: Option<Duration> = granted.expires_in.or(profile.access_token_lifetime);
    lifetime.is_some_and(|lifetime| (now - received_at).to_std().is_ok_and(|age| age >= lifetime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Bookkeeping, Facts, Subject, TokenId};
    use chrono::TimeDelta;

    #[test]
    fn a_login_has_gone_on_where_the_pair_was_redeemed_or_a_later_one_came_for_its_token() {
        let received_at: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let token = |name: &str| RefreshToken::new(name.into());
        let gone_on = |good: &str, spent: &[&str], minutes: i64| {
            let document = TokenDocument {
                id: TokenId::from_extended_json("1"),
                subject: Subject::new("a"),
                provider: None,
                refresh_token: Ok(token("old")),
                access_token: None,
                facts: Facts::default(),
                bookkeeping: Bookkeeping {
                    fingerprint: Some(token(good).fingerprint()),
                    spent: spent.iter().map(|name| token(name).fingerprint()).collect(),
                    refreshed_at: Some(received_at + TimeDelta::minutes(minutes)),
                    ..Bookkeeping::default()
                },
            };
            has_gone_on(&document, token("old").fingerprint(), &token("new"), received_at)
        };
        for (what, good, spent, minutes, expected) in [
            ("as it was sent", "old", &["first"][..], -1, false),
            ("the provider hands the new one out again", "old", &["new"], -1, false),
            ("the pair was redeemed", "newer", &["new", "old"], 1, true),
            ("the same, and the old token is too old for the list", "newer", &["new"], 1, true),
            ("a later pair came for it", "another", &["old"], 1, true),
            ("an earlier pair came for it, within a grace", "another", &["old"], -1, false),
            ("another login", "another", &["first"], 1, false),
        ] {
            assert_eq!(gone_on(good, spent, minutes), expected, "{what}");
        }
    }
}

//! A document that is imported again: which pair is the newer one, its own or the file's.

use super::json::{self, Object};
use crate::clock::Timestamp;
use crate::store::{document, mapping::Mapping};
use crate::token::{Bookkeeping, Fingerprint, RefreshToken, TokenDocument, TokenId};
use serde_json::Value;
use std::collections::HashSet;

/// What an import must know beside its documents.
#[derive(Debug, Clone, Default)]
pub struct ImportTerms {
    /// The file's pair replaces the stored one, even where that is newer.
    pub overwrite: bool,
    /// Refresh tokens that were redeemed: the provider has handed out another one for each.
    pub redeemed: HashSet<Fingerprint>,
    /// Refresh tokens whose provider takes them also after they were redeemed.
    pub still_good: HashSet<Fingerprint>,
    /// Refresh tokens that were sent, and whose answer isn't in its document yet.
    pub on_their_way: HashSet<Fingerprint>,
    /// A lease that ends later is respected; `None` where no pass is at work.
    pub now: Option<Timestamp>,
}

/// Which pair a document has after the import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    /// The one that the file brings.
    OfTheFile,
    /// The one that is there.
    Stored,
}

/// Which of two pairs of one document stays.
pub(super) fn newer(stored: &TokenDocument, incoming: &TokenDocument, terms: &ImportTerms) -> Pair {
    if terms.overwrite {
        return Pair::OfTheFile;
    }
    let (books, theirs) = (&stored.bookkeeping, &incoming.bookkeeping);
    let redeemed = |token: &RefreshToken| {
        let token = token.fingerprint();
        let says = |books: &Bookkeeping| books.spent.contains(token) && !terms.still_good.contains(&token);
        terms.redeemed.contains(&token) || says(books) || says(theirs)
    };
    let (old, new) = match (&stored.refresh_token, &incoming.refresh_token) {
        (Ok(old), Ok(new)) => (old, new),
        // A pair that can't be sent is to be corrected, but not by a token that is spent.
        (Err(_), Ok(new)) if redeemed(new) => return Pair::Stored,
        (Err(_), _) => return Pair::OfTheFile,
        (Ok(_), Err(_)) => return Pair::Stored,
    };
    let speaks_of_it = books.fingerprint == Some(old.fingerprint());
    let refreshed = speaks_of_it && books.refreshed_at.is_some();
    if old == new {
        // With a provider that doesn't rotate only the access token is newer.
        return if refreshed { Pair::Stored } else { Pair::OfTheFile };
    }
    if redeemed(new) || terms.on_their_way.contains(&new.fingerprint()) {
        return Pair::Stored;
    }
    if redeemed(old) {
        return Pair::OfTheFile;
    }
    // The file's token stood here before the one that stands here now: the bookkeeping still speaks of it.
    if books.fingerprint == Some(new.fingerprint()) {
        return Pair::Stored;
    }
    let later = theirs.fingerprint == Some(new.fingerprint()) && theirs.refreshed_at > books.refreshed_at;
    let dead = speaks_of_it && books.state.is_mark();
    // A dead login is replaced by a new one.
    if refreshed && !dead && !later { Pair::Stored } else { Pair::OfTheFile }
}

/// Does a document that is imported again keep the pair that it has in the store?
#[cfg(any(test, feature = "testing"))]
#[must_use]
pub fn keeps_its_pair(stored: &TokenDocument, incoming: &TokenDocument, terms: &ImportTerms) -> bool {
    newer(stored, incoming, terms) == Pair::Stored
}

/// A document as it is compared.
pub(super) fn read(
    id: &TokenId,
    fields: &Object,
    bookkeeping: Option<&Value>,
    mapping: &Mapping,
) -> TokenDocument {
    document::token_document(id.clone(), fields, json::bookkeeping(bookkeeping), mapping)
}

/// The file's fields with the stored pair in them; `None` where it has no room, and the stored fields stay.
pub(super) fn with_stored_pair(stored: &Object, mut incoming: Object, mapping: &Mapping) -> Option<Object> {
    for path in [&mapping.refresh_token].into_iter().chain(mapping.beside_the_refresh_token()) {
        match json::get(stored, path) {
            Some(value) if json::set(&mut incoming, path, value.clone()).is_ok() => {}
            Some(_) => return None,
            None => drop(json::remove(&mut incoming, path)),
        }
    }
    Some(incoming)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::json;

    fn object(value: Value) -> Object {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    fn document(token: Option<&str>, books: &Value) -> TokenDocument {
        let fields = object(json!({ "refresh_token": token }));
        read(&TokenId::from_extended_json("1"), &fields, Some(books), &Mapping::default())
    }

    fn fingerprint(token: &str) -> Fingerprint {
        RefreshToken::new(token.to_owned()).fingerprint()
    }

    fn books(state: &str, token: &str, refreshed_at: Option<i64>) -> Value {
        let mut books = json!({ "state": state, "fingerprint": fingerprint(token).to_string() });
        if let Some(seconds) = refreshed_at {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            books["refreshed_at"] = json!({ "$date": at.to_rfc3339() });
        }
        books
    }

    /// What, the stored token and bookkeeping, those of the file, what the journal knows as redeemed, and which pair stays.
    type Case<'a> = (&'a str, Option<&'a str>, &'a Value, Option<&'a str>, Value, &'a [&'a str], Pair);

    #[test]
    fn the_newer_pair_of_two_stays() {
        use Pair::{OfTheFile, Stored};
        let (live, dead) = (books("live", "t1", Some(9)), books("needs_login", "t1", Some(9)));
        let unread = books("live", "t0", None);
        let lost = books("lost_in_flight", "t1", None);
        let cases: [Case<'_>; 17] = [
            ("refreshed since", Some("t1"), &live, Some("t0"), json!({}), &[], Stored),
            (
                "the same file after a pass that got no new one",
                Some("t1"),
                &live,
                Some("t1"),
                json!({}),
                &[],
                Stored,
            ),
            ("never refreshed", Some("t0"), &json!({}), Some("new"), json!({}), &[], OfTheFile),
            ("looked at and not refreshed", Some("t0"), &unread, Some("new"), json!({}), &[], OfTheFile),
            ("a malformed one is corrected", None, &json!({}), Some("new"), json!({}), &[], OfTheFile),
            ("a malformed one after a success", None, &live, Some("new"), json!({}), &[], OfTheFile),
            ("a malformed one, and one that is spent", None, &live, Some("t0"), json!({}), &["t0"], Stored),
            ("a broken file", Some("t0"), &json!({}), None, json!({}), &[], Stored),
            ("a dead login and a new one", Some("t1"), &dead, Some("new"), json!({}), &["t0"], OfTheFile),
            ("a dead login and an old one", Some("t1"), &dead, Some("t0"), json!({}), &["t0"], Stored),
            ("a lost one and a new one", Some("t1"), &lost, Some("new"), json!({}), &[], OfTheFile),
            (
                "the journal knows the file's token",
                Some("t1"),
                &json!({}),
                Some("t0"),
                json!({}),
                &["t0"],
                Stored,
            ),
            ("an old copy of the store", Some("t1"), &live, Some("t2"), json!({}), &["t1"], OfTheFile),
            ("a new login and the pair before it", Some("t2"), &live, Some("t1"), json!({}), &[], Stored),
            ("a new login and the dead one before it", Some("t2"), &dead, Some("t1"), json!({}), &[], Stored),
            (
                "an old copy of the store and its newest pair",
                Some("t0"),
                &live,
                Some("t1"),
                json!({}),
                &["t0"],
                OfTheFile,
            ),
            ("exported later", Some("t1"), &live, Some("t2"), books("live", "t2", Some(10)), &[], OfTheFile),
        ];
        for (what, old, old_books, new, new_books, redeemed, expected) in cases {
            let redeemed = redeemed.iter().map(|token| fingerprint(token)).collect();
            let terms = ImportTerms { redeemed, ..ImportTerms::default() };
            let (stored, incoming) = (document(old, old_books), document(new, &new_books));
            assert_eq!(newer(&stored, &incoming, &terms), expected, "{what}");
            let insisting = ImportTerms { overwrite: true, ..terms };
            assert_eq!(newer(&stored, &incoming, &insisting), OfTheFile, "{what}");
        }
        // The documents themselves say what was redeemed, whatever machine did that.
        let mut after = books("live", "t3", Some(9));
        after["spent"] = json!(fingerprint("t2").to_string());
        after["spent_before"] = json!([fingerprint("t1").to_string()]);
        let terms = ImportTerms::default();
        let which = |old: &str, old_books: &Value, new: &str, new_books: &Value, terms: &ImportTerms| {
            newer(&document(Some(old), old_books), &document(Some(new), new_books), terms)
        };
        assert_eq!(which("new login", &after, "t1", &json!({}), &terms), Stored);
        assert_eq!(
            which("t1", &after, "t3", &json!({}), &terms),
            OfTheFile,
            "it was saved again, and is old"
        );
        assert_eq!(which("t1", &live, "t3", &after, &terms), OfTheFile);
        let good = ImportTerms { still_good: HashSet::from([fingerprint("t1")]), ..ImportTerms::default() };
        assert_eq!(which("new login", &after, "t1", &json!({}), &good), OfTheFile);
        let on_their_way = HashSet::from([fingerprint("t0")]);
        let terms = ImportTerms { on_their_way, ..ImportTerms::default() };
        let (stored, incoming) = (document(Some("t1"), &json!({})), document(Some("t0"), &json!({})));
        assert_eq!(newer(&stored, &incoming, &terms), Stored);
    }

    #[test]
    fn a_stored_pair_stays_whole_among_new_fields() {
        let mapping = Mapping { refresh_expires_at: Some("ends".parse().unwrap()), ..Mapping::default() };
        let stored = object(json!({ "refresh_token": "t1", "access_token": "a1", "email": "old" }));
        let file = object(json!({ "refresh_token": "t0", "access_token": "a0", "email": "new", "ends": 5 }));
        let merged = with_stored_pair(&stored, file.clone(), &mapping).unwrap();
        let expected = json!({ "refresh_token": "t1", "access_token": "a1", "email": "new" });
        assert_eq!(Value::Object(merged), expected);
        let deep = Mapping { refresh_token: "email.token".parse().unwrap(), ..Mapping::default() };
        let stored = object(json!({ "email": { "token": "t1" } }));
        assert_eq!(with_stored_pair(&stored, file, &deep), None);
    }
}

//! Update statements, pure: what is demanded of a document, and what is set in it.

use super::query::{and, due_by, field, has_room, lease_is_free};
use crate::store::document::{bookkeeping_document, date, expiry, lease_document};
use crate::store::{Change, Claim, Mapping};
use crate::token::Lease;
use bson::{Bson, Document, doc};
use std::time::Duration;

/// Statements in one command: far below the server's limit of 100,000, so that one command never takes long.
pub(super) const MAX_STATEMENTS: usize = 1000;

/// Bytes of statements in one command; the server takes 48 MB, a proxy between may take 16.
const MAX_BYTES: usize = 8 << 20;

/// How long the server waits for a majority before it answers "maybe".
pub(super) const MAJORITY_TIMEOUT: Duration = Duration::from_secs(20);

/// What the server said to an `update` command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Documents that a statement found.
    pub(super) matched: usize,
    /// Statements that it refuses for good, by index, with the server's code.
    pub(super) refused: Vec<(usize, i32)>,
}

/// An `update` command, each statement on its own, acknowledged by a majority and on disk.
pub(super) fn command(collection: &str, statements: Vec<Document>) -> Document {
    let timeout = i64::try_from(MAJORITY_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
    doc! {
        "update": collection,
        "updates": statements,
        "ordered": false,
        "writeConcern": { "w": "majority", "j": true, "wtimeout": timeout },
    }
}

/// Statements by the command, none of which gets too long.
pub(super) fn batches(statements: impl IntoIterator<Item = Document>) -> Vec<Vec<Document>> {
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for statement in statements {
        let size = statement.to_vec().map_or(0, |encoded| encoded.len());
        if !batch.is_empty() && (batch.len() == MAX_STATEMENTS || bytes + size > MAX_BYTES) {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += size;
        batch.push(statement);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Sets the lease on those of `ids` that are ours to take; on those that already carry it, again.
///
/// A pipeline, because bookkeeping that isn't a sub-document would make a dotted `$set` fail for the whole command.
/// What stands above it must be a sub-document or absent, because a pipeline would overwrite anything else; and what
/// stands above the tokens too, because a pair that can't be written must not be asked for.
pub(super) fn claim(mapping: &Mapping, claim: &Claim, ids: &[Bson]) -> Document {
    let path = &mapping.bookkeeping;
    let mut free = vec![lease_is_free(path, claim.now)];
    free.extend(claim.due_by.map(|at| doc! { "$expr": due_by(path, at) }));
    let mut conditions = vec![
        doc! { "_id": { "$in": ids } },
        doc! { "$or": [{ format!("{path}.lease.id"): &claim.lease.id }, and(free)] },
    ];
    conditions.extend(mapping.written().filter(|path| path.segments().count() > 1).map(has_room));
    let old = format!("${path}");
    let kept = doc! { "$cond": [{ "$eq": [{ "$type": &old }, "object"] }, &old, {}] };
    let set =
        doc! { "$literal": { "due_at": date(claim.lease.until), "lease": lease_document(&claim.lease) } };
    doc! {
        "q": and(conditions),
        "u": [{ "$set": { path.as_str(): { "$mergeObjects": [kept, set] } } }],
        "multi": true,
    }
}

/// Moves the end of our lease.
pub(super) fn renew(mapping: &Mapping, id: &Bson, lease: &Lease) -> Document {
    let path = &mapping.bookkeeping;
    doc! {
        "q": { "_id": { "$eq": id }, format!("{path}.lease.id"): &lease.id },
        "u": { "$set": { format!("{path}.lease"): lease_document(lease), format!("{path}.due_at"): date(lease.until) } },
    }
}

/// Sets the pair, the mapped expiries and the whole bookkeeping, if the document is as the change expects.
pub(super) fn apply(mapping: &Mapping, id: Bson, change: &Change) -> Document {
    let mut conditions = vec![doc! { "_id": { "$eq": id } }];
    if let Some(expected) = &change.expect_refresh_token {
        conditions.push(doc! { "$expr": is_exactly(&field(&mapping.refresh_token), expected.expose()) });
    }
    if let Some(lease) = &change.expect_lease {
        conditions.push(doc! { format!("{}.lease.id", mapping.bookkeeping): lease });
    }
    let mut set = Document::new();
    let mut unset = Document::new();
    if let Some(pair) = &change.pair {
        set.insert(mapping.refresh_token.as_str(), pair.refresh_token.expose());
        set.insert(mapping.access_token.as_str(), pair.access_token.expose());
        let ends = [
            (&mapping.access_expires_at, change.bookkeeping.access_expires_at),
            (&mapping.refresh_expires_at, change.bookkeeping.refresh_expires_at),
        ];
        for (path, at) in ends {
            match (path, at) {
                (Some(path), Some(at)) => drop(set.insert(path.as_str(), expiry(at, mapping.expires_format))),
                // The end of the old token would be wrong for the new one.
                (Some(path), None) => drop(unset.insert(path.as_str(), "")),
                (None, _) => {}
            }
        }
    }
    set.insert(mapping.bookkeeping.as_str(), bookkeeping_document(&change.bookkeeping));
    let mut update = doc! { "$set": set };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    doc! { "q": and(conditions), "u": update }
}

/// Is the field this text, byte by byte?
///
/// `{field: text}` would do as well on most collections, but finds the text within an array too, and on a collection
/// with a default collation it may find a token that differs in case.
fn is_exactly(field: &str, text: &str) -> Document {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let same = doc! { "$and": [
        { "$eq": [{ "$strLenBytes": field }, length] },
        { "$eq": [{ "$indexOfBytes": [field, { "$literal": text }] }, 0] },
    ] };
    doc! { "$cond": [{ "$eq": [{ "$type": field }, "string"] }, same, false] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_by_number_and_by_size() {
        let small = (0..2500).map(|number| doc! { "q": number });
        assert_eq!(batches(small).iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
        let large = (0..3).map(|_| doc! { "q": "x".repeat(5 << 20) });
        assert_eq!(batches(large).iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(batches([]).is_empty());
    }
}

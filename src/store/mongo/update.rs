//! Update statements, pure: what is demanded of a document, and what is set in it.

use super::expression::{and, and_expressions, due_by, ended_for, field, is_exactly, lease_is_free};
use super::writable::{every_name_once, is_writable};
use crate::store::document::{bookkeeping_document, date, expiry, lease_document};
use crate::store::mapping::FieldPath;
use crate::store::{Change, Claim, Fence, Mapping, PairChange};
use crate::token::{Lease, State};
use bson::{Bson, Document, doc};
use chrono::TimeDelta;
use std::time::Duration;

/// Statements in one command: far below the server's limit of 100,000, so that one command never takes long.
pub(super) const MAX_STATEMENTS: usize = 1000;

/// Bytes of statements in one command; the server takes 48 MB, a proxy between may take 16.
const MAX_BYTES: usize = 8 << 20;

/// How often [`renewals`] names an `_id`.
const IDS_IN_RENEWALS: usize = 6;

/// What bookkeeping takes in a statement, at most: the longest is one of a live document.
const BOOKKEEPING_BYTES: usize = 1024;

/// How long the server waits for a majority before it answers "maybe".
pub(super) const MAJORITY_TIMEOUT: Duration = Duration::from_secs(20);

/// How a refresh token in a document is compared with the expected one; both find that very text and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// By a condition on the field: half the server's time of the other one. Not for a default collation, under which
    /// it may find a token that differs in case.
    Plain,
    /// By an expression over bytes: right on any collection.
    ByteByByte,
}

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

/// Sets the lease on those of `ids` that are ours to take and can be written; on those that already carry it, again.
///
/// A pair that can't be written must not be asked for.
pub(super) fn claim(mapping: &Mapping, claim: &Claim, ids: &[Bson]) -> Document {
    let path = &mapping.bookkeeping;
    doc! {
        "q": {
            "_id": { "$in": ids },
            "$and": [may_take(mapping, claim)],
            "$expr": is_writable(mapping),
        },
        "u": { "$set": {
            format!("{path}.due_at"): date(claim.lease.until),
            format!("{path}.lease"): lease_document(&claim.lease),
        } },
        "multi": true,
    }
}

/// Is a document ours to take, or already ours? A condition.
pub(super) fn may_take(mapping: &Mapping, claim: &Claim) -> Document {
    let path = &mapping.bookkeeping;
    let mut free = vec![lease_is_free(path, claim.now)];
    free.extend(claim.due_by.map(|at| doc! { "$expr": due_by(path, at) }));
    let lease_id = format!("{path}.lease.id");
    if claim.lease.taken_over {
        free.push(doc! { "$expr": ended_for(path, claim.ended_for) });
        // One that was given back meanwhile isn't taken over: it would be said of its token that it may have been sent.
        free.push(if claim.over.is_empty() {
            doc! { &lease_id: { "$exists": true } }
        } else {
            doc! { &lease_id: { "$in": &claim.over } }
        });
    }
    doc! { "$or": [{ lease_id: &claim.lease.id }, and(free)] }
}

/// Moves the end of another process' lease, if that is `far` by the server's clock, or further.
pub(super) fn cut(mapping: &Mapping, id: &Bson, lease: &Lease, far: TimeDelta) -> Document {
    let mut cut = renew(mapping, id, lease);
    if let Ok(conditions) = cut.get_document_mut("q") {
        let is_far = doc! { "$expr": { "$not": [ended_for(&mapping.bookkeeping, -far)] } };
        conditions.insert("$and", vec![is_far]);
    }
    cut
}

/// Moves the end of our lease.
pub(super) fn renew(mapping: &Mapping, id: &Bson, lease: &Lease) -> Document {
    let path = &mapping.bookkeeping;
    let still_ours = format!("{path}.lease.id");
    doc! {
        "q": { "_id": { "$eq": id }, still_ours: &lease.id, "$expr": is_writable(mapping) },
        "u": { "$set": { format!("{path}.lease"): lease_document(lease), format!("{path}.due_at"): date(lease.until) } },
    }
}

/// Sets the pair, the mapped expiries and the whole bookkeeping, if the document is as the change expects and each name in
/// it stands once.
pub(super) fn apply(mapping: &Mapping, id: Bson, change: &Change, comparison: Comparison) -> Document {
    let mut conditions = doc! { "_id": { "$eq": id } };
    let mut expressions = vec![every_name_once(mapping)];
    if let Some(expected) = &change.expect_refresh_token {
        match comparison {
            Comparison::Plain => conditions.extend(is_text(&mapping.refresh_token, expected.expose())),
            Comparison::ByteByByte => {
                expressions.push(is_exactly(&field(&mapping.refresh_token), expected.expose()));
            }
        }
    }
    if let Some((path, text)) = replaced(mapping, change) {
        match comparison {
            Comparison::Plain => {
                expressions.push(doc! { "$eq": [text_or_empty(path), { "$literal": text }] });
            }
            Comparison::ByteByByte if text.is_empty() => {
                expressions.push(doc! { "$eq": [{ "$strLenBytes": text_or_empty(path) }, 0] });
            }
            Comparison::ByteByByte => expressions.push(is_exactly(&field(path), text)),
        }
    }
    let ours = |name: &str| format!("{}.{name}", mapping.bookkeeping);
    match &change.expect_lease {
        Fence::None => {}
        Fence::Lease(id) => drop(conditions.insert(ours("lease.id"), id)),
        Fence::Ended { lease, until, ended_for: time } => {
            conditions.extend(doc! { ours("lease.id"): lease, ours("lease.until"): date(*until) });
            expressions.push(ended_for(&mapping.bookkeeping, *time));
        }
        Fence::Unclaimed => drop(conditions.insert(ours("lease"), doc! { "$exists": false })),
        Fence::Due(at) => {
            conditions.extend(doc! { ours("lease"): { "$exists": false }, ours("due_at"): date(*at) });
        }
        Fence::Marked(at) => conditions.extend(doc! {
            ours("lease"): { "$exists": false },
            ours("state"): { "$in": [State::NeedsLogin.word(), State::LostInFlight.word()] },
            ours("since"): date(*at),
        }),
    }
    conditions.insert("$expr", and_expressions(expressions));
    let mut set = Document::new();
    let mut unset = Document::new();
    if let Some(pair) = &change.pair {
        set.insert(mapping.refresh_token.as_str(), pair.refresh_token.expose());
        if let (Some(path), Some(token)) = (&mapping.access_token, &pair.access_token) {
            set.insert(path.as_str(), token.expose());
        }
        for path in mapping.also.keys() {
            set.extend(pair.further(path).map(|value| (path.as_str().to_owned(), plain(value.expose()))));
        }
        if let (Some(path), Some(at)) = (&mapping.updated_at, change.bookkeeping.refreshed_at) {
            set.insert(path.as_str(), date(at));
        }
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
    doc! { "q": conditions, "u": update }
}

/// The access token field, and the text that a pair demands there; empty for none.
pub(super) fn replaced<'a>(mapping: &'a Mapping, change: &'a Change) -> Option<(&'a FieldPath, &'a str)> {
    mapping.access_token.as_ref().zip(change.pair.as_ref().and_then(|pair| pair.replaces.text()))
}

/// A text in a document, or an empty one where none is there. An expression.
fn text_or_empty(path: &FieldPath) -> Document {
    let field = field(path);
    doc! { "$cond": [{ "$eq": [{ "$type": &field }, "string"] }, &field, ""] }
}

/// Can the change be written by a statement that it shares with others?
///
/// A pair at the top of a document can: there a pipeline sets a field as a modifier does, whatever it held before. Not
/// with sub-documents within the bookkeeping: in those of the old one a name may stand twice.
pub(super) fn may_share(mapping: &Mapping, change: &Change) -> bool {
    let ours = [&mapping.refresh_token, &mapping.bookkeeping].into_iter().chain(&mapping.access_token);
    let others = [&mapping.access_expires_at, &mapping.refresh_expires_at, &mapping.updated_at];
    let is_whole = |pair: &PairChange| mapping.access_token.is_none() || pair.access_token.is_some();
    change.pair.as_ref().is_some_and(is_whole)
        && mapping.also.is_empty()
        && change.expect_refresh_token.is_some()
        && change.expect_lease == Fence::None
        && change.bookkeeping.last_error.is_none()
        && change.bookkeeping.lease.is_none()
        && ours.into_iter().all(|path| path.segments().count() == 1)
        && others.into_iter().all(Option::is_none)
}

/// Writes many pairs by one statement, each into its own document and only over the tokens that it replaces. Either all of
/// them demand an access token there, or none does ([`replaced`]).
///
/// A server plans each statement anew, unless it asks for an `_id` and nothing else: for a pair, that takes longer than
/// the write. Each document is still updated atomically by itself. One that is refused holds back those behind it.
///
/// A pipeline, because only that writes to each document something of its own.
pub(super) fn renewals(mapping: &Mapping, ids: &[Bson], changes: &[&Change]) -> Document {
    let (mut old, mut refresh, mut access, mut bookkeeping) = (vec![], vec![], vec![], vec![]);
    let mut old_access = vec![];
    for change in changes {
        let (Some(expected), Some(pair)) = (&change.expect_refresh_token, &change.pair) else { continue };
        old.push(Bson::from(expected.expose()));
        old_access.extend(replaced(mapping, change).map(|(_, text)| Bson::from(text)));
        refresh.push(Bson::from(pair.refresh_token.expose()));
        access.push(pair.access_token.as_ref().map_or(Bson::Null, |token| token.expose().into()));
        bookkeeping.push(Bson::Document(bookkeeping_document(&change.bookkeeping)));
    }
    // The server makes a hash table of a literal array in which it looks.
    let own = |values: Vec<Bson>| {
        let place = doc! { "$indexOfArray": [{ "$literal": ids }, "$_id"] };
        doc! { "$arrayElemAt": [{ "$literal": values }, place] }
    };
    let mut set = doc! {
        mapping.refresh_token.as_str(): own(refresh),
        mapping.bookkeeping.as_str(): own(bookkeeping),
    };
    set.extend(mapping.access_token.as_ref().map(|path| (path.as_str().to_owned(), own(access).into())));
    let mut conditions =
        vec![doc! { "$eq": [field(&mapping.refresh_token), own(old)] }, every_name_once(mapping)];
    if let Some(path) = mapping.access_token.as_ref().filter(|_| old_access.len() == ids.len()) {
        conditions.push(doc! { "$eq": [text_or_empty(path), own(old_access)] });
    }
    doc! {
        "q": { "_id": { "$in": ids }, "$expr": { "$and": conditions } },
        "u": [{ "$set": set }],
        "multi": true,
    }
}

/// Cuts changes into statements of [`renewals`] that don't get too long; `changes` are those of `positions`.
pub(super) fn shares(changes: &[Change], positions: &[usize]) -> Vec<Vec<usize>> {
    let length = |change: &Change| {
        let old = change.expect_refresh_token.as_ref().map_or(0, |token| token.expose().len())
            + change.pair.as_ref().and_then(|pair| pair.replaces.text()).map_or(0, str::len);
        let new = change.pair.as_ref().map_or(0, |pair| {
            pair.refresh_token.expose().len()
                + pair.access_token.as_ref().map_or(0, |token| token.expose().len())
        });
        old + new + IDS_IN_RENEWALS * change.id.as_str().len() + BOOKKEEPING_BYTES
    };
    let (mut shares, mut share, mut bytes) = (Vec::new(), Vec::new(), 0);
    for &position in positions {
        let size = length(&changes[position]);
        if !share.is_empty() && (share.len() == MAX_STATEMENTS || bytes + size > MAX_BYTES) {
            shares.push(std::mem::take(&mut share));
            bytes = 0;
        }
        bytes += size;
        share.push(position);
    }
    if !share.is_empty() {
        shares.push(share);
    }
    shares
}

/// Is the field this text, as the collection compares texts? `{field: text}` alone finds it within an array too.
fn is_text(path: &FieldPath, text: &str) -> Document {
    let names: Vec<&str> = path.segments().collect();
    let no_array = || doc! { "$not": { "$type": "array" } };
    let above = (1..names.len()).map(|depth| (names[..depth].join("."), Bson::Document(no_array())));
    let mut conditions: Document = above.collect();
    let mut is = no_array();
    is.insert("$eq", text);
    conditions.insert(path.as_str(), is);
    conditions
}

/// A further value of an answer: a text, a number, a flag, or a list of those. A text stays a text, whatever it looks like.
fn plain(value: &serde_json::Value) -> Bson {
    use serde_json::Value;
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().map_or(Bson::Null, Bson::Double),
        },
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Null | Value::Object(_) => Bson::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Replaces;
    use crate::token::{AccessToken, Bookkeeping, LastError, RefreshToken, TokenId};

    #[test]
    fn commands_are_cut_by_number_and_by_size() {
        let small = (0..2500).map(|number| doc! { "q": number });
        assert_eq!(batches(small).iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
        let large = (0..3).map(|_| doc! { "q": "x".repeat(5 << 20) });
        assert_eq!(batches(large).iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(batches([]).is_empty());
    }

    /// On a server that stands alone a majority is the server itself, which has acknowledged before its log is synced.
    #[test]
    fn a_write_is_acknowledged_when_it_is_on_the_disks_of_a_majority() {
        let concern = command("tokens", Vec::new()).get_document("writeConcern").unwrap().clone();
        assert_eq!((concern.get_str("w").unwrap(), concern.get_bool("j").unwrap()), ("majority", true));
    }

    #[test]
    fn only_a_pair_at_the_top_of_a_document_shares_a_statement() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let plain = change(1, 1);
        assert!(may_share(&Mapping::default(), &plain));
        let unfenced = |change: Change| may_share(&Mapping::default(), &change);
        assert!(!unfenced(Change { expect_lease: Fence::Lease("l".into()), ..plain.clone() }));
        assert!(!unfenced(Change { pair: None, ..plain.clone() }));
        assert!(!unfenced(Change { expect_refresh_token: None, ..plain.clone() }));
        let at = chrono::DateTime::UNIX_EPOCH;
        let last_error = LastError { class: "c".into(), code: "c".into(), http_status: None, at, lost: None };
        let lease = Lease { id: "l".into(), owner: "o".into(), until: at, taken_over: false, by: None };
        for bookkeeping in [
            Bookkeeping { last_error: Some(last_error), ..Bookkeeping::default() },
            Bookkeeping { lease: Some(lease), ..Bookkeeping::default() },
        ] {
            assert!(!unfenced(Change { bookkeeping, ..plain.clone() }));
        }
        for mapping in [
            Mapping { refresh_token: path("oauth.refresh"), ..Mapping::default() },
            Mapping { access_token: Some(path("oauth.access")), ..Mapping::default() },
            Mapping { updated_at: Some(path("updatedAt")), ..Mapping::default() },
            Mapping { also: [(path("scope"), "/scope".parse().unwrap())].into(), ..Mapping::default() },
            Mapping { bookkeeping: path("oauth.evergrant"), ..Mapping::default() },
            Mapping { access_expires_at: Some(path("access_ends")), ..Mapping::default() },
            Mapping { refresh_expires_at: Some(path("refresh_ends")), ..Mapping::default() },
        ] {
            assert!(!may_share(&mapping, &plain));
        }
    }

    #[test]
    fn shared_statements_are_cut_by_number_and_by_size() {
        let lengths = |changes: &[Change], every: usize| {
            let positions: Vec<usize> = (0..changes.len()).step_by(every).collect();
            let shares = shares(changes, &positions);
            assert_eq!(shares.concat(), positions);
            shares.iter().map(Vec::len).collect::<Vec<_>>()
        };
        let small: Vec<Change> = (0..2500).map(|number| change(number, 1)).collect();
        assert_eq!(lengths(&small, 1), [1000, 1000, 500]);
        assert_eq!(lengths(&small, 2), [1000, 250]);
        let large: Vec<Change> = (0..3).map(|number| change(number, 2 << 20)).collect();
        assert_eq!(lengths(&large, 1), [1, 1, 1]);
        assert!(lengths(&[], 1).is_empty());
    }

    fn change(id: usize, token_bytes: usize) -> Change {
        let token = || RefreshToken::new("x".repeat(token_bytes));
        let access_token = AccessToken::new("x".repeat(token_bytes));
        Change {
            id: TokenId::from_extended_json(id.to_string()),
            expect_refresh_token: Some(token()),
            expect_lease: Fence::None,
            pair: Some(PairChange {
                refresh_token: token(),
                access_token: Some(access_token),
                also: vec![],
                replaces: Replaces::Any,
            }),
            bookkeeping: Bookkeeping::default(),
        }
    }
}

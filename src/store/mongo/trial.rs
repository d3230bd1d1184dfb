//! What the collection's validator would say to what a pass writes, asked without a write.

use super::{MongoStore, READ_TIMEOUT, expression::field, prepare::first_batch};
use crate::clock::Timestamp;
use crate::store::document::{bookkeeping_document, date, expiry, lease_document};
use crate::store::mapping::FieldPath;
use crate::store::{Mapping, StoreError, Trial, TrialPart, TrialRefusal};
use crate::token::{Bookkeeping, LastError, Lease, RefreshToken, State};
use bson::{Bson, Document, doc};

/// Documents on which a write is tried: enough to see a rule, few enough for any server.
const TRIED: i32 = 100;

/// A validator that refuses.
struct Validator {
    rule: Document,
    /// Documents that break the rule already may go on to do so.
    spares_the_broken: bool,
}

impl MongoStore {
    pub(super) async fn try_writes(&self, now: Timestamp) -> Result<Trial, StoreError> {
        let Some(validator) = self.validator().await? else { return Ok(Trial::default()) };
        let breaks = doc! { "$match": { "$nor": [validator.rule.clone()] } };
        let keeps = doc! { "$match": validator.rule };
        let documents = self.count(vec![]).await?;
        let mut refused = Vec::new();
        if !validator.spares_the_broken {
            let documents = self.count(vec![breaks.clone()]).await?;
            refused.push(TrialRefusal { part: TrialPart::AsItIs, documents });
        }
        for (part, writes) in writes(&self.mapping, now) {
            let mut most = 0;
            for set in writes {
                let tried = vec![keeps.clone(), doc! { "$set": set }, breaks.clone()];
                most = self.count(tried).await?.max(most);
            }
            refused.push(TrialRefusal { part, documents: most });
        }
        refused.retain(|refusal| refusal.documents > 0);
        Ok(Trial { documents, refused })
    }

    /// The rule by which the server refuses a write; `None` where there is none, or where we may not read it.
    async fn validator(&self) -> Result<Option<Validator>, StoreError> {
        let command = doc! { "listCollections": 1, "filter": { "name": &self.namespace.coll } };
        let found = match self.command("read the validator", READ_TIMEOUT, command).await {
            Ok(found) => found,
            Err(StoreError::Denied { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let options = first_batch(&found).first().and_then(Bson::as_document);
        Ok(options.and_then(|one| one.get_document("options").ok()).and_then(read_validator))
    }

    /// How many of the first documents with a refresh token come through these stages.
    async fn count(&self, stages: Vec<Document>) -> Result<u64, StoreError> {
        let mut ours = doc! { self.mapping.refresh_token.as_str(): { "$type": "string" } };
        if let Some(filter) = &self.filter {
            ours = doc! { "$and": [ours, filter.clone()] };
        }
        let mut pipeline = vec![doc! { "$match": ours }, doc! { "$limit": TRIED }];
        pipeline.extend(stages);
        pipeline.push(doc! { "$count": "documents" });
        let limit = i64::try_from((READ_TIMEOUT * 9 / 10).as_millis()).unwrap_or(i64::MAX);
        let command = doc! {
            "aggregate": &self.namespace.coll, "pipeline": pipeline, "cursor": {}, "maxTimeMS": limit,
        };
        let reply = self.command("try the validator", READ_TIMEOUT, command).await?;
        let counted = first_batch(&reply).first().and_then(Bson::as_document);
        let counted = counted.and_then(|one| one.get_i32("documents").ok()).unwrap_or_default();
        Ok(u64::try_from(counted).unwrap_or_default())
    }
}

fn read_validator(options: &Document) -> Option<Validator> {
    let rule = options.get_document("validator").ok().filter(|rule| !rule.is_empty())?.clone();
    let warns = matches!(options.get_str("validationAction"), Ok("warn"));
    let level = options.get_str("validationLevel").unwrap_or("strict");
    let refuses = !warns && level != "off";
    refuses.then(|| Validator { rule, spares_the_broken: level == "moderate" })
}

/// What a pass writes, part by part, as a stage that does the same: a sub-document is replaced, not merged.
fn writes(mapping: &Mapping, now: Timestamp) -> Vec<(TrialPart, Vec<Document>)> {
    let books = &mapping.bookkeeping;
    let lease = Lease { id: "0".repeat(32), owner: "host:1".into(), until: now, taken_over: false, by: None };
    let claimed = doc! { format!("{books}.due_at"): date(now), format!("{books}.lease"): literal(lease_document(&lease)) };
    let live = Bookkeeping {
        since: Some(now),
        fingerprint: Some(RefreshToken::new("x".into()).fingerprint()),
        due_at: Some(now),
        refreshed_at: Some(now),
        refreshed_by: Some("0".repeat(16)),
        spent: [RefreshToken::new("y".into()).fingerprint()].into_iter().collect(),
        access_expires_at: Some(now),
        refresh_expires_at: Some(now),
        login_at: Some(now),
        login_ends_at: Some(now),
        ..Bookkeeping::default()
    };
    let error = LastError {
        class: "refused".into(),
        code: "invalid_grant".into(),
        http_status: Some(400),
        at: now,
        lost: None,
    };
    let marked =
        Bookkeeping { state: State::NeedsLogin, failures: 1, last_error: Some(error), ..live.clone() };
    let whole =
        |bookkeeping: &Bookkeeping| doc! { books.as_str(): literal(bookkeeping_document(bookkeeping)) };
    // How long the next ones are isn't known: those that are there stand for them.
    let text = |path: &FieldPath| doc! { "$ifNull": [field(path), "x"] };
    let mut pair = doc! { mapping.refresh_token.as_str(): text(&mapping.refresh_token) };
    pair.extend(mapping.access_token.iter().map(|path| (path.as_str().to_owned(), text(path).into())));
    let further = mapping.also.keys();
    let further =
        further.map(|path| (TrialPart::Further(path.clone()), vec![doc! { path.as_str(): text(path) }]));
    let mut writes = vec![
        (TrialPart::Bookkeeping, vec![claimed, whole(&live), whole(&marked)]),
        (TrialPart::Pair, vec![pair]),
    ];
    writes.extend(further);
    let ends = [&mapping.access_expires_at, &mapping.refresh_expires_at].into_iter().flatten();
    let moments = ends.map(|path| (path, expiry(now, mapping.expires_format)));
    for (path, value) in moments.chain(mapping.updated_at.iter().map(|path| (path, date(now)))) {
        let end = doc! { path.as_str(): { "$literal": value } };
        writes.push((TrialPart::Expiry(path.clone()), vec![end]));
    }
    writes
}

fn literal(document: Document) -> Document {
    doc! { "$literal": document }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_validator_that_refuses_is_tried() {
        let with = |more: Document| {
            let mut options = doc! { "validator": { "a": 1 } };
            options.extend(more);
            read_validator(&options).map(|validator| validator.spares_the_broken)
        };
        assert_eq!(with(doc! {}), Some(false));
        assert_eq!(with(doc! { "validationLevel": "moderate" }), Some(true));
        assert_eq!(with(doc! { "validationLevel": "off" }), None);
        assert_eq!(with(doc! { "validationAction": "warn" }), None);
        assert_eq!(with(doc! { "validator": {} }), None);
    }
}

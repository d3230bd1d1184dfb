//! The claim: the lease is set, and what carries it is read back.

use super::raw::Raw;
use super::writable::Obstacles;
use super::{MongoStore, failure, query, update};
use crate::store::document::{date, token_id};
use crate::store::{Claim, Claimed, StoreError, Unwritable};
use crate::token::{Lease, TokenId};
use bson::{Bson, Document};
use std::collections::HashSet;

/// How often a claim is made whose documents can't all be read back.
///
/// A primary that was elected in between may not know for a moment that a majority has the claim, and shows the documents
/// without it: they would stay claimed for the whole lease, unseen. To claim them again on the new
/// primary, acknowledged by a majority, brings it up to date. What is deleted in between isn't counted again.
const TRIES: usize = 3;

/// Those that the server refuses to write, and why.
pub(super) type Refused = Vec<(TokenId, Unwritable)>;

impl MongoStore {
    /// Sets the lease on those of `ids` that are ours to take, and reads what carries it.
    pub(super) async fn lease(&self, claim: &Claim, ids: Vec<Bson>) -> Result<Claimed, StoreError> {
        let mut claimed = self.take(claim, &ids).await?;
        if claimed.documents.len() == ids.len() {
            return Ok(claimed);
        }
        let known = claimed.documents.iter().map(|document| &document.id);
        let known: HashSet<_> = known.chain(claimed.refused.iter().map(|(id, _)| id)).cloned().collect();
        let rest = ids.into_iter().filter(|id| !known.contains(&token_id(id.clone()))).collect();
        claimed.refused.extend(self.obstacles(rest, Some(update::may_take(&self.mapping, claim))).await?);
        Ok(claimed)
    }

    /// Those of `ids` whose lease is this one, and ends as it does.
    pub(super) async fn carrying(&self, ids: Vec<Bson>, lease: &Lease) -> Result<Vec<TokenId>, StoreError> {
        let until = Some(date(lease.until));
        let found = self.find("read leases", query::leased(&self.mapping, ids, &lease.id, until)).await?;
        Ok(found.iter().filter_map(|raw| Raw(raw).id()).map(token_id).collect())
    }

    /// Those of `ids` that nothing can be written into, and why; only those that meet the condition, if there is one.
    pub(super) async fn obstacles(
        &self,
        ids: Vec<Bson>,
        condition: Option<Document>,
    ) -> Result<Refused, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (obstacles, mut reading) = Obstacles::look(&self.mapping, ids);
        reading.conditions.extend(condition);
        let found = self.find("look at documents that can't be written", reading).await?;
        let refused = found.iter().filter_map(|raw| Some((token_id(Raw(raw).id()?), obstacles.of(raw)?)));
        Ok(refused.collect())
    }

    async fn take(&self, claim: &Claim, ids: &[Bson]) -> Result<Claimed, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (mut matched, mut refused) = (0, Vec::new());
            for ids in ids.chunks(update::MAX_STATEMENTS) {
                let statement = update::claim(&self.mapping, claim, ids);
                let reply = self.update("claim documents", vec![statement]).await?;
                if reply.refused.is_empty() {
                    matched += reply.matched;
                } else {
                    let (matched_alone, refused_alone) = self.take_one_by_one(claim, ids).await?;
                    matched += matched_alone;
                    refused.extend(refused_alone);
                }
            }
            let reading = query::leased(&self.mapping, ids.to_vec(), &claim.lease.id, None);
            let found = self.find("read claimed documents", reading).await?;
            if found.len() >= matched || tries == TRIES {
                let documents = found.iter().filter_map(|raw| self.decode(raw)).collect();
                return Ok(Claimed { documents, refused });
            }
        }
    }

    /// Sets the lease on each of `ids` by itself, so that one which the server refuses doesn't hold back the others.
    async fn take_one_by_one(&self, claim: &Claim, ids: &[Bson]) -> Result<(usize, Refused), StoreError> {
        let one = |id: &Bson| update::claim(&self.mapping, claim, std::slice::from_ref(id));
        let reply = self.update("claim documents", ids.iter().map(one).collect()).await?;
        let refused = reply.refused.into_iter();
        let refused = refused
            .filter_map(|(index, code)| Some((token_id(ids.get(index)?.clone()), failure::unwritable(code))));
        Ok((reply.matched, refused.collect()))
    }
}

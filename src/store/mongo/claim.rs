//! The claim: the lease is set, and what carries it is read back.

use super::raw::Raw;
use super::{MongoStore, failure, query, update};
use crate::store::document::token_id;
use crate::store::{Claim, StoreError};
use crate::token::{TokenDocument, TokenId};
use bson::Bson;
use std::collections::HashMap;

/// How often a claim is made whose documents can't all be read back.
///
/// A primary that was elected in between may not know for a moment that a majority has the claim, and shows the documents
/// without it: they would stay claimed for the whole lease, and nobody would know. To claim them again on the new
/// primary, acknowledged by a majority, brings it up to date. What is deleted in between isn't counted again.
const TRIES: usize = 3;

/// Those that the server refuses to write, and why.
type Refused = Vec<(TokenId, String)>;

impl MongoStore {
    /// Sets the lease on those of `ids` that are ours to take, and reads what carries it.
    pub(super) async fn lease(
        &self,
        claim: &Claim,
        ids: &[Bson],
    ) -> Result<(Vec<TokenDocument>, Refused), StoreError> {
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
                    let (matched_alone, refused_alone) = self.claim_one_by_one(claim, ids).await?;
                    matched += matched_alone;
                    refused.extend(refused_alone);
                }
            }
            let reading = query::leased(&self.mapping, ids.to_vec(), &claim.lease.id, None);
            let found = self.find("read claimed documents", reading).await?;
            if found.len() >= matched || tries == TRIES {
                return Ok((found.iter().filter_map(|raw| self.decode(raw)).collect(), refused));
            }
        }
    }

    /// Sets the lease on each of `ids` by itself, so that one which the server refuses doesn't hold back the others.
    async fn claim_one_by_one(&self, claim: &Claim, ids: &[Bson]) -> Result<(usize, Refused), StoreError> {
        let one = |id: &Bson| update::claim(&self.mapping, claim, std::slice::from_ref(id));
        let reply = self.update("claim documents", ids.iter().map(one).collect()).await?;
        let refused = reply.refused.into_iter();
        let refused = refused
            .filter_map(|(index, code)| Some((token_id(ids.get(index)?.clone()), failure::code_name(code))));
        Ok((reply.matched, refused.collect()))
    }

    /// Those of `ids` that have no room for what a pass writes.
    pub(super) async fn without_room(&self, ids: Vec<Bson>) -> Result<Refused, StoreError> {
        let mut refused = HashMap::new();
        for (reason, reading) in query::without_room(&self.mapping, &ids) {
            let found = self.find("look at unclaimed documents", reading).await?;
            let found = found.iter().filter_map(|raw| Raw(raw).id()).map(token_id);
            refused.extend(found.map(|id| (id, reason.clone())));
        }
        Ok(refused.into_iter().collect())
    }
}

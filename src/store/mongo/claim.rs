//! The claim: the lease is set, and what carries it is read back.

use super::raw::Raw;
use super::update::Bookkept;
use super::writable::Obstacles;
use super::{MongoStore, failure, query, update};
use crate::store::document::token_id;
use crate::store::{Claim, Claimed, StoreError, Unwritable};
use crate::token::TokenId;
use bson::Bson;
use std::collections::HashSet;

/// How often a claim is made whose documents can't all be read back.
///
/// A primary that was elected in between may not know for a moment that a majority has the claim, and shows the documents
/// without it: they would stay claimed for the whole lease, unseen. To claim them again on the new
/// primary, acknowledged by a majority, brings it up to date. What is deleted in between isn't counted again.
const TRIES: usize = 3;

/// Those that the server refuses to write, and why.
type Refused = Vec<(TokenId, Unwritable)>;

impl MongoStore {
    /// Sets the lease on those of `ids` that are ours to take, and reads what carries it.
    pub(super) async fn lease(&self, claim: &Claim, ids: Vec<Bson>) -> Result<Claimed, StoreError> {
        let mut claimed = self.take(claim, &ids, Bookkept::Usually).await?;
        if claimed.documents.len() == ids.len() {
            return Ok(claimed);
        }
        let known = claimed.documents.iter().map(|document| &document.id);
        let known: HashSet<_> = known.chain(claimed.refused.iter().map(|(id, _)| id)).cloned().collect();
        let rest: Vec<_> = ids.into_iter().filter(|id| !known.contains(&token_id(id.clone()))).collect();
        let (refused, odd) = self.look_at_unclaimed(rest).await?;
        claimed.refused.extend(refused);
        if !odd.is_empty() {
            let odd = self.take(claim, &odd, Bookkept::Oddly).await?;
            claimed.documents.extend(odd.documents);
            claimed.refused.extend(odd.refused);
        }
        Ok(claimed)
    }

    /// Those of `ids` that nothing can be written into, and those whose bookkeeping is no sub-document.
    async fn look_at_unclaimed(&self, ids: Vec<Bson>) -> Result<(Refused, Vec<Bson>), StoreError> {
        if ids.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let (obstacles, reading) = Obstacles::look(&self.mapping, ids);
        let (mut refused, mut odd) = (Vec::new(), Vec::new());
        for raw in &self.find("look at unclaimed documents", reading).await? {
            let Some(id) = Raw(raw).id() else { continue };
            if let Some(reason) = obstacles.of(raw) {
                refused.push((token_id(id), reason.clone()));
            } else if Obstacles::is_odd(raw) {
                odd.push(id);
            }
        }
        Ok((refused, odd))
    }

    async fn take(&self, claim: &Claim, ids: &[Bson], bookkept: Bookkept) -> Result<Claimed, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (mut matched, mut refused) = (0, Vec::new());
            for ids in ids.chunks(update::MAX_STATEMENTS) {
                let statement = update::claim(&self.mapping, claim, ids, bookkept);
                let reply = self.update("claim documents", vec![statement]).await?;
                if reply.refused.is_empty() {
                    matched += reply.matched;
                } else {
                    let (matched_alone, refused_alone) = self.take_one_by_one(claim, ids, bookkept).await?;
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
    async fn take_one_by_one(
        &self,
        claim: &Claim,
        ids: &[Bson],
        bookkept: Bookkept,
    ) -> Result<(usize, Refused), StoreError> {
        let one = |id: &Bson| update::claim(&self.mapping, claim, std::slice::from_ref(id), bookkept);
        let reply = self.update("claim documents", ids.iter().map(one).collect()).await?;
        let refused = reply.refused.into_iter();
        let refused = refused
            .filter_map(|(index, code)| Some((token_id(ids.get(index)?.clone()), failure::unwritable(code))));
        Ok((reply.matched, refused.collect()))
    }
}

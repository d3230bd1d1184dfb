//! The write-back: changes that share a statement together, the others by one of their own.

use super::update::Comparison;
use super::{MongoStore, failure, update};
use crate::store::document::token_id;
use crate::store::{Applied, Change, StoreError, Unwritable};
use bson::Bson;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

impl MongoStore {
    pub(super) async fn write_changes(&self, changes: &[Change]) -> Result<Applied, StoreError> {
        let ids = self.ids(&changes.iter().map(|change| change.id.clone()).collect::<Vec<_>>())?;
        let plain = self.plain_texts.load(Ordering::Relaxed);
        let may_share = |&position: &usize| plain && update::may_share(&self.mapping, &changes[position]);
        let (together, mut alone): (Vec<usize>, Vec<usize>) = (0..changes.len()).partition(may_share);
        // What one of them demands of its document, a statement demands of all.
        let (demanding, others): (Vec<usize>, Vec<usize>) = together
            .into_iter()
            .partition(|&position| update::replaced(&self.mapping, &changes[position]).is_some());
        let shares = [demanding, others].map(|positions| update::shares(changes, &positions));
        let mut matched = 0;
        for share in shares.into_iter().flatten() {
            let own_ids: Vec<Bson> = share.iter().map(|&position| ids[position].clone()).collect();
            let own: Vec<&Change> = share.iter().map(|&position| &changes[position]).collect();
            let statement = update::renewals(&self.mapping, &own_ids, &own);
            let reply = self.update("update documents", vec![statement]).await?;
            if reply.refused.is_empty() {
                matched += reply.matched;
            } else {
                // Those before the refused one are written; a second time they don't match, and are read again.
                alone.extend(share);
            }
        }
        let (mut refused, matched_alone) = self.apply_alone(changes, &ids, &alone).await?;
        matched += matched_alone;
        if matched + refused.len() < changes.len() {
            refused.extend(self.with_a_name_twice(&ids).await?);
        }
        Ok(Applied { every_matched: matched == changes.len(), refused })
    }

    /// The positions of documents in which a name stands twice: it was put there after the claim.
    async fn with_a_name_twice(&self, ids: &[Bson]) -> Result<Vec<(usize, Unwritable)>, StoreError> {
        let found: HashMap<_, _> = self.obstacles(ids.to_vec(), None).await?.into_iter().collect();
        let twice = ids.iter().enumerate().filter_map(|(position, id)| {
            let reason = found.get(&token_id(id.clone()))?;
            // Any other obstacle lets the statement match, and the server refuses the write.
            matches!(reason, Unwritable::Twice(_) | Unwritable::TwiceBeside(_))
                .then(|| (position, reason.clone()))
        });
        Ok(twice.collect())
    }

    /// Applies the changes at `positions`, each by a statement of its own: which are refused, and how many matched.
    async fn apply_alone(
        &self,
        changes: &[Change],
        ids: &[Bson],
        positions: &[usize],
    ) -> Result<(Vec<(usize, Unwritable)>, usize), StoreError> {
        let plain = self.plain_texts.load(Ordering::Relaxed);
        let comparison = if plain { Comparison::Plain } else { Comparison::ByteByByte };
        let statements = positions.iter().map(|&position| {
            let change = &changes[position];
            update::apply(&self.mapping, ids[position].clone(), change, comparison)
        });
        let (mut matched, mut refused, mut sent) = (0, Vec::new(), 0);
        for batch in update::batches(statements) {
            let count = batch.len();
            let reply = self.update("update documents", batch).await?;
            matched += reply.matched;
            let of_changes = reply
                .refused
                .into_iter()
                .filter_map(|(index, code)| Some((*positions.get(sent + index)?, failure::unwritable(code))));
            refused.extend(of_changes);
            sent += count;
        }
        Ok((refused, matched))
    }
}

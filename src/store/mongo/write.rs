//! The write-back: changes that share a statement together, the others by one of their own.

use super::raw::Raw;
use super::update::Comparison;
use super::writable::Names;
use super::{MongoStore, failure, query, update};
use crate::store::document::token_id;
use crate::store::{Applied, Change, StoreError, Unwritable};
use bson::{Bson, Document};
use std::collections::HashSet;
use std::sync::atomic::Ordering;

impl MongoStore {
    pub(super) async fn write_changes(&self, changes: &[Change]) -> Result<Applied, StoreError> {
        let ids = self.ids(&changes.iter().map(|change| change.id.clone()).collect::<Vec<_>>())?;
        let plain = self.plain_texts.load(Ordering::Relaxed);
        let may_share = |&position: &usize| plain && update::may_share(&self.mapping, &changes[position]);
        let (together, mut alone): (Vec<usize>, Vec<usize>) = (0..changes.len()).partition(may_share);
        let mut matched = 0;
        for share in update::shares(changes, &together) {
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
        let names = Names::of_pairs(&self.mapping);
        let (mut refused, matched_alone) = self.apply_alone(changes, &ids, &alone, names.all_once()).await?;
        matched += matched_alone;
        if matched + refused.len() < changes.len() {
            let twice = self.positions_with_names_twice(&ids).await?;
            let (more, matched_then) = self.apply_alone(changes, &ids, &twice, names.ours_once()).await?;
            refused.extend(more);
            matched += matched_then;
        }
        Ok(Applied { every_matched: matched == changes.len(), refused })
    }

    /// The positions of those whose document has a name twice somewhere near to ours.
    async fn positions_with_names_twice(&self, ids: &[Bson]) -> Result<Vec<usize>, StoreError> {
        let reading = query::names_twice(&self.mapping, ids.to_vec());
        let found = self.find("look at unwritten documents", reading).await?;
        let found: HashSet<_> = found.iter().filter_map(|raw| Raw(raw).id()).map(token_id).collect();
        let has_one = |&position: &usize| found.contains(&token_id(ids[position].clone()));
        Ok((0..ids.len()).filter(has_one).collect())
    }

    /// Applies the changes at `positions`, each by a statement of its own, where the `names` stand once: which are
    /// refused, and how many matched.
    async fn apply_alone(
        &self,
        changes: &[Change],
        ids: &[Bson],
        positions: &[usize],
        names: Document,
    ) -> Result<(Vec<(usize, Unwritable)>, usize), StoreError> {
        let plain = self.plain_texts.load(Ordering::Relaxed);
        let comparison = if plain { Comparison::Plain } else { Comparison::ByteByByte };
        let statements = positions.iter().map(|&position| {
            let change = &changes[position];
            update::apply(&self.mapping, ids[position].clone(), change, comparison, names.clone())
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

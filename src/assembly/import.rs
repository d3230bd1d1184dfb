//! What an import into the embedded store is compared with, beside the store: the journal, and what providers do with tokens.

use super::on_a_thread;
use crate::clock::Timestamp;
use crate::journal::Journal;
use crate::pass::PassError;
use crate::provider::Rotation;
use crate::store::Store as _;
use crate::store::import::{provider_of, refresh_token};
use crate::store::mapping::Mapping;
use crate::store::sqlite::{ImportTerms, SqliteStore, import_id};
use crate::token::Fingerprint;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// What is known of the refresh tokens in these documents, and of those that they would replace.
///
/// # Errors
/// [`PassError`] when the store or the journal can't be read.
pub(crate) async fn import_terms(
    store: &SqliteStore,
    state_dir: PathBuf,
    mapping: &Mapping,
    rotations: &BTreeMap<String, Rotation>,
    documents: &[Map<String, Value>],
    now: Timestamp,
) -> Result<ImportTerms, PassError> {
    let ids: Vec<_> = documents.iter().filter_map(import_id).collect();
    let stored = store.read(&ids).await?;
    let stored = stored.iter().filter_map(|document| {
        Some((document.provider.as_deref(), document.refresh_token.as_ref().ok()?.fingerprint()))
    });
    let of_file = documents.iter().filter_map(|document| {
        let token = refresh_token(document, mapping).ok()?;
        Some((provider_of(document, mapping), token.fingerprint()))
    });
    let (mut tokens, mut still_good) = (Vec::<Fingerprint>::new(), HashSet::new());
    for (provider, token) in stored.chain(of_file) {
        tokens.push(token);
        still_good.extend(stays_good(provider, mapping, rotations).then_some(token));
    }
    let known = on_a_thread(move || Journal::known(&state_dir, &tokens)).await?;
    Ok(ImportTerms {
        overwrite: false,
        // A token that stays good is as good as any other, however often it was redeemed.
        redeemed: known.redeemed.difference(&still_good).copied().collect(),
        still_good,
        on_their_way: known.on_their_way,
        now: Some(now),
    })
}

/// Does the provider that a document names, or the only one, take a redeemed token? In doubt it doesn't.
fn stays_good(provider: Option<&str>, mapping: &Mapping, rotations: &BTreeMap<String, Rotation>) -> bool {
    let only = || match (&mapping.provider, rotations.len()) {
        (None, 1) => rotations.values().next(),
        _ => None,
    };
    let rotation = provider.map_or_else(only, |name| rotations.get(name));
    rotation == Some(&Rotation::None)
}

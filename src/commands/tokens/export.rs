//! `evergrant tokens export`: the one command that prints tokens, for that is what it is for.

use super::only_embedded;
use crate::assembly;
use crate::commands::CommandError;
use crate::commands::shown::{self, Reader};
use crate::config::Config;
use crate::exit::Exit;
use crate::store::sqlite::SqliteStore;
use serde_json::Value;

/// Documents read at once.
const PAGE: usize = 200;

/// Prints every document as a line of extended JSON, tokens and bookkeeping in it, whatever `--format` says.
///
/// What it prints opens accounts: it belongs into a pipe or a file that no other user can read (`umask 077`).
pub(super) async fn run(config: &Config) -> Result<Exit, CommandError> {
    let file = only_embedded(config, "tokens export", "`mongoexport` gives back the documents of a MongoDB")?;
    assembly::must_be_there(config)?;
    let store = SqliteStore::open(file, config.store.mapping.clone()).await?;
    let mut after = None;
    loop {
        let page = store.export(after.as_ref(), PAGE).await?;
        let mut lines = String::new();
        for document in page.documents {
            lines.push_str(&Value::Object(document).to_string());
            lines.push('\n');
        }
        after = page.next;
        if shown::write(&lines)? == Reader::Gone || after.is_none() {
            return Ok(Exit::Well);
        }
    }
}

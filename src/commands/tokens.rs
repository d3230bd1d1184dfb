//! `evergrant tokens`: documents into the embedded store, out of it, and who is in which state.

mod export;
mod import;
mod list;
mod show;
pub(super) mod state;

use super::{CommandError, Surroundings, shown};
use crate::assembly;
use crate::cli::TokensCommand;
use crate::clock::Clock;
use crate::config::{Config, Need};
use crate::exit::Exit;
use crate::pass::{go_by_its_time, must_exist};
use crate::store::{Store, ids_shown_as};
use crate::token::TokenDocument;
use std::path::Path;
use std::sync::Arc;

/// Imports, exports, lists or shows.
pub async fn run(command: TokensCommand, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Store)?;
    match command {
        TokensCommand::Import { file, input, overwrite } => {
            import::run(&file, input, overwrite, &config, surroundings).await
        }
        TokensCommand::Export => export::run(&config).await,
        TokensCommand::List(args) => list::run(&args, &config, surroundings).await,
        TokensCommand::Show { user } => show::run(&user, &config, surroundings).await,
    }
}

/// Connects to a store in which the documents' collection exists; an absent one is refused with the names of the others. The clock
/// goes by the store's from then on: its claims and due dates are in that time.
pub(super) async fn connect_existing(config: &Config, clock: &Clock) -> Result<Arc<dyn Store>, CommandError> {
    assembly::must_be_there(config)?;
    let store = assembly::store(config).await?;
    must_exist(&store.existence().await?)?;
    go_by_its_time(&*store, clock).await?;
    Ok(store)
}

/// The document whose `_id` is shown so, or is this in extended JSON.
pub(super) async fn document_shown_as(id: &str, store: &dyn Store) -> Result<TokenDocument, CommandError> {
    let mut found = store.read(&ids_shown_as(id)).await?;
    let shown = shown::plain(id);
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(|document| document.id.to_string()).collect();
        let message =
            format!("more than one document has an `_id` that is shown as `{shown}`: {}", ids.join(", "));
        return Err(CommandError::usage(message, "write it as extended JSON: `--id '{\"$oid\":\"…\"}'`"));
    }
    found.pop().ok_or_else(|| {
        let message = format!("no document has the `_id` `{shown}` in {}", store.describe());
        CommandError::usage(message, "`evergrant tokens list` shows the `_id` of each document")
    })
}

/// The embedded store's file, or what to do where the documents are in a MongoDB (`instead`).
fn only_embedded<'a>(config: &'a Config, what: &str, instead: &str) -> Result<&'a Path, CommandError> {
    assembly::embedded_file(config).ok_or_else(|| {
        CommandError::usage(
            format!("`{what}` works on the embedded store (`sqlite:PATH`), and `store.url` names a MongoDB"),
            instead,
        )
    })
}

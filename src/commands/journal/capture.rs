//! `journal capture`: an answer out of the journal, without its tokens.

use crate::cli::Format;
use crate::commands::{CommandError, Surroundings, shown};
use crate::config::Need;
use crate::exit::Exit;
use crate::grant::mask::{Known, MaskedAnswer};
use crate::grant::secrets;
use crate::journal::{Entry, EntryId, EntryState, Journal};
use crate::pass::ApplyError;
use crate::token::Facts;
use serde::Serialize;
use tracing::warn;

/// What `journal capture --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Captured {
    /// The number of the entry.
    pub(super) id: EntryId,
    /// Its state.
    pub(super) state: EntryState,
    /// The provider that answered.
    pub(super) provider: String,
    /// Did the answer come to its end?
    pub(super) complete: bool,
    /// The answer as `curl -i` prints it, its tokens masked.
    pub(super) answer: String,
}

/// Prints the masked answer of one entry. Takes and changes nothing, so it works beside a running service.
pub(super) async fn capture(id: EntryId, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Store)?;
    let (directory, settings) = (config.state_dir.clone(), config.journal.clone());
    let read = tokio::task::spawn_blocking(move || Journal::look_at(&directory, id, settings)).await;
    let read = read.map_err(|source| CommandError::Panicked { what: "reading the journal", source })??;
    let entry = match read {
        None => return Err(ApplyError::NotThere(id).into()),
        Some(Err(damaged)) => return Err(ApplyError::Damaged(damaged).into()),
        Some(Ok(entry)) => entry,
    };
    let (captured, masked) = masked(entry, surroundings)?;
    if masked.without_body {
        warn!("the body of the answer is no text, so it is left out");
    }
    match surroundings.global.format {
        // As it is: a line end of ours would be a part of the body.
        Format::Text => {
            let _ = shown::write(&captured.answer)?;
        }
        Format::Json => surroundings.print("", &captured)?,
    }
    Ok(Exit::Well)
}

fn masked(mut entry: Entry, surroundings: &Surroundings) -> Result<(Captured, MaskedAnswer), CommandError> {
    let (id, state) = (entry.id, entry.state);
    let Some(answer) = entry.answer.take() else {
        return Err(CommandError::usage(
            format!("the entry {id} holds no answer: it is {}", state.word()),
            "`evergrant journal list --format json` says which entries have one (`has_answer`)",
        ));
    };
    let provider = entry.intent.provider.to_string();
    // Without its provider the tokens are found by their look and their names.
    let config = surroundings.config_in_silence(Need::Provider).ok();
    let asked = config.iter().flat_map(|config| &config.providers).find(|known| *known.name == *provider);
    let secrets = asked.map(|asked| secrets(asked, &Facts::default())).unwrap_or_default();
    let known = Known {
        sent: entry.sent.as_ref(),
        secrets: &secrets,
        shape: asked.map(|asked| &asked.profile.answer),
    };
    let masked = MaskedAnswer::of(answer.get(), known, &mut rand::random);
    let captured = Captured { id, state, provider, complete: masked.complete, answer: masked.http() };
    Ok((captured, masked))
}

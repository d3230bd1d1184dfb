//! `evergrant providers try`: one request to a configured provider, shown with what is made of its answer.

mod document;
mod made_up;
mod save;

use super::reading::{self, ReadAnswer};
use crate::cli::ProviderTryArgs;
use crate::clock::Timestamp;
use crate::commands::{CommandError, Surroundings};
use crate::config::{Config, Need};
use crate::exit::Exit;
use crate::grant::Sent;
use crate::grant::mask::{Known, MaskedAnswer};
use crate::provider::Provider;
use crate::store::mapping::Mapping;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TriedAnswer {
    /// Why no answer came, in a word; `null` where one came.
    pub no_answer: Option<&'static str>,
    /// The answer as `curl -i` prints it, its tokens masked.
    pub answer: Option<String>,
    /// What a pass makes of it.
    pub reading: Option<ReadAnswer>,
}

/// Asks once.
pub(super) async fn run(args: &ProviderTryArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Provider)?;
    let provider = chosen(args.name.as_deref(), &config)?;
    match &args.id {
        Some(id) => document::run(&provider, id, args.yes, &config, surroundings).await,
        None => made_up::run(&provider, args.save.as_deref(), &config, surroundings).await,
    }
}

/// The provider of that name, or the only one.
pub(in crate::commands) fn chosen(
    name: Option<&str>,
    config: &Config,
) -> Result<Arc<Provider>, CommandError> {
    let names = || config.providers.iter().map(|known| known.name.to_string()).collect::<Vec<_>>().join(", ");
    let hint =
        "`provider` and `[providers.NAME]` configure them; `evergrant providers test NAME` needs no settings";
    match (name, &*config.providers) {
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(CommandError::usage(format!("which provider? There are: {}", names()), hint)),
        (Some(name), known) => known.iter().find(|known| *known.name == *name).cloned().ok_or_else(|| {
            CommandError::usage(format!("no provider `{name}` is configured; there are: {}", names()), hint)
        }),
    }
}

/// An answer without its tokens, and what a pass makes of it.
fn tried(
    sent: &Sent,
    provider: &Provider,
    secrets: &[Zeroizing<String>],
    mapping: &Mapping,
    now: Timestamp,
) -> (TriedAnswer, Option<MaskedAnswer>) {
    let raw = match sent {
        Sent::Answered(raw) => raw,
        Sent::NotSent(cause) | Sent::Lost(cause) => {
            return (TriedAnswer { no_answer: Some(cause), answer: None, reading: None }, None);
        }
    };
    let known = Known { sent: None, secrets, shape: Some(&provider.profile.answer) };
    let masked = MaskedAnswer::of(raw, known, &mut rand::random);
    let reading = reading::read(&provider.name, raw, &provider.profile, mapping, now);
    let answer = TriedAnswer { no_answer: None, answer: Some(masked.http()), reading: Some(reading) };
    (answer, Some(masked))
}

impl TriedAnswer {
    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(cause) = self.no_answer {
            let _ = write!(text, "no answer came ({cause})");
        }
        if let Some(answer) = &self.answer {
            let lines = answer.lines().map(|line| format!("\n  {line}").trim_end().to_owned());
            let lines: Vec<_> =
                lines.map(|line| if line.is_empty() { "\n".to_owned() } else { line }).collect();
            let _ = write!(text, "answer{}", lines.concat());
        }
        if let Some(reading) = &self.reading {
            let ReadAnswer { found, code, .. } = reading;
            let _ = write!(text, "\n\nread as {found} ({code}){}", reading.details());
        }
        text
    }
}

//! `evergrant journal`: what is on its way, and what to do about it.

mod adopt;
mod capture;
mod forget;
mod orphans;
mod retry;

use super::{CommandError, Surroundings, shown};
use crate::assembly;
use crate::cli::JournalCommand;
use crate::clock::Timestamp;
use crate::config::Need;
use crate::exit::Exit;
use crate::failure::with_hint;
use crate::grant::http::Https;
use crate::journal::{Damaged, Entry, EntryId, EntryState, Holder, Journal, KeptPairs};
use crate::pass::Stop;
use crate::report::summary::Summary;
use crate::report::{Outcome, Recovery, Trouble};
use crate::token::{Subject, TokenId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

pub(super) use adopt::adopted_text;

/// What `journal list --format json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct JournalList {
    /// The directory that the journal is in.
    pub state_dir: PathBuf,
    /// Is there a journal in it?
    pub exists: bool,
    /// The process that holds it now, in words; `null` when none does.
    pub held_by: Option<String>,
    /// The open entries, oldest first. Their tokens aren't shown.
    pub entries: Vec<ListedEntry>,
    /// Entries that can't be read. They stay as they are, and stop no other entry.
    pub damaged: Vec<Damaged>,
    /// Pairs that their documents hold, and that are kept for a while, should these lose them.
    pub kept: KeptPairs,
}

/// An open entry of the journal: one refresh token that is on its way.
#[derive(Debug, Clone, Serialize)]
pub struct ListedEntry {
    /// Its number.
    pub id: EntryId,
    /// `intent`, `answer`, `unsettled`, `unread` or `orphan`.
    pub state: EntryState,
    /// Whose token.
    pub subject: Subject,
    /// The document's `_id`, as extended JSON.
    pub document: TokenId,
    /// At which provider.
    pub provider: String,
    /// When the token was sent.
    pub sent_at: Timestamp,
    /// How long ago that was, in seconds.
    pub age_seconds: i64,
    /// When the token was first sent without an answer that settled it.
    pub unsettled_since: Option<Timestamp>,
    /// When the token was first turned away by an answer that wasn't the provider's own.
    pub turned_away_since: Option<Timestamp>,
    /// Why it is unsettled or an orphan, in a word.
    pub why: Option<String>,
    /// The address that it was sent to, where its answer was lost.
    pub peer: Option<String>,
    /// Bytes of an answer's body that came; `null` when there was no answer.
    pub received_bytes: Option<u64>,
    /// Does the journal hold an answer for it?
    pub has_answer: bool,
    /// The store that it belongs to, where that isn't the one that passes go over now.
    pub elsewhere: Option<String>,
}

/// What `journal recover --format json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovered {
    /// Which collection, at which store.
    pub collection: String,
    /// What was found, and what of it is settled.
    pub recovery: Recovery,
    /// Pairs that are in the journal still, because the store couldn't take them.
    pub held: u64,
    /// Pairs that were parked, because their document is gone, holds a newer token, or belongs to another
    /// provider.
    pub parked: u64,
    /// Entries that are open now, by state.
    pub open: BTreeMap<EntryState, u64>,
    /// What kept recovery from its work.
    pub troubles: Vec<Trouble>,
}

/// Lists the open entries, or settles what an earlier process left.
pub async fn run(command: JournalCommand, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    match command {
        JournalCommand::List { orphans } => {
            let config = surroundings.config(Need::Store)?;
            let now = surroundings.clock.now();
            let mut list = list(config.state_dir, now).await?;
            let text = if orphans {
                list.entries.retain(|entry| matches!(entry.state, EntryState::Orphan | EntryState::SetAside));
                orphans::list_text(&list, now)
            } else {
                list_text(&list, now)
            };
            let kept = if orphans { String::new() } else { kept_text(&list.kept) };
            surroundings.print(&format!("{text}{kept}{}", damaged_text(&list.damaged)), &list)?;
            Ok(Exit::Well)
        }
        JournalCommand::Adopt { yes } => adopt::adopt(yes, surroundings).await,
        JournalCommand::Apply { id, to } => orphans::apply(id, to.as_deref(), surroundings).await,
        JournalCommand::Retry { ids } => retry::retry(&ids, surroundings).await,
        JournalCommand::Capture { id } => capture::capture(id, surroundings).await,
        JournalCommand::Forget(args) => forget::forget(&args, surroundings).await,
        JournalCommand::Discard { id, yes } => orphans::discard(id, yes, surroundings).await,
        JournalCommand::Recover { adopt_store } => {
            let config = surroundings.config(Need::Provider)?;
            assembly::must_be_there(&config)?;
            let engine = assembly::engine(&config, &surroundings.clock, &Https).await?;
            if adopt_store {
                super::run::adopt_store(&engine.base).await?;
            }
            // A pair whose collection isn't there would be parked as if its document had been deleted.
            engine.base.ready(&Stop::default(), false).await?;
            let summary = engine.recover().await?;
            let open = by_state(engine.base.journal.entries().await?.iter().map(|entry| entry.state));
            engine.close().await;
            let exit = summary.exit();
            let recovered = Recovered::new(summary, open);
            surroundings.print(&recovered_text(&recovered), &recovered)?;
            Ok(exit)
        }
    }
}

/// Reads the journal in `directory`, held by a process or not.
pub(super) async fn list(directory: PathBuf, now: Timestamp) -> Result<JournalList, CommandError> {
    let read = move || {
        let (held_by, listed) = (Journal::holder(&directory)?, Journal::look(&directory)?);
        Ok::<_, CommandError>(JournalList {
            exists: Journal::exists(&directory),
            state_dir: directory,
            held_by: held_by.as_ref().map(Holder::to_string),
            entries: listed.entries.into_iter().map(|entry| ListedEntry::new(entry, now)).collect(),
            damaged: listed.damaged,
            kept: listed.kept,
        })
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|source| CommandError::Panicked { what: "reading the journal", source })?
}

pub(super) fn by_state(states: impl Iterator<Item = EntryState>) -> BTreeMap<EntryState, u64> {
    let mut counts = BTreeMap::new();
    for state in states {
        *counts.entry(state).or_default() += 1;
    }
    counts
}

impl ListedEntry {
    fn new(entry: Entry, now: Timestamp) -> Self {
        Self {
            id: entry.id,
            state: entry.state,
            subject: entry.intent.subject,
            document: entry.intent.document,
            provider: entry.intent.provider.to_string(),
            sent_at: entry.intent.sent_at,
            age_seconds: (now - entry.intent.sent_at).num_seconds().max(0),
            unsettled_since: entry.unsettled_since,
            turned_away_since: entry.turned_away_since,
            why: entry.why,
            peer: entry.peer,
            received_bytes: entry.received_bytes,
            has_answer: entry.received_bytes.is_some(),
            elsewhere: entry.elsewhere,
        }
    }
}

impl Recovered {
    fn new(summary: Summary, open: BTreeMap<EntryState, u64>) -> Self {
        Self {
            held: summary.count(Outcome::Held),
            collection: summary.collection,
            recovery: summary.recovery,
            parked: summary.orphans,
            open,
            troubles: summary.troubles,
        }
    }
}

/// What each state of a row means to the reader of `journal list`.
impl EntryState {
    /// What the state means, and what to do about it; `held` when a process has the journal open.
    pub(super) const fn explained(self, held: bool) -> [&'static str; 2] {
        match (self, held) {
            (Self::Intent, true) => ["sent, and its answer is being waited for", "nothing to do"],
            (Self::Intent, false) => [
                "sent by a process that is gone: it is not known whether the provider processed it",
                "`evergrant run --once` asks again, before anything else",
            ],
            (Self::Answer, true) => {
                ["answered; the new pair is on its way into the document", "nothing to do"]
            }
            (Self::Answer, false) => [
                "answered; the new pair is kept here and not yet in its document",
                "`evergrant journal recover` writes it back, and so does the next `evergrant run`",
            ],
            (Self::Unsettled, _) => [
                "no answer came (`stopped`: the process ended before), or none of the provider's own that can be read \
                 (`http_503`, `http_429`, `http_403`: a page): the provider may have rotated the token",
                "nothing to do: the next pass asks again first, unless no answer came at all and `ask_again = \"never\"`; if \
                 the provider then refuses, or isn't asked, the user must log in again",
            ],
            (Self::Unread, _) => [
                "the provider answered with a success in which no pair could be found, or that isn't readable JSON \
                 (`content_coding_…`: in a coding that can't be decoded); the answer is kept, and the token is not sent again",
                "set where the tokens stand (`answer.access_token`, `answer.refresh_token`): the next start reads it again, \
                 and so does a version that knows the coding; if it held none, because nothing was processed: `evergrant journal retry ID`",
            ],
            (Self::AskAgain, _) => [
                "the provider answered with a success in which no pair could be found; the answer is kept, and the token may be \
                 sent again all the same",
                "nothing to do: the next pass asks again first; if the provider then refuses, the user must log in again",
            ],
            (Self::SetAside, _) => [
                "the provider answered with a success in which no pair could be found, and the token was sent again since; the \
                 answer is kept until a pair came for the token",
                "nothing to do; `evergrant journal list --orphans` says what a person can do with it",
            ],
            (Self::Orphan, _) => [
                "a good pair that has no document: `superseded` (the document holds a newer token), `gone` \
                 (the document was deleted), `provider_changed`",
                "nothing is overwritten or thrown away; `evergrant journal list --orphans` says what to do with each",
            ],
        }
    }
}

fn kept_text(kept: &KeptPairs) -> String {
    let KeptPairs { pairs, bytes, since, .. } = kept;
    let since =
        since.map_or_else(String::new, |since| format!(", the oldest of {}", shown::instant(Some(since))));
    match pairs {
        0 => String::new(),
        pairs => format!(
            "\n\n{pairs} received pairs are kept, should their documents lose them ({} KiB{since})",
            bytes.div_ceil(1024)
        ),
    }
}

fn damaged_text(damaged: &[Damaged]) -> String {
    let line = |damaged: &Damaged| format!("\n  entry {}: {}", damaged.id, damaged.problem);
    match damaged {
        [] => String::new(),
        some => format!(
            "\n\n{} that can't be read; they are kept as they are, and the others work:{}",
            shown::entries(some.len() as u64),
            some.iter().map(line).collect::<String>()
        ),
    }
}

fn list_text(list: &JournalList, now: Timestamp) -> String {
    let held = list.held_by.as_ref().map_or_else(String::new, |holder| format!(", in use by {holder}"));
    let directory = list.state_dir.display();
    if !list.exists {
        return with_hint(
            format!("there is no journal in {directory}"),
            Some(
                "is that the `state_dir` of the service that you mean? `--set state_dir=…` looks into another one",
            ),
        );
    }
    if list.entries.is_empty() {
        return format!("nothing is on its way: the journal in {directory} has no open entries{held}");
    }
    let mut text = format!("{} in {directory}{held}\n\n", shown::entries(list.entries.len() as u64));
    let headers = ["ID", "STATE", "SENT (UTC)", "AGE", "UNSETTLED SINCE", "WHY", "PROVIDER", "SUBJECT"];
    let rows = list.entries.iter().map(|entry| {
        [
            entry.id.to_string(),
            entry.state.word().to_owned(),
            shown::instant(Some(entry.sent_at)),
            shown::age(entry.sent_at, now),
            shown::instant(entry.unsettled_since.or(entry.turned_away_since)),
            why(entry),
            entry.provider.clone(),
            entry.subject.to_string(),
        ]
    });
    text.push_str(&shown::columns(headers, rows));
    text.push('\n');
    for state in EntryState::ALL {
        if list.entries.iter().any(|entry| entry.state == state) {
            let [meaning, next] = state.explained(list.held_by.is_some());
            // Writing into a text can't fail.
            let _ = write!(text, "\n{}: {meaning}\n  next: {next}", state.word());
        }
    }
    text
}

/// Why an entry is open, and to whom its token was sent where that is known.
fn why(entry: &ListedEntry) -> String {
    let why = entry.why.as_deref().unwrap_or(shown::NOTHING);
    entry.peer.as_ref().map_or_else(|| why.to_owned(), |peer| format!("{why}, from {peer}"))
}

fn recovered_text(recovered: &Recovered) -> String {
    let Recovery {
        answers,
        written,
        unsettled,
        claims_released,
        claims_refused,
        claims_cut: _,
        void_due_dates: _,
    } = recovered.recovery;
    let open: u64 = recovered.open.values().sum();
    let mut lines = Vec::new();
    if recovered.recovery.is_empty() && recovered.parked == 0 {
        lines.push(format!("nothing to recover for {}", recovered.collection));
    } else {
        lines.push(format!("recovered for {}:", recovered.collection));
        lines.push(format!("  answers found          {answers:>8}"));
        lines.push(format!("  pairs written back     {written:>8}"));
    }
    for (what, count) in [
        ("pairs parked         ", recovered.parked),
        ("pairs not yet written", recovered.held),
        ("claims released      ", claims_released),
        ("claims not released  ", claims_refused),
        ("without an answer    ", unsettled),
    ] {
        if count > 0 {
            lines.push(format!("  {what}  {count:>8}"));
        }
    }
    if open > 0 {
        let states: Vec<_> =
            recovered.open.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
        lines.push(format!(
            "{} left in the journal ({}): `evergrant journal list`",
            shown::entries(open),
            states.join(", ")
        ));
    }
    lines.extend(recovered.troubles.iter().map(|trouble| format!("\n{trouble}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests;

//! Pairs without a place: what they are, writing one by hand, giving one up.

use super::{JournalList, ListedEntry};
use crate::assembly;
use crate::clock::Timestamp;
use crate::commands::tokens::document_shown_as;
use crate::commands::{CommandError, Surroundings, shown};
use crate::config::Need;
use crate::exit::Exit;
use crate::journal::{Damaged, EntryId, EntryState, Event, Journal};
use crate::pass::{Applied, ApplyError};
use crate::token::{ParkedWhy, Word};
use crate::verdict::by_hand_discard;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// What `journal discard --format json` prints: the entry as it was.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Discarded {
    /// The entry, which is gone now.
    #[serde(flatten)]
    entry: ListedEntry,
}

/// Writes a parked pair into its document.
pub(super) async fn apply(
    id: EntryId,
    to: Option<&str>,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Provider)?;
    let base = assembly::base_over_what_is_there(&config, &surroundings.clock).await?;
    let to = match to {
        Some(text) => Some(document_shown_as(text, &*base.store).await?.id),
        None => None,
    };
    let applied = base.apply(id, to).await;
    base.journal.close().await;
    let applied = applied?;
    surroundings.print(&applied_text(&applied), &applied)?;
    Ok(Exit::Well)
}

/// Gives up a parked pair, or an unread answer, once a person has said so twice.
pub(super) async fn discard(
    id: EntryId,
    yes: bool,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Store)?;
    let journal = assembly::journal(&config, &surroundings.clock).await?;
    let entry = match journal.entry(id).await? {
        None => return Err(ApplyError::NotThere(id).into()),
        Some(Err(damaged)) if yes => return give_up_damaged(journal, damaged, surroundings).await,
        Some(Err(damaged)) => return Err(ApplyError::Damaged(damaged).into()),
        Some(Ok(entry)) => entry,
    };
    let verdict = by_hand_discard(&entry, is_configured(&entry.intent.provider, surroundings))
        .map_err(|obstacle| ApplyError::obstacle(obstacle, &entry))?;
    let entry = ListedEntry::new(entry, surroundings.clock.now());
    if !yes {
        confirm(&entry, surroundings)?;
    }
    journal.end(verdict.row.into_iter().collect(), surroundings.clock.now()).await?;
    journal.close().await;
    let discarded = Discarded { entry };
    surroundings.print(&discarded_text(&discarded), &discarded)?;
    Ok(Exit::Well)
}

/// Will recovery know the provider of an answer? Where it is the only one, it is the one.
fn is_configured(provider: &str, surroundings: &Surroundings) -> bool {
    surroundings.config_in_silence(Need::Provider).map_or(true, |config| {
        config.providers.len() == 1 || config.providers.iter().any(|known| *known.name == *provider)
    })
}

/// Gives up an entry that can't be read.
async fn give_up_damaged(
    journal: Journal,
    damaged: Damaged,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    journal.end(vec![(damaged.id, Event::GivenUp)], surroundings.clock.now()).await?;
    journal.close().await;
    let text = format!("the entry {} is gone; it couldn't be read: {}", damaged.id, damaged.problem);
    surroundings.print(&text, &damaged)?;
    Ok(Exit::Well)
}

/// Asks the person at the terminal to type the number.
fn confirm(entry: &ListedEntry, surroundings: &Surroundings) -> Result<(), CommandError> {
    let ListedEntry { id, subject, provider, .. } = entry;
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage(
            format!("the answer in entry {id}, for `{subject}` from `{provider}`, would be deleted for good"),
            "confirm with `--yes`, or run it at a terminal",
        ));
    }
    let ask = || {
        let mut talk = io::stderr().lock();
        write!(
            talk,
            "The answer in entry {id}, for `{subject}` from `{provider}`, will be deleted for good.\nType {id} to discard it: "
        )?;
        talk.flush()?;
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed)?;
        Ok(typed)
    };
    let typed: io::Result<String> = surroundings.talk.suspend(ask);
    if typed.map_err(CommandError::io("ask"))?.trim() == id.to_string() {
        return Ok(());
    }
    Err(CommandError::usage(
        format!("that isn't {id}: nothing was discarded"),
        "`evergrant journal list` shows the entries",
    ))
}

fn applied_text(applied: &Applied) -> String {
    let Applied { id, subject, document, provider, replaced, written } = applied;
    match replaced {
        Some(replaced) => format!(
            "the pair of `{provider}` in entry {id} is in the document {document} of `{subject}`\n  \
             gone     {replaced}  fingerprint of the refresh token that stood there\n  \
             written  {written}  fingerprint of the refresh token that stands there now"
        ),
        None => format!(
            "the pair of entry {id} was in the document {document} of `{subject}` already ({written}); the entry is ended"
        ),
    }
}

fn discarded_text(discarded: &Discarded) -> String {
    let ListedEntry { id, subject, provider, state, .. } = &discarded.entry;
    let next = match state {
        EntryState::Answer => {
            "\n  if it was a success, its refresh token is not sent again: unless the document holds another one, the next pass marks it `needs_login`"
        }
        EntryState::Unread => {
            "\n  its refresh token is not sent again; unless the document holds another one, the next pass marks it `needs_login`"
        }
        _ => "",
    };
    format!("the answer of `{provider}` for `{subject}` in entry {id} is discarded{next}")
}

/// Why a pair is parked, and what to do about it.
fn explained(why: &str) -> [&'static str; 2] {
    match Word::<ParkedWhy>::read(why) {
        Word::Ours(why) => [why.meaning(), why.advice()],
        Word::Other(_) => [
            "A newer version of Evergrant parked it.",
            "`evergrant journal apply ID` or `evergrant journal discard ID`.",
        ],
    }
}

/// The parked pairs as a table, each reason explained once.
pub(super) fn list_text(list: &JournalList, now: Timestamp) -> String {
    let directory = list.state_dir.display();
    if list.entries.is_empty() {
        return format!("no pair is parked in the journal in {directory}");
    }
    let mut text = format!("{} in {directory}\n\n", shown::count(list.entries.len() as u64, "parked pair"));
    let rows = list.entries.iter().map(|entry| {
        [
            entry.id.to_string(),
            shown::age(entry.sent_at, now),
            entry.why.clone().unwrap_or_else(|| shown::NOTHING.to_owned()),
            entry.provider.clone(),
            entry.document.to_string(),
            entry.subject.to_string(),
        ]
    });
    text.push_str(&shown::columns(["ID", "AGE", "WHY", "PROVIDER", "DOCUMENT", "SUBJECT"], rows));
    text.push('\n');
    let reasons: BTreeSet<_> = list.entries.iter().filter_map(|entry| entry.why.as_deref()).collect();
    for why in reasons {
        let [meaning, next] = explained(why);
        // Writing into a text can't fail.
        let _ = write!(text, "\n{why}: {meaning}\n  next: {next}");
    }
    let elsewhere: BTreeSet<_> = list.entries.iter().filter_map(|entry| entry.elsewhere.as_deref()).collect();
    for store in elsewhere {
        let ids = list.entries.iter().filter(|entry| entry.elsewhere.as_deref() == Some(store));
        let ids: Vec<_> = ids.map(|entry| entry.id.to_string()).collect();
        let _ = write!(
            text,
            "\n{}: of another store ({store}), and left alone until passes go over it again\n  next: \
             `evergrant journal adopt`, if its tokens live in this store now",
            ids.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;
    use crate::journal::KeptPairs;

    #[test]
    fn each_reason_of_a_parked_pair_is_explained_once_with_what_to_do() {
        let list = JournalList {
            state_dir: "/var/lib/evergrant".into(),
            exists: true,
            held_by: None,
            entries: vec![
                entry("7", EntryState::Orphan, Some("gone")),
                entry("8", EntryState::Orphan, Some("superseded")),
                ListedEntry {
                    elsewhere: Some("app.tokens at db1:27017".into()),
                    ..entry("9", EntryState::Orphan, Some("superseded"))
                },
            ],
            damaged: vec![],
            kept: KeptPairs::default(),
        };
        insta::assert_snapshot!(list_text(&list, "2026-11-21T04:30:00Z".parse().unwrap()));
    }
}

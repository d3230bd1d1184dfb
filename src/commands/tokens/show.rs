//! `evergrant tokens show`: why one user is refreshed or not, from the documents and from this machine's journal.

mod text;
mod why;

use super::connect_existing;
use super::state::{ListedDocument, Providers, speaks_of_this_token};
use crate::clock::Timestamp;
use crate::commands::journal::{self, ListedEntry};
use crate::commands::{CommandError, Surroundings};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::error_chain;
use crate::store::{Store, StoreError, ids_shown_as};
use crate::token::{State, TokenDocument};
use serde::Serialize;
use std::collections::HashSet;
use std::path::PathBuf;

/// Documents shown at most: more of one subject are no person's.
const MOST_SHOWN: usize = 50;

/// What `tokens show --format json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct ShownUser {
    /// What was asked for.
    pub user: String,
    /// The documents of which a subject field or the `_id` is that.
    pub documents: Vec<ShownDocument>,
    /// Are there more documents than are shown?
    pub more: bool,
    /// This machine's journal.
    pub journal: JournalSeen,
}

/// One document, and what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct ShownDocument {
    /// What `tokens list` says of it.
    #[serde(flatten)]
    pub document: ListedDocument,
    /// Does it hold another refresh token than the one that the bookkeeping speaks of? Then it counts as a new login.
    pub new_login: bool,
    /// The journal that wrote the last pair of its login, where the document holds a redeemed token of that login again.
    pub spent_by: Option<String>,
    /// The mark that an earlier refresh token of it got; void for the one that it holds now.
    pub earlier_mark: Option<State>,
    /// Does `documents.filter` leave it out, so that no pass reads it?
    pub left_out: bool,
    /// The first wake of the schedule at which it is due; `null` where no pass asks for it.
    pub next_wake: Option<Timestamp>,
    /// What this machine's journal holds for it.
    pub journal: Vec<ListedEntry>,
    /// Why it is as it is, in words.
    pub why: String,
    /// What to do, in words.
    pub next: String,
}

/// This machine's journal, as far as it can be looked into.
#[derive(Debug, Clone, Default, Serialize)]
pub struct JournalSeen {
    /// The directory that it is in.
    pub state_dir: PathBuf,
    /// Is there one?
    pub exists: bool,
    /// The process that holds it now, in words: what it holds may change at once.
    pub held_by: Option<String>,
    /// Why it can't be read.
    pub problem: Option<String>,
    /// Entries that can't be read: they may be of this user.
    pub damaged: usize,
}

/// Shows all documents of one user.
pub(super) async fn run(
    user: &str,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let store = connect_existing(config, &surroundings.clock).await?;
    let now = surroundings.clock.now();
    let mut found = find(&*store, user).await?;
    let more = found.len() > MOST_SHOWN;
    found.truncate(MOST_SHOWN);
    let (seen, entries) = look_into_journal(config, now).await;
    if found.is_empty() {
        return Err(no_such_user(user, config, &store.describe(), &entries));
    }
    let ids: Vec<_> = found.iter().map(|document| document.id.clone()).collect();
    let left_out: HashSet<_> = store.left_out(&ids).await?.into_iter().collect();
    let providers = Providers::of(config);
    let documents = found.into_iter().map(|document| {
        let left_out = left_out.contains(&document.id);
        let entries = entries.iter().filter(|entry| entry.document == document.id).cloned().collect();
        ShownDocument::new(document, left_out, entries, &providers, config, now)
    });
    let shown = ShownUser { user: user.to_owned(), documents: documents.collect(), more, journal: seen };
    surroundings.print(&shown.text(config, now), &shown)?;
    Ok(Exit::Well)
}

/// The documents of a subject, and those of which it is the `_id`; one more than is shown tells that there are more.
async fn find(store: &dyn Store, user: &str) -> Result<Vec<TokenDocument>, StoreError> {
    let mut found = store.read(&ids_shown_as(user)).await?;
    for document in store.of_subject(user, MOST_SHOWN + 1).await? {
        if !found.iter().any(|known| known.id == document.id) {
            found.push(document);
        }
    }
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(found)
}

/// What this machine's journal holds. That it can't be read is no reason to show nothing: the document is the state.
async fn look_into_journal(config: &Config, now: Timestamp) -> (JournalSeen, Vec<ListedEntry>) {
    let state_dir = config.state_dir.clone();
    match journal::list(state_dir.clone(), now).await {
        Ok(list) => {
            let journal::JournalList { exists, held_by, entries, damaged, .. } = list;
            let damaged = damaged.len();
            (JournalSeen { state_dir, exists, held_by, problem: None, damaged }, entries)
        }
        Err(error) => {
            let problem = Some(error_chain(&error));
            (JournalSeen { state_dir, exists: true, problem, ..JournalSeen::default() }, Vec::new())
        }
    }
}

fn no_such_user(user: &str, config: &Config, at: &str, entries: &[ListedEntry]) -> CommandError {
    let fields: Vec<_> = config.store.mapping.subject.iter().map(|path| format!("`{path}`")).collect();
    let user = crate::commands::shown::plain(user);
    let of_user = entries.iter().filter(|entry| entry.subject.as_str() == user).count();
    let kept = match of_user {
        0 => String::new(),
        1 => "; the journal holds 1 entry of it (`evergrant journal list`)".to_owned(),
        many => format!("; the journal holds {many} entries of it (`evergrant journal list`)"),
    };
    CommandError::usage(
        format!("no document has the subject or the `_id` `{user}` in {at}{kept}"),
        format!(
            "subjects are compared exactly, capital letters too, with the fields {}; `documents.subject` names other \
             fields, and `evergrant tokens list` shows every subject",
            fields.join(" and ")
        ),
    )
}

/// The journal that has the pair, where the document holds a token of its login that was redeemed.
fn spent_by(document: &TokenDocument) -> Option<String> {
    let token = document.refresh_token.as_ref().ok()?.fingerprint();
    let books = &document.bookkeeping;
    books.refreshed_by.clone().filter(|_| books.spent.contains(token))
}

impl ShownDocument {
    fn new(
        document: TokenDocument,
        left_out: bool,
        journal: Vec<ListedEntry>,
        providers: &Providers,
        config: &Config,
        now: Timestamp,
    ) -> Self {
        let spent_by = spent_by(&document);
        let new_login =
            document.refresh_token.is_ok() && !speaks_of_this_token(&document) && spent_by.is_none();
        let marks = [State::NeedsLogin, State::LostInFlight];
        let earlier_mark =
            Some(document.bookkeeping.state).filter(|state| new_login && marks.contains(state));
        let document = ListedDocument::new(document, providers);
        let asked = document.state.is_asked() && !left_out;
        let due_at = document.due_at.unwrap_or(now).max(now);
        // A wake at the very moment at which it falls due takes it.
        let before = due_at - chrono::TimeDelta::milliseconds(1);
        let next_wake = asked.then(|| config.schedule.wakes_after(before).next()).flatten();
        let mut shown = Self {
            document,
            new_login,
            spent_by,
            earlier_mark,
            left_out,
            next_wake,
            journal,
            why: String::new(),
            next: String::new(),
        };
        (shown.why, shown.next) = why::explained(&shown, config, now);
        shown
    }
}

//! `journal forget`: journal and documents forget that tokens were redeemed, so that they are sent again.
//!
//! Only of tokens that documents hold now. An entry and its answer are never touched.

use crate::assembly;
use crate::cli::ForgetArgs;
use crate::clock::Timestamp;
use crate::commands::tokens::{connect_existing, document_shown_as};
use crate::commands::{CommandError, Surroundings, providers, shown};
use crate::config::{Config, Need};
use crate::exit::Exit;
use crate::journal::{Journal, Spent};
use crate::provider::{Provider, Rotation};
use crate::store::{Change, Fence, Store};
use crate::token::{Bookkeeping, Code, RefreshToken, State, TokenDocument, TokenId};
use serde::Serialize;
use std::sync::Arc;

/// Documents that are read at once, and tokens that are forgotten in one commit.
const PAGE: usize = 500;

/// Entries that are named where they are in the way; `journal list` shows all.
const MOST_NAMED: usize = 10;

/// What `journal forget --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ForgetResult {
    /// The provider whose documents were looked at; `null` where the document names none that is configured.
    provider: Option<String>,
    /// The document, where one was named.
    id: Option<TokenId>,
    /// Documents that were looked at.
    documents: u64,
    /// Tokens that the journal or their document knew as redeemed, and don't know any more.
    forgotten: u64,
    /// Users among them who are marked because of it; a forced pass asks for their tokens, too.
    marked: u64,
    /// Does the provider rotate, so that it may take an old token for a stolen one?
    #[serde(skip)]
    rotates: bool,
}

/// What was found in the documents.
#[derive(Debug, Default)]
struct Found {
    documents: u64,
    spent: Vec<Spent>,
    /// For the documents that know their token as redeemed.
    changes: Vec<Change>,
    /// Those of them of which the journal knows nothing.
    in_documents_alone: u64,
    marked: u64,
}

/// Forgets what the arguments name; nothing of it where an entry is in the way.
pub(super) async fn forget(args: &ForgetArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Provider)?;
    let journal = assembly::journal(&config, &surroundings.clock).await?;
    let store = connect_existing(&config, &surroundings.clock).await?;
    let (mut found, mut id) = (Found::default(), None);
    let provider = if let Some(text) = &args.id {
        let document = document_shown_as(text, &*store).await?;
        found.add(&journal, std::slice::from_ref(&document), args).await?;
        id = Some(document.id.clone());
        of_document(&document, &config)
    } else {
        let provider = providers::chosen(args.provider.as_deref(), &config)?;
        look_through(&mut found, &provider, &journal, &*store, &config, args).await?;
        Some(provider)
    };
    found.refuse_rows()?;
    if args.id.is_none() && !args.says_which() {
        return Err(found.which(args.provider.as_deref().unwrap_or_default()));
    }
    let mut forgotten = found.in_documents_alone;
    for part in found.changes.chunks(PAGE) {
        let applied = store.apply(part).await?;
        if !applied.every_matched {
            let said = "a document was changed by another process at the same time, and not every token was forgotten";
            return Err(CommandError::usage(said, "run the same command again"));
        }
    }
    for part in found.spent.chunks(PAGE) {
        forgotten += journal.forget(part.iter().map(|spent| spent.token).collect()).await?;
    }
    journal.close().await;
    let rotates = provider.as_ref().is_none_or(|provider| provider.profile.rotation != Rotation::None);
    let provider = provider.map(|provider| provider.name.to_string());
    let Found { documents, marked, .. } = found;
    let result = ForgetResult { provider, id, documents, forgotten, marked, rotates };
    surroundings.print(&result.text(), &result)?;
    Ok(Exit::Well)
}

/// Looks at all documents of a provider, a page at a time.
async fn look_through(
    found: &mut Found,
    provider: &Provider,
    journal: &Journal,
    store: &dyn Store,
    config: &Config,
    args: &ForgetArgs,
) -> Result<(), CommandError> {
    let mut after = None;
    loop {
        let mut page = store.list(after.as_ref(), PAGE).await?;
        if config.store.mapping.provider.is_some() {
            page.documents.retain(|document| document.provider.as_deref() == Some(&*provider.name));
        }
        found.add(journal, &page.documents, args).await?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// The provider of a document, where it is configured.
fn of_document(document: &TokenDocument, config: &Config) -> Option<Arc<Provider>> {
    let mut known = config.providers.iter();
    if config.store.mapping.provider.is_some() {
        known.find(|known| document.provider.as_deref() == Some(&*known.name)).cloned()
    } else {
        known.next().cloned()
    }
}

impl Found {
    /// Adds those of these documents whose tokens the journal or they themselves know as redeemed, at a time that is meant.
    async fn add(
        &mut self,
        journal: &Journal,
        documents: &[TokenDocument],
        args: &ForgetArgs,
    ) -> Result<(), CommandError> {
        self.documents += documents.len() as u64;
        let holds =
            documents.iter().filter_map(|document| Some((document, document.refresh_token.as_ref().ok()?)));
        let holds: Vec<_> = holds.map(|(document, token)| (document, token, token.fingerprint())).collect();
        let known = journal.spent(holds.iter().map(|(_, _, fingerprint)| *fingerprint).collect()).await?;
        for (document, token, fingerprint) in holds {
            let books = &document.bookkeeping;
            let by_journal = known.iter().find(|spent| spent.token == fingerprint);
            let by_document = books.spent.contains(fingerprint);
            // Of a token that another machine redeemed, at the latest.
            let at = by_journal.map_or(books.refreshed_at, |spent| spent.at);
            if (by_journal.is_none() && !by_document) || !args.means(at) {
                continue;
            }
            self.spent.push(by_journal.cloned().unwrap_or(Spent { token: fingerprint, at, row: None }));
            self.changes.extend(by_document.then(|| forgetting(document, token)));
            self.in_documents_alone += u64::from(by_journal.is_none());
            let says = books.last_error.as_ref().is_some_and(|error| error.code.is(Code::AlreadyRedeemed));
            let is_marked = books.state == State::NeedsLogin && books.fingerprint == Some(fingerprint);
            self.marked += u64::from(is_marked && says);
        }
        Ok(())
    }

    /// Refuses where the journal holds an entry for one of them: its answer is worth more than another request.
    fn refuse_rows(&self) -> Result<(), CommandError> {
        let rows: Vec<_> = self.spent.iter().filter_map(|spent| spent.row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = rows.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        let more = if rows.len() > MOST_NAMED { ", …" } else { "" };
        Err(CommandError::usage(
            format!(
                "{} in the journal for these tokens ({}{more}): nothing was forgotten",
                shown::entries(rows.len() as u64),
                named.join(", ")
            ),
            "`evergrant journal list` says what each waits for; `evergrant journal recover` settles what an earlier process \
             left, and `evergrant journal apply ID` writes a parked pair",
        ))
    }

    /// Which of them? All of a provider is for a person to say.
    fn which(&self, provider: &str) -> CommandError {
        let times = || self.spent.iter().filter_map(|spent| spent.at);
        let when = match (times().min(), times().max()) {
            (Some(first), Some(last)) => format!(
                ", redeemed between {} and {} (UTC)",
                shown::instant(Some(first)),
                shown::instant(Some(last))
            ),
            _ => String::new(),
        };
        let tokens = shown::count(self.spent.len() as u64, "token");
        CommandError::usage(
            format!(
                "the documents of `{provider}` hold {tokens} known as redeemed{when}; nothing was forgotten"
            ),
            "say which: `--since TIME`, `--before TIME`, or `--all`",
        )
    }
}

/// The change after which a document knows its token as good: also what was redeemed after it says nothing any more.
fn forgetting(document: &TokenDocument, token: &RefreshToken) -> Change {
    let books = &document.bookkeeping;
    let lease = books.lease.as_ref();
    Change {
        id: document.id.clone(),
        expect_refresh_token: Some(token.clone()),
        expect_lease: lease.map_or(Fence::Unclaimed, |lease| Fence::Lease(lease.id.clone())),
        pair: None,
        bookkeeping: Bookkeeping { spent: books.spent.before(token.fingerprint()), ..books.clone() },
    }
}

impl ForgetArgs {
    /// Is it said which tokens of a provider are meant?
    const fn says_which(&self) -> bool {
        self.all || self.since.is_some() || self.before.is_some()
    }

    /// Is a token meant that was redeemed at this time?
    fn means(&self, at: Option<Timestamp>) -> bool {
        let Some(at) = at else { return self.since.is_none() && self.before.is_none() };
        self.since.is_none_or(|since| at >= since) && self.before.is_none_or(|before| at < before)
    }
}

impl ForgetResult {
    fn text(&self) -> String {
        let Self { provider, id, documents, forgotten, marked, rotates } = self;
        let name = provider.as_deref().unwrap_or("NAME");
        let whose = match id {
            Some(id) => format!("the document {id}"),
            None => format!("{} of `{name}`", shown::count(*documents, "document")),
        };
        if *forgotten == 0 {
            return format!("nothing to forget: no token of {whose} is known as redeemed");
        }
        let tokens = shown::count(*forgotten, "redeemed token");
        let next = match (id, marked) {
            (Some(id), _) => format!("`evergrant providers try {name} --id '{id}'` asks for it now"),
            (None, 0) => "the next pass asks for them, each when it is due".to_owned(),
            (None, marked) => format!(
                "`evergrant run --once --force --provider {name}` asks for them now, and for all other tokens of the provider; \
                 {} marked because of it, and no other pass asks for them",
                if *marked == 1 { "1 user is".to_owned() } else { format!("{marked} users are") }
            ),
        };
        let warning = if *rotates {
            "\n  note: a provider that rotates may refuse an old token, or take it for a stolen one and end the login"
        } else {
            ""
        };
        format!("forgotten: {tokens} of {whose}\n  next: {next}{warning}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_said_with_what_to_do_next() {
        let all = ForgetResult {
            provider: Some("google".into()),
            id: None,
            documents: 300,
            forgotten: 3,
            marked: 2,
            rotates: false,
        };
        let one = ForgetResult {
            id: Some(TokenId::from_extended_json("7")),
            documents: 1,
            forgotten: 1,
            rotates: true,
            ..all.clone()
        };
        let none = ForgetResult { forgotten: 0, marked: 0, ..all.clone() };
        let unmarked = ForgetResult { marked: 0, ..all.clone() };
        let texts: Vec<_> = [all, unmarked, one, none].iter().map(ForgetResult::text).collect();
        insta::assert_snapshot!(texts.join("\n\n"));
    }

    #[test]
    fn a_token_is_meant_by_the_time_of_its_redemption() {
        let at = |hour: u32| format!("2026-11-21T{hour:02}:00:00Z").parse::<Timestamp>().unwrap();
        let means = |since: Option<u32>, before: Option<u32>, redeemed: Option<u32>| {
            let (since, before) = (since.map(at), before.map(at));
            let args = ForgetArgs { id: None, provider: None, all: false, since, before };
            args.means(redeemed.map(at))
        };
        for (since, before, redeemed, expected) in [
            (None, None, Some(3), true),
            (None, None, None, true),
            (Some(3), None, Some(3), true),
            (Some(4), None, Some(3), false),
            (None, Some(3), Some(3), false),
            (Some(2), Some(4), Some(3), true),
            (Some(2), None, None, false),
        ] {
            assert_eq!(means(since, before, redeemed), expected, "{since:?} {before:?} {redeemed:?}");
        }
    }
}

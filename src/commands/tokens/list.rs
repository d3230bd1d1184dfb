//! `evergrant tokens list`: who is in which state; never a token.

use super::check_embedded_file;
use crate::cli::{Format, StateArg};
use crate::clock::Timestamp;
use crate::commands::shown::{self, Reader};
use crate::commands::{CommandError, Surroundings, connect};
use crate::config::Config;
use crate::exit::Exit;
use crate::token::{LastError, Lease, Malformed, State, Subject, TokenDocument, TokenId};
use serde::Serialize;
use std::num::NonZeroU64;

/// Documents read at once.
const PAGE: usize = 500;

/// The widths of all columns but the last, which holds the subject.
const WIDTHS: [usize; 7] = [14, 16, 16, 16, 8, 20, 0];

/// What `tokens list --format json` prints. It is written a page at a time, so a large one is for a streaming reader.
#[derive(Debug, Clone, Serialize)]
pub struct TokenList {
    /// The documents, in the order of their `_id`.
    pub documents: Vec<ListedDocument>,
}

/// One document's state.
#[derive(Debug, Clone, Serialize)]
pub struct ListedDocument {
    /// Its `_id`, as extended JSON.
    pub id: TokenId,
    /// How a person recognises it.
    pub subject: Subject,
    /// The value of its provider field, where one is mapped.
    pub provider: Option<String>,
    /// `live`, `needs_login`, `lost_in_flight` or `malformed`, for the refresh token that it holds now.
    pub state: State,
    /// When the state last changed.
    pub since: Option<Timestamp>,
    /// When it is due; `null` means now.
    pub due_at: Option<Timestamp>,
    /// When a pair was last written into it.
    pub refreshed_at: Option<Timestamp>,
    /// When its access token ends, if known.
    pub access_expires_at: Option<Timestamp>,
    /// When its refresh token ends, if known.
    pub refresh_expires_at: Option<Timestamp>,
    /// Grants in a row that gave no pair.
    pub failures: u32,
    /// Why the last one gave none.
    pub last_error: Option<LastError>,
    /// What is wrong with its refresh token, in a word: `missing`, `null`, `empty`, `not_text`, …
    pub malformed: Option<&'static str>,
    /// Which pass has claimed it, and until when.
    pub lease: Option<Lease>,
}

/// A document's state, for the refresh token that it holds now: the bookkeeping may speak of an earlier one.
pub(in crate::commands) fn state_now(document: &TokenDocument) -> State {
    let bookkeeping = &document.bookkeeping;
    if document.refresh_token.is_err() {
        return State::Malformed;
    }
    match bookkeeping.state {
        // The token is fine: somebody has put it right, unless it was the provider field that is wrong.
        State::Malformed if !names_no_provider(bookkeeping.last_error.as_ref()) => State::Live,
        state if speaks_of_this_token(document) => state,
        // A new login.
        State::Live | State::NeedsLogin | State::LostInFlight | State::Malformed => State::Live,
    }
}

/// Does the bookkeeping speak of the refresh token that the document holds now?
fn speaks_of_this_token(document: &TokenDocument) -> bool {
    document.refresh_token.as_ref().is_ok_and(|token| {
        document.bookkeeping.fingerprint.is_none_or(|fingerprint| fingerprint == token.fingerprint())
    })
}

fn names_no_provider(error: Option<&LastError>) -> bool {
    let codes = [Malformed::UnknownProvider(Subject::new("")).code(), Malformed::NoProvider.code()];
    error.is_some_and(|error| codes.contains(&error.code.as_str()))
}

/// Lists the documents, as they are read.
pub(super) async fn run(
    state: Option<StateArg>,
    limit: Option<NonZeroU64>,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    check_embedded_file(config)?;
    let store = connect(config).await?;
    let mut writer = Writer::new(surroundings.global.format, surroundings.clock.now());
    let wanted = state.map(State::from);
    let mut left = limit.map_or(u64::MAX, NonZeroU64::get);
    let mut after = None;
    loop {
        let page = store.list(after.as_ref(), PAGE).await?;
        after = page.next;
        let listed = page.documents.into_iter().map(ListedDocument::from);
        let chosen: Vec<_> = listed
            .filter(|document| wanted.is_none_or(|wanted| document.state == wanted))
            .take(usize::try_from(left).unwrap_or(usize::MAX))
            .collect();
        left -= chosen.len() as u64;
        let last = after.is_none() || left == 0;
        if shown::write(&writer.page(&chosen, last)?)? == Reader::Gone || last {
            break;
        }
    }
    if writer.documents == 0 {
        let of_state = wanted.map_or_else(String::new, |state| format!(" in the state `{}`", state.word()));
        tracing::info!("no documents{of_state} in {}", store.describe());
    }
    Ok(Exit::Well)
}

/// Puts pages into text, or into the parts of one JSON object.
struct Writer {
    format: Format,
    now: Timestamp,
    documents: u64,
}

impl Writer {
    const fn new(format: Format, now: Timestamp) -> Self {
        Self { format, now, documents: 0 }
    }

    fn page(&mut self, page: &[ListedDocument], last: bool) -> Result<String, CommandError> {
        match self.format {
            Format::Text => {
                let mut text = String::new();
                if self.documents == 0 && !page.is_empty() {
                    text = shown::line(
                        WIDTHS,
                        ["STATE", "SINCE (UTC)", "DUE", "REFRESHED", "FAILURES", "LAST ERROR", "SUBJECT"],
                    );
                }
                text.extend(page.iter().map(|document| document.line(self.now)));
                self.documents += page.len() as u64;
                Ok(text)
            }
            Format::Json => {
                let mut text = String::new();
                for document in page {
                    text.push_str(if self.documents == 0 { "{\"documents\":[\n" } else { ",\n" });
                    text.push_str(&serde_json::to_string(document).map_err(|error| {
                        CommandError::Internal(format!("a document can't be written as JSON: {error}"))
                    })?);
                    self.documents += 1;
                }
                if last {
                    text.push_str(if self.documents == 0 { "{\"documents\":[]}\n" } else { "\n]}\n" });
                }
                Ok(text)
            }
        }
    }
}

impl ListedDocument {
    fn line(&self, now: Timestamp) -> String {
        let due = match self.due_at {
            _ if self.lease.as_ref().is_some_and(|lease| lease.until > now) => "claimed".to_owned(),
            None => "now".to_owned(),
            Some(at) if at <= now => "now".to_owned(),
            at => shown::instant(at),
        };
        let error = self.last_error.as_ref().map(|error| error.code.as_str());
        let code = self.malformed.or(error).unwrap_or(shown::NOTHING);
        shown::line(
            WIDTHS,
            [
                self.state.word(),
                &shown::instant(self.since),
                &due,
                &shown::instant(self.refreshed_at),
                &self.failures.to_string(),
                code,
                self.subject.as_str(),
            ],
        )
    }
}

impl From<TokenDocument> for ListedDocument {
    fn from(document: TokenDocument) -> Self {
        let state = state_now(&document);
        // What was seen of an earlier token isn't true of this one.
        let current = state == document.bookkeeping.state
            && (state == State::Malformed || speaks_of_this_token(&document));
        let TokenDocument { id, subject, provider, refresh_token, bookkeeping, .. } = document;
        Self {
            id,
            subject,
            provider,
            state,
            since: bookkeeping.since.filter(|_| current),
            due_at: bookkeeping.due_at,
            refreshed_at: bookkeeping.refreshed_at,
            access_expires_at: bookkeeping.access_expires_at,
            refresh_expires_at: bookkeeping.refresh_expires_at,
            failures: if current { bookkeeping.failures } else { 0 },
            last_error: bookkeeping.last_error.filter(|_| current),
            malformed: refresh_token.err().map(|malformed| malformed.code()),
            lease: bookkeeping.lease,
        }
    }
}

impl From<StateArg> for State {
    fn from(arg: StateArg) -> Self {
        match arg {
            StateArg::Live => Self::Live,
            StateArg::NeedsLogin => Self::NeedsLogin,
            StateArg::LostInFlight => Self::LostInFlight,
            StateArg::Malformed => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Bookkeeping, RefreshToken};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn document(token: Result<&str, Malformed>, bookkeeping: Bookkeeping) -> TokenDocument {
        TokenDocument {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("ann@example.com"),
            provider: None,
            refresh_token: token.map(|token| RefreshToken::new(token.to_owned())),
            access_token: None,
            bookkeeping,
        }
    }

    fn marked(state: State, code: &str, token: Option<&str>) -> Bookkeeping {
        Bookkeeping {
            state,
            since: Some(at("2026-11-14T03:00:00Z")),
            fingerprint: token.map(|token| RefreshToken::new(token.to_owned()).fingerprint()),
            failures: 1,
            last_error: Some(LastError {
                class: "refused".into(),
                code: code.into(),
                http_status: Some(400),
                at: at("2026-11-14T03:00:00Z"),
                lost: None,
            }),
            ..Bookkeeping::default()
        }
    }

    #[test]
    fn a_state_is_about_the_token_that_is_there_now() {
        let refused = |token| marked(State::NeedsLogin, "invalid_grant", Some(token));
        for (token, bookkeeping, state) in [
            (Ok("a"), Bookkeeping::default(), State::Live),
            (Ok("a"), refused("a"), State::NeedsLogin),
            (Ok("b"), refused("a"), State::Live),
            (Err(Malformed::Missing), refused("a"), State::Malformed),
            (Err(Malformed::Missing), Bookkeeping::default(), State::Malformed),
            (Ok("a"), marked(State::Malformed, "missing", None), State::Live),
            (Ok("a"), marked(State::Malformed, "unknown_provider", None), State::Malformed),
        ] {
            let document = document(token, bookkeeping);
            assert_eq!(state_now(&document), state, "{document:?}");
        }
        let listed = ListedDocument::from(document(Ok("b"), refused("a")));
        assert_eq!((listed.since, listed.failures, listed.last_error), (None, 0, None));
    }

    #[test]
    fn a_page_behind_another_has_no_second_header() {
        let page = [
            ListedDocument::from(document(Ok("a"), marked(State::NeedsLogin, "invalid_grant", Some("a")))),
            ListedDocument::from(document(Err(Malformed::Null), Bookkeeping::default())),
        ];
        let mut writer = Writer::new(Format::Text, at("2026-11-21T03:00:00Z"));
        let text = [writer.page(&page, false).unwrap(), writer.page(&page[1..], true).unwrap()].concat();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn pages_make_one_json_object() {
        let page = [ListedDocument::from(document(Ok("a"), Bookkeeping::default()))];
        for (pages, documents) in [(&[&page[..], &page[..]][..], 2), (&[&[][..]], 0), (&[&page[..], &[]], 1)]
        {
            let mut writer = Writer::new(Format::Json, at("2026-11-21T03:00:00Z"));
            let mut text = String::new();
            for (index, page) in pages.iter().enumerate() {
                text.push_str(&writer.page(page, index + 1 == pages.len()).unwrap());
            }
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["documents"].as_array().unwrap().len(), documents, "{text}");
        }
    }
}

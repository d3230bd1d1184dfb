//! A document as `tokens list` and `tokens show` tell of it: its state now, for the refresh token that it holds now.

use crate::cli::StateArg;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::provider::lifetime::LONGEST_LOGIN;
use crate::provider::stranger::Stranger;
use crate::token::{Bookkeeping, Code, Evidence, LastError, Lease, State, Subject, TokenDocument, TokenId};
use serde::Serialize;

/// One document's state.
#[derive(Debug, Clone, Serialize)]
pub struct ListedDocument {
    /// Its `_id`, as extended JSON.
    pub id: TokenId,
    /// How a person recognises it.
    pub subject: Subject,
    /// The value of its provider field, where one is mapped.
    pub provider: Option<String>,
    /// `new`, `live`, `needs_login`, `lost_in_flight` or `malformed`, for the refresh token that it holds now.
    pub state: StateNow,
    /// When the state last changed.
    pub since: Option<Timestamp>,
    /// When it is due; `null` means now. It has no meaning for a document that must log in again, or is malformed.
    pub due_at: Option<Timestamp>,
    /// When a pair was last written into it.
    pub refreshed_at: Option<Timestamp>,
    /// When its access token ends, if known.
    pub access_expires_at: Option<Timestamp>,
    /// When its refresh token ends, if known.
    pub refresh_expires_at: Option<Timestamp>,
    /// When its login ends, if known; no refresh moves that.
    pub login_ends_at: Option<Timestamp>,
    /// Grants in a row that gave no pair.
    pub failures: u32,
    /// Why the last one gave none.
    pub last_error: Option<LastError>,
    /// Did the provider refuse the token, and isn't the document marked for it? Then it is asked again when it is due.
    pub refused_once: bool,
    /// What is wrong with its refresh token or its provider, in a word: `missing`, `null`, `unknown_provider`, …
    pub malformed: Option<&'static str>,
    /// The configured provider that its provider field probably means, where it names none.
    pub provider_meant: Option<String>,
    /// Which pass has claimed it, and until when.
    pub lease: Option<Lease>,
}

/// The state of a document now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StateNow {
    /// Evergrant never asked for this token: whether the login works isn't known.
    New,
    /// The login works, as far as we know.
    Live,
    /// The user must log in again.
    NeedsLogin,
    /// The user must log in again: an answer was lost.
    LostInFlight,
    /// No refresh token that can be sent, or no configured provider.
    Malformed,
}

impl StateNow {
    /// The word in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Live => State::Live.word(),
            Self::NeedsLogin => State::NeedsLogin.word(),
            Self::LostInFlight => State::LostInFlight.word(),
            Self::Malformed => State::Malformed.word(),
        }
    }

    /// Does a pass ask for its token when it is due?
    pub(in crate::commands) const fn is_asked(self) -> bool {
        matches!(self, Self::New | Self::Live)
    }
}

impl From<StateArg> for StateNow {
    fn from(arg: StateArg) -> Self {
        match arg {
            StateArg::New => Self::New,
            StateArg::Live => Self::Live,
            StateArg::NeedsLogin => Self::NeedsLogin,
            StateArg::LostInFlight => Self::LostInFlight,
            StateArg::Malformed => Self::Malformed,
        }
    }
}

/// The names that documents may hold in their provider field.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Providers(Option<Vec<String>>);

impl Providers {
    /// As the configuration says; where no field is mapped, or no provider is configured, no document is a stranger.
    pub(in crate::commands) fn of(config: &Config) -> Self {
        let known = config.store.mapping.provider.is_some() && !config.provider_names.is_empty();
        Self(known.then(|| config.provider_names.clone()))
    }

    /// These names; none where there are none.
    #[cfg(test)]
    pub(in crate::commands) fn named(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Self((!names.is_empty()).then_some(names))
    }

    /// What the provider field of a document holds, where that is no configured provider.
    pub(in crate::commands) fn stranger(&self, document: &TokenDocument) -> Option<Stranger> {
        Stranger::of(document, self.0.as_ref()?)
    }
}

/// A document's state, for the refresh token that it holds now: the bookkeeping may speak of an earlier one.
pub(in crate::commands) fn state_now(document: &TokenDocument, providers: &Providers) -> StateNow {
    let bookkeeping = &document.bookkeeping;
    if document.refresh_token.is_err() || providers.stranger(document).is_some() {
        return StateNow::Malformed;
    }
    match bookkeeping.state {
        // The configured providers aren't known: what a pass has found holds.
        State::Malformed if providers.0.is_none() && names_no_provider(bookkeeping.last_error.as_ref()) => {
            StateNow::Malformed
        }
        State::NeedsLogin if speaks_of_this_token(document) => StateNow::NeedsLogin,
        State::LostInFlight if speaks_of_this_token(document) => StateNow::LostInFlight,
        // A new login, or a document that was put right.
        State::Live | State::NeedsLogin | State::LostInFlight | State::Malformed => {
            if was_never_asked(bookkeeping) { StateNow::New } else { StateNow::Live }
        }
    }
}

/// Does the bookkeeping speak of the refresh token that the document holds now?
pub(super) fn speaks_of_this_token(document: &TokenDocument) -> bool {
    document.refresh_token.as_ref().is_ok_and(|token| {
        document.bookkeeping.fingerprint.is_none_or(|fingerprint| fingerprint == token.fingerprint())
    })
}

/// Is there nothing that a grant leaves? A claim alone says nothing of the token.
fn was_never_asked(bookkeeping: &Bookkeeping) -> bool {
    let Bookkeeping { state, fingerprint, refreshed_at, failures, last_error, .. } = bookkeeping;
    let untold = last_error.is_none() || *state == State::Malformed;
    fingerprint.is_none() && refreshed_at.is_none() && *failures == 0 && untold
}

/// When the login of a document ends, if known.
///
/// What the document's own field says counts first, as in a pass: the application may have moved it since. `None` too where
/// a refresh after that moment has shown that the login lives on.
pub(in crate::commands) fn login_ends_at(document: &TokenDocument) -> Option<Timestamp> {
    let bookkeeping = &document.bookkeeping;
    let known = bookkeeping.fingerprint.is_some() && speaks_of_this_token(document);
    let refreshed_at = bookkeeping.refreshed_at.filter(|_| known);
    // A moment too far away is no end, but a way to say that there is none.
    let believable = |end: &Timestamp| {
        let life = |at: Timestamp| (*end - at).to_std().unwrap_or_default();
        refreshed_at.is_none_or(|at| !life(at).is_zero() && life(at) <= LONGEST_LOGIN)
    };
    let noted = bookkeeping.login_ends_at.filter(|_| known);
    document.facts.login_ends_at.filter(believable).or(noted.filter(believable))
}

fn names_no_provider(error: Option<&LastError>) -> bool {
    error.is_some_and(|error| error.code.is(Code::UnknownProvider) || error.code.is(Code::NoProvider))
}

impl ListedDocument {
    pub(super) fn new(document: TokenDocument, providers: &Providers) -> Self {
        let state = state_now(&document, providers);
        let stranger = providers.stranger(&document);
        let login_ends_at = login_ends_at(&document);
        let before = document.bookkeeping.state;
        // What was seen of an earlier token isn't true of this one.
        let current = state.as_str() == before.word()
            && (state == StateNow::Malformed || speaks_of_this_token(&document));
        let TokenDocument { id, subject, provider, refresh_token, bookkeeping, .. } = document;
        let last_error = bookkeeping.last_error.filter(|_| current);
        let refused = last_error
            .as_ref()
            .is_some_and(|error| error.class.is(Evidence::Refused) || error.class.is(Evidence::Suspected));
        let malformed = refresh_token.err().or_else(|| stranger.as_ref().map(Stranger::malformed));
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
            login_ends_at,
            failures: if current { bookkeeping.failures } else { 0 },
            refused_once: refused && state == StateNow::Live,
            last_error,
            malformed: malformed.map(|malformed| malformed.code()),
            provider_meant: stranger.and_then(|stranger| stranger.meant),
            lease: bookkeeping.lease,
        }
    }

    /// Is a pass at work with it?
    pub(super) fn is_claimed(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.until > now)
    }

    /// What is wrong with its provider, where it names none that is configured.
    pub(super) fn stranger(&self) -> Option<Stranger> {
        let codes = [Code::UnknownProvider.word(), Code::NoProvider.word()];
        self.malformed.filter(|code| codes.contains(code))?;
        Some(Stranger {
            named: self.provider.as_deref().map(Subject::new),
            meant: self.provider_meant.clone(),
        })
    }
}

#[cfg(test)]
pub(in crate::commands) mod tests {
    use super::*;
    use crate::token::{Malformed, RefreshToken};

    pub(in crate::commands) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    pub(in crate::commands) fn document(
        token: Result<&str, Malformed>,
        bookkeeping: Bookkeeping,
    ) -> TokenDocument {
        TokenDocument {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("ann@example.com"),
            provider: None,
            refresh_token: token.map(|token| RefreshToken::new(token.to_owned())),
            access_token: None,
            facts: crate::token::Facts::default(),
            bookkeeping,
        }
    }

    pub(in crate::commands) fn marked(state: State, code: &str, token: Option<&str>) -> Bookkeeping {
        Bookkeeping {
            state,
            since: Some(at("2026-11-14T03:00:00Z")),
            fingerprint: token.map(|token| RefreshToken::new(token.to_owned()).fingerprint()),
            failures: 1,
            last_error: Some(LastError {
                class: Evidence::Refused.into(),
                code: code.into(),
                http_status: Some(400),
                at: at("2026-11-14T03:00:00Z"),
                lost: None,
            }),
            ..Bookkeeping::default()
        }
    }

    pub(in crate::commands::tokens) fn listed(document: TokenDocument) -> ListedDocument {
        ListedDocument::new(document, &Providers::named(&[]))
    }

    #[test]
    fn a_state_is_about_the_token_that_is_there_now() {
        let refused = |token| marked(State::NeedsLogin, "invalid_grant", Some(token));
        let known = Bookkeeping { refreshed_at: Some(at("2026-11-14T03:00:00Z")), ..Bookkeeping::default() };
        for (token, bookkeeping, state) in [
            (Ok("a"), Bookkeeping::default(), StateNow::New),
            (Ok("a"), known, StateNow::Live),
            (Ok("a"), refused("a"), StateNow::NeedsLogin),
            (Ok("b"), refused("a"), StateNow::Live),
            (Err(Malformed::Missing), refused("a"), StateNow::Malformed),
            (Err(Malformed::Missing), Bookkeeping::default(), StateNow::Malformed),
            (Ok("a"), marked(State::Malformed, "missing", None), StateNow::Live),
            (Ok("a"), marked(State::Malformed, "unknown_provider", None), StateNow::Malformed),
        ] {
            let document = document(token, bookkeeping);
            assert_eq!(state_now(&document, &Providers::named(&[])), state, "{document:?}");
        }
        let listed = listed(document(Ok("b"), refused("a")));
        assert_eq!((listed.since, listed.failures, listed.last_error), (None, 0, None));
    }

    #[test]
    fn the_end_of_a_login_is_told_by_the_document_first_and_only_while_no_refresh_has_disproved_it() {
        let (refreshed, soon, later) =
            (at("2026-11-14T03:00:00Z"), at("2026-11-24T03:00:00Z"), at("2026-12-24T03:00:00Z"));
        for (token, told, noted, end) in [
            ("a", None, None, None),
            ("a", None, Some(soon), Some(soon)),
            // The application has moved the end since.
            ("a", Some(later), Some(soon), Some(later)),
            ("a", Some(soon), Some(later), Some(soon)),
            // It says "never".
            ("a", Some(at("2099-01-01T00:00:00Z")), Some(soon), Some(soon)),
            // A new login: what was noted is of the one before.
            ("b", None, Some(soon), None),
            ("b", Some(later), Some(soon), Some(later)),
            // It was refreshed after that moment.
            ("a", Some(refreshed), None, None),
            ("a", None, Some(refreshed), None),
        ] {
            let books = Bookkeeping {
                fingerprint: Some(RefreshToken::new("a".to_owned()).fingerprint()),
                refreshed_at: Some(refreshed),
                login_ends_at: noted,
                ..Bookkeeping::default()
            };
            let mut document = document(Ok(token), books);
            document.facts.login_ends_at = told;
            assert_eq!(login_ends_at(&document), end, "{document:?}");
            assert_eq!(listed(document).login_ends_at, end);
        }
    }

    #[test]
    fn a_claim_alone_leaves_a_token_new() {
        let lease = Lease {
            id: "l".to_owned(),
            owner: "host:1".to_owned(),
            until: at("2026-11-21T03:00:00Z"),
            taken_over: false,
            by: None,
        };
        let claimed = Bookkeeping { due_at: Some(lease.until), lease: Some(lease), ..Bookkeeping::default() };
        assert_eq!(state_now(&document(Ok("a"), claimed), &Providers::named(&[])), StateNow::New);
    }

    #[test]
    fn a_document_of_an_unknown_provider_is_told_before_and_after_a_pass_has_marked_it() {
        let providers = Providers::named(&["xero"]);
        let of = |provider: Option<&str>, bookkeeping: Bookkeeping| {
            let document =
                TokenDocument { provider: provider.map(str::to_owned), ..document(Ok("a"), bookkeeping) };
            ListedDocument::new(document, &providers)
        };
        let marked = || marked(State::Malformed, "unknown_provider", None);
        for bookkeeping in [Bookkeeping::default(), marked()] {
            let slip = of(Some("Xero"), bookkeeping.clone());
            assert_eq!((slip.state, slip.malformed), (StateNow::Malformed, Some("unknown_provider")));
            assert_eq!(slip.provider_meant.as_deref(), Some("xero"));
            let without = of(None, bookkeeping);
            assert_eq!((without.state, without.malformed), (StateNow::Malformed, Some("no_provider")));
        }
        assert_eq!(of(Some("xero"), marked()).state, StateNow::Live, "it was put right");
    }

    #[test]
    fn a_live_document_whose_token_was_refused_is_told_apart() {
        let refused = listed(document(Ok("a"), marked(State::Live, "invalid_grant", Some("a"))));
        assert_eq!((refused.state, refused.refused_once), (StateNow::Live, true));
        let marked = listed(document(Ok("a"), marked(State::NeedsLogin, "invalid_grant", Some("a"))));
        assert!(!marked.refused_once);
    }
}

//! What is wrong with a document's token here: its provider isn't configured, or takes no such token.

use super::Source;
use crate::clock::Timestamp;
use crate::provider::Provider;
use crate::store::ProviderFilter;
use crate::token::{Bookkeeping, Malformed, Subject, TokenDocument};

impl Source {
    /// See [`sendable`].
    pub(super) fn sendable(&self, document: TokenDocument) -> TokenDocument {
        sendable(document, &self.providers, self.terms.provider.as_deref(), self.clock.now())
    }
}

/// The document with what is wrong with its token here: its provider isn't configured, or takes no such token.
#[must_use]
pub fn sendable(
    mut document: TokenDocument,
    providers: &ProviderFilter,
    provider: Option<&Provider>,
    now: Timestamp,
) -> TokenDocument {
    if matches!(providers, ProviderFilter::NoneOf(_)) {
        document.bookkeeping = of_the_token_there(&document, now);
        document.refresh_token = Err(match &document.provider {
            Some(name) => Malformed::UnknownProvider(Subject::new(name)),
            None => Malformed::NoProvider,
        });
    }
    if let (Some(provider), Ok(token)) = (provider, &document.refresh_token)
        && let Err(malformed) = provider.takes(token, document.access_token.as_ref(), &document.facts)
    {
        document.refresh_token = Err(malformed);
    }
    document
}

/// The bookkeeping, for a document whose token isn't looked at any further: a mark of another token says nothing of it.
fn of_the_token_there(document: &TokenDocument, now: Timestamp) -> Bookkeeping {
    let books = document.bookkeeping.clone();
    match &document.refresh_token {
        Ok(token) if books.fingerprint.is_some() => books.speaking_of(token.fingerprint(), now),
        Ok(_) | Err(_) => books,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Facts, RefreshToken, State, TokenId};

    #[test]
    fn a_mark_of_the_token_before_says_nothing_of_a_new_login_at_a_provider_that_is_not_configured() {
        for (there, state) in [("dead", State::NeedsLogin), ("new login", State::Live)] {
            let fingerprint = Some(RefreshToken::new("dead".into()).fingerprint());
            let document = TokenDocument {
                id: TokenId::from_extended_json("1"),
                subject: Subject::new("a"),
                provider: Some("elsewhere".into()),
                refresh_token: Ok(RefreshToken::new(there.into())),
                access_token: None,
                facts: Facts::default(),
                bookkeeping: Bookkeeping { state: State::NeedsLogin, fingerprint, ..Bookkeeping::default() },
            };
            assert_eq!(of_the_token_there(&document, Timestamp::default()).state, state, "{there}");
        }
    }
}

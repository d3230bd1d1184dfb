//! The refresh tokens of a login that were redeemed, as its document remembers them.

use super::Fingerprint;
use serde::{Deserialize, Serialize};

/// Most redeemed tokens that a document remembers.
///
/// A stale save brings back what a program read a while ago. With one refresh a day, eight tokens reach back as far as the
/// pairs do that a journal keeps by default. Each takes about 40 bytes in the document.
const MOST_SPENT: usize = 8;

/// Redeemed refresh tokens of one login, the last one first: up to eight.
///
/// Each was sent with success, and what came for it was written into the document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Fingerprint>")]
pub struct SpentTokens(Vec<Fingerprint>);

impl From<Vec<Fingerprint>> for SpentTokens {
    fn from(tokens: Vec<Fingerprint>) -> Self {
        tokens.into_iter().collect()
    }
}

impl FromIterator<Fingerprint> for SpentTokens {
    fn from_iter<T: IntoIterator<Item = Fingerprint>>(tokens: T) -> Self {
        let mut spent = Self::default();
        for token in tokens {
            if !spent.contains(token) && spent.0.len() < MOST_SPENT {
                spent.0.push(token);
            }
        }
        spent
    }
}

impl SpentTokens {
    /// Is none known?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is this one of them?
    #[must_use]
    pub fn contains(&self, token: Fingerprint) -> bool {
        self.0.contains(&token)
    }

    /// The token for which the last pair came.
    #[must_use]
    pub fn last(&self) -> Option<Fingerprint> {
        self.0.first().copied()
    }

    /// All of them, the last one first.
    pub fn iter(&self) -> impl Iterator<Item = Fingerprint> {
        self.0.iter().copied()
    }

    /// The one that was redeemed next after this one.
    #[must_use]
    pub fn after(&self, token: Fingerprint) -> Option<Fingerprint> {
        let position = self.0.iter().position(|spent| *spent == token)?;
        position.checked_sub(1).map(|next| self.0[next])
    }

    /// Those that were redeemed before this one.
    #[must_use]
    pub fn before(&self, token: Fingerprint) -> Self {
        self.iter().skip_while(|spent| *spent != token).skip(1).collect()
    }

    /// The same, with this one among them: in the place of the oldest, where there are as many as a document remembers.
    #[must_use]
    pub fn with_the_older(&self, token: Fingerprint) -> Self {
        let room = if self.contains(token) { MOST_SPENT } else { MOST_SPENT - 1 };
        self.iter().take(room).chain([token]).collect()
    }

    /// The same, after these were redeemed, the last one first, for the token `new`: that is good, also where the provider had
    /// handed it out before.
    #[must_use]
    pub fn with(&self, tokens: impl IntoIterator<Item = Fingerprint>, new: Fingerprint) -> Self {
        tokens.into_iter().chain(self.iter()).filter(|token| *token != new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::RefreshToken;

    fn token(name: &str) -> Fingerprint {
        RefreshToken::new(name.into()).fingerprint()
    }

    fn spent(names: &[&str]) -> SpentTokens {
        names.iter().map(|name| token(name)).collect()
    }

    #[test]
    fn the_last_ones_are_known_each_once_and_never_the_one_that_is_good() {
        assert_eq!(spent(&["a", "b"]).with([token("c")], token("d")), spent(&["c", "a", "b"]));
        assert_eq!(spent(&["a", "b"]).with([token("b")], token("d")), spent(&["b", "a"]));
        assert_eq!(spent(&["a", "b"]).with([token("c")], token("a")), spent(&["c", "b"]));
        assert!(SpentTokens::default().with([token("a")], token("a")).is_empty(), "the provider kept it");
        let all = spent(&["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert_eq!(all.iter().count(), MOST_SPENT);
        assert_eq!(all.with([token("i")], token("j")), spent(&["i", "a", "b", "c", "d", "e", "f", "g"]));
    }

    #[test]
    fn an_older_one_takes_the_place_of_the_oldest() {
        assert_eq!(spent(&["a", "b"]).with_the_older(token("c")), spent(&["a", "b", "c"]));
        assert_eq!(spent(&["a", "b"]).with_the_older(token("a")), spent(&["a", "b"]));
        let all = spent(&["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert_eq!(all.with_the_older(token("h")), all);
        assert_eq!(all.with_the_older(token("i")), spent(&["a", "b", "c", "d", "e", "f", "g", "i"]));
    }

    #[test]
    fn what_came_before_and_after_a_token_is_told() {
        let known = spent(&["c", "b", "a"]);
        assert_eq!((known.last(), known.after(token("b"))), (Some(token("c")), Some(token("c"))));
        assert_eq!((known.after(token("c")), known.after(token("x"))), (None, None));
        assert_eq!((known.before(token("b")), known.before(token("x"))), (spent(&["a"]), spent(&[])));
    }
}

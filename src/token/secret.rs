//! The tokens themselves, as newtypes that print a fixed word.

use super::jwt;
use crate::clock::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;

macro_rules! secret_token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Wraps a token; the memory is zeroised when it is dropped.
            #[must_use]
            pub fn new(token: String) -> Self {
                Self(token.into())
            }

            /// The token itself: for the wire, the journal and the store only.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.expose() == other.expose()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

secret_token! {
    /// A refresh token (RFC 6749 §1.5).
    RefreshToken
}
impl RefreshToken {
    /// When the token ends, where it is a JWT that says so; its signature isn't checked.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        jwt::ends_at(self.expose())
    }
}

secret_token! {
    /// An access token (RFC 6749 §1.4).
    AccessToken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_print_a_fixed_word() {
        let shown =
            format!("{:?} {:?}", RefreshToken::new("s3cret".into()), AccessToken::new("s3cret".into()));
        assert_eq!(shown, "RefreshToken(redacted) AccessToken(redacted)");
    }
}

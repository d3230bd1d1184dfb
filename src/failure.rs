//! How an error is told: what happened, its causes, and what to do about it.

use std::borrow::Cow;
use std::error::Error;

/// An error, or a warning, that a person meets.
///
/// `Display` states the fact of this layer alone: no cause and no hint is in it.
pub trait Advice: Error {
    /// What a person can do about it.
    fn hint(&self) -> Option<Cow<'_, str>>;
}

/// An error with all its causes in one line.
#[must_use]
pub fn error_chain(error: &(impl Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their causes.
        if !text.contains(&cause_text) {
            text.extend([": ", &cause_text]);
        }
        source = cause.source();
    }
    text
}

/// For people: what happened with its causes, and the hint on a line of its own.
#[must_use]
pub fn told(error: &(impl Advice + ?Sized)) -> String {
    with_hint(error_chain(error), error.hint().as_deref())
}

/// A text and, on a line of its own, what to do about it.
#[must_use]
pub fn with_hint(mut text: String, hint: Option<&str>) -> String {
    if let Some(hint) = hint {
        text.extend(["\nhint: ", hint]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file can't be read")]
    struct Unreadable(#[source] Repeating);

    #[derive(Debug, thiserror::Error)]
    #[error("it is damaged: {0}")]
    struct Repeating(#[source] std::fmt::Error);

    impl Advice for Unreadable {
        fn hint(&self) -> Option<Cow<'_, str>> {
            Some("restore it".into())
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes_once_and_its_hint_last() {
        let error = Unreadable(Repeating(std::fmt::Error));
        let cause = std::fmt::Error.to_string();
        assert_eq!(error_chain(&error), format!("the file can't be read: it is damaged: {cause}"));
        assert_eq!(told(&error), format!("the file can't be read: it is damaged: {cause}\nhint: restore it"));
    }
}

//! Documents that name no configured provider: what to say of them.

use crate::nearest::nearest_of;
use crate::token::{Malformed, Subject, TokenDocument};
use std::fmt;

/// What a document's provider field holds where it names no configured provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stranger {
    /// The name that stands there, ready to be shown; `None` where the field is absent, empty, or not a text.
    pub named: Option<Subject>,
    /// The configured name that was probably meant.
    pub meant: Option<String>,
}

impl Stranger {
    /// `None` where the document names one of the configured providers.
    #[must_use]
    pub fn of(document: &TokenDocument, configured: &[String]) -> Option<Self> {
        match &document.provider {
            Some(name) => (!configured.contains(name)).then(|| Self::named(name, configured)),
            None => Some(Self { named: None, meant: None }),
        }
    }

    /// One that names a provider of this name, which isn't configured.
    #[must_use]
    pub fn named(name: &str, configured: &[String]) -> Self {
        let meant = nearest_of(name, configured.iter().map(String::as_str)).map(str::to_owned);
        Self { named: Some(Subject::new(name)), meant }
    }

    /// What is wrong with its document.
    #[must_use]
    pub fn malformed(&self) -> Malformed {
        self.named.clone().map_or(Malformed::NoProvider, Malformed::UnknownProvider)
    }
}

impl fmt::Display for Stranger {
    /// `` `Xero` is not configured; did you mean `xero`? ``
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.named else { return formatter.write_str("no provider is named") };
        write!(formatter, "`{name}` is not configured")?;
        match &self.meant {
            Some(meant) => write!(formatter, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_documents_provider_is_told_with_the_name_that_was_meant() {
        let configured = ["autodesk".to_owned(), "xero".to_owned()];
        for (name, told) in [
            ("Xero", "`Xero` is not configured; did you mean `xero`?"),
            ("AUTODESK", "`AUTODESK` is not configured; did you mean `autodesk`?"),
            ("acme", "`acme` is not configured"),
            ("x\nERROR", "`x\u{fffd}ERROR` is not configured"),
        ] {
            let stranger = Stranger::named(name, &configured);
            assert_eq!(stranger.to_string(), told);
            assert_eq!(stranger.malformed().code(), "unknown_provider");
        }
    }
}

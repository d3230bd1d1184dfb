//! A profile of one's own: a file that lies over a built-in profile.

mod keys;

use super::profile::{self, ProfileError};
use keys::{EXTENDS, Unknown};
use std::path::Path;
use toml::de::DeTable;
use toml::{Table, Value};

/// The profile underneath, where the file names none.
const UNDERNEATH: &str = "generic";

/// Keys of the profile underneath that say nothing about the one above it.
const ITS_OWN: [&str; 5] = ["title", "sources", "notes", "checked", "example"];

/// Is this the name of a file, and not of a built-in profile?
#[must_use]
pub fn is_file(name: &str) -> bool {
    name.contains('/') || Path::new(name).extension().is_some_and(|ending| ending == "toml")
}

/// The name of a provider whose profile is this file: `acme` of `./acme.toml`.
#[must_use]
pub fn stem(path: &str) -> String {
    Path::new(path).file_stem().map_or_else(|| path.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// The text of the file.
///
/// # Errors
/// [`ProfileError::Unread`].
pub fn text(path: &str) -> Result<String, ProfileError> {
    std::fs::read_to_string(path).map_err(|source| ProfileError::Unread { path: path.to_owned(), source })
}

/// The file, laid over the profile that it `extends`: tables key by key, a list in place of the whole list, and
/// `answer.rules` before those underneath.
///
/// # Errors
/// [`ProfileError`] when the file can't be read, or extends none of the built-in profiles.
pub fn table(path: &str) -> Result<Table, ProfileError> {
    let text = text(path)?;
    let syntax = |error: toml::de::Error| ProfileError::Syntax {
        path: path.to_owned(),
        line: line_of(&text, error.span().map_or(0, |span| span.start)),
        problem: error.message().to_owned(),
    };
    let document = DeTable::parse(&text).map_err(syntax)?;
    if let Some(Unknown { key, line, nearest }) = keys::unknown(&text, document.get_ref()) {
        return Err(ProfileError::UnknownKey { path: path.to_owned(), line, key, nearest });
    }
    let mut above: Table = text.parse().map_err(syntax)?;
    let mut under = match above.remove(EXTENDS) {
        None => profile::table(UNDERNEATH)?,
        Some(Value::String(name)) if profile::names().any(|known| known == name) => profile::table(&name)?,
        Some(other) => {
            return Err(ProfileError::Extends { path: path.to_owned(), found: other.to_string() });
        }
    };
    for key in ITS_OWN {
        under.remove(key);
    }
    under.insert("title".to_owned(), stem(path).into());
    let rules = |profile: &mut Table| {
        let answer = profile.get_mut("answer").and_then(Value::as_table_mut);
        answer
            .and_then(|answer| answer.remove("rules"))
            .and_then(|rules| rules.as_array().cloned())
            .unwrap_or_default()
    };
    let mut all_rules = above
        .get("answer")
        .and_then(|answer| answer.get("rules"))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    all_rules.extend(rules(&mut under));
    lay_over(&mut under, above);
    // What isn't a list stays, so that it is refused by its name.
    if let Some(answer) = under.get_mut("answer").and_then(Value::as_table_mut)
        && answer.get("rules").is_none_or(Value::is_array)
        && !all_rules.is_empty()
    {
        answer.insert("rules".to_owned(), Value::Array(all_rules));
    }
    Ok(under)
}

/// The line that an offset into a text stands in, from 1 on.
#[must_use]
pub fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn lay_over(under: &mut Table, above: Table) {
    for (key, value) in above {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(above)) => lay_over(under, above),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Rotation;
    use crate::provider::request::{ClientAuth, Encoding};

    fn written(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.toml");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn eight_lines_are_a_profile() {
        let (_folder, path) = written(
            r#"
            token_url = "https://api.example.com/auth/refresh"
            client_auth = "no_client"
            request = { encoding = "json", grant_type = "none", refresh_token = "body:refreshToken" }
            access_token_lifetime = "1h"
            [answer]
            access_token = "/accessToken"
            refresh_token = ["/refreshToken", "cookie:refreshToken"]
            rules = [{ status = 401, where = { "/message" = "Refresh token expired" }, means = "refused" }]
            "#,
        );
        let profile = profile::load(&path).unwrap();
        assert_eq!((profile.title.as_str(), profile.rotation), ("acme", Rotation::SingleUse));
        assert_eq!((profile.client_auth, profile.request.encoding), (ClientAuth::NoClient, Encoding::Json));
        assert_eq!((profile.answer.rules.len(), profile.answer.refresh_token.0.len()), (1, 2));
        assert_eq!(profile.answer.refused, ["invalid_grant"], "the rest comes from `generic`");
        assert!(profile.sources.is_empty() && profile.notes.is_empty());
    }

    #[test]
    fn a_file_that_is_no_profile_is_named_with_what_is_wrong() {
        for (text, words) in [
            ("\n\ntoken_url = \"s3cret", "acme.toml line 3"),
            ("extends = \"acme-idp\"", "acme-idp"),
            ("extends = 5", "extends"),
            ("client_auth = \"jwt\"", "unknown variant `jwt`"),
            ("\ncolour = \"red\"", "acme.toml line 2: there is no key `colour`"),
            ("[answer]\nrules = 5", "rules"),
            ("[answer]\nrules = [{ status = 401, means = \"refused\" }]", "says too little"),
        ] {
            let (_folder, path) = written(text);
            let error = profile::load(&path).unwrap_err();
            let told = crate::failure::error_chain(&error);
            assert!(told.contains(words) && told.contains("acme.toml"), "{text}: {told}");
            assert!(!told.contains("s3cret"), "a line of the file may hold a secret: {told}");
        }
        let missing = crate::failure::error_chain(&profile::load("./no/such.toml").unwrap_err());
        assert!(missing.contains("./no/such.toml"), "{missing}");
    }

    #[test]
    fn a_file_is_told_from_a_name() {
        assert!(is_file("./acme.toml") && is_file("acme.toml") && is_file("/etc/evergrant/acme"));
        assert!(!is_file("acme") && !is_file("autodesk"));
        assert_eq!((stem("./a/acme.toml"), stem("acme.toml")), ("acme".to_owned(), "acme".to_owned()));
    }
}

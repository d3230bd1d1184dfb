//! A document of the user's, of which only the length of its refresh token is told.

use crate::commands::CommandError;
use crate::provider::Profile;
use crate::store::mapping::{FieldPath, FieldPathError, Mapping};
use crate::token::{FieldValue, RefreshToken};
use serde_json::Value;
use std::path::Path;

/// The fields of documents, as far as `--set documents.…` says: no settings are read.
pub(super) fn mapping(set: &[(String, String)]) -> Result<Mapping, CommandError> {
    let mut mapping = Mapping::default();
    for (key, value) in set {
        let path = || {
            value.parse().map_err(|error: FieldPathError| {
                CommandError::usage(format!("`{key}`: {error}"), "write it as `oauth.refresh_token`")
            })
        };
        match key.as_str() {
            "documents.refresh_token" => mapping.refresh_token = path()?,
            "documents.access_token" if value == "none" => mapping.access_token = None,
            "documents.access_token" => mapping.access_token = Some(path()?),
            "documents.bookkeeping" => mapping.bookkeeping = path()?,
            _ => {}
        }
    }
    Ok(mapping)
}

/// How many characters the document's refresh token has, or why it can't be sent.
pub(super) fn token_length(
    path: &Path,
    mapping: &Mapping,
    profile: &Profile,
) -> Result<Result<usize, String>, CommandError> {
    let name = path.display();
    let text = std::fs::read(path).map_err(CommandError::io(format!("read {name}")))?;
    // What the library says of the text may quote it.
    let document: Value = serde_json::from_slice(&text).ok().filter(Value::is_object).ok_or_else(|| {
        CommandError::usage(
            format!("{name} is no JSON object"),
            "write one document into it, as `mongoexport` or `mongosh` prints it",
        )
    })?;
    let field = &mapping.refresh_token;
    let token = RefreshToken::from_field(value(&document, field));
    let token = token.and_then(|token| profile.request.refresh_token.takes(&token).map(|()| token));
    Ok(match token {
        Ok(token) => Ok(token.expose().chars().count()),
        Err(malformed) => Err(format!(
            "{name} would be `malformed`: {malformed} (its field is `{field}`; `--set documents.refresh_token=…` names another one)"
        )),
    })
}

fn value<'a>(document: &'a Value, path: &FieldPath) -> FieldValue<'a> {
    match path.segments().try_fold(document, |value, name| value.get(name)) {
        None => FieldValue::Missing,
        Some(Value::Null) => FieldValue::Null,
        Some(Value::String(text)) => FieldValue::Text(text),
        Some(Value::Bool(_)) => FieldValue::Other("bool"),
        Some(Value::Number(_)) => FieldValue::Other("number"),
        Some(Value::Array(_)) => FieldValue::Other("array"),
        Some(Value::Object(_)) => FieldValue::Other("object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;

    #[test]
    fn only_the_length_of_a_token_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doc.json");
        let set = |value: &str| vec![("documents.refresh_token".to_owned(), value.to_owned())];
        let bearer = {
            let mut table = profile::table("generic").unwrap();
            table.extend(
                "request = { encoding = \"none\", refresh_token = \"bearer\" }"
                    .parse::<toml::Table>()
                    .unwrap(),
            );
            profile::read("own", table).unwrap()
        };
        for (text, set, expected) in [
            ("{\"refresh_token\":\"planted\"}", vec![], Ok(7)),
            ("{\"oauth\":{\"rt\":\"planted\"}}", set("oauth.rt"), Ok(7)),
            ("{\"refresh_token\":\"planted with space\"}", vec![], Err("holds a space")),
            ("{\"refresh_token\":7}", vec![], Err("type `number`")),
            ("{\"refreshToken\":\"planted\"}", vec![], Err("is missing")),
        ] {
            std::fs::write(&path, text).unwrap();
            let found = token_length(&path, &mapping(&set).unwrap(), &bearer).unwrap();
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{text}"),
                (Err(problem), Err(words)) => {
                    assert!(problem.contains(words) && !problem.contains("planted"), "{problem}");
                }
                _ => panic!("{text}: {found:?}"),
            }
        }
        std::fs::write(&path, "{\"refresh_token\":\"planted").unwrap();
        let error = token_length(&path, &Mapping::default(), &bearer).unwrap_err();
        assert!(!format!("{error:?}").contains("planted"));
        assert!(mapping(&set("a..b")).is_err());
    }
}

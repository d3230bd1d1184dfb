//! A document of the user's, of which only the length of its refresh token is told.

use crate::commands::CommandError;
use crate::provider::Profile;
use crate::provider::file::line_of;
use crate::store::mapping::{FieldPath, FieldPathError, Mapping};
use crate::token::{FieldValue, RefreshToken};
use serde_json::Value;
use std::path::Path;

/// The fields of documents, as far as `--set documents.…` says, and a settings file that is named by `--config`. No other
/// settings are read.
pub(super) fn mapping(config: Option<&Path>, set: &[(String, String)]) -> Result<Mapping, CommandError> {
    let of_file = config.map(of_file).transpose()?.unwrap_or_default();
    let mut mapping = Mapping::default();
    for (key, value) in of_file.iter().chain(set) {
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

/// The texts in `[documents]` of a settings file.
fn of_file(path: &Path) -> Result<Vec<(String, String)>, CommandError> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(CommandError::io(format!("read {name}")))?;
    let settings: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = line_of(&text, error.span().map_or(0, |span| span.start));
        CommandError::usage(
            format!("{name} line {line}: {}", error.message()),
            "correct it, or leave `--config` out",
        )
    })?;
    let documents = settings.get("documents").and_then(toml::Value::as_table).into_iter().flatten();
    let text = |(key, value): (&String, &toml::Value)| {
        Some((format!("documents.{key}"), value.as_str()?.to_owned()))
    };
    Ok(documents.filter_map(text).collect())
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
            "{name} would be `malformed`: {malformed} (its field is `{field}`; `--set documents.refresh_token=…`, or `--config` with a settings file, names another one)"
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
            let found = token_length(&path, &mapping(None, &set).unwrap(), &bearer).unwrap();
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
        assert!(mapping(None, &set("a..b")).is_err());
    }

    #[test]
    fn a_settings_file_names_the_fields_and_the_command_line_goes_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("evergrant.toml");
        let text = "provider = 5\n[documents]\nrefresh_token = \"oauth.rt\"\naccess_token = \"none\"\nsubject = [\"a\"]";
        std::fs::write(&file, text).unwrap();
        let found = mapping(Some(&file), &[]).unwrap();
        assert_eq!((found.refresh_token.as_str(), found.access_token), ("oauth.rt", None));
        let set = [("documents.refresh_token".to_owned(), "token".to_owned())];
        assert_eq!(mapping(Some(&file), &set).unwrap().refresh_token.as_str(), "token");
        std::fs::write(&file, "\nclient_secret = \"s3cret").unwrap();
        let error = crate::failure::told(&mapping(Some(&file), &[]).unwrap_err());
        assert!(error.contains("evergrant.toml line 2") && !error.contains("s3cret"), "{error}");
        assert!(mapping(Some(&folder.path().join("none.toml")), &[]).is_err());
    }
}

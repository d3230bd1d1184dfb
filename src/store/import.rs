//! Reads documents for `tokens import`: what `mongoexport` writes, a JSON array, or CSV. Memory for one document at a time.

use super::{document::Fields as _, mapping::Mapping};
use crate::token::{FieldValue, Malformed, RefreshToken};
use bson::Bson;
use serde_json::{Map, Value};
use std::{io::BufRead, path::Path};

mod csv_rows;
mod json_texts;

/// Longest document read, in bytes of its text.
///
/// MongoDB's own limit is 16 MiB of BSON; extended JSON takes up to about three times that.
const MAX_DOCUMENT_BYTES: usize = 48 << 20;

/// How the documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFormat {
    /// Extended JSON: objects one behind the other (`mongoexport`, a line each or not), or one array of them.
    Json,
    /// A header row, then a document a row. A dotted header is a path, every value is a string.
    Csv,
}

impl ImportFormat {
    /// The format that a file's name tells, if it does.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// Why a document could not be read; nothing behind it is read either. Never holds a value of a document.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The text isn't what it should be.
    #[error("line {line}: {problem}; expected {expected}")]
    Syntax {
        /// Counted from 1, at the problem or at the start of the document that has it.
        line: u64,
        /// What was found.
        problem: String,
        /// What should have been there.
        expected: &'static str,
    },
    /// The source failed.
    #[error("reading stopped at line {line}")]
    Read {
        /// Counted from 1.
        line: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The documents of `reader`, in order, each with the line on which it begins; ends at the first error.
///
/// Without a format the first character tells it: `{` or `[` begins JSON, anything else CSV. A byte order mark is
/// skipped.
pub fn read_documents<'a>(
    mut reader: impl BufRead + 'a,
    format: Option<ImportFormat>,
) -> impl Iterator<Item = Located> + 'a {
    let documents: Documents<'a> =
        match prologue(&mut reader).map(|found| (format.unwrap_or(found.0), found.1)) {
            Err(source) => Box::new(std::iter::once(Err(ImportError::Read { line: 1, source }))),
            Ok((ImportFormat::Json, line)) => Box::new(json_texts::Objects::new(reader, line).map(check_id)),
            Ok((ImportFormat::Csv, line)) => Box::new(csv_rows::rows(reader, line).map(check_id)),
        };
    let mut failed = false;
    documents.take_while(move |read| !std::mem::replace(&mut failed, read.is_err()))
}

/// A document behind the line on which it begins, counted from 1.
pub type Located = Result<(u64, Map<String, Value>), ImportError>;

type Documents<'a> = Box<dyn Iterator<Item = Located> + 'a>;

/// What is wrong with the refresh token of a document that was read, if anything.
#[must_use]
pub fn malformed(document: &Map<String, Value>, mapping: &Mapping) -> Option<Malformed> {
    refresh_token(document, mapping).err()
}

/// The refresh token of a document that was read, or what is wrong with it.
pub fn refresh_token(document: &Map<String, Value>, mapping: &Mapping) -> Result<RefreshToken, Malformed> {
    RefreshToken::from_field(document.value(&mapping.refresh_token))
}

/// The provider that a document names, where one is mapped and the document names one.
#[must_use]
pub fn provider_of<'a>(document: &'a Map<String, Value>, mapping: &Mapping) -> Option<&'a str> {
    match document.value(mapping.provider.as_ref()?) {
        FieldValue::Text(name) => Some(name),
        FieldValue::Missing | FieldValue::Null | FieldValue::Other(_) => None,
    }
}

/// Skips a byte order mark and white space; the format that the next byte tells, and the line it is in.
fn prologue(reader: &mut impl BufRead) -> std::io::Result<(ImportFormat, u64)> {
    let mut line = 1;
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    loop {
        let Some(first) = reader.fill_buf()?.first().copied() else { return Ok((ImportFormat::Json, line)) };
        match first {
            b'{' | b'[' => return Ok((ImportFormat::Json, line)),
            b'\n' => line += 1,
            first if first.is_ascii_whitespace() => {}
            _ => return Ok((ImportFormat::Csv, line)),
        }
        reader.consume(1);
    }
}

fn check_id(read: Located) -> Located {
    let (line, object) = read?;
    match object.get("_id").map(|id| Bson::try_from(id.clone())) {
        None | Some(Ok(_)) => Ok((line, object)),
        Some(Err(_)) => Err(ImportError::Syntax {
            line,
            problem: "the `_id` is not extended JSON".to_owned(),
            expected: "a string, a number or an object like `{\"$oid\": \"…\"}`",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Vec<Result<Value, String>> {
        // A buffer of one byte: every boundary lies somewhere between two reads.
        let reader = std::io::BufReader::with_capacity(4, text.as_bytes());
        read_documents(reader, None)
            .map(|read| read.map(|(_, object)| Value::Object(object)).map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn every_shape_of_json_gives_the_same_documents() {
        let expected = [Ok(json!({"a": "}{\"\\", "b": [1, {}]})), Ok(json!({"a": 2}))];
        for text in [
            "{\"a\":\"}{\\\"\\\\\",\"b\":[1,{}]}\n{\"a\":2}\n",
            "\u{feff}{\"a\":\"}{\\\"\\\\\",\"b\":[1,{}]}\r\n\r\n{\"a\":2}",
            " \n[{\"a\":\"}{\\\"\\\\\",\"b\":[1,{}]},{\"a\":2}]\n",
            "{\"a\":\"}{\\\"\\\\\",\n \"b\":[1,\n{}]}{\n\"a\":2}",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read(""), []);
        assert_eq!(read(" \n[ ]"), []);
    }

    #[test]
    fn a_csv_row_is_a_document_of_strings_and_a_dotted_header_a_path() {
        let text = "\u{feff}_id,email,oauth.refresh,oauth.access\nObjectId(507f1f77bcf86cd799439011),a@b,r1,\"a,1\"\n,c@d,r2,\n";
        let expected = [
            Ok(json!({
                "_id": {"$oid": "507f1f77bcf86cd799439011"}, "email": "a@b",
                "oauth": {"refresh": "r1", "access": "a,1"}
            })),
            Ok(json!({"email": "c@d", "oauth": {"refresh": "r2", "access": ""}})),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn an_error_names_the_line_and_what_was_expected_and_no_value() {
        for (text, line, expected) in [
            ("{\"a\":1}\n{\"a\":s3cret}\n{\"a\":2}", 2, "a JSON object"),
            ("{\"a\":1}\n\n{\"a\":\"s3cret", 3, "`}`"),
            ("{\"a\":1}\n5", 2, "`{`"),
            ("[{\"a\":1}\n{\"a\":2}]", 2, "`,` or `]`"),
            ("[{\"a\":1},\n", 2, "`{`"),
            ("[{\"a\":1}]\n{}", 2, "nothing behind the `]`"),
            ("{\"_id\":{\"$oid\":\"s3cret\"}}", 1, "a string, a number"),
            ("a,a.b\n1,2\n", 1, "headers"),
            ("a,a\n1,2\n", 1, "headers"),
            ("a,b\n1,2\ns3cret\n", 3, "as many values as headers"),
        ] {
            let found = read(text).pop().unwrap().unwrap_err();
            assert!(found.starts_with(&format!("line {line}: ")), "{text:?}: {found}");
            assert!(found.contains(expected), "{text:?}: {found}");
            assert!(!found.contains("s3cret"), "{text:?}: {found}");
        }
    }

    #[test]
    fn nothing_is_read_behind_an_error() {
        assert_eq!(read("{\"a\":1}\nnonsense\n{\"a\":2}").len(), 2);
    }

    #[test]
    fn a_files_name_tells_its_format() {
        for (name, format) in
            [("a.JSON", Some(ImportFormat::Json)), ("a.csv", Some(ImportFormat::Csv)), ("a", None)]
        {
            assert_eq!(ImportFormat::of_path(Path::new(name)), format);
        }
    }
}

//! CSV: a document a row.

use super::ImportError;
use bson::oid::ObjectId;
use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};
use serde_json::{Map, Value, json};
use std::io::BufRead;

const HEADERS: &str = "a row of headers, none twice, none empty, none leading through another";

/// The documents of the rows, each with its line; `before` lines were read already.
pub(super) fn rows<'a>(
    reader: impl BufRead + 'a,
    before: u64,
) -> Box<dyn Iterator<Item = Result<(u64, Map<String, Value>), ImportError>> + 'a> {
    let mut reader = ReaderBuilder::new().from_reader(reader);
    let headers = match headers(&mut reader, before) {
        Ok(headers) => headers,
        Err(error) => return Box::new(std::iter::once(Err(error))),
    };
    Box::new(reader.into_records().map(move |record| {
        let record = record.map_err(|error| unreadable(error, before))?;
        let line = record.position().map_or(before, |position| position.line() + before - 1);
        Ok((line, document(&headers, &record)))
    }))
}

fn headers(reader: &mut Reader<impl BufRead>, line: u64) -> Result<Vec<Vec<String>>, ImportError> {
    let row = reader.headers().map_err(|error| unreadable(error, line))?;
    let headers: Vec<Vec<String>> =
        row.iter().map(|header| header.trim().split('.').map(str::to_owned).collect()).collect();
    for (index, header) in headers.iter().enumerate() {
        let clash =
            headers[..index].iter().any(|other| other.iter().zip(header).all(|(one, two)| one == two));
        if clash || header.iter().any(String::is_empty) {
            let problem = format!("column {} has no header of its own", index + 1);
            return Err(ImportError::Syntax { line, problem, expected: HEADERS });
        }
    }
    Ok(headers)
}

fn document(headers: &[Vec<String>], record: &StringRecord) -> Map<String, Value> {
    let mut document = Map::new();
    for (header, value) in headers.iter().zip(record) {
        let value = match header.as_slice() {
            [name] if name == "_id" && value.is_empty() => continue,
            [name] if name == "_id" => id(value),
            _ => Value::from(value),
        };
        let Some((last, parents)) = header.split_last() else { continue };
        let parent = parents.iter().try_fold(&mut document, |parent, name| {
            parent.entry(name.as_str()).or_insert_with(|| json!({})).as_object_mut()
        });
        // No header leads through another, so every parent is an object that we made.
        if let Some(parent) = parent {
            parent.insert(last.clone(), value);
        }
    }
    document
}

/// `mongoexport` writes an ObjectId into CSV as `ObjectId(…)`.
fn id(text: &str) -> Value {
    let hex = text.strip_prefix("ObjectId(").and_then(|rest| rest.strip_suffix(')'));
    match hex.and_then(|hex| ObjectId::parse_str(hex).ok()) {
        Some(id) => json!({ "$oid": id.to_hex() }),
        None => Value::from(text),
    }
}

fn unreadable(error: csv::Error, before: u64) -> ImportError {
    let line = error.position().map_or(before, |position| position.line() + before - 1);
    let (problem, expected) = match error.into_kind() {
        ErrorKind::Io(source) => return ImportError::Read { line, source },
        ErrorKind::UnequalLengths { len, expected_len, .. } => {
            (format!("{len} values under {expected_len} headers"), "as many values as headers")
        }
        ErrorKind::Utf8 { .. } => ("this is not UTF-8".to_owned(), "UTF-8 text"),
        _ => ("this is not CSV".to_owned(), "CSV with a row of headers"),
    };
    ImportError::Syntax { line, problem, expected }
}

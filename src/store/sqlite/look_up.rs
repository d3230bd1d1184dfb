//! What a person asks the file: one subject's documents, and documents of strange providers.

use super::json::Object;
use super::rows::read_row;
use crate::store::document::Fields as _;
use crate::store::{MOST_STRANGE_NAMES, Mapping, Strangers};
use crate::token::TokenDocument;
use rusqlite::Connection;
use std::cmp::Reverse;
use std::collections::HashMap;

/// Different names that are counted at most; a wrongly mapped field may hold as many as there are documents.
const MOST_COUNTED: usize = 10_000;

/// See [`crate::store::Store::of_subject`].
pub(super) fn of_subject(
    connection: &Connection,
    mapping: &Mapping,
    subject: &str,
    limit: usize,
) -> rusqlite::Result<Vec<TokenDocument>> {
    // SQLite leaves out what can't be it by the text as it stands in JSON; what remains is read.
    let statement = "SELECT id, fields, bookkeeping FROM documents WHERE instr(fields, ?1) > 0 ORDER BY id";
    let json = serde_json::Value::from(subject).to_string();
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query([json.trim_matches('"')])?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        if documents.len() == limit {
            break;
        }
        let fields: Object = serde_json::from_str(row.get_ref(1)?.as_str()?).unwrap_or_default();
        if mapping.subject.iter().any(|path| fields.shown(path).as_deref() == Some(subject)) {
            documents.push(read_row(row, mapping)?);
        }
    }
    Ok(documents)
}

/// See [`crate::store::Store::strangers`].
pub(super) fn strangers(
    connection: &Connection,
    mapping: &Mapping,
    providers: &[String],
) -> rusqlite::Result<Strangers> {
    let mut strangers = Strangers::default();
    if mapping.provider.is_none() {
        return Ok(strangers);
    }
    let mut names: HashMap<String, u64> = HashMap::new();
    let mut statement = connection.prepare_cached("SELECT id, fields, bookkeeping FROM documents")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match read_row(row, mapping)?.provider {
            None => strangers.without += 1,
            Some(name) if providers.contains(&name) => {}
            Some(name) => {
                strangers.other += 1;
                if let Some(count) = names.get_mut(&name) {
                    *count += 1;
                } else if names.len() < MOST_COUNTED {
                    names.insert(name, 1);
                }
            }
        }
    }
    strangers.names = names.into_iter().collect();
    strangers.names.sort_by(|one, other| (Reverse(one.1), &one.0).cmp(&(Reverse(other.1), &other.0)));
    strangers.names.truncate(MOST_STRANGE_NAMES);
    Ok(strangers)
}

//! Conditions and expressions that several statements share, pure.

use crate::clock::Timestamp;
use crate::store::document::date;
use crate::store::mapping::FieldPath;
use bson::{Document, doc};
use chrono::TimeDelta;

/// The whole document, in an expression.
pub(super) const ROOT: &str = "$$ROOT";

/// A field in an expression: `$oauth.refresh`.
pub(super) fn field(path: &FieldPath) -> String {
    format!("${path}")
}

/// A field within another one, in an expression: `$evergrant.due_at`.
pub(super) fn field_of(path: &FieldPath, name: &str) -> String {
    format!("${path}.{name}")
}

/// Joins conditions.
pub(super) fn and(mut conditions: Vec<Document>) -> Document {
    match conditions.len() {
        0 => Document::new(),
        1 => conditions.remove(0),
        _ => doc! { "$and": conditions },
    }
}

/// Joins expressions.
pub(super) fn and_expressions(mut expressions: Vec<Document>) -> Document {
    if expressions.len() == 1 {
        expressions.remove(0)
    } else {
        doc! { "$and": expressions }
    }
}

/// No lease, or one that has ended; one whose end isn't a date is none.
pub(super) fn lease_is_free(bookkeeping: &FieldPath, now: Timestamp) -> Document {
    doc! { format!("{bookkeeping}.lease.until"): { "$not": { "$gt": date(now) } } }
}

/// Has the lease ended so long ago by the server's clock, or isn't its end a date? An expression. A negative time lies ahead.
pub(super) fn ended_for(bookkeeping: &FieldPath, time: TimeDelta) -> Document {
    let until = field_of(bookkeeping, "lease.until");
    let by = doc! { "$subtract": ["$$NOW", time.num_milliseconds()] };
    doc! { "$or": [{ "$ne": [{ "$type": &until }, "date"] }, { "$lte": [until, by] }] }
}

/// Has the document's `due_at` come, or isn't it a date? An expression.
pub(super) fn due_by(bookkeeping: &FieldPath, at: Timestamp) -> Document {
    let due_at = field_of(bookkeeping, "due_at");
    doc! { "$or": [{ "$ne": [{ "$type": &due_at }, "date"] }, { "$lte": [due_at, date(at)] }] }
}

/// Is the field this text, byte by byte? An expression.
pub(super) fn is_exactly(field: &str, text: &str) -> Document {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let same = doc! { "$and": [
        { "$eq": [{ "$strLenBytes": field }, length] },
        { "$eq": [{ "$indexOfBytes": [field, { "$literal": text }] }, 0] },
    ] };
    doc! { "$cond": [{ "$eq": [{ "$type": field }, "string"] }, same, false] }
}

/// Is there a sub-document, or nothing? An expression, as is the field.
pub(super) fn is_sub_document_or_absent(field: &str) -> Document {
    doc! { "$in": [{ "$type": field }, ["object", "missing"]] }
}

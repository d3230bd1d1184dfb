//! How a token document is read, and how bookkeeping is written, whatever the store: BSON values in, words out.

mod id;
mod moment;

use super::mapping::{FieldPath, Mapping};
use crate::clock::Timestamp;
use crate::token::{
    AccessToken, Bookkeeping, ClaimedBy, Facts, FieldValue, Fingerprint, LastError, Lease, Lost,
    RefreshToken, SpentTokens, State, Subject, TokenDocument, TokenId, Vocabulary as _, Word,
};
use bson::{Bson, Document, spec::ElementType};
use chrono::DateTime;
use moment::moment;

pub use id::ids_shown_as;
pub(super) use id::{id_value, token_id};
pub(super) use moment::{date, expiry};

/// The fields of the bookkeeping sub-document, in the order in which they are written.
pub(super) const BOOKKEEPING_FIELDS: [&str; 16] = [
    "state",
    "since",
    "fingerprint",
    "access_fingerprint",
    "due_at",
    "refreshed_at",
    "refreshed_by",
    "spent",
    "spent_before",
    "access_expires_at",
    "refresh_expires_at",
    "login_at",
    "login_ends_at",
    "failures",
    "last_error",
    "lease",
];

/// A document, as far as reading its tokens needs it.
pub(super) trait Fields {
    /// What is at the path.
    fn value(&self, path: &FieldPath) -> FieldValue<'_>;

    /// What is at the path as a person would write it: a string, a number or an `ObjectId`; `None` for anything else.
    fn shown(&self, path: &FieldPath) -> Option<String>;

    /// What is at the path, whole; for fields that are rarely mapped.
    fn bson(&self, path: &FieldPath) -> Option<Bson>;
}

/// Reads a token document; what is wrong with it is a value in it.
pub(super) fn token_document(
    id: TokenId,
    fields: &impl Fields,
    bookkeeping: Bookkeeping,
    mapping: &Mapping,
) -> TokenDocument {
    let subject = mapping
        .subject
        .iter()
        .find_map(|path| fields.shown(path).filter(|text| !text.trim().is_empty()))
        .map_or_else(|| Subject::from_id(&id), |text| Subject::new(&text));
    let text = |path: &FieldPath| match fields.value(path) {
        FieldValue::Text(text) if !text.is_empty() => Some(text.to_owned()),
        _ => None,
    };
    TokenDocument {
        subject,
        provider: mapping.provider.as_ref().and_then(text),
        refresh_token: RefreshToken::from_field(fields.value(&mapping.refresh_token)),
        access_token: mapping.access_token.as_ref().and_then(text).map(AccessToken::new),
        facts: facts(fields, mapping),
        bookkeeping,
        id,
    }
}

fn facts(fields: &impl Fields, mapping: &Mapping) -> Facts {
    let moment = |path: &Option<FieldPath>| moment(&fields.bson(path.as_ref()?)?);
    let value = |(name, path): (&str, &FieldPath)| {
        // What is there and is no text is no value: it must not give way to a default.
        let text = match fields.value(path) {
            FieldValue::Missing => return None,
            _ => fields.shown(path).unwrap_or_default(),
        };
        Some((name.to_owned(), text))
    };
    Facts {
        login_ends_at: moment(&mapping.login_ends_at),
        logged_in_at: moment(&mapping.logged_in_at),
        values: mapping.variables().filter_map(value).collect(),
    }
}

/// Bookkeeping as a sub-document; what is absent here is absent there.
pub(super) fn bookkeeping_document(bookkeeping: &Bookkeeping) -> Document {
    let dates = |at: Option<Timestamp>| at.map(date);
    let values = [
        Some(bookkeeping.state.word().into()),
        dates(bookkeeping.since),
        bookkeeping.fingerprint.map(|fingerprint| fingerprint.to_string().into()),
        bookkeeping.access_fingerprint.map(|fingerprint| fingerprint.to_string().into()),
        dates(bookkeeping.due_at),
        dates(bookkeeping.refreshed_at),
        bookkeeping.refreshed_by.as_deref().map(Bson::from),
        bookkeeping.spent.last().map(|token| token.to_string().into()),
        spent_before(&bookkeeping.spent),
        dates(bookkeeping.access_expires_at),
        dates(bookkeeping.refresh_expires_at),
        dates(bookkeeping.login_at),
        dates(bookkeeping.login_ends_at),
        Some(Bson::Int32(i32::try_from(bookkeeping.failures).unwrap_or(i32::MAX))),
        bookkeeping.last_error.as_ref().map(last_error_document).map(Bson::Document),
        bookkeeping.lease.as_ref().map(lease_document).map(Bson::Document),
    ];
    let named = BOOKKEEPING_FIELDS.into_iter().zip(values);
    named.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn spent_before(spent: &SpentTokens) -> Option<Bson> {
    let tokens: Vec<_> = spent.iter().skip(1).map(|token| Bson::String(token.to_string())).collect();
    (!tokens.is_empty()).then_some(Bson::Array(tokens))
}

/// The last one stands alone, as an earlier version writes and reads it.
fn spent(document: &Document) -> SpentTokens {
    let before = document.get_array("spent_before").into_iter().flatten().filter_map(Bson::as_str);
    text(document, "spent").into_iter().chain(before).filter_map(Fingerprint::from_hex).collect()
}

/// A lease as a sub-document.
pub(super) fn lease_document(lease: &Lease) -> Document {
    let mut document = bson::doc! { "id": &lease.id, "owner": &lease.owner, "until": date(lease.until) };
    if lease.taken_over {
        document.insert("taken_over", true);
    }
    if let Some(ClaimedBy { journal, version, since }) = &lease.by {
        document.extend(bson::doc! { "journal": journal, "version": version, "since": date(*since) });
    }
    document
}

fn last_error_document(error: &LastError) -> Document {
    let mut document = bson::doc! { "class": error.class.as_str(), "code": error.code.as_str() };
    if let Some(status) = error.http_status {
        document.insert("http_status", i32::from(status));
    }
    document.insert("at", date(error.at));
    if let Some(lost) = &error.lost {
        document.insert("lost", lost_document(lost));
    }
    document
}

fn lost_document(lost: &Lost) -> Document {
    let values = [
        ("cause", Some(lost.cause.as_str().into())),
        ("sent_at", lost.sent_at.map(date)),
        ("peer", lost.peer.as_deref().map(Bson::from)),
        ("received_bytes", Some(Bson::Int64(i64::try_from(lost.received_bytes).unwrap_or(i64::MAX)))),
        ("turned_away", lost.turned_away.then_some(Bson::Boolean(true))),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Reads bookkeeping field by field: a field of the wrong type counts as absent, an unknown state as live.
pub(super) fn bookkeeping(document: &Document) -> Bookkeeping {
    Bookkeeping {
        state: text(document, "state").and_then(State::from_word).unwrap_or_default(),
        since: instant(document, "since"),
        fingerprint: text(document, "fingerprint").and_then(Fingerprint::from_hex),
        access_fingerprint: text(document, "access_fingerprint").and_then(Fingerprint::from_hex),
        due_at: instant(document, "due_at"),
        refreshed_at: instant(document, "refreshed_at"),
        refreshed_by: text(document, "refreshed_by").map(str::to_owned),
        spent: spent(document),
        access_expires_at: instant(document, "access_expires_at"),
        refresh_expires_at: instant(document, "refresh_expires_at"),
        login_at: instant(document, "login_at"),
        login_ends_at: instant(document, "login_ends_at"),
        failures: whole_number(document, "failures").unwrap_or(0),
        last_error: document.get_document("last_error").ok().and_then(last_error),
        lease: document.get_document("lease").ok().and_then(lease),
    }
}

fn last_error(document: &Document) -> Option<LastError> {
    Some(LastError {
        class: Word::read(text(document, "class")?),
        code: Word::read(text(document, "code")?),
        http_status: whole_number(document, "http_status").and_then(|status| u16::try_from(status).ok()),
        at: instant(document, "at")?,
        lost: document.get_document("lost").ok().and_then(lost),
    })
}

fn lost(document: &Document) -> Option<Lost> {
    Some(Lost {
        cause: Word::read(text(document, "cause")?),
        sent_at: instant(document, "sent_at"),
        peer: text(document, "peer").map(str::to_owned),
        received_bytes: whole_number(document, "received_bytes").unwrap_or(0).into(),
        turned_away: document.get_bool("turned_away").unwrap_or_default(),
    })
}

fn lease(document: &Document) -> Option<Lease> {
    Some(Lease {
        id: text(document, "id")?.to_owned(),
        owner: text(document, "owner").unwrap_or_default().to_owned(),
        until: instant(document, "until")?,
        taken_over: document.get_bool("taken_over").unwrap_or_default(),
        by: claimed_by(document),
    })
}

fn claimed_by(lease: &Document) -> Option<ClaimedBy> {
    Some(ClaimedBy {
        journal: text(lease, "journal")?.to_owned(),
        version: text(lease, "version").unwrap_or_default().to_owned(),
        since: instant(lease, "since")?,
    })
}

fn text<'a>(document: &'a Document, name: &str) -> Option<&'a str> {
    document.get_str(name).ok()
}

fn instant(document: &Document, name: &str) -> Option<Timestamp> {
    document.get_datetime(name).ok().and_then(|date| DateTime::from_timestamp_millis(date.timestamp_millis()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and within u32"
)]
fn whole_number(document: &Document, name: &str) -> Option<u32> {
    match document.get(name)? {
        Bson::Int32(number) => u32::try_from(*number).ok(),
        Bson::Int64(number) => u32::try_from(*number).ok(),
        Bson::Double(number) if (0.0..=f64::from(u32::MAX)).contains(number) => Some(number.trunc() as u32),
        _ => None,
    }
}

/// A BSON type by the name that MongoDB's `$type` uses.
pub(super) const fn type_name(kind: ElementType) -> &'static str {
    match kind {
        ElementType::Double => "double",
        ElementType::String => "string",
        ElementType::EmbeddedDocument => "object",
        ElementType::Array => "array",
        ElementType::Binary => "binData",
        ElementType::Undefined => "undefined",
        ElementType::ObjectId => "objectId",
        ElementType::Boolean => "bool",
        ElementType::DateTime => "date",
        ElementType::Null => "null",
        ElementType::RegularExpression => "regex",
        ElementType::DbPointer => "dbPointer",
        ElementType::JavaScriptCode => "javascript",
        ElementType::Symbol => "symbol",
        ElementType::JavaScriptCodeWithScope => "javascriptWithScope",
        ElementType::Int32 => "int",
        ElementType::Timestamp => "timestamp",
        ElementType::Int64 => "long",
        ElementType::Decimal128 => "decimal",
        ElementType::MaxKey => "maxKey",
        ElementType::MinKey => "minKey",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::FIELDS;
    use bson::doc;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn bookkeeping_survives_its_document() {
        let full = Bookkeeping {
            state: State::NeedsLogin,
            since: Some(at(1)),
            fingerprint: Some(RefreshToken::new("a".into()).fingerprint()),
            access_fingerprint: Some(RefreshToken::new("a".into()).fingerprint()),
            due_at: Some(at(2)),
            refreshed_at: Some(at(3)),
            refreshed_by: Some("journal".to_owned()),
            spent: ["b", "c"]
                .map(|token| RefreshToken::new(token.into()).fingerprint())
                .into_iter()
                .collect(),
            access_expires_at: Some(at(4)),
            refresh_expires_at: Some(at(5)),
            login_at: Some(at(10)),
            login_ends_at: Some(at(11)),
            failures: 6,
            last_error: Some(LastError {
                class: "refused".into(),
                code: "invalid_grant".into(),
                http_status: Some(400),
                at: at(7),
                lost: Some(Lost {
                    cause: "timeout".into(),
                    sent_at: Some(at(6)),
                    peer: Some("192.0.2.1:443".into()),
                    received_bytes: 17,
                    turned_away: true,
                }),
            }),
            lease: Some(Lease {
                id: "l".into(),
                owner: "host:1".into(),
                until: at(8),
                taken_over: true,
                by: Some(ClaimedBy { journal: "j".into(), version: "1.0.0".into(), since: at(7) }),
            }),
        };
        assert_eq!(bookkeeping(&bookkeeping_document(&full)), full);
        assert_eq!(bookkeeping_document(&Bookkeeping::default()), doc! { "state": "live", "failures": 0 });
        let documented: Vec<_> = FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(
            paths("", &bookkeeping_document(&full)),
            documented,
            "help names each field that is written"
        );
    }

    fn paths(prefix: &str, document: &Document) -> Vec<String> {
        let path = |(name, value): (&String, &Bson)| {
            let path = format!("{prefix}{name}");
            let inner =
                value.as_document().map(|inner| paths(&format!("{path}."), inner)).unwrap_or_default();
            std::iter::once(path).chain(inner).collect::<Vec<_>>()
        };
        document.iter().flat_map(path).collect()
    }

    #[test]
    fn bookkeeping_of_the_wrong_type_counts_as_absent_field_by_field() {
        let strange = doc! {
            "state": "asleep", "since": "2026", "fingerprint": 5, "due_at": [1], "refreshed_at": date(at(9)),
            "failures": "many", "last_error": { "class": "refused" }, "lease": { "id": "l" },
            "refresh_expires_at": bson::DateTime::MAX,
        };
        assert_eq!(
            bookkeeping(&strange),
            Bookkeeping { refreshed_at: Some(at(9)), ..Bookkeeping::default() }
        );
        assert_eq!(bookkeeping(&doc! { "failures": 3.0 }).failures, 3);
        assert_eq!(bookkeeping(&doc! { "failures": 3_i64 }).failures, 3);
        assert_eq!(bookkeeping(&doc! { "failures": f64::NAN }).failures, 0);
        let hex = |token: &str| RefreshToken::new(token.into()).fingerprint().to_string();
        let spent = |last: Bson, before: Bson| {
            bookkeeping(&doc! { "spent": last, "spent_before": before }).spent.iter().count()
        };
        assert_eq!(spent(hex("d").into(), bson::bson!(["a", 5, hex("a"), { "b": hex("b") }, hex("c")])), 3);
        assert_eq!([spent(hex("a").into(), Bson::Null), spent("a".into(), 5.into())], [1, 0]);
    }
}

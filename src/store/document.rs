//! How a token document is read, and how bookkeeping is written, whatever the store: BSON values in, words out.

use super::mapping::{ExpiryFormat, FieldPath, Mapping};
use crate::clock::Timestamp;
use crate::token::{
    AccessToken, Bookkeeping, Facts, FieldValue, Fingerprint, LastError, Lease, Lost, RefreshToken, State,
    Subject, TokenDocument, TokenId, Vocabulary as _, Word,
};
use bson::{Bson, Document, spec::ElementType};
use chrono::{DateTime, SecondsFormat};

/// The fields of the bookkeeping sub-document, in the order in which they are written.
pub(super) const BOOKKEEPING_FIELDS: [&str; 12] = [
    "state",
    "since",
    "fingerprint",
    "due_at",
    "refreshed_at",
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

/// From this number on a moment is in milliseconds: no date between 1973 and 5138 is ambiguous.
const FEWEST_MILLIS: i64 = 100_000_000_000;

/// A moment as applications write it: a date, RFC 3339, or a number.
fn moment(value: &Bson) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond every date is no moment")]
    let number = match value {
        Bson::DateTime(date) => return DateTime::from_timestamp_millis(date.timestamp_millis()),
        Bson::String(text) => return text.trim().parse().ok(),
        Bson::Int32(number) => i64::from(*number),
        Bson::Int64(number) => *number,
        Bson::Double(number) => number.trunc() as i64,
        _ => return None,
    };
    match number {
        ..=0 => None,
        1..FEWEST_MILLIS => DateTime::from_timestamp(number, 0),
        FEWEST_MILLIS.. => DateTime::from_timestamp_millis(number),
    }
}

/// Wraps an `_id`.
pub(super) fn token_id(id: Bson) -> TokenId {
    TokenId::from_extended_json(id.into_canonical_extjson().to_string())
}

/// The `_id` that a [`TokenId`] wraps; `None` when its text isn't extended JSON and so no store can have made it.
pub(super) fn id_value(id: &TokenId) -> Option<Bson> {
    let json: serde_json::Value = serde_json::from_str(id.as_str()).ok()?;
    Bson::try_from(json).ok()
}

/// The `_id`s that a text may stand for: as logs show them, as `mongosh` does, or the bare value.
#[must_use]
pub fn ids_shown_as(text: &str) -> Vec<TokenId> {
    let text = text.trim();
    let text = text.strip_prefix("_id ").unwrap_or(text);
    let in_mongosh = text.strip_prefix("ObjectId(").and_then(|rest| rest.strip_suffix(')'));
    let bare = in_mongosh.map_or(text, |hex| hex.trim_matches(['"', '\'']));
    let json = serde_json::from_str::<serde_json::Value>(text).ok();
    let values = [
        Some(Bson::from(bare)),
        bson::oid::ObjectId::parse_str(bare).ok().map(Bson::ObjectId),
        bare.parse().ok().map(Bson::Int32),
        bare.parse().ok().map(Bson::Int64),
        json.and_then(|json| Bson::try_from(json).ok()),
    ];
    let mut ids: Vec<_> = values.into_iter().flatten().map(token_id).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// An instant as a BSON date.
pub(super) fn date(at: Timestamp) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(at.timestamp_millis()))
}

/// An expiry as the application wants it in a mapped field.
pub(super) fn expiry(at: Timestamp, format: ExpiryFormat) -> Bson {
    match format {
        ExpiryFormat::Date => date(at),
        ExpiryFormat::UnixSeconds => Bson::Int64(at.timestamp()),
        ExpiryFormat::UnixMillis => Bson::Int64(at.timestamp_millis()),
        ExpiryFormat::Rfc3339 => Bson::String(at.to_rfc3339_opts(SecondsFormat::Secs, true)),
    }
}

/// Bookkeeping as a sub-document; what is absent here is absent there.
pub(super) fn bookkeeping_document(bookkeeping: &Bookkeeping) -> Document {
    let dates = |at: Option<Timestamp>| at.map(date);
    let values = [
        Some(bookkeeping.state.word().into()),
        dates(bookkeeping.since),
        bookkeeping.fingerprint.map(|fingerprint| fingerprint.to_string().into()),
        dates(bookkeeping.due_at),
        dates(bookkeeping.refreshed_at),
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

/// A lease as a sub-document.
pub(super) fn lease_document(lease: &Lease) -> Document {
    let mut document = bson::doc! { "id": &lease.id, "owner": &lease.owner, "until": date(lease.until) };
    if lease.taken_over {
        document.insert("taken_over", true);
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
        due_at: instant(document, "due_at"),
        refreshed_at: instant(document, "refreshed_at"),
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
            due_at: Some(at(2)),
            refreshed_at: Some(at(3)),
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
            lease: Some(Lease { id: "l".into(), owner: "host:1".into(), until: at(8), taken_over: true }),
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
    }

    #[test]
    fn an_id_of_any_type_survives_its_text() {
        let ids = [
            Bson::ObjectId(bson::oid::ObjectId::from_bytes([7; 12])),
            "a\"b\u{1}é".into(),
            "".into(),
            Bson::Int32(7),
            Bson::Int64(7),
            Bson::Int64(i64::MIN),
            Bson::Double(7.0),
            Bson::Double(0.1 + 0.2),
            Bson::Double(1e300),
            Bson::Double(5e-324),
            Bson::Double(-0.0),
            Bson::Double(f64::INFINITY),
            Bson::Decimal128("1.50".parse().unwrap()),
            Bson::Boolean(true),
            Bson::Null,
            date(at(-5)),
            Bson::DateTime(bson::DateTime::MAX),
            Bson::Timestamp(bson::Timestamp { time: 1, increment: 2 }),
            Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![3; 16] }),
            Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![] }),
            Bson::Document(doc! { "b": 1, "a": { "c": [1_i64, "x", Bson::Null] } }),
            Bson::MinKey,
            Bson::MaxKey,
        ];
        for id in ids {
            assert_eq!(id_value(&token_id(id.clone())), Some(id));
        }
        assert_eq!(id_value(&TokenId::from_extended_json("not json")), None);
        assert_eq!(id_value(&TokenId::from_extended_json(r#"{"$oid":"zz"}"#)), None);
    }

    #[test]
    fn an_id_is_known_by_each_way_in_which_people_write_it() {
        let object_id = TokenId::from_extended_json(r#"{"$oid":"507f1f77bcf86cd799439011"}"#);
        for text in [
            "507f1f77bcf86cd799439011",
            r#"{"$oid":"507f1f77bcf86cd799439011"}"#,
            r#"_id {"$oid":"507f1f77bcf86cd799439011"}"#,
            "ObjectId('507f1f77bcf86cd799439011')",
            r#"ObjectId("507f1f77bcf86cd799439011")"#,
        ] {
            assert!(ids_shown_as(text).contains(&object_id), "{text}");
        }
        for (text, id) in [
            ("7", r#"{"$numberInt":"7"}"#),
            ("7", r#"{"$numberLong":"7"}"#),
            ("7", "\"7\""),
            ("ann", "\"ann\""),
            ("_id \"ann\"", "\"ann\""),
        ] {
            assert!(ids_shown_as(text).contains(&TokenId::from_extended_json(id)), "{text}");
        }
    }

    #[test]
    fn a_moment_is_read_as_applications_write_it() {
        let seconds = 1_800_000_000;
        for value in [
            date(at(seconds)),
            Bson::Int32(1_800_000_000),
            Bson::Int64(seconds),
            Bson::Int64(seconds * 1000),
            Bson::Double(1.8e9),
            Bson::Double(1.8e12),
            "2027-01-15T08:00:00Z".into(),
            "2027-01-15T09:00:00.000+01:00".into(),
        ] {
            assert_eq!(moment(&value), Some(at(seconds)), "{value}");
        }
        for value in [
            Bson::Int32(0),
            Bson::Int64(-5),
            Bson::Null,
            "soon".into(),
            "1800000000".into(),
            Bson::Double(f64::NAN),
        ] {
            assert_eq!(moment(&value), None, "{value}");
        }
    }

    #[test]
    fn an_expiry_is_written_as_the_application_wants_it() {
        assert_eq!(expiry(at(10), ExpiryFormat::Date), Bson::DateTime(bson::DateTime::from_millis(10_000)));
        assert_eq!(expiry(at(10), ExpiryFormat::UnixSeconds), Bson::Int64(10));
        assert_eq!(expiry(at(10), ExpiryFormat::UnixMillis), Bson::Int64(10_000));
        assert_eq!(expiry(at(10), ExpiryFormat::Rfc3339), Bson::String("1970-01-01T00:00:10Z".into()));
    }
}

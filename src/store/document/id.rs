//! The `_id` of a document, of whatever type: its text in logs and bookkeeping, and the way back.

use crate::token::TokenId;
use bson::Bson;

/// Wraps an `_id`.
pub(in crate::store) fn token_id(id: Bson) -> TokenId {
    TokenId::from_extended_json(id.into_canonical_extjson().to_string())
}

/// The `_id` that a [`TokenId`] wraps; `None` when its text isn't extended JSON and so no store can have made it.
pub(in crate::store) fn id_value(id: &TokenId) -> Option<Bson> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

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
            Bson::DateTime(bson::DateTime::from_millis(-5000)),
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
}

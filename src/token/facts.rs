//! What a document says beside its tokens, as far as the settings map it, and what an answer gives beside a pair.

use crate::clock::Timestamp;
use serde_json::Value;
use std::fmt;

/// What a document says beside its tokens, as far as fields are mapped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// When its login ends.
    pub login_ends_at: Option<Timestamp>,
    /// When its login began.
    pub logged_in_at: Option<Timestamp>,
    /// Variables of the request, by name; one that the document doesn't hold as a text or number isn't among them.
    pub values: Vec<(String, String)>,
}

impl fmt::Debug for Facts {
    /// Names only: a value may be the key of an API.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("Facts")
            .field("login_ends_at", &self.login_ends_at)
            .field("logged_in_at", &self.logged_in_at)
            .field("values", &names)
            .finish()
    }
}

impl Facts {
    /// The name under which a document's client id stands among its values.
    pub const CLIENT_ID: &str = "client_id";

    /// The variable of that name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Most bytes of a further value: more belongs into no field beside a token.
const MAX_FURTHER_BYTES: usize = 8 * 1024;

/// A further value of an answer, such as an `id_token`, which is a secret: it prints a fixed word.
#[derive(Clone, PartialEq, Eq)]
pub struct Further(Value);

impl Further {
    /// A text, a number, a flag, or a list of those, of at most 8 KiB; `None` for anything else.
    ///
    /// Objects are left out: their names would be field names of the document.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
        let fits = match value {
            Value::Array(items) => items.iter().all(plain),
            other => plain(other),
        };
        (fits && value.to_string().len() + 16 * value.as_array().map_or(0, Vec::len) <= MAX_FURTHER_BYTES)
            .then(|| Self(value.clone()))
    }

    /// The value itself, for the store only.
    #[must_use]
    pub const fn expose(&self) -> &Value {
        &self.0
    }
}

impl fmt::Debug for Further {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Further(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_further_value_is_plain_and_short_and_prints_a_fixed_word() {
        for value in [json!("x"), json!(1), json!(true), json!([]), json!(["a", 1])] {
            assert!(Further::read(&value).is_some(), "{value}");
        }
        for value in [json!(null), json!({}), json!([[1]]), json!([null]), json!("x".repeat(8191))] {
            assert_eq!(Further::read(&value), None, "{value}");
        }
        assert_eq!(format!("{:?}", Further::read(&json!("s3cret"))), "Some(Further(redacted))");
    }
}

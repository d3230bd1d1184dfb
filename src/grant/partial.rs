//! What stands complete in a JSON text that was cut: the line may break behind the tokens, and they are a pair all the
//! same. Pure.

use serde_json::{Map, Value};

/// Deepest nesting that is followed; a token stands two or three levels deep.
const DEEPEST: usize = 32;

/// Reads the members that came to their end before the text did: a string whose closing quote was seen, a number or a
/// word with something behind it.
///
/// An object or an array that was cut holds what is complete in it. `None` when the text isn't the beginning of any
/// JSON text, or names a member twice with two values: then it isn't known what the whole answer would have said.
#[must_use]
pub fn complete_part(text: &[u8]) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    match reader.value(0) {
        Ok(Part::Whole(value) | Part::Cut(Some(value))) => Some(value),
        Ok(Part::Cut(None)) | Err(NotJson) => None,
    }
}

/// The text can't be the beginning of a JSON text, or contradicts itself.
struct NotJson;

/// A value, as far as it came.
enum Part {
    /// All of it.
    Whole(Value),
    /// The text ends within it; of an object or an array, what is complete in it.
    Cut(Option<Value>),
}

struct Reader<'text> {
    text: &'text [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Part, NotJson> {
        if depth > DEEPEST {
            return Err(NotJson);
        }
        match self.next_sign() {
            None => Ok(Part::Cut(None)),
            Some(b'"') => Ok(self.string()?.map_or(Part::Cut(None), |text| Part::Whole(text.into()))),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(_) => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Part, NotJson> {
        self.at += 1;
        let mut members = Map::new();
        if self.next_sign() == Some(b'}') {
            self.at += 1;
            return Ok(Part::Whole(members.into()));
        }
        loop {
            let cut = |members: Map<String, Value>| Ok(Part::Cut(Some(members.into())));
            let name = match self.next_sign() {
                None => return cut(members),
                Some(b'"') => match self.string()? {
                    None => return cut(members),
                    Some(name) => name,
                },
                Some(_) => return Err(NotJson),
            };
            match self.next_sign() {
                None => return cut(members),
                Some(b':') => self.at += 1,
                Some(_) => return Err(NotJson),
            }
            let (value, whole) = match self.value(depth + 1)? {
                Part::Whole(value) => (Some(value), true),
                Part::Cut(value) => (value, false),
            };
            match (members.get(&name), value) {
                (Some(earlier), Some(value)) if *earlier == value => {}
                // Even one that was cut: it would have been another value.
                (Some(_), _) => return Err(NotJson),
                (None, Some(value)) => drop(members.insert(name, value)),
                (None, None) => {}
            }
            if !whole {
                return cut(members);
            }
            match self.next_sign() {
                None => return cut(members),
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Part::Whole(members.into()));
                }
                Some(_) => return Err(NotJson),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Part, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        if self.next_sign() == Some(b']') {
            self.at += 1;
            return Ok(Part::Whole(items.into()));
        }
        loop {
            match self.value(depth + 1)? {
                Part::Whole(value) => items.push(value),
                Part::Cut(value) => {
                    items.extend(value);
                    return Ok(Part::Cut(Some(items.into())));
                }
            }
            match self.next_sign() {
                None => return Ok(Part::Cut(Some(items.into()))),
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Part::Whole(items.into()));
                }
                Some(_) => return Err(NotJson),
            }
        }
    }

    /// A string with both of its quotes; `None` when the closing one never came.
    fn string(&mut self) -> Result<Option<String>, NotJson> {
        let start = self.at;
        let mut escaped = false;
        for (offset, byte) in self.text[start + 1..].iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.at = start + 1 + offset + 1;
                    return serde_json::from_slice(&self.text[start..self.at]).map(Some).map_err(|_| NotJson);
                }
                _ => {}
            }
        }
        self.at = self.text.len();
        Ok(None)
    }

    /// A number, `true`, `false` or `null`: only what stands behind it says that it is over.
    fn word(&mut self) -> Result<Part, NotJson> {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.at += length;
        if length == rest.len() {
            return Ok(Part::Cut(None));
        }
        serde_json::from_slice(&rest[..length]).map(Part::Whole).map_err(|_| NotJson)
    }

    /// The next byte that isn't white space (RFC 8259 §2).
    fn next_sign(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_closed_is_read_and_what_is_open_is_not() {
        for (text, expected) in [
            ("", None),
            ("  ", None),
            ("{", Some(json!({}))),
            (r#"{"a"#, Some(json!({}))),
            (r#"{"a":"b"#, Some(json!({}))),
            (r#"{"a":"b\""#, Some(json!({}))),
            (r#"{"a":"b\\""#, Some(json!({ "a": "b\\" }))),
            (r#"{"a":"b""#, Some(json!({ "a": "b" }))),
            (r#"{"a":"\u00e9"}"#, Some(json!({ "a": "é" }))),
            (r#"{"a":35"#, Some(json!({}))),
            (r#"{"a":35,"#, Some(json!({ "a": 35 }))),
            (r#"{"a":nul"#, Some(json!({}))),
            (r#"{"a":null ,"b":"c","d"#, Some(json!({ "a": null, "b": "c" }))),
            (r#"{"data":{"a":"b","#, Some(json!({ "data": { "a": "b" } }))),
            (r#"{"list":["a",{"b":"c"},"d"#, Some(json!({ "list": ["a", { "b": "c" }] }))),
            // Which of the two the whole answer meant isn't known.
            (r#"{"a":"b","a":"c""#, None),
            (r#"{"a":"b","a":"c"#, None),
            ("<html>", None),
            (r#"{"a":"b"]"#, None),
            (r#"{"a" "b"}"#, None),
            (r#"{"a":tru,"#, None),
            ("{\"a\":\"\u{1}\"", None),
        ] {
            assert_eq!(complete_part(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(complete_part("[".repeat(1000).as_bytes()), None);
    }

    /// Is everything in `part` in `whole` as well?
    fn is_within(part: &Value, whole: &Value) -> bool {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => {
                part.iter().all(|(name, value)| whole.get(name).is_some_and(|whole| is_within(value, whole)))
            }
            (Value::Array(part), Value::Array(whole)) => {
                part.len() <= whole.len()
                    && part.iter().zip(whole).all(|(part, whole)| is_within(part, whole))
            }
            (part, whole) => part == whole,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\"\\\\{}:, a]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::hash_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_prefix_gives_what_the_whole_does_not_have(value in any_json(), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            for end in 0..=text.len() {
                if let Some(part) = complete_part(&text[..end]) {
                    prop_assert!(is_within(&part, &value), "{part} of {value}");
                }
            }
            if value.is_object() || value.is_array() {
                prop_assert_eq!(complete_part(&text), Some(value));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = complete_part(&bytes);
        }

        #[test]
        fn a_pair_is_there_as_soon_as_both_of_its_strings_are_closed(
            access in "[ -~]{1,20}", refresh in "[ -~é]{1,20}", before in any_json(), after in any_json(), swapped: bool,
        ) {
            let member = |name: &str, text: &str| format!("\"{name}\":{}", Value::from(text));
            let mut pair = [member("access_token", &access), member("refresh_token", &refresh)];
            if swapped {
                pair.reverse();
            }
            let head = format!("{{\"before\":{before},{},{}", pair[0], pair[1]);
            let text = format!("{head},\"after\":{after}}}");
            for end in 0..=text.len() {
                let part = complete_part(&text.as_bytes()[..end]);
                let found = |name: &str| part.as_ref().and_then(|part| part.get(name)).and_then(Value::as_str);
                let both = (found("access_token"), found("refresh_token"));
                if end >= head.len() {
                    prop_assert_eq!(both, (Some(&*access), Some(&*refresh)));
                } else {
                    prop_assert!(both.0.is_none() || both.1.is_none());
                }
            }
        }
    }
}

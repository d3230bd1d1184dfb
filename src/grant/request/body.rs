//! The fields of a request, and the body that holds them.

use crate::grant::secret_bytes;
use crate::provider::request::Parameter;
use bytes::Bytes;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use url::form_urlencoded;

/// The value of a field.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number or a flag; a text where the encoding knows texts only.
    Plain(&'a Parameter),
}

impl Value<'_> {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Plain(plain) => Cow::Owned(plain.to_string()),
        }
    }

    /// The length of its text, at most.
    fn len(&self) -> usize {
        self.text().len()
    }
}

/// A field of a request: the names that lead to it, and its value.
type Field<'a> = (Vec<&'a str>, Value<'a>);

/// The fields of a request, in their order.
pub(super) struct Fields<'a>(Vec<Field<'a>>);

impl<'a> Fields<'a> {
    pub(super) fn new(first: Option<Field<'a>>) -> Self {
        let mut fields = Self(Vec::with_capacity(8));
        fields.extend(first);
        fields
    }

    pub(super) fn push(&mut self, field: Field<'a>) {
        self.0.push(field);
    }

    pub(super) fn extend(&mut self, fields: impl IntoIterator<Item = Field<'a>>) {
        self.0.extend(fields);
    }
}

pub(super) fn field<'a>(name: &'a str, value: &'a str) -> Field<'a> {
    (vec![name], Value::Text(Cow::Borrowed(value)))
}

/// The fields as names and texts.
pub(super) fn pairs<'a>(fields: &'a Fields<'_>) -> impl Iterator<Item = (String, Cow<'a, str>)> {
    fields.0.iter().map(|(path, value)| (path.concat(), value.text()))
}

/// The body of a form.
pub(super) fn form(fields: &Fields<'_>) -> Bytes {
    // Each byte takes three at most, and a text that grows leaves copies of secrets in the memory.
    let longest = fields.0.iter().map(|(path, value)| 3 * (path.concat().len() + value.len()) + 2).sum();
    let mut text = form_urlencoded::Serializer::new(String::with_capacity(longest));
    text.extend_pairs(pairs(fields));
    secret_bytes(text.finish().into_bytes())
}

/// The body as JSON: an object, with others within it where a path has more than one name.
pub(super) fn json(fields: &Fields<'_>) -> Bytes {
    // A character takes six bytes at most (`\u0001`), and a text that grows leaves copies of secrets in the memory.
    let length = |(path, value): &Field<'_>| {
        path.iter().map(|name| 6 * name.len() + 8).sum::<usize>() + 6 * value.len()
    };
    let mut body = Vec::with_capacity(2 + fields.0.iter().map(length).sum::<usize>());
    let object = Object(fields.0.iter().map(|(path, value)| (path.as_slice(), value)).collect());
    serde_json::to_writer(&mut body, &object).expect("an object of texts can be written into memory");
    secret_bytes(body)
}

/// Fields as one JSON object; those that begin with the same name stand in one object within it.
struct Object<'a>(Vec<(&'a [&'a str], &'a Value<'a>)>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (position, (path, value)) in self.0.iter().enumerate() {
            match path {
                [name] => object.serialize_entry(name, value)?,
                [name, ..] if self.0[..position].iter().all(|(earlier, _)| earlier.first() != Some(name)) => {
                    let within = self.0.iter().filter(|(path, _)| path.first() == Some(name));
                    object.serialize_entry(
                        name,
                        &Object(within.map(|(path, value)| (&path[1..], *value)).collect()),
                    )?;
                }
                _ => {}
            }
        }
        object.end()
    }
}

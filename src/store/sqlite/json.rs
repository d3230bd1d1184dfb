//! Documents as JSON objects: reading and writing at a path, and the bookkeeping as extended JSON.

use crate::store::document::{self, Fields};
use crate::store::mapping::FieldPath;
use crate::token::{Bookkeeping, FieldValue};
use bson::{Bson, Document};
use serde_json::{Map, Value};

/// A document's fields, by name, in the order in which they came.
pub(super) type Object = Map<String, Value>;

impl Fields for Object {
    fn value(&self, path: &FieldPath) -> FieldValue<'_> {
        match get(self, path) {
            None => FieldValue::Missing,
            Some(Value::Null) => FieldValue::Null,
            Some(Value::String(text)) => FieldValue::Text(text),
            Some(other) => FieldValue::Other(match Bson::try_from(other.clone()) {
                Ok(value) => document::type_name(value.element_type()),
                Err(_) => "object",
            }),
        }
    }

    fn bson(&self, path: &FieldPath) -> Option<Bson> {
        Bson::try_from(get(self, path)?.clone()).ok()
    }

    fn shown(&self, path: &FieldPath) -> Option<String> {
        match get(self, path)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            object @ Value::Object(_) => match Bson::try_from(object.clone()).ok()? {
                Bson::ObjectId(id) => Some(id.to_hex()),
                Bson::Int32(number) => Some(number.to_string()),
                Bson::Int64(number) => Some(number.to_string()),
                Bson::Double(number) => Some(number.to_string()),
                Bson::Decimal128(number) => Some(number.to_string()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What is at the path.
pub(super) fn get<'a>(object: &'a Object, path: &FieldPath) -> Option<&'a Value> {
    let mut names = path.segments();
    let mut found = object.get(names.next()?);
    for name in names {
        found = found.and_then(sub_document).and_then(|parent| parent.get(name));
    }
    found
}

/// A JSON object that stands for a document, and not for an `ObjectId`, a date, … (`{"$oid": …}`).
pub(super) fn sub_document(value: &Value) -> Option<&Object> {
    value.as_object().filter(|object| object.keys().next().is_none_or(|name| !name.starts_with('$')))
}

/// The first of these paths at which something stands that isn't a document.
pub(super) fn in_the_way<'a>(
    object: &Object,
    mut paths: impl Iterator<Item = &'a FieldPath>,
) -> Option<FieldPath> {
    paths.find(|path| get(object, path).is_some_and(|value| sub_document(value).is_none())).cloned()
}

/// Writes a value at the path, making absent parents.
///
/// # Errors
/// The parent that isn't a document; nothing is written.
pub(super) fn set(object: &mut Object, path: &FieldPath, value: Value) -> Result<(), FieldPath> {
    let parents: Vec<FieldPath> = path.parents().collect();
    if let Some(parent) = in_the_way(object, parents.iter()) {
        return Err(parent);
    }
    let names: Vec<&str> = path.segments().collect();
    let Some((last, parents)) = names.split_last() else { return Err(path.clone()) };
    let mut parent = object;
    for name in parents {
        let child = parent.entry(*name).or_insert_with(|| Value::Object(Object::new()));
        let Value::Object(child) = child else { return Err(path.clone()) };
        parent = child;
    }
    parent.insert((*last).to_owned(), value);
    Ok(())
}

/// Takes out what is at the path, the order of the others kept.
pub(super) fn remove(object: &mut Object, path: &FieldPath) -> Option<Value> {
    let names: Vec<&str> = path.segments().collect();
    let (last, parents) = names.split_last()?;
    let mut parent = object;
    for name in parents {
        parent = parent.get_mut(*name)?.as_object_mut()?;
    }
    parent.shift_remove(*last)
}

/// Bookkeeping as extended JSON, relaxed: dates as people read them.
pub(super) fn bookkeeping_value(bookkeeping: &Bookkeeping) -> Value {
    Bson::Document(document::bookkeeping_document(bookkeeping)).into_relaxed_extjson()
}

/// Reads bookkeeping field by field; whatever can't be read is absent.
pub(super) fn bookkeeping(value: Option<&Value>) -> Bookkeeping {
    let Some(Value::Object(object)) = value else { return Bookkeeping::default() };
    let known = document::BOOKKEEPING_FIELDS.into_iter().filter_map(|name| {
        let value = Bson::try_from(object.get(name)?.clone()).ok()?;
        Some((name.to_owned(), value))
    });
    document::bookkeeping(&known.collect::<Document>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    fn path(text: &str) -> FieldPath {
        text.parse().unwrap()
    }

    #[test]
    fn absent_parents_are_made_and_others_are_never_overwritten() {
        let mut document = object(json!({ "a": { "b": 1 }, "id": { "$oid": "0" }, "text": "t" }));
        assert_eq!(set(&mut document, &path("a.c.d"), json!(2)), Ok(()));
        assert_eq!(set(&mut document, &path("text.x"), json!(2)), Err(path("text")));
        assert_eq!(set(&mut document, &path("id.x"), json!(2)), Err(path("id")));
        assert_eq!(set(&mut document, &path("a.b.x"), json!(2)), Err(path("a.b")));
        let expected = json!({ "a": { "b": 1, "c": { "d": 2 } }, "id": { "$oid": "0" }, "text": "t" });
        assert_eq!(Value::Object(document), expected);
    }

    #[test]
    fn taking_a_field_out_keeps_the_order_of_the_others() {
        let mut document = object(json!({ "x": 1, "y": 2, "z": 3 }));
        assert_eq!(remove(&mut document, &path("x")), Some(json!(1)));
        assert_eq!(Value::Object(document).to_string(), r#"{"y":2,"z":3}"#);
    }

    #[test]
    fn types_are_named_as_mongodb_names_them() {
        let document = object(
            json!({ "a": [], "b": { "$numberLong": "5" }, "c": {}, "d": { "$date": "soon" }, "e": 1 }),
        );
        for (name, kind) in [("a", "array"), ("b", "long"), ("c", "object"), ("d", "object"), ("e", "int")] {
            assert!(
                matches!(document.value(&path(name)), FieldValue::Other(found) if found == kind),
                "{name}"
            );
        }
        assert_eq!(document.shown(&path("b")), Some("5".into()));
        assert_eq!(document.shown(&path("c")), None);
    }
}

//! Keys of the documents: which fields are read and written.

use super::super::DefaultValue::{Follows, Is};
use super::{Key, Kind, top};

/// `documents.*`
pub(super) const KEYS: &[Key] = &[
    top(
        "documents.refresh_token",
        Kind::FieldPath,
        Is("refresh_token"),
        "Field of the refresh token. Dots lead into sub-documents.",
    ),
    top(
        "documents.access_token",
        Kind::FieldPathOrNone,
        Is("access_token"),
        "Field of the access token. With none it is written nowhere.",
    ),
    top(
        "documents.subject",
        Kind::FieldPaths,
        Is("email,userId"),
        "Fields that name a user in reports and logs. The first one that is there is used.",
    ),
    top(
        "documents.provider",
        Kind::FieldPath,
        Follows("none"),
        "Field that names the document's provider. Required with more than one provider.",
    ),
    top(
        "documents.access_expires_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of your own that receives the end of the access token.",
    ),
    top(
        "documents.refresh_expires_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of your own that receives the end of the refresh token.",
    ),
    top(
        "documents.updated_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of your own that receives the time of each new pair, as a date.",
    ),
    top(
        "documents.also",
        Kind::AnswerFields,
        Follows("none"),
        "Fields that receive further values of an answer, each with the value's place: instance_url=/instance_url.",
    ),
    top(
        "documents.login_ends_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of yours that says when the login ends. Only read: a date, RFC 3339 or a number.",
    ),
    top(
        "documents.logged_in_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of yours that says when the user logged in. Only read.",
    ),
    top(
        "documents.values",
        Kind::FieldTable,
        Follows("none"),
        "Fields that hold the variables of the token URL and of headers: shop=shop_domain. Only read.",
    ),
    top(
        "documents.client_id",
        Kind::FieldPath,
        Follows("none"),
        "Field of the client id, where each document has its own. Only read.",
    ),
    top(
        "documents.expires_format",
        Kind::OneOf(&["date", "unix_seconds", "unix_millis", "rfc3339"]),
        Is("date"),
        "Format of the two ends: date, unix_seconds, unix_millis or rfc3339.",
    ),
    top(
        "documents.bookkeeping",
        Kind::FieldPath,
        Is("evergrant"),
        "Sub-document in which Evergrant keeps its own fields.",
    ),
    top(
        "documents.filter",
        Kind::Text,
        Follows("none"),
        "Further condition on the documents, in extended JSON.",
    ),
];

//! `evergrant help document`: what is written into a document, and how an application works beside it.

use super::page::Page;
use crate::token::FIELDS;
use serde_json::{Value, json};

/// What your application does, and what it leaves alone.
const RULES: [&str; 7] = [
    "1. Read the access token from the document each time you need it. Do not keep it for longer than it lives.",
    "2. Let one program refresh: Evergrant or your application. If both do, read the refresh token right before you redeem \
     it, and write with the old token as a condition: \
     updateOne({_id: id, refresh_token: old}, {$set: {access_token: a, refresh_token: r}}) with your field names.",
    "3. Write your own fields with $set. Never write a whole document that you read earlier (replaceOne, save of a whole \
     object): it brings an old refresh token back, and that token is spent. The next pass puts the newest pair back \
     (`restored`), and until then the login does not work.",
    "4. After `invalid_grant` read the document again before you log the user out. If the refresh token is another one by now, \
     Evergrant was faster, and the login works.",
    "5. At a new login write the two token fields, and your own fields as you like. Leave `evergrant` alone. Evergrant sees that the refresh token has changed, and the \
     document is live again.",
    "6. `evergrant.state` says `needs_login` until the pass after the new login. For a banner that asks a user to log in, \
     compare with `evergrant tokens list`, or remove the bookkeeping at the login (see 7): $unset: {evergrant: \"\"}.",
    "7. Do not change fields inside the sub-document `evergrant`. You may delete it as a whole: the document is then due at once, and only what \
     Evergrant knew of that login is forgotten. Do not set it to null or to anything else.",
];

pub(super) fn text() -> String {
    let mut page = Page::new("Document");
    page.paragraph(
        "A document needs nothing but a refresh token in a field of its own. Before the first pass:",
    );
    page.lines("  { _id, userId, email, access_token, refresh_token }");
    page.paragraph(
        "A pass writes the two tokens (`documents.access_token`, `documents.refresh_token`) in one update, and keeps its own \
         fields in one sub-document, `evergrant` (`documents.bookkeeping`). It adds three indexes: \
         `evergrant_due` on `evergrant.due_at`; `evergrant_expiry` on `evergrant.state` and `evergrant.refresh_expires_at`, \
         for the forecast; and `evergrant_claimed`, which holds only documents that a pass has claimed. Where \
         `documents.provider` is set, the first two begin with that field, and their names are `evergrant_provider_due` and \
         `evergrant_provider_expiry`. Nothing else changes. Times are dates (UTC).",
    );
    page.heading("FIELDS of the sub-document `evergrant`");
    for (name, meaning) in FIELDS {
        page.entry(name, &[meaning]);
    }
    page.heading("YOUR APPLICATION");
    for rule in RULES {
        page.paragraph(rule);
    }
    page.end()
}

pub(super) fn data() -> Value {
    let fields: Vec<_> =
        FIELDS.iter().map(|(name, meaning)| json!({ "name": name, "meaning": meaning })).collect();
    json!({ "fields": fields, "rules": RULES })
}

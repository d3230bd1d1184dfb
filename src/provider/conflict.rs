//! Keys of a profile that contradict each other: a request that can't be sent, an answer that can't be read. Pure.

mod variable;

use super::place::{RequestPlace, header_name, is_header_value};
use super::request::{ClientAuth, Encoding, Method, RequestShape};
use super::{Profile, Rotation};
use std::collections::BTreeMap;

/// A key, and its value.
type Named = (&'static str, String);

/// Two keys of a profile that contradict each other, or one that can't be as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key, and its value.
    pub first: (&'static str, String),
    /// The other key and its value.
    pub second: (&'static str, String),
    /// Why they don't go together.
    pub reason: &'static str,
    /// What to do.
    pub hint: String,
}

/// The first thing in a profile's request that can't be sent, or would be sent where it doesn't belong.
#[must_use]
pub fn conflict(profile: &Profile) -> Option<Conflict> {
    let RequestShape { method, encoding, refresh_token, .. } = &profile.request;
    let auth = ("client_auth", profile.client_auth.word().to_owned());
    let encoded = ("request.encoding", encoding.word().to_owned());
    let place = ("request.refresh_token", refresh_token.to_string());
    let conflict =
        |first, second, reason, hint: &str| Some(Conflict { first, second, reason, hint: hint.to_owned() });
    if *method == Method::Get && matches!(encoding, Encoding::Form | Encoding::Json) {
        return conflict(
            ("request.method", method.word().to_owned()),
            encoded,
            "a GET has no body",
            "set `request.encoding` to `query` or `none`, or `request.method` to `POST`",
        );
    }
    if let Some((key, place)) = profile.request.token_places().find(|(_, place)| match place {
        RequestPlace::Pointer(_) => *encoding != Encoding::Json,
        place => place.is_in_the_body() && *encoding == Encoding::None,
    }) {
        return conflict(
            encoded,
            (key, place.to_string()),
            "the body has no such place",
            "set `request.encoding` to `json`, or name another place: `bearer`, `header:NAME` or `cookie:NAME`",
        );
    }
    let fields = [
        (matches!(profile.client_auth, ClientAuth::Body | ClientAuth::None), auth.clone()),
        (profile.scope.is_some(), ("scope", profile.scope.clone().unwrap_or_default())),
        (!profile.extra_parameters.is_empty(), ("extra_parameters", names(&profile.extra_parameters))),
    ];
    if *encoding == Encoding::None
        && let Some((_, field)) = fields.into_iter().find(|(is_sent, _)| *is_sent)
    {
        return conflict(
            encoded,
            field,
            "without fields there is no place for it",
            "set `request.encoding` to `form` or `json`, or leave the other one out",
        );
    }
    if profile.request.url_holds_secrets() && !profile.url_holds_secrets {
        let first = if *encoding == Encoding::Query { encoded } else { place };
        return conflict(
            first,
            ("url_holds_secrets", "false".to_owned()),
            "the URL would hold a token or a secret, and servers write URLs into their logs",
            "if the server takes them nowhere else, set `url_holds_secrets = true`",
        );
    }
    if let Some(conflict) = answer_conflict(profile) {
        return Some(conflict);
    }
    field_conflict(profile).or_else(|| header_conflict(profile)).or_else(|| variable::conflict(profile))
}

/// Places of an answer that could never hold what must come.
fn answer_conflict(profile: &Profile) -> Option<Conflict> {
    let answer = &profile.answer;
    let rotates = profile.rotation != Rotation::None;
    let empty = |key| (key, "[]".to_owned());
    if answer.access_token.0.is_empty() {
        return Some(Conflict {
            first: empty("answer.access_token"),
            second: ("request.method", profile.request.method.word().to_owned()),
            reason: "an answer without an access token is no success",
            hint: "name the place of the access token".to_owned(),
        });
    }
    (answer.refresh_token.0.is_empty() && rotates).then(|| Conflict {
        first: empty("answer.refresh_token"),
        second: ("rotation", "not none".to_owned()),
        reason: "a provider that rotates refresh tokens must say where the new one stands",
        hint: "name its place, or set `rotation = \"none\"`".to_owned(),
    })
}

/// Two fields of one name.
fn field_conflict(profile: &Profile) -> Option<Conflict> {
    let named = |key: &'static str, name: &str| (key, name.to_owned(), name.to_owned());
    let mut sent = Vec::new();
    sent.extend(
        profile
            .request
            .grant_type()
            .map(|value| ("request.grant_type", value.to_owned(), "grant_type".into())),
    );
    for (key, place) in profile.request.token_places() {
        let name = match place {
            RequestPlace::Field(name) => name.clone(),
            RequestPlace::Pointer(names) => names.first().cloned().unwrap_or_default(),
            RequestPlace::Query(name) if profile.request.encoding == Encoding::Query => name.clone(),
            RequestPlace::Bearer
            | RequestPlace::Header(_)
            | RequestPlace::Cookie(_)
            | RequestPlace::Query(_) => continue,
        };
        sent.push((key, place.to_string(), name));
    }
    sent.extend(profile.scope.iter().map(|scope| ("scope", scope.clone(), "scope".into())));
    if matches!(profile.client_auth, ClientAuth::Body | ClientAuth::None) {
        sent.push(named("client_id_name", &profile.client_id_name));
    }
    if profile.client_auth == ClientAuth::Body {
        sent.push(named("client_secret_name", &profile.client_secret_name));
    }
    sent.extend(profile.extra_parameters.keys().map(|name| named("extra_parameters", name)));
    let twice = |(position, (key, value, name)): (usize, &(&'static str, String, String))| {
        // Two tokens may stand in one object: that is looked at above.
        let of_tokens = |other: &str| other != *key && other.ends_with("_token") && key.ends_with("_token");
        let is_same = |(other, _, earlier): &&(&str, String, String)| earlier == name && !of_tokens(other);
        let (earlier, earlier_value, _) = sent[..position].iter().find(is_same)?;
        Some(Conflict {
            first: (earlier, earlier_value.clone()),
            second: (key, value.clone()),
            reason: "a field is sent once",
            hint: "rename one of the two, or leave it out".to_owned(),
        })
    };
    pointer_conflict(&profile.request).or_else(|| sent.iter().enumerate().find_map(twice))
}

/// Two tokens at one place of a body, or one within the other.
fn pointer_conflict(shape: &RequestShape) -> Option<Conflict> {
    let path = |place: &RequestPlace| match place {
        RequestPlace::Field(name) => Some(vec![name.clone()]),
        RequestPlace::Pointer(names) => Some(names.clone()),
        RequestPlace::Query(name) => Some(vec![format!("?{name}")]),
        RequestPlace::Cookie(name) => Some(vec![format!("cookie:{name}")]),
        RequestPlace::Bearer | RequestPlace::Header(_) => None,
    };
    let access_token = shape.access_token.as_ref()?;
    let (refresh, access) = (path(&shape.refresh_token)?, path(access_token)?);
    refresh.iter().zip(&access).all(|(one, other)| one == other).then(|| Conflict {
        first: ("request.refresh_token", shape.refresh_token.to_string()),
        second: ("request.access_token", access_token.to_string()),
        reason: "two tokens can't stand in one place",
        hint: "name another place for one of them".to_owned(),
    })
}

/// Two header fields of one name, or one that can't be sent.
fn header_conflict(profile: &Profile) -> Option<Conflict> {
    let (shape, headers) = (&profile.request, &profile.request.headers);
    let header = || ("request.headers", names(headers));
    let mut sent: Vec<(String, Named)> = Vec::new();
    let cookies: Vec<_> = shape.token_places().filter_map(|(_, place)| place.cookie()).collect();
    for (key, place) in shape.token_places() {
        let name = match place {
            RequestPlace::Bearer => "authorization",
            RequestPlace::Header(name) => name.as_str(),
            // Two cookies of two names are one field.
            RequestPlace::Cookie(name) if cookies.first() == Some(&name.as_str()) => "cookie",
            RequestPlace::Cookie(_)
            | RequestPlace::Field(_)
            | RequestPlace::Pointer(_)
            | RequestPlace::Query(_) => continue,
        };
        sent.push((name.to_owned(), (key, place.to_string())));
    }
    if profile.client_auth.is_in_the_head() {
        sent.push(("authorization".to_owned(), ("client_auth", profile.client_auth.word().to_owned())));
    }
    sent.extend(headers.keys().map(|name| (name.to_ascii_lowercase(), header())));
    let twice = |(position, (name, second)): (usize, &(String, Named))| {
        let (_, first) = sent[..position].iter().find(|(earlier, _)| earlier == name)?;
        Some(Conflict {
            first: first.clone(),
            second: second.clone(),
            reason: "a header field is sent once",
            hint: "leave one of the two out".to_owned(),
        })
    };
    if let Some(conflict) = sent.iter().enumerate().find_map(twice) {
        return Some(conflict);
    }
    let bad = headers.iter().find(|(name, value)| header_name(name).is_none() || !is_header_value(value));
    bad.map(|(name, _)| Conflict {
        first: header(),
        second: ("request.headers", name.clone()),
        reason: "its name or its value can't be sent: a name is letters, digits and `-`, a value is visible ASCII, and \
                 `Host`, `Content-…`, `Connection` and their like belong to HTTP itself",
        hint: "correct it, or leave it out".to_owned(),
    })
}

fn names<T>(table: &BTreeMap<String, T>) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;

    fn with(text: &str) -> Profile {
        let mut table = profile::table("generic").unwrap();
        let mut above = text.parse::<toml::Table>().unwrap();
        if let Some(toml::Value::Table(answer)) = above.remove("answer") {
            table["answer"].as_table_mut().unwrap().extend(answer);
        }
        table.extend(above);
        table.try_into().unwrap()
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_both_keys() {
        for (text, first, second) in [
            ("request = { method = \"GET\" }", "request.method", "request.encoding"),
            ("request = { encoding = \"none\" }", "request.encoding", "request.refresh_token"),
            ("request = { refresh_token = \"body:/a/b\" }", "request.encoding", "request.refresh_token"),
            (
                "client_auth = \"body\"\nrequest = { encoding = \"none\", refresh_token = \"bearer\" }",
                "request.encoding",
                "client_auth",
            ),
            (
                "client_auth = \"no_client\"\nscope = \"a\"\nrequest = { encoding = \"none\", refresh_token = \"bearer\" }",
                "request.encoding",
                "scope",
            ),
            ("request = { encoding = \"query\" }", "request.encoding", "url_holds_secrets"),
            ("request = { refresh_token = \"query:t\" }", "request.refresh_token", "url_holds_secrets"),
            ("request = { refresh_token = \"bearer\" }", "request.refresh_token", "client_auth"),
            ("request = { headers = { Authorization = \"x\" } }", "client_auth", "request.headers"),
            (
                "client_auth = \"none\"\nrequest = { refresh_token = \"bearer\", headers = { AUTHORIZATION = \"x\" } }",
                "request.refresh_token",
                "request.headers",
            ),
            (
                "request = { refresh_token = \"cookie:t\", headers = { cookie = \"x\" } }",
                "request.refresh_token",
                "request.headers",
            ),
            (
                "request = { refresh_token = \"header:x-t\", headers = { X-T = \"x\" } }",
                "request.refresh_token",
                "request.headers",
            ),
            (
                "request = { refresh_token = \"body:grant_type\" }",
                "request.grant_type",
                "request.refresh_token",
            ),
            ("client_auth = \"none\"\nclient_id_name = \"scope\"\nscope = \"a\"", "scope", "client_id_name"),
            (
                "extra_parameters = { token = \"x\" }\nrequest = { encoding = \"json\", refresh_token = \"body:/token/value\" }",
                "request.refresh_token",
                "extra_parameters",
            ),
            ("request = { headers = { X-A = \"x\", x-a = \"y\" } }", "request.headers", "request.headers"),
            ("request = { access_token = \"bearer\" }", "request.access_token", "client_auth"),
            (
                "client_auth = \"none\"\nrequest = { refresh_token = \"bearer\", access_token = \"header:Authorization\" }",
                "request.refresh_token",
                "request.access_token",
            ),
            (
                "request = { access_token = \"body:refresh_token\" }",
                "request.refresh_token",
                "request.access_token",
            ),
            (
                "request = { encoding = \"json\", refresh_token = \"body:/t\", access_token = \"body:/t/a\" }",
                "request.refresh_token",
                "request.access_token",
            ),
            (
                "request = { refresh_token = \"cookie:t\", access_token = \"cookie:t\" }",
                "request.refresh_token",
                "request.access_token",
            ),
            ("request = { access_token = \"body:/a/b\" }", "request.encoding", "request.access_token"),
            ("request = { access_token = \"query:t\" }", "request.refresh_token", "url_holds_secrets"),
            ("token_url = \"https://{shop}.example.com/\"", "token_url", "variables"),
            (
                "token_url = \"https://{shop}.com/\"\nvariables = { shop = \"label\" }",
                "token_url",
                "variables",
            ),
            ("answer.access_token = []", "answer.access_token", "request.method"),
            ("answer.refresh_token = []", "answer.refresh_token", "rotation"),
            ("request = { headers = { Host = \"x\" } }", "request.headers", "request.headers"),
            ("request = { headers = { x = \"a\\r\\nb: c\" } }", "request.headers", "request.headers"),
            ("request = { headers = { \"a b\" = \"c\" } }", "request.headers", "request.headers"),
        ] {
            let found = conflict(&with(text)).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.first.0, found.second.0), (first, second), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_servers_want_is_no_conflict() {
        for text in [
            "",
            "client_auth = \"no_client\"\nrequest = { encoding = \"none\", refresh_token = \"bearer\" }",
            "client_auth = \"none\"\nrequest = { encoding = \"json\", refresh_token = \"body:/data/token\" }",
            "client_auth = \"no_client\"\nrequest = { encoding = \"json\", grant_type = \"none\", refresh_token = \"cookie:rt\" }",
            "request = { encoding = \"json\", refresh_token = \"body:/t/r\", access_token = \"body:/t/a\" }",
            "request = { refresh_token = \"cookie:r\", access_token = \"cookie:a\" }",
            "client_auth = \"none\"\nrequest = { access_token = \"bearer\" }",
            "token_url = \"https://{shop}.example.com/\"\nvariables = { shop = \"label\" }",
            "url_holds_secrets = true\nrequest = { method = \"GET\", encoding = \"query\" }",
            "request = { headers = { Accept = \"application/json\", X-Api-Version = \"2\" } }",
        ] {
            assert_eq!(conflict(&with(text)), None, "{text}");
        }
    }
}

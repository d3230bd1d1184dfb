//! Keys of a profile that contradict each other: a request that can't be sent, an answer that can't be read. Pure.

use super::place::{RequestPlace, header_name, is_header_value};
use super::request::{ClientAuth, Encoding, Method, RequestShape};
use super::{Profile, Rotation};
use std::collections::BTreeMap;

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
    let RequestShape { method, encoding, refresh_token, headers, .. } = &profile.request;
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
    if *encoding == Encoding::None && refresh_token.is_in_the_body() {
        return conflict(
            encoded,
            place,
            "without fields there is no place for the token in the body",
            "set `request.refresh_token` to `bearer`, `header:NAME` or `cookie:NAME`",
        );
    }
    if matches!(refresh_token, RequestPlace::Pointer(_)) && *encoding != Encoding::Json {
        return conflict(
            encoded,
            place,
            "only a JSON body has objects within it",
            "set `request.encoding` to `json`, or the place to `body:NAME`",
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
    field_conflict(profile).or_else(|| header_conflict(profile, &auth, &place, headers))
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
    let place = &profile.request.refresh_token;
    let name = match place {
        RequestPlace::Field(name) => Some(name),
        RequestPlace::Pointer(names) => names.first(),
        RequestPlace::Bearer | RequestPlace::Header(_) | RequestPlace::Cookie(_) | RequestPlace::Query(_) => {
            None
        }
    };
    sent.extend(name.map(|name| ("request.refresh_token", place.to_string(), name.clone())));
    sent.extend(profile.scope.iter().map(|scope| ("scope", scope.clone(), "scope".into())));
    if matches!(profile.client_auth, ClientAuth::Body | ClientAuth::None) {
        sent.push(named("client_id_name", &profile.client_id_name));
    }
    if profile.client_auth == ClientAuth::Body {
        sent.push(named("client_secret_name", &profile.client_secret_name));
    }
    sent.extend(profile.extra_parameters.keys().map(|name| named("extra_parameters", name)));
    let twice = |(position, (key, value, name)): (usize, &(&'static str, String, String))| {
        let (earlier, earlier_value, _) = sent[..position].iter().find(|(_, _, earlier)| earlier == name)?;
        Some(Conflict {
            first: (earlier, earlier_value.clone()),
            second: (key, value.clone()),
            reason: "a field is sent once",
            hint: "rename one of the two, or leave it out".to_owned(),
        })
    };
    sent.iter().enumerate().find_map(twice)
}

fn header_conflict(
    profile: &Profile,
    auth: &(&'static str, String),
    place: &(&'static str, String),
    headers: &BTreeMap<String, String>,
) -> Option<Conflict> {
    let shape = &profile.request;
    let set = |name: &str| headers.keys().any(|header| header.eq_ignore_ascii_case(name));
    let (authorization, cookie) = match &shape.refresh_token {
        RequestPlace::Bearer => (true, false),
        RequestPlace::Header(name) => (name == "authorization", name == "cookie"),
        RequestPlace::Cookie(_) => (false, true),
        RequestPlace::Field(_) | RequestPlace::Pointer(_) | RequestPlace::Query(_) => (false, false),
    };
    let twice = "a header field is sent once";
    let leave_one = "leave one of the two out";
    let header = || ("request.headers", names(headers));
    let pairs = [
        (authorization && profile.client_auth.is_in_the_head(), place.clone(), auth.clone()),
        (authorization && set("authorization"), place.clone(), header()),
        (profile.client_auth.is_in_the_head() && set("authorization"), auth.clone(), header()),
        (cookie && set("cookie"), place.clone(), header()),
        (matches!(&shape.refresh_token, RequestPlace::Header(name) if set(name)), place.clone(), header()),
    ];
    if let Some((_, first, second)) = pairs.into_iter().find(|(is_twice, _, _)| *is_twice) {
        return Some(Conflict { first, second, reason: twice, hint: leave_one.to_owned() });
    }
    let lower: Vec<_> = headers.keys().map(|name| name.to_ascii_lowercase()).collect();
    if let Some(name) =
        lower.iter().enumerate().find_map(|(at, name)| lower[..at].contains(name).then_some(name))
    {
        return Some(Conflict {
            first: header(),
            second: ("request.headers", name.clone()),
            reason: twice,
            hint: leave_one.to_owned(),
        });
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

fn names(table: &BTreeMap<String, String>) -> String {
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
            "url_holds_secrets = true\nrequest = { method = \"GET\", encoding = \"query\" }",
            "request = { headers = { Accept = \"application/json\", X-Api-Version = \"2\" } }",
        ] {
            assert_eq!(conflict(&with(text)), None, "{text}");
        }
    }
}

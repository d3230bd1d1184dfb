use super::*;
use crate::provider::token_url::{self, TokenUrl, UrlTemplate};
use crate::provider::{Values, profile};
use proptest::prelude::*;

fn provider(client_auth: ClientAuth) -> Provider {
    let mut profile = profile::load("generic").unwrap();
    profile.client_auth = client_auth;
    profile.scope = Some("data:read".into());
    Provider {
        name: "p".into(),
        profile_name: "generic".into(),
        profile,
        token_url: "https://example.com/token?canary".parse::<Url>().unwrap().into(),
        values: Values::default(),
        client_id: "id:1".into(),
        client_secret: (client_auth != ClientAuth::None).then(|| ClientSecret::new("s e&canary%".into())),
    }
}

#[test]
fn credentials_are_sent_in_one_place_only() {
    let basic = "Basic aWQlM0ExOnMlMjBlJTI2Y2FuYXJ5JTI1"; // id%3A1:s%20e%26canary%25
    for (auth, authorization, body) in [
        (ClientAuth::Basic, Some(basic), ""),
        (ClientAuth::Body, None, "&client_id=id%3A1&client_secret=s+e%26canary%25"),
        (ClientAuth::None, None, "&client_id=id%3A1"),
    ] {
        let request = request(&provider(auth), &RefreshToken::new("rt".into())).unwrap();
        let sent = request.headers.iter().find(|(name, _)| name == "authorization");
        assert_eq!(sent.map(|(_, value)| value.expose()), authorization.map(str::as_bytes));
        let grant = "grant_type=refresh_token&refresh_token=rt&scope=data%3Aread";
        assert_eq!(request.body, format!("{grant}{body}"));
    }
}

#[test]
fn a_request_shows_no_secret() {
    for auth in [ClientAuth::Basic, ClientAuth::Body] {
        let shown = format!("{:?}", request(&provider(auth), &RefreshToken::new("canary".into())).unwrap());
        assert!(shown.contains("\"application/json\"") && !shown.contains("canary"), "{shown}");
        assert!(!shown.contains("aWQ"), "{shown}");
    }
}

/// A profile that lies over `generic`, for the provider `p`.
fn over_generic(more: &str) -> Provider {
    let mut table = profile::table("generic").unwrap();
    table.extend(more.parse::<toml::Table>().unwrap());
    let profile: Profile = table.try_into().unwrap();
    assert_eq!(crate::provider::conflict::conflict(&profile), None, "{more}");
    let text = profile.token_url.as_deref().unwrap_or("https://example.com/token");
    let token_url = match UrlTemplate::new(text, &profile.variables) {
        Ok(template) if token_url::is_template(text) => TokenUrl::Of(template),
        _ => text.parse().unwrap(),
    };
    let values = Values([("key".to_owned(), "from settings".to_owned())].into());
    Provider { profile, token_url, values, ..provider(ClientAuth::None) }
}

fn facts(values: &[(&str, &str)]) -> Facts {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Facts { values: values.collect(), ..Facts::default() }
}

fn of_document(
    provider: &Provider,
    access_token: Option<&str>,
    facts: &Facts,
) -> Result<GrantRequest, Malformed> {
    let (refresh_token, access_token) =
        (RefreshToken::new("rt".into()), access_token.map(|token| AccessToken::new(token.into())));
    request(provider, Login { refresh_token: &refresh_token, access_token: access_token.as_ref(), facts })
}

fn header<'a>(request: &'a GrantRequest, name: &str) -> &'a str {
    let mut found = request.headers.iter().filter(|(known, _)| known == name);
    let (_, value) = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "{name} stands once");
    std::str::from_utf8(value.expose()).unwrap()
}

#[test]
fn the_old_access_token_goes_to_its_own_place() {
    let no_facts = Facts::default();
    let bearer = over_generic(
        "client_auth = \"no_client\"\nrequest = { encoding = \"json\", grant_type = \"none\", access_token = \"bearer\" }",
    );
    let sent = of_document(&bearer, Some("at"), &no_facts).unwrap();
    assert_eq!(
        (header(&sent, "authorization"), &*sent.body),
        ("Bearer at", &br#"{"refresh_token":"rt"}"#[..])
    );
    let body = over_generic(
        "client_auth = \"no_client\"\nrequest = { encoding = \"json\", refresh_token = \"body:/t/r\", access_token = \"body:/t/a\" }",
    );
    let sent = of_document(&body, Some("at"), &no_facts).unwrap();
    assert_eq!(sent.body, r#"{"grant_type":"refresh_token","t":{"r":"rt","a":"at"}}"#);
    let cookies = over_generic("request = { refresh_token = \"cookie:r\", access_token = \"cookie:a\" }");
    assert_eq!(header(&of_document(&cookies, Some("a;t"), &no_facts).unwrap(), "cookie"), "r=rt; a=a%3Bt");
    for missing in [None, Some("not for a header"), Some("é")] {
        assert_eq!(
            of_document(&bearer, missing, &no_facts).unwrap_err(),
            Malformed::NoAccessToken,
            "{missing:?}"
        );
    }
}

#[test]
fn values_of_documents_and_settings_are_filled_in() {
    let provider = over_generic(
        "token_url = \"https://{shop}.example.com/{path}/token\"\n\
         variables = { shop = \"label\", path = { kind = \"segment\", default = \"v1\" }, key = \"secret\", name = \"text\" }\n\
         request = { encoding = \"json\", headers = { X-Key = \"{key}\", X-Id = \"{uuid}\" } }\n\
         extra_parameters = { n = 1800, f = 0.5, yes = true, name = \"{name}\", braces = '{\"x\":1}' }",
    );
    let sent =
        of_document(&provider, None, &facts(&[("shop", "acme"), ("name", "a&b=\"c\""), ("key", "stolen")]))
            .unwrap();
    assert_eq!(sent.url.as_str(), "https://acme.example.com/v1/token");
    assert_eq!(header(&sent, "x-key"), "from settings", "a document can't say what a secret is");
    let expected = r#"{"grant_type":"refresh_token","refresh_token":"rt","braces":"{\"x\":1}","f":0.5,"n":1800,"name":"a&b=\"c\"","yes":true}"#;
    assert_eq!(sent.body, expected);
    let id = header(&sent, "x-id").to_owned();
    let again = of_document(&provider, None, &facts(&[("shop", "acme"), ("name", "x")])).unwrap();
    assert_ne!(header(&again, "x-id"), id);
    let shape: String = id.chars().map(|sign| if sign.is_ascii_hexdigit() { 'x' } else { sign }).collect();
    assert_eq!((shape.as_str(), &id[14..15]), ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "4"));
    for (values, expected) in [
        (&[("shop", "acme")][..], Malformed::NoValue("name".into())),
        (&[("name", "x")], Malformed::NoValue("shop".into())),
        (&[("shop", "evil.com#"), ("name", "x")], Malformed::BadValue("shop".into())),
        (&[("shop", "acme"), ("name", "x\r\ny")], Malformed::BadValue("name".into())),
    ] {
        assert_eq!(of_document(&provider, None, &facts(values)).unwrap_err(), expected);
    }
}

#[test]
fn a_document_may_have_a_client_of_its_own() {
    let provider = over_generic("client_auth = \"none\"");
    let body = |facts: &Facts| {
        String::from_utf8(of_document(&provider, None, facts).unwrap().body.to_vec()).unwrap()
    };
    assert!(body(&Facts::default()).ends_with("&client_id=id%3A1"));
    assert!(body(&facts(&[("client_id", "own")])).ends_with("&client_id=own"));
    let without = Provider { client_id: String::new(), ..provider.clone() };
    let refused = of_document(&without, None, &Facts::default()).unwrap_err();
    assert_eq!(refused, Malformed::NoValue("client_id".into()));
}

proptest! {
    /// Whatever a document holds: the request has the header fields, the fields and the path segments of the profile.
    #[test]
    fn no_value_adds_a_header_a_field_or_a_path_segment(
        value in any::<String>(), odd in "[a-z&=%+;,\"'{}\\r\\n /:.?#-]{0,16}", token in "[ -~]{1,40}",
    ) {
        let text = "token_url = \"https://{shop}.example.com/{path}/token\"\n\
             variables = { shop = \"label\", path = \"segment\", name = \"text\" }\n\
             extra_parameters = { name = \"<{name}>\" }\n";
        for value in [value.as_str(), odd.as_str(), "acme"] {
            for encoding in ["form", "json"] {
                let shape = format!("{text}request = {{ encoding = \"{encoding}\", access_token = \"cookie:a\", headers = {{ X-N = \"{{name}}\" }} }}");
                let provider = over_generic(&format!("client_auth = \"none\"\n{shape}"));
                let facts = facts(&[("shop", "acme"), ("path", value), ("name", value)]);
                let Ok(sent) = of_document(&provider, Some(&token), &facts) else { continue };
                prop_assert_eq!(sent.url.path_segments().unwrap().count(), 2);
                prop_assert_eq!((sent.url.host_str(), sent.url.query()), (Some("acme.example.com"), None));
                let names: Vec<_> = sent.headers.iter().map(|(name, _)| &**name).collect();
                prop_assert_eq!(names, ["accept", "accept-encoding", "content-type", "cookie", "x-n"]);
                for (_, value) in &sent.headers {
                    prop_assert!(value.expose().iter().all(|byte| (0x20..=0x7e).contains(byte)));
                }
                prop_assert_eq!(header(&sent, "cookie").split("; ").count(), 1);
                let fields: Vec<(String, String)> = if encoding == "form" {
                    form_urlencoded::parse(&sent.body).into_owned().collect()
                } else {
                    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&sent.body).unwrap();
                    object.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
                };
                let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
                prop_assert_eq!(names, ["grant_type", "refresh_token", "name", "client_id"]);
                prop_assert_eq!(&fields[2].1, &format!("<{value}>"));
            }
        }
    }
}

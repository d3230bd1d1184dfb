//! The request of a grant as a person may see it: exact, but for tokens and secrets.
//!
//! It is made for texts that stand for the secrets, by the code that makes the real one; then a label takes the place of
//! each. So no secret is in it that could be forgotten.

use crate::grant::http::USER_AGENT;
use crate::grant::mask::could_be_secret;
use crate::grant::{Login, request};
use crate::provider::place::RequestPlace;
use crate::provider::request::{Encoding, Parameter};
use crate::provider::token_url::{self, TokenUrl, UrlTemplate};
use crate::provider::variable::Kind;
use crate::provider::{ClientSecret, Profile, Provider, Values};
use crate::token::{AccessToken, Facts, RefreshToken};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::fmt::Write as _;
use url::form_urlencoded;

/// Stands for the host where the settings are to name the token endpoint.
const NO_TOKEN_URL: &str = "https://token-url-is-not-set.invalid/";

/// Every sign that a form, a header, a cookie or JSON could take for something else.
const HOSTILE: &str = "a+/=&%\"\\;z";

/// The same, with a space.
const HOSTILE_WITH_SPACE: &str = "a+/=&%\"\\; z";

/// A request without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownRequest {
    /// `POST`.
    pub method: &'static str,
    /// Where.
    pub url: String,
    /// The header fields, `name: value`.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

/// What becomes of a token with every sign that could be taken for something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct HostileToken {
    /// The token.
    pub token: &'static str,
    /// How it stands in the request.
    pub sent_as: String,
    /// Does the server read the same token?
    pub arrives: bool,
    /// Would a token with a space be sent? Otherwise such a document is `malformed`.
    pub takes_a_space: bool,
}

/// Labels in the place of secrets.
struct Labels(Vec<(String, String)>);

impl Labels {
    /// A text that every encoding leaves as it is, and the label that takes its place.
    fn stand_in(&mut self, label: String) -> String {
        let text = format!("xEvergrant{:03}standsForASecretOf43Characters", self.0.len());
        self.0.push((text.clone(), label));
        text
    }

    fn put_into(&self, mut text: String) -> String {
        for (stand_in, label) in &self.0 {
            text = text.replace(stand_in, label);
        }
        text
    }
}

/// A provider that isn't configured: its profile alone.
pub(super) fn made_up(name: &str, profile: &Profile) -> Result<Provider, url::ParseError> {
    Ok(Provider {
        name: name.into(),
        profile_name: name.to_owned(),
        token_url: token_url(profile)?,
        values: Values::default(),
        client_id: String::new(),
        client_secret: None,
        profile: profile.clone(),
    })
}

fn token_url(profile: &Profile) -> Result<TokenUrl, url::ParseError> {
    let text = profile.token_url.as_deref().unwrap_or(NO_TOKEN_URL);
    match UrlTemplate::new(text, &profile.variables) {
        Ok(template) if token_url::is_template(text) => Ok(TokenUrl::Of(template)),
        _ => text.parse(),
    }
}

/// The provider with an example for each variable that neither the document nor the settings hold.
pub(super) fn example_of(provider: &Provider, facts: &Facts) -> Provider {
    let mut provider = provider.clone();
    for (name, variable) in provider.profile.variables.clone() {
        if provider.value(&name, facts).is_some_and(|value| value.is_err()) {
            provider.values.0.insert(name.clone(), variable.example(&name));
        }
    }
    provider
}

/// The request for a token of `token_characters` characters, of a document with these values.
pub(super) fn shown(provider: &Provider, token_characters: usize, facts: &Facts) -> ShownRequest {
    let (given, provider) = (provider, &example_of(provider, facts));
    let mut labels = Labels(Vec::new());
    let token = labels.stand_in(format!("‹refresh token, {token_characters} characters›"));
    let secret = labels.stand_in("‹client secret›".to_owned());
    let mut masked = provider.clone();
    masked.client_secret = Some(ClientSecret::new(secret));
    if masked.client_id.is_empty() {
        masked.client_id = labels.stand_in("‹client id›".to_owned());
    }
    let profile = &mut masked.profile;
    let parameters = profile.extra_parameters.iter_mut().filter_map(|(name, parameter)| match parameter {
        Parameter::Text(text) => Some((name, text)),
        Parameter::Flag(_) | Parameter::Whole(_) | Parameter::Number(_) => None,
    });
    for (name, value) in parameters.chain(&mut profile.request.headers) {
        if could_be_secret(name, value) {
            *value = labels.stand_in(format!("‹{name}, {} characters›", value.chars().count()));
        }
    }
    let secrets = profile.variables.iter().filter(|(_, variable)| variable.kind == Kind::Secret);
    for (name, _) in secrets {
        masked.values.0.insert(name.clone(), labels.stand_in(format!("‹{name}›")));
    }
    let facts = &hide_values(given, facts, &mut masked.values, &mut labels);
    let pairs: Vec<(String, String)> =
        masked.token_url.fixed().map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
    if let TokenUrl::Fixed(url) = &mut masked.token_url
        && pairs.iter().any(|(name, value)| could_be_secret(name, value))
    {
        let pairs = pairs.into_iter().map(|(name, value)| {
            let label = format!("‹{name}, {} characters›", value.chars().count());
            let value = if could_be_secret(&name, &value) { labels.stand_in(label) } else { value };
            (name, value)
        });
        let pairs: Vec<_> = pairs.collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    let (token, access_token) =
        (RefreshToken::new(token), AccessToken::new(labels.stand_in("‹access token›".to_owned())));
    let login = Login { access_token: Some(&access_token), facts, ..Login::from(&token) };
    let Ok(request) = request(&masked, login) else {
        // Each variable has a value by now; a document's own may be of the wrong kind.
        return ShownRequest {
            method: masked.profile.request.method.word(),
            url: masked.token_url.to_string(),
            headers: Vec::new(),
            body: String::new(),
        };
    };
    let mut headers = vec![
        format!("host: {}", request.url.host_str().unwrap_or_default()),
        format!("user-agent: {USER_AGENT}"),
    ];
    for (name, value) in &request.headers {
        let value = String::from_utf8_lossy(value.expose());
        let value = match value.strip_prefix("Basic ") {
            Some(basic) if masked.profile.client_auth.is_in_the_head() => {
                format!("‹Basic, {} characters›", basic_characters(provider).unwrap_or(basic.len()))
            }
            _ => labels.put_into(value.into_owned()),
        };
        headers.push(format!("{name}: {value}"));
    }
    ShownRequest {
        method: request.method.word(),
        url: labels.put_into(request.url.to_string()),
        headers,
        body: labels.put_into(String::from_utf8_lossy(&request.body).into_owned()),
    }
}

/// Puts stand-ins in the place of the values of a document, or of the settings, that could be secrets. Returns what else the
/// document says.
fn hide_values(provider: &Provider, facts: &Facts, shown: &mut Values, labels: &mut Labels) -> Facts {
    let mut facts = facts.clone();
    let may_be_shown = |kind: &Kind| !matches!(kind, Kind::Text | Kind::Segment);
    for (name, variable) in &provider.profile.variables {
        let Some(Ok(value)) = provider.value(name, &facts) else { continue };
        if may_be_shown(&variable.kind) || !could_be_secret(name, &value) {
            continue;
        }
        let label = format!("‹{name}, {} characters›", value.chars().count());
        facts.values.retain(|(known, _)| known != name);
        shown.0.insert(name.clone(), labels.stand_in(label));
    }
    facts
}

/// How long the real credentials are; `None` where there are none.
fn basic_characters(provider: &Provider) -> Option<usize> {
    provider.client_secret.as_ref()?;
    let (token, access_token) = (RefreshToken::new("none".to_owned()), AccessToken::new("none".to_owned()));
    let login = Login { access_token: Some(&access_token), ..Login::from(&token) };
    let request = request(provider, login).ok()?;
    let (_, credentials) = request.headers.iter().find(|(name, _)| name == "authorization")?;
    credentials.expose().strip_prefix(b"Basic ").map(<[u8]>::len)
}

/// Sends, on paper, a token that every encoding has to change.
pub(super) fn hostile(provider: &Provider) -> HostileToken {
    let place = &provider.profile.request.refresh_token;
    let takes_a_space = place.takes(&RefreshToken::new(HOSTILE_WITH_SPACE.to_owned())).is_ok();
    let token = if takes_a_space { HOSTILE_WITH_SPACE } else { HOSTILE };
    let mut provider = example_of(provider, &Facts::default());
    if provider.client_id.is_empty() {
        "client".clone_into(&mut provider.client_id);
    }
    let provider = &provider;
    let (refresh_token, access_token) =
        (RefreshToken::new(token.to_owned()), AccessToken::new("none".to_owned()));
    let login = Login { access_token: Some(&access_token), ..Login::from(&refresh_token) };
    let Ok(request) = request(provider, login) else {
        return HostileToken { token, sent_as: String::new(), arrives: false, takes_a_space };
    };
    let header = |name: &str| {
        let found = request.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8_lossy(value.expose()).into_owned()).unwrap_or_default()
    };
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let json = || serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default();
    let in_pairs = |pairs: &str, wanted: &str| {
        let raw = pairs
            .split('&')
            .find(|pair| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name == wanted));
        let raw = raw.unwrap_or_default().to_owned();
        let value = form_urlencoded::parse(raw.as_bytes()).next().map(|(_, value)| value.into_owned());
        (raw, value)
    };
    let (sent_as, arrived) = match place {
        RequestPlace::Query(name) => in_pairs(request.url.query().unwrap_or_default(), name),
        RequestPlace::Field(name) => match provider.profile.request.encoding {
            Encoding::Json => {
                let value = json().get(name).and_then(|value| value.as_str().map(str::to_owned));
                (body.clone(), value)
            }
            Encoding::Query => in_pairs(request.url.query().unwrap_or_default(), name),
            Encoding::Form | Encoding::None => in_pairs(&body, name),
        },
        RequestPlace::Pointer(names) => {
            let json = json();
            let value = names.iter().try_fold(&json, |value, name| value.get(name));
            (body.clone(), value.and_then(|value| value.as_str().map(str::to_owned)))
        }
        RequestPlace::Bearer => {
            let value = header("authorization");
            let token = value.strip_prefix("Bearer ").map(str::to_owned);
            (format!("authorization: {value}"), token)
        }
        RequestPlace::Header(name) => (format!("{name}: {}", header(name)), Some(header(name))),
        RequestPlace::Cookie(name) => {
            let value = header("cookie");
            let cookie = value.strip_prefix(&format!("{name}=")).unwrap_or_default().to_owned();
            let decoded = percent_decode_str(&cookie).decode_utf8_lossy().into_owned();
            (format!("cookie: {value}"), Some(decoded))
        }
    };
    HostileToken { token, sent_as, arrives: arrived.as_deref() == Some(token), takes_a_space }
}

impl ShownRequest {
    /// As it goes over the wire, each line behind two blanks.
    pub(super) fn text(&self) -> String {
        let mut text = format!("  {} {}", self.method, self.url);
        // Writing into a text can't fail.
        for header in &self.headers {
            let _ = write!(text, "\n  {header}");
        }
        if !self.body.is_empty() {
            let _ = write!(text, "\n\n  {}", self.body);
        }
        text
    }
}

impl HostileToken {
    /// One line.
    pub(super) fn text(&self) -> String {
        let space = if self.takes_a_space { "" } else { "; a token with a space would be `malformed`" };
        let arrives = if self.arrives { "arrives as it is" } else { "does NOT arrive as it is" };
        format!("the token `{}` {arrives}: `{}`{space}", self.token, self.sent_as)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use crate::provider::request::ClientAuth;

    fn provider(more: &str, secret: Option<&str>) -> Provider {
        let mut table = profile::table("generic").unwrap();
        table.insert(
            "token_url".to_owned(),
            "https://api.example.com/token?v=2&key=planted-4711-Kq9xZ".into(),
        );
        table.extend(more.parse::<toml::Table>().unwrap());
        let profile = profile::read("own", table).unwrap();
        let mut provider = made_up("own", &profile).unwrap();
        provider.client_id = "my-client".to_owned();
        provider.client_secret = secret.map(|secret| ClientSecret::new(secret.to_owned()));
        provider
    }

    #[test]
    fn no_secret_of_the_settings_is_in_it() {
        for auth in ["basic", "basic_raw", "secret_as_user", "body", "none", "no_client"] {
            for encoding in ["form", "json", "query"] {
                let more = format!(
                    "client_auth = \"{auth}\"\nurl_holds_secrets = true\n\
                     request = {{ encoding = \"{encoding}\", headers = {{ X-Api-Key = \"planted\", X-Version = \"2\" }} }}\n\
                     extra_parameters = {{ audience = \"planted-4712-Kq9xZ\", resource = \"api\" }}"
                );
                let shown = shown(&provider(&more, Some("planted secret")), 43, &Facts::default());
                let text = format!("{}{shown:?}", shown.text());
                assert!(!text.contains("planted") && !text.contains("xEvergrant"), "{text}");
                assert!(text.contains("‹refresh token, 43 characters›"), "{text}");
                assert!(text.contains("x-version: 2") && text.contains("v=2"), "{text}");
                if matches!(auth, "basic" | "basic_raw") {
                    assert!(text.contains("authorization: ‹Basic, "), "{text}");
                }
            }
        }
    }

    #[test]
    fn no_secret_of_a_document_is_in_it_wherever_it_stands() {
        let planted = "planted-4713-Kq9xZ-7Yd2";
        for more in [
            "variables = { device = \"text\" }\nrequest = { headers = { X-Device = \"{device}\" } }",
            "variables = { device = \"text\" }\nextra_parameters = { about = \"of {device}, v2\" }",
            "variables = { device = \"segment\" }\ntoken_url = \"https://api.example.com/{device}/token\"",
        ] {
            let provider = provider(&format!("client_auth = \"body\"\n{more}"), None);
            let said = |value: &str| Facts {
                values: vec![("device".to_owned(), value.to_owned())],
                ..Facts::default()
            };
            let secret = shown(&provider, 43, &said(planted));
            let text = format!("{}{secret:?}", secret.text());
            assert!(
                !text.contains("planted-4713") && text.contains("device, 23 characters›"),
                "{more}: {text}"
            );
            assert!(shown(&provider, 43, &said("blue")).text().contains("blue"), "{more}");
            // The settings may say it, too.
            let mut of_settings = provider.clone();
            of_settings.values.0.insert("device".to_owned(), planted.to_owned());
            let text = shown(&of_settings, 43, &Facts::default()).text();
            assert!(!text.contains("planted-4713"), "{more}: {text}");
        }
        // By its name.
        let more = "client_auth = \"body\"\nvariables = { device_secret = \"text\" }\n\
                    request = { headers = { X-Device = \"{device_secret}\" } }";
        let facts =
            Facts { values: vec![("device_secret".to_owned(), "blue".to_owned())], ..Facts::default() };
        let text = shown(&provider(more, None), 43, &facts).text();
        assert!(!text.contains("blue") && text.contains("‹device_secret, 4 characters›"), "{text}");
    }

    #[test]
    fn a_request_is_shown_as_it_is_sent() {
        insta::assert_snapshot!(
            shown(&provider("client_auth = \"body\"", None), 43, &Facts::default()).text()
        );
    }

    #[test]
    fn a_hostile_token_arrives_from_every_place() {
        for (place, encoding, takes_a_space) in [
            ("body:t", "form", true),
            ("body:t", "json", true),
            ("body:/a/t", "json", true),
            ("query:t", "form", true),
            ("body:t", "query", true),
            ("bearer", "none", false),
            ("header:x-t", "none", false),
            ("cookie:t", "none", true),
        ] {
            let more = format!(
                "client_auth = \"no_client\"\nurl_holds_secrets = true\n\
                 request = {{ encoding = \"{encoding}\", refresh_token = \"{place}\" }}"
            );
            let found = hostile(&provider(&more, None));
            assert!(found.arrives, "{place} {encoding}: {found:?}");
            assert_eq!(found.takes_a_space, takes_a_space, "{place} {encoding}");
        }
        assert!(ClientAuth::Basic.is_in_the_head());
    }
}

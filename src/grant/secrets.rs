//! What in a request must not be shown, wherever an answer repeats it. Pure.

use super::mask::is_secret_text;
use crate::provider::request::Parameter;
use crate::provider::variable::Kind;
use crate::provider::{ClientSecret, Provider, template};
use crate::token::Facts;
use secrecy::zeroize::Zeroizing;
use std::borrow::Cow;
use std::convert::Infallible;

/// Every text of a request that is a secret or could be one, but for the tokens: the client secret, secret variables, and
/// what looks like a secret among the header fields, the parameters, the URL's parameters and the document's values.
#[must_use]
pub fn secrets(provider: &Provider, facts: &Facts) -> Vec<Zeroizing<String>> {
    let profile = &provider.profile;
    let kept = |text: &str| Zeroizing::new(text.to_owned());
    let mut found: Vec<_> = provider.client_secret.iter().map(ClientSecret::expose).map(kept).collect();
    for (name, variable) in &profile.variables {
        let Some(Ok(value)) = provider.value(name, facts) else { continue };
        if variable.kind == Kind::Secret || is_secret_text(name, &value) {
            found.push(kept(&value));
        }
    }
    let parameters = profile.extra_parameters.iter().filter_map(|(name, parameter)| match parameter {
        Parameter::Text(text) => Some((name, text)),
        Parameter::Flag(_) | Parameter::Whole(_) | Parameter::Number(_) => None,
    });
    for (name, text) in parameters.chain(&profile.request.headers) {
        // What the document lacks is left out: such a request isn't sent.
        let value = |name: &str| -> Option<Result<Cow<'_, str>, Infallible>> {
            Some(Ok(provider.value(name, facts)?.unwrap_or_default()))
        };
        let Ok(text) = template::filled(text, value);
        // Without the scheme before it, too: `Bearer` isn't repeated with it.
        let pieces = text.split(' ').chain([&*text]);
        found.extend(pieces.filter(|piece| is_secret_text(name, piece)).map(kept));
    }
    if let Some(url) = provider.token_url.fixed() {
        let pairs = url.query_pairs().filter(|(name, value)| is_secret_text(name, value));
        found.extend(pairs.map(|(_, value)| kept(&value)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::{Login, request};
    use crate::provider::{Values, profile};
    use crate::token::{AccessToken, RefreshToken};

    #[test]
    fn what_must_not_be_shown_of_a_request_is_known_wherever_it_comes_from() {
        let mut table = profile::table("generic").unwrap();
        let more = "client_auth = \"body\"\nurl_holds_secrets = true\n\
             variables = { key = \"secret\", device = \"text\", shop = \"label\", lacking = \"text\" }\n\
             extra_parameters = { pass_token = \"Sesame-open\", audience = \"api\", device = \"of {device}\", n = 7, \
             lacking = \"{lacking}\" }\n\
             request = { access_token = \"header:x-old\", headers = { X-Key = \"{key}\", X-Api-Key = \"Bearer \
             k3y-9Qw-in-the-profile\", X-Version = \"2\", X-Access = \"full\" } }";
        table.extend(more.parse::<toml::Table>().unwrap());
        let profile = profile::read("own", table).unwrap();
        let provider = Provider {
            name: "own".into(),
            profile_name: "own".into(),
            profile,
            token_url: "https://example.com/token?v=2&code=c0de-8Zt5-of-the-url"
                .parse::<url::Url>()
                .unwrap()
                .into(),
            values: Values([("key".to_owned(), "k3y".to_owned())].into()),
            client_id: "my-client".into(),
            client_secret: Some(ClientSecret::new("cl13nt".into())),
        };
        let facts = Facts {
            values: vec![
                ("device".to_owned(), "dev1ce-7Rk2-Lm9Qx-4".to_owned()),
                ("shop".to_owned(), "blue".to_owned()),
            ],
            ..Facts::default()
        };
        let found = secrets(&provider, &facts);
        let found: Vec<_> = found.iter().map(|secret| secret.as_str()).collect();
        for secret in [
            "cl13nt",
            "k3y",
            "Sesame-open",
            "dev1ce-7Rk2-Lm9Qx-4",
            "of dev1ce-7Rk2-Lm9Qx-4",
            "k3y-9Qw-in-the-profile",
            "c0de-8Zt5-of-the-url",
        ] {
            assert!(found.contains(&secret), "{secret}: {found:?}");
        }
        for public in ["api", "2", "full", "blue", "my-client", "7", ""] {
            assert!(!found.contains(&public), "{public}: {found:?}");
        }
        // And the tokens that were really sent.
        let (token, access) = (RefreshToken::new("rt".into()), AccessToken::new("at".into()));
        let facts = Facts {
            values: vec![
                ("lacking".to_owned(), "x".to_owned()),
                ("device".to_owned(), "y".to_owned()),
                ("shop".to_owned(), "z".to_owned()),
            ],
            ..Facts::default()
        };
        let login = Login { refresh_token: &token, access_token: Some(&access), facts: &facts };
        let sent = request(&provider, login).unwrap().secrets;
        for secret in ["rt", "at", "cl13nt"] {
            assert!(sent.iter().any(|known| **known == secret), "{secret}");
        }
    }
}

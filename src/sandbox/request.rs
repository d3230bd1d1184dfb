//! What a token request asks for, read as RFC 6749 §6 and §2.3.1 say, and no more kindly.

use super::SandboxConfig;
use super::opaque;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use std::borrow::Cow;
use url::form_urlencoded;

/// Why a request is answered without looking for its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// It is malformed in the way that the text says.
    InvalidRequest(&'static str),
    /// Not the client we know; `challenge` if it tried HTTP authentication.
    InvalidClient { challenge: bool },
    /// Another grant type than `refresh_token`.
    UnsupportedGrantType,
}

impl Rejection {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest(_) | Self::UnsupportedGrantType => StatusCode::BAD_REQUEST,
            Self::InvalidClient { .. } => StatusCode::UNAUTHORIZED,
        }
    }

    /// `error` and `error_description` (RFC 6749 §5.2).
    pub(super) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest(why) => ("invalid_request", why),
            Self::InvalidClient { .. } => ("invalid_client", "unknown client, or wrong secret"),
            Self::UnsupportedGrantType => ("unsupported_grant_type", "only refresh_token is granted here"),
        }
    }
}

#[derive(Default)]
struct Form<'a> {
    grant_type: Option<Cow<'a, str>>,
    refresh_token: Option<Cow<'a, str>>,
    client_id: Option<Cow<'a, str>>,
    client_secret: Option<Cow<'a, str>>,
}

/// Reads the refresh token out of a request whose client is who it says.
pub(super) fn refresh_token<'a>(
    config: &SandboxConfig,
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<Cow<'a, str>, Rejection> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Rejection::InvalidRequest("the body must be application/x-www-form-urlencoded"));
    }
    let form = read_form(body)?;
    authenticate(config, headers, &form)?;
    match form.grant_type.as_deref() {
        Some("refresh_token") => {}
        Some(_) => return Err(Rejection::UnsupportedGrantType),
        None => return Err(Rejection::InvalidRequest("grant_type is missing")),
    }
    form.refresh_token.ok_or(Rejection::InvalidRequest("refresh_token is missing"))
}

fn read_form(body: &[u8]) -> Result<Form<'_>, Rejection> {
    let mut form = Form::default();
    for (name, value) in form_urlencoded::parse(body) {
        let field = match name.as_ref() {
            "grant_type" => &mut form.grant_type,
            "refresh_token" => &mut form.refresh_token,
            "client_id" => &mut form.client_id,
            "client_secret" => &mut form.client_secret,
            _ => continue,
        };
        // A parameter without a value counts as left out (RFC 6749 §3.2).
        if !value.is_empty() && field.replace(value).is_some() {
            return Err(Rejection::InvalidRequest("a parameter is repeated"));
        }
    }
    Ok(form)
}

fn authenticate(config: &SandboxConfig, headers: &HeaderMap, form: &Form<'_>) -> Result<(), Rejection> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        let known = form.client_id.as_deref() == Some(config.client_id.as_str())
            && form.client_secret.as_deref() == Some(config.client_secret.as_str());
        return if known { Ok(()) } else { Err(Rejection::InvalidClient { challenge: false }) };
    };
    if form.client_secret.is_some() {
        return Err(Rejection::InvalidRequest("client authentication in the header and in the body"));
    }
    let (client_id, client_secret) = header
        .to_str()
        .ok()
        .and_then(opaque::basic_credentials)
        .ok_or(Rejection::InvalidClient { challenge: true })?;
    if !same(&client_id, &config.client_id) || !same(&client_secret, &config.client_secret) {
        return Err(Rejection::InvalidClient { challenge: true });
    }
    match form.client_id.as_deref() {
        Some(other) if other != config.client_id => {
            Err(Rejection::InvalidRequest("client_id is not the client of the header"))
        }
        _ => Ok(()),
    }
}

/// Compares one half of Basic credentials, form-encoded as RFC 6749 §2.3.1 has it, or as they are, as many clients do.
fn same(sent: &str, known: &str) -> bool {
    sent == known || sent == form_urlencoded::byte_serialize(known.as_bytes()).collect::<String>()
}

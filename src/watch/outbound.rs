//! Requests to those whom we tell something: a few tries, short ones, and what fails is said without the URL. And one to a process
//! of our own, which is asked how it stands.

use crate::failure::error_chain;
use secrecy::{ExposeSecret as _, SecretString};
use std::net::SocketAddr;
use std::time::Duration;
use url::Url;

/// Longest time for one try.
const TRY: Duration = Duration::from_secs(10);

/// Longest time for the answer of a process of ours: it has it in memory, and lets a wrong token wait for a second.
const ASKING: Duration = Duration::from_secs(5);

/// Tries in all.
const TRIES: u32 = 3;

/// Pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// How it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Replaces what is there.
    Put,
    /// Tells something.
    Post,
}

/// It was not taken. Holds no URL: one may be a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutboundError {
    /// There was no answer.
    #[error("there was no answer")]
    NoAnswer(#[source] reqwest::Error),
    /// An answer that isn't a success.
    #[error("the answer was HTTP {0}")]
    Refused(u16),
}

/// Sends it, a few times if need be.
pub(super) async fn send(
    method: Method,
    url: &Url,
    media_type: &'static str,
    body: String,
) -> Result<(), OutboundError> {
    let client = client()?;
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match once(&client, method, url, media_type, body.clone()).await {
            Ok(()) => return Ok(()),
            // It was understood, and won't be taken.
            Err(error @ OutboundError::Refused(400..=428 | 430..=499)) => return Err(error),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
    once(&client, method, url, media_type, body).await
}

/// What a process of ours says of itself.
#[derive(Debug)]
pub struct Said {
    /// The HTTP status.
    pub status: u16,
    /// The headers that we asked for, in this order.
    pub headers: Vec<Option<String>>,
    /// The body.
    pub text: String,
}

/// Asks a process on this machine once, past any proxy.
///
/// # Errors
/// In words, why there is no answer.
pub async fn ask(
    address: SocketAddr,
    path: &str,
    token: Option<&SecretString>,
    headers: &[&str],
) -> Result<Said, String> {
    let in_words = |error: reqwest::Error| match error {
        error if error.is_connect() => "nothing listens there".to_owned(),
        error if error.is_timeout() => format!("it has not answered for {} s", ASKING.as_secs()),
        error => error_chain(&error.without_url()),
    };
    let client = builder().timeout(ASKING).no_proxy().build().map_err(in_words)?;
    let mut request = client.get(format!("http://{address}{path}"));
    if let Some(token) = token {
        request = request.bearer_auth(token.expose_secret());
    }
    let answer = request.send().await.map_err(in_words)?;
    let text = |name: &&str| Some(answer.headers().get(*name)?.to_str().ok()?.to_owned());
    let (status, headers) = (answer.status().as_u16(), headers.iter().map(text).collect());
    Ok(Said { status, headers, text: answer.text().await.map_err(in_words)? })
}

fn client() -> Result<reqwest::Client, OutboundError> {
    builder().timeout(TRY).build().map_err(OutboundError::NoAnswer)
}

fn builder() -> reqwest::ClientBuilder {
    // One crypto provider for the whole binary; an error says it is set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.user_agent(crate::grant::http::USER_AGENT)
}

async fn once(
    client: &reqwest::Client,
    method: Method,
    url: &Url,
    media_type: &'static str,
    body: String,
) -> Result<(), OutboundError> {
    let method = match method {
        Method::Put => reqwest::Method::PUT,
        Method::Post => reqwest::Method::POST,
    };
    let request =
        client.request(method, url.clone()).header(reqwest::header::CONTENT_TYPE, media_type).body(body);
    let answer = request.send().await.map_err(|error| OutboundError::NoAnswer(error.without_url()))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(OutboundError::Refused(status.as_u16())) }
}

//! The wire: the only file that knows `reqwest`. One request, no redirect, no retry, no proxy by surprise.

mod address;

use super::patience::Patience;
use super::request::FieldValue;
use super::{Connect, GrantRequest, RawAnswer, Sent, Wire, append};
use crate::clock::Clock;
use crate::failure::Advice;
use crate::kill_point::{Point, reach};
use crate::provider::Provider;
use crate::provider::request::Method;
use address::is_public;
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderValue;
use secrecy::zeroize::Zeroizing;
use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;

/// Longest body kept, in bytes. A pair has a few KiB; a body beyond this is a page, and not worth its memory.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The `User-Agent` of each request.
pub const USER_AGENT: &str = concat!("evergrant/", env!("CARGO_PKG_VERSION"));

/// What a body is expected to take at most, in bytes; a longer one is moved to a larger place.
const USUAL_BODY_BYTES: usize = 16 * 1024;

/// Longest wait for a connection: DNS, TCP and TLS. Nothing is sent before it stands, so giving up is not ambiguous.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An idle connection is closed by us after this, before common servers close it (nginx: 75 s, AWS: 60 s, some: 20 s).
///
/// A connection that the peer closes while we write makes an ambiguous grant (hyper#2136).
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest wait of [`TokenEndpoint::reach`]: nothing depends on its answer.
const REACH_TIMEOUT: Duration = Duration::from_secs(15);

/// Most addresses named as evidence for one request; a name with more is one of a content network.
const MOST_PEERS: usize = 4;

/// What came of looking at a token endpoint without sending anything to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Something answered, with this status; what it says to a request without a grant means nothing.
    Answered(u16),
    /// Nothing did.
    NotReached {
        /// The cause as a word: `dns`, `connect`, `tls`, `connect_timeout`, `timeout`, `reset`.
        cause: &'static str,
        /// The library's error with its causes; no secret is in it.
        detail: String,
    },
}

impl Reach {
    /// Does the server say that it has no such path?
    #[must_use]
    pub const fn is_no_path(&self) -> bool {
        matches!(self, Self::Answered(404 | 410))
    }
}

/// A method in the library's types.
const fn of_library(method: Method) -> reqwest::Method {
    match method {
        Method::Post => reqwest::Method::POST,
        Method::Get => reqwest::Method::GET,
        Method::Put => reqwest::Method::PUT,
    }
}

/// The connections to one provider's token endpoint.
#[derive(Debug, Clone)]
pub struct TokenEndpoint {
    client: reqwest::Client,
    /// Longest wait for all of an answer.
    timeout: Duration,
    /// What is asked, where it is the same for all documents.
    url: Option<Url>,
    /// How its tokens are sent.
    method: reqwest::Method,
    clock: Clock,
    peers: Arc<Peers>,
}

/// The addresses behind each host's name, as they were last resolved, and the one that answered last.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<String, Host>>);

#[derive(Debug, Default, Clone)]
struct Host {
    resolved: Vec<IpAddr>,
    answered: Option<SocketAddr>,
}

/// Most hosts that are remembered: an installation's documents may name thousands.
const MOST_HOSTS: usize = 1000;

impl Peers {
    fn note(&self, host: &str, change: impl FnOnce(&mut Host)) {
        let mut hosts = locked(&self.0);
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(host) {
            hosts.clear();
        }
        change(hosts.entry(host.to_owned()).or_default());
    }

    fn of(&self, host: &str) -> Host {
        locked(&self.0).get(host).cloned().unwrap_or_default()
    }
}

/// The TLS stack can't be set up: no usable root certificates on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the HTTPS client can't be set up")]
pub struct ClientError(#[source] reqwest::Error);

impl Advice for ClientError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("are the system's root certificates installed (package `ca-certificates`)?".into())
    }
}

impl TokenEndpoint {
    /// Prepares connections to `provider`'s token endpoint; makes none yet.
    pub fn new(provider: &Provider, clock: Clock) -> Result<Self, ClientError> {
        // One crypto provider for the whole binary, the one that the MongoDB driver brings; an error says it is set.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let peers = Arc::new(Peers::default());
        let client = settings(provider, &peers).build().map_err(ClientError)?;
        Ok(Self::over(client, provider, clock, peers))
    }

    fn over(client: reqwest::Client, provider: &Provider, clock: Clock, peers: Arc<Peers>) -> Self {
        let timeout = provider.profile.request_timeout;
        let method = of_library(provider.profile.request.method);
        Self { client, timeout, url: provider.token_url.fixed().cloned(), method, clock, peers }
    }

    /// Finds out whether anything answers at the token endpoint: a GET without credentials, parameters or token. Where
    /// that finds no such path, the same by the method that sends tokens: many servers know a path by one method only.
    ///
    /// `None` where each document says where that is. Cancel-safe.
    pub async fn reach(&self) -> Option<Reach> {
        let url = self.url.as_ref()?;
        let by_get = self.reached(reqwest::Method::GET, url).await;
        if !by_get.is_no_path() || self.method == reqwest::Method::GET {
            return Some(by_get);
        }
        let answered = |reach: &Reach| matches!(reach, Reach::Answered(_));
        Some(self.reached(self.method.clone(), url).await).filter(answered).or(Some(by_get))
    }

    async fn reached(&self, method: reqwest::Method, url: &Url) -> Reach {
        match self.client.request(method, url.clone()).timeout(REACH_TIMEOUT).send().await {
            Ok(response) => Reach::Answered(response.status().as_u16()),
            Err(error) => {
                let cause = match not_answered(&error) {
                    Sent::NotSent(cause) | Sent::Lost(cause) => cause,
                    Sent::Answered(answer) => return Reach::Answered(answer.status),
                };
                Reach::NotReached { cause, detail: causes(&error.without_url()) }
            }
        }
    }

    /// The same request in the library's types.
    fn prepared(&self, request: &GrantRequest) -> reqwest::RequestBuilder {
        let mut prepared = self.client.request(of_library(request.method), request.url.clone());
        for (name, value) in &request.headers {
            prepared = match value {
                FieldValue::Public(text) => prepared.header(&**name, *text),
                FieldValue::Secret(bytes) => match HeaderValue::from_maybe_shared(bytes.clone()) {
                    Ok(mut value) => {
                        value.set_sensitive(true);
                        prepared.header(&**name, value)
                    }
                    // The library keeps the error, and sends nothing.
                    Err(_) => prepared.header(&**name, bytes.as_ref()),
                },
            };
        }
        prepared.body(request.body.clone())
    }

    async fn receive(&self, url: &Url, mut response: reqwest::Response, mut patience: Patience) -> Sent {
        reach(Point::AnswerBegun);
        let status = response.status().as_u16();
        if let Some(peer) = response.remote_addr() {
            self.peers.note(url.host_str().unwrap_or_default(), |host| host.answered = Some(peer));
        }
        let headers =
            response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let mut body = Zeroizing::new(Vec::with_capacity(USUAL_BODY_BYTES));
        let complete = loop {
            match patience.wait(response.chunk()).await {
                Some(Ok(None)) => break true,
                Some(Ok(Some(chunk))) if body.len() + chunk.len() <= MAX_BODY_BYTES => {
                    append(&mut body, &chunk);
                }
                Some(Ok(Some(_)) | Err(_)) | None => break false,
            }
        };
        let body = Bytes::from_owner(body);
        let received_at = self.clock.now();
        Sent::Answered(RawAnswer { status, headers, body, complete, received_at })
    }
}

/// How the library sends.
fn settings(provider: &Provider, peers: &Arc<Peers>) -> reqwest::ClientBuilder {
    let resolver =
        Remembering { peers: peers.clone(), public_only: provider.token_url.is_a_documents_host() };
    let settings = reqwest::Client::builder()
        .dns_resolver(resolver)
        .redirect(reqwest::redirect::Policy::none())
        // By default it sends a request again that an HTTP/2 server says not to have processed: without an intent, outside
        // of the rate, unseen by the report. A request goes out once, and the journal decides about a second time.
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(provider.profile.concurrency.get())
        .tcp_nodelay(true)
        .user_agent(USER_AGENT);
    if provider.profile.is_sent_by_http1() { settings.http1_only() } else { settings }
}

/// HTTPS, as in production: a [`TokenEndpoint`] for each provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct Https;

impl Connect for Https {
    fn connect(&self, provider: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, ClientError> {
        Ok(Arc::new(TokenEndpoint::new(provider, clock.clone())?))
    }
}

#[async_trait]
impl Wire for TokenEndpoint {
    /// Waits for at most the provider's request timeout.
    async fn post(&self, request: &GrantRequest) -> Sent {
        let mut patience = Patience::new(self.timeout);
        match patience.wait(self.prepared(request).send()).await {
            Some(Ok(response)) => self.receive(&request.url, response, patience).await,
            Some(Err(error)) => not_answered(&error),
            None => Sent::Lost("timeout"),
        }
    }

    fn peer(&self, url: &Url) -> Option<String> {
        let port = url.port_or_known_default().unwrap_or_default();
        let name = match url.host()? {
            url::Host::Ipv4(address) => return Some(SocketAddr::new(address.into(), port).to_string()),
            url::Host::Ipv6(address) => return Some(SocketAddr::new(address.into(), port).to_string()),
            url::Host::Domain(name) => name,
        };
        let Host { resolved, answered } = self.peers.of(name);
        // The one that answered last is where the pooled connections lead, as long as the name still stands for it.
        if let Some(answered) = answered
            && (resolved.is_empty() || resolved.contains(&answered.ip()))
        {
            return Some(answered.to_string());
        }
        let shown =
            resolved.iter().take(MOST_PEERS).map(|address| SocketAddr::new(*address, port).to_string());
        Some(shown.collect::<Vec<_>>().join(", ")).filter(|shown| !shown.is_empty())
    }
}

/// The name has no address, by the system's resolver.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Unresolved(std::io::Error);

/// A document's host has an address within a private network.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}`, which comes from a document, has a private address: a document must not lead a token into a network of ours"
)]
struct Private(String);

/// The system's resolver, with a memory: the library doesn't say where a request went that got no answer.
struct Remembering {
    peers: Arc<Peers>,
    /// Do documents say which host is asked? Then an address of a private network is none.
    public_only: bool,
}

impl Resolve for Remembering {
    fn resolve(&self, name: Name) -> Resolving {
        let (peers, public_only) = (self.peers.clone(), self.public_only);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            let addresses: Vec<_> = found.collect();
            if public_only && addresses.iter().any(|address| !is_public(address.ip())) {
                return Err(Private(name.as_str().to_owned()).into());
            }
            peers.note(name.as_str(), |host| host.resolved = addresses.iter().map(SocketAddr::ip).collect());
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after every assignment: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The causes of an error, without the layers above them that only say that there was one.
fn causes(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    // `client error (Connect)` and the like say nothing that the next one doesn't.
    texts.retain(|text| !text.starts_with("client error"));
    texts.dedup();
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

/// Was it sent? Only an error before the connection stood proves that it wasn't.
fn not_answered(error: &reqwest::Error) -> Sent {
    if !(error.is_connect() || error.is_builder()) {
        return Sent::Lost(if error.is_timeout() { "timeout" } else { "reset" });
    }
    if error.is_timeout() {
        return Sent::NotSent("connect_timeout");
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if is_tls(cause) {
            return Sent::NotSent("tls");
        }
        if cause.is::<Unresolved>() {
            return Sent::NotSent("dns");
        }
        if cause.is::<Private>() {
            return Sent::NotSent("private_address");
        }
        source = cause.source();
    }
    Sent::NotSent("connect")
}

/// Is it an error of TLS, within as many I/O errors as the layers between have wrapped around it?
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut inner = error;
    while let Some(wrapped) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        inner = wrapped;
    }
    inner.is::<rustls::Error>()
}

#[cfg(test)]
mod once_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[tokio::test]
    async fn a_name_that_leads_into_a_private_network_is_asked_only_where_the_settings_say_so() {
        for (public_only, found) in [(true, false), (false, true)] {
            let resolver = Remembering { peers: Arc::default(), public_only };
            let resolved = resolver.resolve("localhost".parse().unwrap()).await;
            assert_eq!(resolved.is_ok(), found);
        }
    }

    #[test]
    fn an_error_of_tls_is_found_within_others() {
        let wrapped = Error::other(Error::other(rustls::Error::DecryptError));
        assert!(is_tls(&wrapped));
        assert!(!is_tls(&Error::other("tls")));
        assert!(!is_tls(&Error::from(std::io::ErrorKind::ConnectionRefused)));
    }
}

//! The HTTP side: `/livez`, `/readyz`, `/metrics`, `/status`, `/status.json`. It only reads, and no pass waits for it.
//!
//! Few connections, short ones: a reader must not take the file descriptors or the memory of a pass.

use super::metrics::{self, Which};
use super::standing::{Source, Standing};
use super::{Listen, Shows, WatchSettings, probe};
use base64::Engine as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

/// Connections at a time. One more ends the oldest: readers that are slow, or many, must not keep a probe from its answer, which would
/// end a process that works.
const CONNECTIONS: usize = 64;

/// Longest time for the head of a request, and between two of them.
const HEAD: Duration = Duration::from_secs(5);

/// Longest life of a connection: a client that reads slowly keeps its place no longer.
const CONNECTION: Duration = Duration::from_mins(1);

/// The header in which a process says which journal it holds.
pub const JOURNAL_HEADER: &str = "evergrant-journal";

/// The header in which it says what `evergrant status` ends with.
pub const EXIT_HEADER: &str = "evergrant-exit-code";

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 8192;

/// Pause after a wrong token, and after a failed accept: without free file descriptors the next one would fail at once.
const PAUSE: Duration = Duration::from_secs(1);

/// What listens.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    terms: Terms,
}

/// Who may ask for what.
#[derive(Debug)]
struct Terms {
    is_loopback: bool,
    token: Option<[u8; 32]>,
    hosts: Vec<String>,
    labels: Vec<(String, String)>,
}

/// It can't listen there.
#[derive(Debug, thiserror::Error)]
#[error("can't listen at {address}, as `admin.listen` says")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl crate::failure::Advice for ListenError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program has that port: set `admin.listen` to another one, or to `off`".into()
            }
            _ => "set `admin.listen` to an address of this machine, or to `off`".into(),
        })
    }
}

impl Admin {
    /// Listens where the settings say; `None` where they say that it shouldn't, or where the default port is taken, which is told.
    ///
    /// # Errors
    /// [`ListenError`] when an address that a person chose can't be used.
    pub async fn listen(settings: &WatchSettings) -> Result<Option<Self>, ListenError> {
        let Some(Listen { address, is_set }) = settings.listen else { return Ok(None) };
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(source) if is_set => return Err(ListenError { address, source }),
            Err(source) => {
                let error = ListenError { address, source };
                warn!("{}; there are no metrics and no health here", crate::failure::told(&error));
                return Ok(None);
            }
        };
        let at = listener.local_addr().unwrap_or(address);
        let is_loopback = address.ip().is_loopback();
        info!(address = %at, "metrics and health are at http://{at}/metrics, /livez, /readyz, /status and /status.json");
        if !is_loopback && settings.token.is_none() {
            warn!(
                "`admin.listen` is open to other machines, and there is no `admin.token`: /status and /status.json are not shown; the rest holds counts alone"
            );
        }
        let terms = Terms {
            is_loopback,
            token: settings.token.as_ref().map(|token| digest(token.expose_secret())),
            hosts: settings.hosts.clone(),
            labels: settings.labels.clone(),
        };
        Ok(Some(Self { listener, terms }))
    }

    /// Answers until `ended`; connections that are open then are closed.
    pub async fn serve(self, shows: Arc<dyn Shows>, ended: CancellationToken) {
        let Self { listener, terms } = self;
        let (terms, places, connections) =
            (Arc::new(terms), Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
        let mut open = VecDeque::<CancellationToken>::with_capacity(CONNECTIONS);
        let mut accept = async || {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "a connection to `admin.listen` could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    return None;
                }
            };
            open.retain(|over| !over.is_cancelled());
            if open.len() >= CONNECTIONS
                && let Some(oldest) = open.pop_front()
            {
                oldest.cancel();
            }
            let over = ended.child_token();
            open.push_back(over.clone());
            Some((stream, over, places.clone().acquire_owned().await.ok()?))
        };
        while let Some(accepted) = ended.run_until_cancelled(accept()).await {
            let Some((stream, over, place)) = accepted else { continue };
            let (shows, terms) = (shows.clone(), terms.clone());
            connections.spawn(async move {
                let served = tokio::time::timeout(CONNECTION, connection(stream, shows, terms));
                if let Some(Ok(Err(error))) = over.run_until_cancelled(served).await {
                    debug!(%error, "a connection to `admin.listen` broke");
                }
                over.cancel();
                drop(place);
            });
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }
}

async fn connection(stream: TcpStream, shows: Arc<dyn Shows>, terms: Arc<Terms>) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let (shows, terms) = (shows.clone(), terms.clone());
        async move { Ok::<_, Infallible>(answer(&request, &*shows, &terms).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
    server.serve_connection(TokioIo::new(stream), service).await
}

async fn answer<B: Sync>(request: &Request<B>, shows: &dyn Shows, terms: &Terms) -> Response<Full<Bytes>> {
    let verbose = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "verbose"));
    let text = |status, text: String| plain(status, "text/plain; charset=utf-8", text);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/livez" => {
            let probe = probe::live(shows);
            text(probe.status(), probe.text(verbose))
        }
        "/readyz" => {
            let probe = probe::ready(shows);
            text(probe.status(), probe.text(verbose))
        }
        "/metrics" => plain(
            StatusCode::OK,
            metrics::MEDIA_TYPE,
            metrics::page(&shows.status(), Which::All, &terms.labels),
        ),
        path @ ("/status" | "/status.json") => match terms.admit(request.headers()) {
            Ok(()) => standing(shows, path == "/status.json"),
            Err(Refused::Host) => {
                text(StatusCode::FORBIDDEN, "this host name is not among `admin.hosts`\n".to_owned())
            }
            Err(Refused::NoToken) => text(
                StatusCode::FORBIDDEN,
                "set `admin.token`, and send it: `admin.listen` is open to other machines\n".to_owned(),
            ),
            Err(Refused::Token) => {
                tokio::time::sleep(PAUSE).await;
                let mut refused =
                    text(StatusCode::UNAUTHORIZED, "this needs the token `admin.token`\n".to_owned());
                let ask = HeaderValue::from_static(r#"Basic realm="evergrant""#);
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
                refused
            }
        },
        _ => text(StatusCode::NOT_FOUND, "/livez, /readyz, /metrics, /status, /status.json\n".to_owned()),
    }
}

/// How the process stands, as text or as JSON; two headers tell `evergrant status` what it needs of both.
fn standing(shows: &dyn Shows, as_json: bool) -> Response<Full<Bytes>> {
    let standing = Standing::of(shows.status(), Source::Process);
    let mut response = if as_json {
        let json = serde_json::to_string_pretty(&standing).unwrap_or_default();
        plain(StatusCode::OK, "application/json", json + "\n")
    } else {
        plain(StatusCode::OK, "text/plain; charset=utf-8", format!("{standing}\n"))
    };
    for (name, value) in [
        (JOURNAL_HEADER, standing.status.journal.id.clone()),
        (EXIT_HEADER, standing.exit.code().to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn plain(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why it isn't shown.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Host,
    Token,
    NoToken,
}

impl Terms {
    /// May this request see what isn't open to all?
    fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        if !self.knows_host(headers) {
            return Err(Refused::Host);
        }
        match &self.token {
            None if self.is_loopback => Ok(()),
            None => Err(Refused::NoToken),
            Some(token) if given(headers).is_some_and(|given| digest(&given) == *token) => Ok(()),
            Some(_) => Err(Refused::Token),
        }
    }

    /// A page of another site must not reach us under a name of its own that it points here: parsed, and never by prefix.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
        let (name, port) = match host.rsplit_once(':') {
            // An IPv6 literal without a port ends with `]`.
            Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_known = literal.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name));
        has_port && is_known
    }
}

/// The token of a request: as a Bearer token, or as the password of any user.
fn given(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// Digests are compared, and never the tokens: how long that takes says nothing of these.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers<const N: usize>(fields: [(header::HeaderName, &str); N]) -> HeaderMap {
        fields.into_iter().map(|(name, value)| (name, HeaderValue::from_str(value).unwrap())).collect()
    }

    fn terms(is_loopback: bool, token: Option<&str>) -> Terms {
        let hosts = vec!["crm.example.com".to_owned()];
        Terms { is_loopback, token: token.map(digest), hosts, labels: Vec::new() }
    }

    #[test]
    fn a_host_is_an_address_localhost_or_a_name_that_is_set() {
        for (host, known) in [
            ("127.0.0.1:9877", true),
            ("127.0.0.1", true),
            ("[::1]:9877", true),
            ("[::1]", true),
            ("localhost:9877", true),
            ("CRM.example.com", true),
            ("10.2.3.4:80", true),
            ("127.0.0.1.evil.com", false),
            ("localhost.evil.com:9877", false),
            ("evil.com", false),
            ("crm.example.com:port", false),
            ("", false),
        ] {
            let admitted = terms(true, None).admit(&headers([(header::HOST, host)]));
            assert_eq!(admitted, if known { Ok(()) } else { Err(Refused::Host) }, "{host}");
        }
        assert_eq!(terms(true, None).admit(&HeaderMap::new()), Err(Refused::Host));
    }

    #[test]
    fn a_token_opens_as_bearer_or_password_and_other_machines_need_one() {
        let basic = |pair: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let asked = |terms: &Terms, authorization: &str| {
            terms.admit(&headers([(header::HOST, "10.0.0.1"), (header::AUTHORIZATION, authorization)]))
        };
        for (authorization, admitted) in [
            ("Bearer secret", true),
            ("bearer  secret ", true),
            (&*basic("any:secret"), true),
            (&*basic("any:other"), false),
            ("Bearer other", false),
            ("Digest secret", false),
            ("secret", false),
        ] {
            let expected = if admitted { Ok(()) } else { Err(Refused::Token) };
            assert_eq!(asked(&terms(true, Some("secret")), authorization), expected, "{authorization}");
            assert_eq!(asked(&terms(false, Some("secret")), authorization), expected, "{authorization}");
        }
        assert_eq!(asked(&terms(false, None), "Bearer secret"), Err(Refused::NoToken));
    }
}

//! The socket side: accepts, serves, stops.

use super::answer::Cut;
use super::connection::{Connection, Watched};
use super::{Shared, routes, token_endpoint};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// How long a stopping sandbox lets open requests finish before it closes their connections.
const STOP_GRACE: Duration = Duration::from_millis(200);

/// Pause after a failed accept: the usual cause, no free file descriptors, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A bound sandbox that answers as long as [`Serving::run`] runs.
#[must_use = "a sandbox answers only while its serving runs"]
pub struct Serving {
    listener: TcpListener,
    shared: Arc<Shared>,
    /// Tells whoever waits in `Sandbox::stop` that nothing is served any more, however this ends.
    stopped: DropGuard,
}

impl Serving {
    pub(super) fn new(listener: TcpListener, shared: Arc<Shared>) -> Self {
        let stopped = shared.stopped.clone().drop_guard();
        Self { listener, shared, stopped }
    }

    /// Answers until `shutdown` is done or the sandbox is stopped, then closes what is open.
    ///
    /// Dropping it stops listening at once; connections then end with the process.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, shared, stopped } = self;
        let routes = routes::routes(Arc::clone(&shared));
        let connections = TaskTracker::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                () = shared.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared), routes.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the sandbox could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        shared.stop.cancel();
        connections.close();
        connections.wait().await;
        drop(stopped);
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, routes: Router) {
    // Without it a small answer can wait 40 ms for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the sandbox could not set TCP_NODELAY");
    }
    let connection = Arc::new(Connection::default());
    {
        let service = service_fn(|request: Request<Incoming>| {
            answer(Arc::clone(&shared), Arc::clone(&connection), routes.clone(), request)
        });
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&connection)));
        let mut served = pin!(http1::Builder::new().header_read_timeout(None).serve_connection(io, service));
        let ended = tokio::select! {
            ended = &mut served => ended,
            () = shared.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                tokio::time::timeout(STOP_GRACE, served).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the sandbox broke");
        }
    }
    if let Some(presentation) = connection.untaken() {
        shared.ledger().untaken(presentation);
    }
}

/// Answers one request; an error closes the connection without a byte.
async fn answer(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    routes: Router,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let path = request.uri().path();
    let is_token_endpoint = match &shared.config.role {
        Some(role) => role.is_at(path),
        None => matches!(path, "/token" | "/authentication/v2/token"),
    };
    if is_token_endpoint {
        return token_endpoint::answer(shared, connection, request).await;
    }
    connection.answers(None);
    match routes.oneshot(request).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

//! A TCP proxy of ours: the line between us and a peer, which breaks where and how a test says.
//!
//! It passes on whole messages in order and never one twice, so that whatever a peer sees twice somebody sent twice.
//! Where it keeps an answer from the client it resets the line to the peer too: a peer that judges by what was taken
//! off its socket learns the truth.

mod line;
mod strike;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

pub(crate) use strike::{Cut, Fault, Stage, Strike};
pub(crate) use wire::Wire;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The proxy; it ends when this is dropped.
pub(crate) struct Proxy {
    state: Arc<State>,
    /// Keeps the port while nobody listens: bound and never listening, it has connections refused.
    _port: TcpSocket,
    address: SocketAddr,
}

struct State {
    wire: Wire,
    upstream: SocketAddr,
    strike: Mutex<Option<Strike>>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
    passed: AtomicU64,
    struck: AtomicU64,
    /// Bytes of the last whole request and of the last whole answer.
    lengths: [AtomicUsize; 2],
}

impl Proxy {
    /// Listens on a free port, and passes on to `upstream`.
    pub(crate) fn start(wire: Wire, upstream: SocketAddr) -> Self {
        let port = socket((Ipv4Addr::LOCALHOST, 0).into());
        let address = port.local_addr().unwrap();
        let state = Arc::new(State {
            wire,
            upstream,
            strike: Mutex::default(),
            accepting: Mutex::default(),
            connections: Mutex::default(),
            passed: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            lengths: Default::default(),
        });
        let proxy = Self { state, _port: port, address };
        proxy.back();
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks the line so from now on, and no other way.
    pub(crate) fn strike(&self, strike: Strike) {
        *self.state.strike.lock().unwrap() = Some(strike);
    }

    /// Breaks nothing any more, and listens.
    pub(crate) fn heal(&self) {
        *self.state.strike.lock().unwrap() = None;
        self.back();
    }

    /// Nobody listens any more; connections that stand are left alone.
    pub(crate) fn gone(&self) {
        self.state.gone();
    }

    /// Resets every connection that stands.
    pub(crate) fn reset_all(&self) {
        self.state.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }

    /// Listens, if it doesn't.
    pub(crate) fn back(&self) {
        let mut accepting = self.state.accepting.lock().unwrap();
        if accepting.is_none() {
            let listener = socket(self.address).listen(BACKLOG).unwrap();
            *accepting = Some(tokio::spawn(accept(Arc::clone(&self.state), listener)));
        }
    }

    /// Whole requests that were passed on.
    pub(crate) fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }

    /// Bytes of the last whole request and of the last whole answer that came.
    pub(crate) fn last_lengths(&self) -> (usize, usize) {
        let [request, answer] = &self.state.lengths;
        (request.load(Ordering::SeqCst), answer.load(Ordering::SeqCst))
    }

    /// How often it struck.
    pub(crate) fn struck(&self) -> u64 {
        self.state.struck.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.gone();
        self.reset_all();
    }
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

impl State {
    fn gone(&self) {
        if let Some(accepting) = self.accepting.lock().unwrap().take() {
            accepting.abort();
        }
    }

    /// The fault that this moment meets, if any.
    fn meet(&self, request: Option<&[u8]>) -> Option<(Stage, Fault)> {
        let mut waiting = self.strike.lock().unwrap();
        let strike = waiting.as_mut()?;
        let meets = match (strike.stage, request) {
            (Stage::Accept, None) => true,
            (Stage::Request(_) | Stage::Answer(_), Some(request)) => strike
                .needle
                .as_ref()
                .is_none_or(|needle| request.windows(needle.len()).any(|window| window == needle)),
            (Stage::Accept, Some(_)) | (Stage::Request(_) | Stage::Answer(_), None) => false,
        };
        if !meets || strike.times == 0 {
            return None;
        }
        strike.times -= 1;
        self.struck.fetch_add(1, Ordering::SeqCst);
        Some((strike.stage, strike.fault))
    }
}

async fn accept(state: Arc<State>, listener: TcpListener) {
    while let Ok((client, _)) = listener.accept().await {
        client.set_nodelay(true).unwrap();
        // Until it is known better: what ends with the task ends with a reset.
        client.set_zero_linger().unwrap();
        let line = tokio::spawn(Arc::clone(&state).serve(client));
        let mut connections = state.connections.lock().unwrap();
        connections.retain(|connection| !connection.is_finished());
        connections.push(line);
    }
}

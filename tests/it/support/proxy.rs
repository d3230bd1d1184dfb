//! A TCP proxy of ours: the line between us and a peer, which breaks where and how a test says.
//!
//! It passes on whole messages in order and never one twice, so that whatever a peer sees twice somebody sent twice.
//! Where it keeps an answer from the client it resets the line to the peer too: a peer that judges by what was taken
//! off its socket learns the truth.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How messages are told apart on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1 with `Content-Length`.
    Http,
    /// MongoDB's wire protocol.
    Mongo,
    /// Whatever comes at once is a message.
    Raw,
}

/// Where on the way of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The connection stands, and nothing was read from it.
    Accept,
    /// So much of the request was passed on.
    Request(Cut),
    /// The whole request was passed on, the peer has answered, and so much of its answer was passed on.
    Answer(Cut),
}

/// How much of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Nothing,
    HalfHead,
    HalfBody,
    Bytes(usize),
    AllBut(usize),
    Whole,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both connections are reset.
    Reset,
    /// The client's connection is closed in order.
    Close,
    /// Nothing goes through any more, and nothing is closed.
    BlackHole,
    /// The rest goes through so much later, if the client is still there.
    Delay(Duration),
    /// Both connections are reset, and nobody listens any more.
    Gone,
}

/// A fault that waits for its request.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub(crate) stage: Stage,
    pub(crate) fault: Fault,
    /// Bytes that the request must contain; a connection that is struck at [`Stage::Accept`] has none yet.
    pub(crate) needle: Option<Vec<u8>>,
    /// How often it strikes.
    pub(crate) times: u64,
}

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

/// Both ends of a line.
struct Line {
    client: TcpStream,
    peer: TcpStream,
    /// Bytes of the client that are not yet a whole message.
    asked: Vec<u8>,
    /// Requests passed on that no whole answer was passed back for.
    open: u64,
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

    async fn serve(self: Arc<Self>, client: TcpStream) {
        let mut asked = Vec::new();
        let mut client = client;
        if let Some((_, fault)) = self.meet(None) {
            match fault {
                Fault::Reset => return,
                Fault::Gone => return self.gone(),
                Fault::Close => return unreset(&client),
                Fault::BlackHole => return swallow(&mut client).await,
                Fault::Delay(by) => {
                    if !pause(&mut client, &mut asked, by).await {
                        return;
                    }
                }
            }
        }
        let Ok(peer) = TcpStream::connect(self.upstream).await else { return };
        peer.set_nodelay(true).unwrap();
        peer.set_zero_linger().unwrap();
        let mut line = Line { client, peer, asked, open: 0 };
        if self.carry(&mut line).await.is_ok() && line.open == 0 {
            unreset(&line.peer);
            unreset(&line.client);
        }
    }

    /// Passes messages on until an end goes, or the line breaks as it was told to.
    async fn carry(&self, line: &mut Line) -> std::io::Result<()> {
        let (mut answered, mut waiting) = (Vec::new(), None);
        loop {
            while let Some(request) = self.wire.message(&mut line.asked) {
                self.lengths[0].store(request.len(), Ordering::SeqCst);
                match self.meet(Some(&request)) {
                    Some((Stage::Request(cut), fault)) => {
                        let (now, later) = request.split_at(cut.of(self.wire, &request));
                        line.peer.write_all(now).await?;
                        if !self.breaks(line, fault, false).await {
                            return Ok(());
                        }
                        line.peer.write_all(later).await?;
                    }
                    met => {
                        waiting = met.map(|(stage, fault)| match stage {
                            Stage::Answer(cut) => (cut, fault),
                            Stage::Accept | Stage::Request(_) => (Cut::Whole, fault),
                        });
                        line.peer.write_all(&request).await?;
                    }
                }
                line.open += 1;
                self.passed.fetch_add(1, Ordering::SeqCst);
            }
            tokio::select! {
                read = line.client.read_buf(&mut line.asked) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                read = line.peer.read_buf(&mut answered) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    while let Some(answer) = self.wire.message(&mut answered) {
                        self.lengths[1].store(answer.len(), Ordering::SeqCst);
                        let Some((cut, fault)) = waiting.take() else {
                            line.client.write_all(&answer).await?;
                            line.open = line.open.saturating_sub(1);
                            continue;
                        };
                        let (now, later) = answer.split_at(cut.of(self.wire, &answer));
                        line.client.write_all(now).await?;
                        if later.is_empty() {
                            line.open = line.open.saturating_sub(1);
                        }
                        if !self.breaks(line, fault, later.is_empty()).await {
                            return Ok(());
                        }
                        line.client.write_all(later).await?;
                        if !later.is_empty() {
                            line.open = line.open.saturating_sub(1);
                        }
                    }
                }
            }
        }
    }

    /// Lets the fault happen; true when the line goes on. `taken`: was the answer passed on in full?
    async fn breaks(&self, line: &mut Line, fault: Fault, taken: bool) -> bool {
        match fault {
            Fault::Reset => {}
            Fault::Gone => self.gone(),
            Fault::Close => unreset(&line.client),
            Fault::BlackHole => swallow(&mut line.client).await,
            Fault::Delay(by) => return pause(&mut line.client, &mut line.asked, by).await,
        }
        // The caller resets what isn't said to be closed in order.
        line.open = 1;
        if taken {
            unreset(&line.peer);
        }
        false
    }
}

/// Has the connection closed in order when it is dropped.
fn unreset(stream: &TcpStream) {
    #[expect(deprecated, reason = "none is what doesn't block")]
    let _ = stream.set_linger(None);
}

/// Reads and throws away until the client goes.
async fn swallow(client: &mut TcpStream) {
    let mut thrown_away = [0; 4096];
    while client.read(&mut thrown_away).await.is_ok_and(|read| read > 0) {}
}

/// Waits so long; false when the client has gone meanwhile.
async fn pause(client: &mut TcpStream, asked: &mut Vec<u8>, by: Duration) -> bool {
    let over = tokio::time::sleep(by);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return true,
            read = client.read_buf(asked) => {
                if !read.is_ok_and(|read| read > 0) {
                    return false;
                }
            }
        }
    }
}

impl Wire {
    /// Takes a whole message off the front of what has come so far.
    fn message(self, bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
        let length = match self {
            Self::Http => head_length(bytes).map(|head| head + content_length(&bytes[..head])),
            Self::Mongo => {
                let length = bytes.first_chunk().map(|length| i32::from_le_bytes(*length));
                length.map(|length| usize::try_from(length).unwrap())
            }
            Self::Raw => Some(bytes.len()).filter(|length| *length > 0),
        }?;
        (bytes.len() >= length).then(|| bytes.drain(..length).collect())
    }

    fn head(self, message: &[u8]) -> usize {
        match self {
            Self::Http => head_length(message).unwrap(),
            Self::Mongo => 16,
            Self::Raw => 0,
        }
    }
}

impl Cut {
    fn of(self, wire: Wire, message: &[u8]) -> usize {
        let head = wire.head(message);
        let at = match self {
            Self::Nothing => 0,
            Self::HalfHead => head / 2,
            Self::HalfBody => usize::midpoint(head, message.len()),
            Self::Bytes(bytes) => bytes,
            Self::AllBut(bytes) => message.len().saturating_sub(bytes),
            Self::Whole => message.len(),
        };
        at.min(message.len())
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    field.map_or(0, |length| length.trim().parse().unwrap())
}

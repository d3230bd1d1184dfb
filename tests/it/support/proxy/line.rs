//! One line: a client, its peer, and the messages between them until it breaks.

use super::State;
use super::strike::{Cut, Fault, Stage};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Both ends of a line.
struct Line {
    client: TcpStream,
    peer: TcpStream,
    /// Bytes of the client that are not yet a whole message.
    asked: Vec<u8>,
    /// Bytes of the peer that are not yet a whole message.
    answered: Vec<u8>,
    /// What the next answer meets.
    waiting: Option<(Cut, Fault)>,
    /// Requests passed on that no whole answer was passed back for.
    open: u64,
}

impl State {
    /// Carries the messages of one client from its connection to its end.
    pub(super) async fn serve(self: Arc<Self>, client: TcpStream) {
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
        let mut line = Line { client, peer, asked, answered: Vec::new(), waiting: None, open: 0 };
        if self.carry(&mut line).await.is_ok() && line.open == 0 {
            unreset(&line.peer);
            unreset(&line.client);
        }
    }

    /// Passes messages on until an end goes, or the line breaks as it was told to.
    async fn carry(&self, line: &mut Line) -> std::io::Result<()> {
        loop {
            if !self.pass_requests(line).await? {
                return Ok(());
            }
            tokio::select! {
                read = line.client.read_buf(&mut line.asked) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                read = line.peer.read_buf(&mut line.answered) => {
                    if read? == 0 || !self.pass_answers(line).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Passes on the requests that have come as a whole; true when the line goes on.
    async fn pass_requests(&self, line: &mut Line) -> std::io::Result<bool> {
        while let Some(request) = self.wire.message(&mut line.asked) {
            self.lengths[0].store(request.len(), Ordering::SeqCst);
            match self.meet(Some(&request)) {
                Some((Stage::Request(cut), fault)) => {
                    let (now, later) = request.split_at(cut.of(self.wire, &request));
                    line.peer.write_all(now).await?;
                    if !self.breaks(line, fault, false).await {
                        return Ok(false);
                    }
                    line.peer.write_all(later).await?;
                }
                met => {
                    if let Some((Stage::Answer(cut), fault)) = met {
                        line.waiting = Some((cut, fault));
                    }
                    line.peer.write_all(&request).await?;
                }
            }
            line.open += 1;
            self.passed.fetch_add(1, Ordering::SeqCst);
        }
        Ok(true)
    }

    /// Passes back the answers that have come as a whole; true when the line goes on.
    async fn pass_answers(&self, line: &mut Line) -> std::io::Result<bool> {
        while let Some(answer) = self.wire.message(&mut line.answered) {
            self.lengths[1].store(answer.len(), Ordering::SeqCst);
            let Some((cut, fault)) = line.waiting.take() else {
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
                return Ok(false);
            }
            line.client.write_all(later).await?;
            if !later.is_empty() {
                line.open = line.open.saturating_sub(1);
            }
        }
        Ok(true)
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

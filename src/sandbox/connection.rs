//! One client connection, watched for a client that goes away without reading its answer.

use super::ledger::Index;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, atomic::Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a connection knows of its last answer.
///
/// A request on the same connection proves that the answer before it was read. A connection that ends in a reset
/// proves that its last answer was not read in full: a kernel resets a connection whose unread bytes it throws away,
/// as it does for a killed client; after everything was read it closes in order.
#[derive(Debug, Default)]
pub(super) struct Connection {
    last: Mutex<Option<Index>>,
    reset: AtomicBool,
}

impl Connection {
    /// Remembers the redemption that is being answered, or none for a request that redeemed nothing.
    pub(super) fn answers(&self, presentation: Option<Index>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = presentation;
    }

    /// The redemption whose answer the client threw away unread, if it did.
    pub(super) fn untaken(&self) -> Option<Index> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|_| self.reset.load(Ordering::Acquire))
    }
}

/// A socket that notes how it ended.
pub(super) struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Watched {
    pub(super) const fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Err(_))) {
            self.connection.reset.store(true, Ordering::Release);
        }
        polled
    }
}

impl Drop for Watched {
    /// A reset that came after the last read or write is still pending in the socket.
    fn drop(&mut self) {
        if matches!(self.stream.take_error(), Ok(Some(_))) {
            self.connection.reset.store(true, Ordering::Release);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(polled)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

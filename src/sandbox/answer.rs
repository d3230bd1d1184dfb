//! Answers on their way out: whole, slow, or cut half way, and whether the client took them.

use super::Shared;
use super::ledger::Index;
use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Pieces in which a slow body drips.
const SLOW_PIECES: usize = 20;

/// The connection ends here, on purpose.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("cut by a fault of the sandbox")]
pub(super) struct Cut;

/// Proof that a redemption was committed whose answer is still to be taken.
///
/// Dropped before [`Receipt::taken`], it tells the ledger that the client never got the answer.
pub(super) struct Receipt {
    shared: Arc<Shared>,
    presentation: Index,
    taken: bool,
}

impl Receipt {
    pub(super) const fn new(shared: Arc<Shared>, presentation: Index) -> Self {
        Self { shared, presentation, taken: false }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.taken {
            self.shared.ledger().untaken(self.presentation);
        }
    }
}

/// A body of known length that may drip, or stop half way.
pub(super) struct AnswerBody {
    rest: Bytes,
    /// What the headers announce beyond `rest`: nothing, unless the body is cut.
    missing: usize,
    /// Has everything before the cut had its chance to leave?
    flushed: bool,
    piece: usize,
    drip: Option<(Duration, Pin<Box<Sleep>>)>,
    receipt: Option<Receipt>,
}

impl AnswerBody {
    pub(super) fn whole(text: impl Into<Bytes>, receipt: Option<Receipt>) -> Self {
        let rest = text.into();
        Self { piece: rest.len().max(1), rest, missing: 0, flushed: false, drip: None, receipt }
    }

    /// Announces the whole text, and breaks the connection after the first half.
    pub(super) fn truncated(text: impl Into<Bytes>, receipt: Option<Receipt>) -> Self {
        let mut body = Self::whole(text, receipt);
        let announced = body.rest.len();
        body.rest.truncate(announced / 2);
        body.missing = announced - body.rest.len();
        body
    }

    /// Sends the text piece by piece, the last one after `over`.
    pub(super) fn slow(text: impl Into<Bytes>, over: Duration, receipt: Option<Receipt>) -> Self {
        let mut body = Self::whole(text, receipt);
        body.piece = body.rest.len().div_ceil(SLOW_PIECES).max(1);
        let pieces = u32::try_from(body.rest.len().div_ceil(body.piece)).unwrap_or(1).max(1);
        let pause = over / pieces;
        body.drip = Some((pause, Box::pin(tokio::time::sleep(pause))));
        body
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let body = &mut *self;
        if body.rest.is_empty() {
            return match (body.missing, body.flushed) {
                (0, _) => Poll::Ready(None),
                (_, true) => Poll::Ready(Some(Err(Cut))),
                // The server flushes when a body has nothing for it: without this pause the first half would be
                // thrown away together with the connection.
                (_, false) => {
                    body.flushed = true;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            };
        }
        if let Some((pause, sleep)) = &mut body.drip {
            std::task::ready!(sleep.as_mut().poll(context));
            sleep.as_mut().reset(Instant::now() + *pause);
        }
        let piece = body.rest.split_to(body.piece.min(body.rest.len()));
        if body.rest.is_empty()
            && body.missing == 0
            && let Some(receipt) = &mut body.receipt
        {
            receipt.taken = true;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.missing == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.rest.len() + self.missing) as u64)
    }
}

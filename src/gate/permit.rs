//! The permit: taken at the gate, and given back there with what the provider answered.

use super::{Gate, Signal};
use std::sync::Arc;
use tokio::time::Instant;

/// The right to send one grant; given back when it is dropped, after its outcome is in the sink's hands.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    number: u64,
    sent: Instant,
    answered: bool,
}

impl Permit {
    pub(super) const fn new(gate: Arc<Gate>, number: u64, sent: Instant) -> Self {
        Self { gate, number, sent, answered: false }
    }

    /// Has its place in the rate passed, so that the grant could make a window too full if it went out only now?
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.gate.lock().pace.is_late(self.sent, Instant::now())
    }

    /// When it was let through.
    #[must_use]
    pub const fn sent(&self) -> Instant {
        self.sent
    }

    /// Notes that the POST is over: the request can't reach the provider any later.
    pub fn answered(&mut self) {
        if !self.answered {
            self.answered = true;
            self.gate.lock().pace.answered(self.number, Instant::now());
        }
    }

    /// Reports what the provider answered.
    pub fn signal(&mut self, signal: Signal) {
        self.answered();
        self.gate.lock().signal(signal, self.sent, Instant::now());
        self.gate.changed.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.answered();
        self.gate.lock().in_flight -= 1;
        self.gate.changed.notify_one();
    }
}

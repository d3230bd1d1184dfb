//! The cells: every stage of a grant and every way to break, and what must come of each.

use super::super::{LATE, TOO_LATE};
use crate::support::proxy::{Cut, Fault, Stage};

/// A stage and a fault, and what must come of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) name: &'static str,
    pub(super) stage: Stage,
    pub(super) fault: Fault,
    /// The class that it must get; one of several where the kernel decides which of us sees the reset.
    pub(super) class: &'static [&'static str],
    /// Has the provider rotated the token?
    pub(super) committed: bool,
}

const AMBIGUOUS: &[&str] = &["ambiguous"];
pub(super) const GRANTED: &[&str] = &["granted"];

const fn cell(
    name: &'static str,
    stage: Stage,
    fault: Fault,
    class: &'static [&'static str],
    committed: bool,
) -> Cell {
    Cell { name, stage, fault, class, committed }
}

impl Cell {
    /// Does a part of a body come, which is kept because it may hold a pair?
    pub(super) fn cuts_a_body(&self) -> bool {
        self.stage == HALF_BODY && self.class != GRANTED
    }
}

/// After the request, before any byte of the answer.
const UNANSWERED: Stage = Stage::Answer(Cut::Nothing);
const HALF_REQUEST_HEAD: Stage = Stage::Request(Cut::HalfHead);
const HALF_REQUEST_BODY: Stage = Stage::Request(Cut::HalfBody);
const HALF_HEAD: Stage = Stage::Answer(Cut::HalfHead);
const HALF_BODY: Stage = Stage::Answer(Cut::HalfBody);
/// Both tokens are there; only the end of the object is missing: the pair is rescued from what came.
const NEARLY_ALL: Stage = Stage::Answer(Cut::AllBut(1));
pub(super) const WHOLE: Stage = Stage::Answer(Cut::Whole);

/// Every stage and every fault. A provider that nobody reaches, or that goes down at that moment, is in `connect`.
pub(super) const TABLE: [Cell; 42] = [
    // Before anything is sent. A reset can come before or after we know that we are connected.
    cell("accepted, reset", Stage::Accept, Fault::Reset, &["transient", "ambiguous"], false),
    cell("accepted, closed", Stage::Accept, Fault::Close, AMBIGUOUS, false),
    cell("accepted, black hole", Stage::Accept, Fault::BlackHole, AMBIGUOUS, false),
    cell("accepted, late", Stage::Accept, Fault::Delay(LATE), GRANTED, true),
    cell("accepted, too late", Stage::Accept, Fault::Delay(TOO_LATE), AMBIGUOUS, false),
    // While the request is being sent.
    cell("half the request's head, reset", HALF_REQUEST_HEAD, Fault::Reset, AMBIGUOUS, false),
    cell("half the request's head, closed", HALF_REQUEST_HEAD, Fault::Close, AMBIGUOUS, false),
    cell("half the request's head, black hole", HALF_REQUEST_HEAD, Fault::BlackHole, AMBIGUOUS, false),
    cell("half the request's head, late", HALF_REQUEST_HEAD, Fault::Delay(LATE), GRANTED, true),
    cell("half the request's head, too late", HALF_REQUEST_HEAD, Fault::Delay(TOO_LATE), AMBIGUOUS, false),
    cell("half the request's body, reset", HALF_REQUEST_BODY, Fault::Reset, AMBIGUOUS, false),
    cell("half the request's body, closed", HALF_REQUEST_BODY, Fault::Close, AMBIGUOUS, false),
    cell("half the request's body, black hole", HALF_REQUEST_BODY, Fault::BlackHole, AMBIGUOUS, false),
    cell("half the request's body, late", HALF_REQUEST_BODY, Fault::Delay(LATE), GRANTED, true),
    cell("half the request's body, too late", HALF_REQUEST_BODY, Fault::Delay(TOO_LATE), AMBIGUOUS, false),
    cell(
        "all but a byte of the request, reset",
        Stage::Request(Cut::AllBut(1)),
        Fault::Reset,
        AMBIGUOUS,
        false,
    ),
    cell(
        "all but a byte of the request, closed",
        Stage::Request(Cut::AllBut(1)),
        Fault::Close,
        AMBIGUOUS,
        false,
    ),
    // After the request and before any byte of the answer.
    cell("no answer, reset", UNANSWERED, Fault::Reset, AMBIGUOUS, true),
    cell("no answer, closed", UNANSWERED, Fault::Close, AMBIGUOUS, true),
    cell("no answer, black hole", UNANSWERED, Fault::BlackHole, AMBIGUOUS, true),
    cell("no answer, late", UNANSWERED, Fault::Delay(LATE), GRANTED, true),
    cell("no answer, too late", UNANSWERED, Fault::Delay(TOO_LATE), AMBIGUOUS, true),
    // In the middle of the headers.
    cell("half the head, reset", HALF_HEAD, Fault::Reset, AMBIGUOUS, true),
    cell("half the head, closed", HALF_HEAD, Fault::Close, AMBIGUOUS, true),
    cell("half the head, black hole", HALF_HEAD, Fault::BlackHole, AMBIGUOUS, true),
    cell("half the head, late", HALF_HEAD, Fault::Delay(LATE), GRANTED, true),
    cell("half the head, too late", HALF_HEAD, Fault::Delay(TOO_LATE), AMBIGUOUS, true),
    // In the middle of the body.
    cell("half the body, reset", HALF_BODY, Fault::Reset, AMBIGUOUS, true),
    cell("half the body, closed", HALF_BODY, Fault::Close, AMBIGUOUS, true),
    cell("half the body, black hole", HALF_BODY, Fault::BlackHole, AMBIGUOUS, true),
    cell("half the body, late", HALF_BODY, Fault::Delay(LATE), GRANTED, true),
    cell("half the body, too late", HALF_BODY, Fault::Delay(TOO_LATE), AMBIGUOUS, true),
    cell("all but a byte of the body, reset", NEARLY_ALL, Fault::Reset, GRANTED, true),
    cell("all but a byte of the body, closed", NEARLY_ALL, Fault::Close, GRANTED, true),
    cell("all but a byte of the body, black hole", NEARLY_ALL, Fault::BlackHole, GRANTED, true),
    cell("all but a byte of the body, late", NEARLY_ALL, Fault::Delay(LATE), GRANTED, true),
    cell("all but a byte of the body, too late", NEARLY_ALL, Fault::Delay(TOO_LATE), GRANTED, true),
    // After the whole body, which nobody needs a close to know.
    cell("the whole body, reset", WHOLE, Fault::Reset, GRANTED, true),
    cell("the whole body, closed", WHOLE, Fault::Close, GRANTED, true),
    cell("the whole body, black hole", WHOLE, Fault::BlackHole, GRANTED, true),
    cell("the whole body, late", WHOLE, Fault::Delay(LATE), GRANTED, true),
    cell("the whole body, too late", WHOLE, Fault::Delay(TOO_LATE), GRANTED, true),
];

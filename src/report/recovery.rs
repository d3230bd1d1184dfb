//! What a pass found of an earlier process, and did with it.

use super::text::many;
use serde::Serialize;
use std::fmt;

/// What recovery found in the journal and did with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Recovery {
    /// Answers of earlier processes: those that waited to be looked at, and those that were kept for a person or a later
    /// version and in which a pair is found by now.
    pub answers: u64,
    /// Pairs of these answers that are in their documents now.
    pub written: u64,
    /// Requests without an answer: the provider may have processed them or not. The pass asks for these tokens first.
    pub unsettled: u64,
    /// Claims of an earlier process that were released.
    pub claims_released: u64,
    /// Claims that the store refused to release: these tokens wait until the claims end.
    pub claims_refused: u64,
    /// Claims that would have ended in days, because a clock was ahead: they were cut to one lease.
    pub claims_cut: u64,
    /// Due dates that no life of a token explains, because a clock was ahead: these documents were made due now.
    pub void_due_dates: u64,
}

impl Recovery {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            answers: self.answers + other.answers,
            written: self.written + other.written,
            unsettled: self.unsettled + other.unsettled,
            claims_released: self.claims_released + other.claims_released,
            claims_refused: self.claims_refused + other.claims_refused,
            claims_cut: self.claims_cut + other.claims_cut,
            void_due_dates: self.void_due_dates + other.void_due_dates,
        }
    }

    /// Was there nothing to recover?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was found, and what became of it.
impl fmt::Display for Recovery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, written, unsettled, claims_released, claims_refused, claims_cut, void_due_dates } =
            *self;
        write!(
            formatter,
            "left by an earlier process: {} ({written} written back), {} without an answer, {} released",
            many(answers, "answer"),
            many(unsettled, "request"),
            many(claims_released, "claim")
        )?;
        if claims_refused > 0 {
            write!(formatter, ", {} that the store refuses to release", many(claims_refused, "claim"))?;
        }
        if claims_cut > 0 {
            write!(formatter, ", {} cut that would have lasted for days", many(claims_cut, "claim"))?;
        }
        if void_due_dates > 0 {
            let dates = many(void_due_dates, "due date");
            write!(formatter, ", {dates} of a clock that was ahead: due now")?;
        }
        Ok(())
    }
}

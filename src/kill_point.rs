//! Named points between two steps of a token's way, at which a test kills this process as a power cut would.
//!
//! A release build knows none: there [`reach`] is nothing at all. The plan is handed in at the start, by
//! [`arm`]; the environment is read elsewhere.

/// A moment between two steps. What stands before it has happened, what stands behind it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// The journal knows that a pass has begun, and nothing was claimed.
    PassBegun,
    /// Recovery has read the journal's rows, and settled none.
    RecoveryRead,
    /// Recovery has ended the rows whose answers held no pair, and written no pair.
    RecoverySorted,
    /// Recovery has written its pairs into their documents, and rows that needed no write are open.
    RecoveryWritten,
    /// Recovery is about to give back a page of a dead process' claims.
    RecoveryReleases,
    /// Recovery has given back a page of a dead process' claims.
    RecoveryReleased,
    /// Recovery has done everything, and the passes of the dead process are not yet noted as finished.
    RecoveryEnds,
    /// A page of documents was read, and none of it claimed.
    PageRead,
    /// A page of documents was claimed.
    Claimed,
    /// The journal's thread has written intents, and not committed them.
    IntentWritten,
    /// The journal's thread has committed intents, and told no caller.
    IntentCommitted,
    /// A grant's intent is in the journal, and its task knows.
    IntentKnown,
    /// The request is built, and not sent.
    BeforePost,
    /// The head of an answer is here, and its body isn't read.
    AnswerBegun,
    /// An answer is here in full, and the journal wasn't told.
    AnswerReceived,
    /// The journal's thread has written answers, and not committed them.
    AnswerWritten,
    /// The journal's thread has committed answers, and told no caller.
    AnswerCommitted,
    /// An answer was kept and read, and the write-back doesn't know.
    AnswerRead,
    /// A token was refused once, its row has ended, and it waits to be asked once more.
    RefusedOnce,
    /// The marks of a batch are on the journal's list, and in no document.
    MarksListed,
    /// A batch is about to be written into the store.
    BeforeApply,
    /// A batch is in the store.
    Applied,
    /// A batch is in the store, settled, and its rows are about to be ended.
    BeforeEnd,
    /// The journal's thread has written the ends of rows, and not committed them.
    EndWritten,
    /// The journal's thread has committed the ends of rows, and told no caller.
    EndCommitted,
    /// A batch is in the store, and its rows are gone.
    Ended,
    /// Marks are about to be taken back.
    TakesBack,
    /// Marks are taken back, and still on the journal's list.
    TakenBack,
    /// Everything is through, and the pass isn't noted as finished.
    PassEnds,
    /// The pass is noted as finished, and its caller wasn't told how it went.
    PassFinished,
}

impl Point {
    /// All of them, in the order of the way.
    pub const ALL: [Self; 30] = [
        Self::PassBegun,
        Self::RecoveryRead,
        Self::RecoverySorted,
        Self::RecoveryWritten,
        Self::RecoveryReleases,
        Self::RecoveryReleased,
        Self::RecoveryEnds,
        Self::PageRead,
        Self::Claimed,
        Self::IntentWritten,
        Self::IntentCommitted,
        Self::IntentKnown,
        Self::BeforePost,
        Self::AnswerBegun,
        Self::AnswerReceived,
        Self::AnswerWritten,
        Self::AnswerCommitted,
        Self::AnswerRead,
        Self::RefusedOnce,
        Self::MarksListed,
        Self::BeforeApply,
        Self::Applied,
        Self::BeforeEnd,
        Self::EndWritten,
        Self::EndCommitted,
        Self::Ended,
        Self::TakesBack,
        Self::TakenBack,
        Self::PassEnds,
        Self::PassFinished,
    ];

    /// Its name in a plan: `AnswerReceived`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

/// Notes where to die: `AnswerReceived:3` is the third time that this point is reached.
///
/// # Errors
/// A sentence, when the plan names no point or no number; or when this is a release build, which has no points.
#[cfg(debug_assertions)]
pub fn arm(plan: &str) -> Result<(), String> {
    let unknown = || format!("the plan `{plan}` names no point of this build, such as `AnswerReceived:3`");
    let (name, times) = plan.split_once(':').ok_or_else(unknown)?;
    let point = Point::ALL.into_iter().find(|point| point.name() == name).ok_or_else(unknown)?;
    let times: u64 = times.parse().map_err(|_| unknown())?;
    // Armed once, at the start; a second plan would be a mistake of the test that makes it.
    armed::PLAN.set((point, times.into())).map_err(|_| unknown())
}

/// Notes where to die: in a release build, nowhere.
///
/// # Errors
/// Always: such a plan can't be kept.
#[cfg(not(debug_assertions))]
pub fn arm(plan: &str) -> Result<(), String> {
    Err(format!("the plan `{plan}` can't be kept: a release build has no kill points"))
}

/// Dies here by SIGKILL, if the plan says so; otherwise does nothing.
#[cfg(debug_assertions)]
pub fn reach(point: Point) {
    use std::sync::atomic::Ordering;
    let Some((planned, left)) = armed::PLAN.get() else { return };
    if *planned == point && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        // Nothing may happen behind this point: should the signal take its time, this thread waits for it.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        loop {
            std::thread::park();
        }
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "a release build has no kill points: nothing of them may be left")]
pub const fn reach(_: Point) {}

#[cfg(debug_assertions)]
mod armed {
    use super::Point;
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicU64;

    /// Where to die, and how many times that point is still passed before and with that.
    pub(super) static PLAN: OnceLock<(Point, AtomicU64)> = OnceLock::new();
}

//! The ways to die, and how many of each.

use super::world::USERS;
use evergrant::testing::kill_point::Point;

/// A way to die.
#[derive(Debug, Clone, Copy)]
pub(super) enum Death {
    /// At some time between the start and the end of a pass.
    Random,
    /// Between two steps.
    At(Point),
}

/// How often a pass over [`USERS`] reaches a point, at least once each time.
pub(super) const fn reached_at_most(point: Point) -> u64 {
    match point {
        Point::PassBegun
        | Point::RecoveryRead
        | Point::RecoverySorted
        | Point::RecoveryWritten
        | Point::RecoveryReleases
        | Point::RecoveryReleased
        | Point::RecoveryEnds
        | Point::PageRead
        | Point::Claimed
        | Point::RefusedOnce
        | Point::MarksListed
        | Point::TakesBack
        | Point::TakenBack
        | Point::PassEnds
        | Point::PassFinished => 1,
        Point::IntentWritten
        | Point::IntentCommitted
        | Point::AnswerWritten
        | Point::AnswerCommitted
        | Point::BeforeApply
        | Point::Applied
        | Point::BeforeEnd
        | Point::EndWritten
        | Point::EndCommitted
        | Point::Ended => 6,
        Point::IntentKnown
        | Point::BeforePost
        | Point::AnswerBegun
        | Point::AnswerReceived
        | Point::AnswerRead => USERS as u64,
    }
}

/// Does it say something only where there is something to recover?
pub(super) const fn is_of_recovery(point: Point) -> bool {
    matches!(
        point,
        Point::RecoveryRead
            | Point::RecoverySorted
            | Point::RecoveryWritten
            | Point::RecoveryReleases
            | Point::RecoveryReleased
            | Point::RecoveryEnds
    )
}

/// Does only a pass reach it that meets a refusal, marks a user, or takes a mark back? Such a pass has a test of its own, `marks`.
pub(super) const fn is_of_marks(point: Point) -> bool {
    matches!(point, Point::RefusedOnce | Point::MarksListed | Point::TakesBack | Point::TakenBack)
}

pub(super) fn deaths(random: u64, at_each_point: u64) -> Vec<Death> {
    let points = Point::ALL.into_iter().filter(|point| !is_of_marks(*point)).map(Death::At);
    let points = (0..at_each_point).flat_map(|_| points.clone());
    points.chain((0..random).map(|_| Death::Random)).collect()
}

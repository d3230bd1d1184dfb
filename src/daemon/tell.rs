//! The end of a pass in the log.

use super::round::of;
use crate::failure::told;
use crate::report::summary::Summary;
use crate::report::{Outcome as Is, Trouble};
use tracing::{error, info, warn};

/// Logs the end of a pass: counts for programs, the people as the report shows them. `name` is whose pass it was, where there are
/// several.
pub(super) fn tell(summary: &Summary, name: &str) {
    let of = of(&[name]);
    let _about = summary.span().entered();
    let count = |outcome| summary.count(outcome);
    info!(
        refreshed = count(Is::Refreshed),
        duplicate = count(Is::Duplicate),
        restored = count(Is::Restored),
        superseded = count(Is::Superseded),
        gone = count(Is::Gone),
        gone_while_refused = summary.gone_while_refused,
        needs_login = count(Is::NeedsLogin),
        lost_in_flight = count(Is::LostInFlight),
        malformed = count(Is::Malformed),
        still_due = count(Is::StillDue),
        held = count(Is::Held),
        lost = count(Is::Lost),
        orphans = summary.orphans,
        parked = summary.parked.orphans,
        unread = summary.parked.unread,
        known_needs_login = summary.known_needs_login,
        remaining_due = summary.remaining_due,
        "pass{of} over {} ended: {} of {} due documents refreshed, {}",
        summary.collection,
        count(Is::Refreshed),
        summary.due.map_or_else(|| "an unknown number of".to_owned(), |due| due.to_string()),
        summary.remaining_due.map_or_else(
            || "how many remain due is not known".to_owned(),
            |remaining| format!("{remaining} remain due")
        ),
    );
    for (reason, documents) in &summary.still_due_reasons {
        warn!(reason, documents, "still due: {reason} {documents}");
    }
    for named in summary.named.iter().filter(|named| named.new) {
        let (subject, state, code) = (&named.subject, named.state.word(), &named.code);
        let (provider, document) = (named.provider.as_deref(), &named.id);
        warn!(provider, %document, %subject, outcome = state, code, "`{subject}` is now {state} ({code})");
    }
    if let Some(first) = summary.ending.first() {
        let (users, first, ends_at) = (summary.ending_count, &first.subject, first.ends_at);
        warn!(users, %first, %ends_at, "users who must log in again soon: {users}, the first `{first}` by {ends_at}; no refresh extends their logins (`evergrant tokens list --ending-within 14d`)");
    }
    tell_troubles(summary);
}

pub(super) fn tell_troubles(summary: &Summary) {
    for trouble in &summary.troubles {
        // A stop was asked for: no person has to act.
        if matches!(trouble, Trouble::Interrupted { given_up: 0 }) {
            info!("{}", told(trouble));
        } else {
            error!("{}", told(trouble));
        }
    }
}

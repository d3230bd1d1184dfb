//! Documents that have no token to send: known ones, malformed ones, those of other providers, and those without room.

use super::Line;
use super::landed::Landed;
use super::span::document_span;
use super::strangers::Strangers;
use crate::report::{Named, Outcome, Trouble};
use crate::select::{Claims, Pulled};
use crate::store::Unwritable;
use crate::token::{Code, Evidence, LastError, Malformed, State, TokenDocument};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::debug;

/// Counts and names a document that was marked before and hasn't changed.
pub(super) fn known(line: &Line, document: &TokenDocument) {
    let bookkeeping = &document.bookkeeping;
    let outcome = match bookkeeping.state {
        State::NeedsLogin => Outcome::NeedsLogin,
        State::LostInFlight => Outcome::LostInFlight,
        State::Malformed => Outcome::Malformed,
        State::Live => Outcome::StillDue,
    };
    let evidence = bookkeeping.last_error.as_ref();
    line.report.known(
        outcome,
        Named {
            provider: line.provider_name(document),
            since: bookkeeping.since,
            new: false,
            asked_again_at: line.asked_again_at(document),
            ..Named::new(&document.id, &document.subject, bookkeeping.state, evidence)
        },
    );
}

/// Marks a document without a token, or gives back the claim of one that has gone to another provider: another lane counts
/// it, now or in the next pass.
pub(super) async fn land_without_token(
    line: &Line,
    document: &TokenDocument,
    malformed: Option<&Malformed>,
    landed: &mpsc::Sender<Landed>,
) {
    if landed.send(line.judge_without_token(document, malformed)).await.is_err() {
        line.cannot_keep();
    }
}

/// Counts and names a document into which the store can't write: nothing is redeemed for it, and it can't be marked.
pub(super) fn no_room(line: &Line, document: &TokenDocument, reason: &Unwritable) {
    let subject = &document.subject;
    let (provider, code) = (line.provider_name(document), Code::NoRoom.word());
    let _about = document_span(provider.as_deref(), &document.id, subject).entered();
    debug!(code, %reason, "nothing can be written into the document of `{subject}`: {reason}");
    line.no_room(subject, reason);
    let at = line.base.clock.now();
    let evidence = LastError {
        class: Evidence::Malformed.into(),
        code: Code::NoRoom.into(),
        http_status: None,
        at,
        lost: None,
    };
    line.report.touched();
    line.report
        .named(Named { provider, ..Named::new(&document.id, subject, State::Malformed, Some(&evidence)) });
    line.report.set_aside();
    line.ended(subject, Outcome::Malformed, None, Some(code));
}

/// Names the documents whose provider isn't configured: they are malformed until it is.
pub(super) async fn name_strangers(line: Arc<Line>, mut claims: Claims, landed: mpsc::Sender<Landed>) -> u64 {
    let mut found = Strangers::new(line.base.provider_names());
    let mut name = async |pulled| match pulled {
        Pulled::Known(document) => known(&line, &document),
        Pulled::NoRoom(document, reason) => no_room(&line, &document, &reason),
        Pulled::Waits { document, sent_at } => line.waits(&document, sent_at),
        Pulled::Malformed(document) => {
            line.report.touched();
            found.add(&document);
            land_without_token(&line, &document, document.refresh_token.as_ref().err(), &landed).await;
        }
        Pulled::Stray(document) => land_without_token(&line, &document, None, &landed).await,
        // A stranger's token is never handed out, and so none is drawn.
        Pulled::Token { .. } | Pulled::Drawn(_) => {}
    };
    loop {
        match line.stop.take_no_more.run_until_cancelled(claims.next()).await {
            Some(Ok(Some(pulled))) => name(pulled).await,
            Some(Ok(None)) | None => break,
            Some(Err(error)) => {
                line.report.trouble(Trouble::store(&error));
                break;
            }
        }
    }
    let rest = claims.rest().await;
    if !rest.complete {
        line.left_claimed();
    }
    for pulled in rest.pulled {
        name(pulled).await;
    }
    found.tell();
    0
}

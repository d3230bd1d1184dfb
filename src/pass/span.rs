//! What the log lines of a pass have in common: which pass, of which provider, about which document.
//!
//! At the level of errors, so that no log level takes the fields from a line that is told.

use super::Line;
use super::landed::Landed;
use crate::report::Outcome;
use crate::token::{DueToken, Subject, TokenId};
use tracing::{Span, debug, error_span, field};

impl Line {
    /// Of every line of this pass: `pass` is the id of its leases.
    pub(super) fn span(&self) -> Span {
        let provider = self.whose.counter().map(|counter| field::display(&counter.provider.name));
        error_span!("pass", pass = &*self.terms.lease_id, provider)
    }

    /// A document reached its end, which is counted, and said within the span of the document. `reason` is why it is still due,
    /// `code` what was found else.
    pub(super) fn ended(
        &self,
        subject: &Subject,
        outcome: Outcome,
        reason: Option<&str>,
        code: Option<&str>,
    ) {
        let word = outcome.word();
        let code = reason.or(code).unwrap_or(word);
        debug!(outcome = word, code, "`{subject}` ended as {word} ({code})");
        self.report.ended(outcome, reason);
    }
}

impl Landed {
    /// Of every line about this document.
    pub(super) fn span(&self) -> Span {
        document_span(self.provider.as_deref(), &self.id, &self.subject)
    }
}

/// Of every line about the grant of this token.
pub(super) fn token_span(token: &DueToken) -> Span {
    document_span(None, &token.id, &token.subject)
}

/// Of every line about this document; without a `provider` it is that of the pass.
pub(super) fn document_span(provider: Option<&str>, id: &TokenId, subject: &Subject) -> Span {
    error_span!("document", provider, document = %id, %subject)
}

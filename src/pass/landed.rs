//! What lands at the sink: a document, with what follows for it.

use super::Line;
use crate::gate::Permit;
use crate::journal::MadeMark;
use crate::provider::Provider;
use crate::store::Change;
use crate::token::{DueToken, Malformed, Subject, TokenDocument, TokenId};
use crate::verdict::{Around, Case, Document, Fact, Rule, Step, Verdict, judge, made_mark, without_token};
use std::cell::Cell;
use std::sync::Arc;
use tokio::time::Instant;

thread_local! {
    /// The rules that decided something on this thread, a bit each.
    static MET: Cell<u128> = const { Cell::new(0) };
}

const _: () = assert!(Rule::ALL.len() <= 128, "a bit for each rule");

/// Notes that a rule decided something.
pub(super) fn met(rule: Rule) {
    MET.set(MET.get() | 1 << rule as u8);
}

/// The rules of the judge that decided something in a pass on this thread: what a simulation has tried.
#[cfg(any(test, feature = "testing"))]
#[must_use]
pub fn rules_met() -> std::collections::BTreeSet<Rule> {
    let met = MET.get();
    Rule::ALL.iter().copied().filter(|rule| met & (1 << *rule as u8) != 0).collect()
}

/// A document at the end of its way.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) id: TokenId,
    pub(super) subject: Subject,
    /// The name of its provider, as far as it is known.
    pub(super) provider: Option<String>,
    /// What is judged again, where the verdict isn't the last one.
    pub(super) case: Option<Box<Case>>,
    /// The mark that it makes, if it makes a new one.
    pub(super) mark: Option<MadeMark>,
    pub(super) verdict: Verdict,
    /// When the gate let its request through.
    pub(super) sent: Option<Instant>,
    /// Given back to the gate when the document has reached its end, where the gate waits for that.
    #[expect(dead_code, reason = "held, and given back when it is dropped")]
    pub(super) permit: Option<Permit>,
}

impl Landed {
    pub(super) fn of(case: Case, verdict: Verdict, around: &Around<'_>) -> Self {
        met(verdict.rule);
        let again = match verdict.document {
            Step::Look | Step::Hold(_) => true,
            Step::Write(..) | Step::Leave | Step::Again(_) | Step::OnceMore(..) => false,
        };
        Self {
            id: case.token.id.clone(),
            subject: case.token.subject.clone(),
            provider: Some(case.provider.name.to_string()),
            mark: made_mark(&case, &verdict, around),
            case: again.then(|| Box::new(case)),
            verdict,
            sent: None,
            permit: None,
        }
    }

    /// The same, with the permit of its request.
    pub(super) fn by(self, permit: Permit) -> Self {
        Self { sent: Some(permit.sent()), permit: Some(permit), ..self }
    }

    /// A row that an earlier process left.
    pub(super) fn left(id: TokenId, subject: Subject, provider: String, verdict: Verdict) -> Self {
        met(verdict.rule);
        let provider = Some(provider);
        Self { id, subject, provider, case: None, mark: None, verdict, sent: None, permit: None }
    }

    /// Puts what is still to be written in the place of the change.
    pub(super) fn rewrite(&mut self, rest: Option<Change>) {
        if let (Step::Write(change, _), Some(rest)) = (&mut self.verdict.document, rest) {
            **change = rest;
        }
    }

    /// Takes the further values of the answer out of the change; the names of their fields.
    pub(super) fn leave_out_further_values(&mut self) -> Vec<String> {
        let Step::Write(change, _) = &mut self.verdict.document else { return Vec::new() };
        change.take_further_values()
    }

    /// Does it bring a new pair?
    pub(super) fn brings_a_pair(&self) -> bool {
        self.change().is_some_and(|change| change.pair.is_some())
    }

    /// What is to be written.
    pub(super) fn change(&self) -> Option<&Change> {
        match &self.verdict.document {
            Step::Write(change, _) => Some(change),
            Step::Leave | Step::Look | Step::Hold(_) | Step::Again(_) | Step::OnceMore(..) => None,
        }
    }
}

impl Line {
    /// What is the same for all cases of this pass, at this moment.
    pub(super) fn around(&self) -> Around<'_> {
        Around {
            policy: &self.policy,
            lease_id: &self.terms.lease_id,
            earlier: self.earlier.get().map(Vec::as_slice).unwrap_or_default(),
            attempts: self.base.settings.attempts,
            documents_name_provider: self.base.settings.documents_name_provider,
            now: self.base.clock.now(),
            jitter: self.base.chance.unit(),
        }
    }

    /// What follows for a token of which this was found out.
    pub(super) fn judge(&self, token: DueToken, provider: &Arc<Provider>, fact: Fact) -> Landed {
        let case = Case { token, provider: provider.clone(), fact };
        let around = self.around();
        let verdict = judge(&case, Document::NotRead, &around);
        Landed::of(case, verdict, &around)
    }

    /// What follows for a document that has no token to send.
    pub(super) fn judge_without_token(
        &self,
        document: &TokenDocument,
        malformed: Option<&Malformed>,
    ) -> Landed {
        Landed {
            id: document.id.clone(),
            subject: document.subject.clone(),
            provider: self.provider_name(document),
            case: None,
            mark: None,
            verdict: without_token(document, malformed, &self.around()),
            sent: None,
            permit: None,
        }
    }

    /// The provider of a document: the one that it names, or the only one.
    pub(super) fn provider_name(&self, document: &TokenDocument) -> Option<String> {
        let only = if let [only] = &self.base.providers[..] { Some(only.name.to_string()) } else { None };
        document.provider.clone().or(only)
    }
}

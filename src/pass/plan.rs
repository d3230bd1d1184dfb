//! What is to be written for each end of a way, and where the document ends if the write matches. No I/O.

use super::Line;
use super::held::Refusal;
use super::redeem::is_known_dead;
use crate::clock::Timestamp;
use crate::grant::answer::Granted;
use crate::journal::{Ending, EntryId, Journaled};
use crate::provider::Provider;
use crate::report::Outcome;
use crate::store::Change;
use crate::token::{
    Code, DueToken, Evidence, Fingerprint, LastError, Malformed, Reason, RefreshToken, State, Subject,
    TokenDocument, TokenId, Word,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A document at the end of its way.
#[derive(Debug)]
pub(super) enum Landed {
    /// One that had a token to send.
    Token { token: DueToken, provider: Arc<Provider>, next: Next },
    /// One that had none.
    Malformed { document: TokenDocument, malformed: Malformed },
    /// One that belongs to another provider by now.
    Stray(TokenDocument),
}

/// What to do for it.
#[derive(Debug)]
pub(super) enum Next {
    /// Put the new pair into the document.
    WriteBack { granted: Journaled<Granted>, received_at: Timestamp, recovered: bool },
    /// Mark it, if the token is still the one that was refused.
    Retire { entry: Option<EntryId>, state: State, evidence: LastError },
    /// Mark it, once the provider's refusals have been judged.
    Refused(Refusal),
    /// Refused, and not believed yet: the next occasion tells.
    RefusedOnce(LastError),
    /// Try again later, and later each time.
    Defer(LastError),
    /// Give the claim back: why it is still due.
    Release(Reason),
    /// Give the claim back, behind those that nobody has asked for yet: why it is still due. A person who mends it need
    /// not wait.
    Behind(Reason),
    /// The same, and not before the first wait is over.
    Later(Reason),
    /// Give the claim back, as if it had never been taken.
    NotTaken,
    /// Somebody else wrote another token: keep theirs.
    Overtaken,
    /// Its token was redeemed for this document: take the pair from there. Without a pair it is marked, once it has been
    /// `judged` with the others of its kind.
    Copy { first: TokenId, judged: bool },
}

/// One document with what is to be written, and what its end will be if the write matches.
pub(super) struct Planned {
    pub(super) subject: Subject,
    pub(super) change: Option<Change>,
    pub(super) outcome: Option<Outcome>,
    pub(super) reason: Option<Word<Reason>>,
    pub(super) ending: Option<(EntryId, Ending)>,
    pub(super) recovered: bool,
    /// Is its new pair in the journal?
    pub(super) kept: bool,
    /// At which provider.
    pub(super) provider: Option<String>,
    /// Is its mark one that no earlier pass has told?
    pub(super) news: bool,
}

impl Planned {
    pub(super) fn has_pair_of_ours(&self) -> bool {
        matches!(self.ending, Some((_, Ending::Redeemed { .. } | Ending::Renewed)))
    }
}

/// Plans a batch from what was read of its documents and of the journal.
pub(super) struct Planner<'batch> {
    pub(super) line: &'batch Line,
    /// Documents whose mark depends on how they are now; `None` when the store can't be read.
    pub(super) read: Option<&'batch HashMap<TokenId, TokenDocument>>,
    /// What has become of tokens that were redeemed for another document.
    pub(super) successors: &'batch HashMap<Fingerprint, Fingerprint>,
}

impl Planner<'_> {
    /// What to write for a document, and where it ends if the write matches.
    pub(super) fn plan(&self, landed: Landed) -> Planned {
        let provider = match &landed {
            Landed::Token { provider, .. } => Some(provider.name.to_string()),
            Landed::Malformed { document, .. } | Landed::Stray(document) => {
                provider_name(self.line, document)
            }
        };
        Planned { provider, ..self.planned(landed) }
    }

    fn planned(&self, landed: Landed) -> Planned {
        let read = self.read;
        let policy = &self.line.policy;
        let now = self.line.clock.now();
        let (token, provider, next) = match landed {
            Landed::Token { token, provider, next } => (token, provider, next),
            Landed::Malformed { document, malformed } => {
                let change = policy.malformed(&document, &malformed, now);
                return plan(&document.subject, Some(change), Outcome::Malformed);
            }
            Landed::Stray(document) => {
                let change = policy.stray(&document);
                return Planned { outcome: None, ..plan(&document.subject, Some(change), Outcome::StillDue) };
            }
        };
        let subject = &token.subject;
        match next {
            Next::WriteBack { granted, received_at, recovered } => {
                let change =
                    policy.renewal(&granted, &token, &provider.profile, received_at, self.line.chance.unit());
                let new = granted.get().refresh_token.as_ref().filter(|new| **new != token.refresh_token);
                let ending =
                    new.map_or(Ending::Renewed, |new| Ending::Redeemed { successor: new.fingerprint() });
                let unsendable = change.bookkeeping.state == State::Malformed;
                let outcome = if unsendable { Outcome::Malformed } else { Outcome::Refreshed };
                Planned {
                    ending: Some((granted.entry(), ending)),
                    recovered,
                    kept: granted.is_kept(),
                    ..plan(subject, Some(change), outcome)
                }
            }
            Next::Retire { entry, state, evidence } => {
                let ending = entry.map(|entry| (entry, Ending::Settled));
                let Some(read) = read else {
                    self.line.left_claimed();
                    // Not settled after all: the provider is asked again in the next pass.
                    let ending = entry.map(|entry| (entry, Ending::NotProcessed));
                    return Planned {
                        ending,
                        reason: Some(Reason::Store.into()),
                        ..plan(subject, None, Outcome::StillDue)
                    };
                };
                let outcome =
                    if state == State::LostInFlight { Outcome::LostInFlight } else { Outcome::NeedsLogin };
                match read.get(&token.id) {
                    None => Planned { ending, ..plan(subject, None, Outcome::Gone) },
                    // The loser of a race marks nobody: the refused token isn't theirs any more.
                    Some(document) if document.refresh_token.as_ref() != Ok(&token.refresh_token) => {
                        Planned {
                            ending,
                            ..plan(subject, overtaken(self.line, document), Outcome::Superseded)
                        }
                    }
                    Some(_) => {
                        let change = policy.retirement(&token, state, evidence);
                        let news = !is_known_dead(&token);
                        Planned { ending, news, ..plan(subject, Some(change), outcome) }
                    }
                }
            }
            Next::Defer(evidence) => {
                let reason = Some(Word::read(&evidence.code));
                let change = policy.deferral(&token, evidence, self.line.chance.unit());
                Planned { reason, ..plan(subject, Some(change), Outcome::StillDue) }
            }
            Next::RefusedOnce(evidence) => {
                // Without jitter, which only shortens: the next occasion is at least the first wait away.
                let change = policy.deferral(&token, evidence, 0.0);
                let reason = Some(Reason::RefusedOnce.into());
                Planned { reason, ..plan(subject, Some(change), Outcome::StillDue) }
            }
            Next::Refused(_) => unreachable!("the sink holds a refusal until it is judged"),
            Next::Release(reason) => Planned {
                reason: Some(reason.into()),
                ..plan(subject, Some(policy.release(&token)), Outcome::StillDue)
            },
            Next::Behind(reason) => Planned {
                reason: Some(reason.into()),
                ..plan(subject, Some(policy.later(&token, now, Duration::ZERO)), Outcome::StillDue)
            },
            Next::Later(reason) => Planned {
                reason: Some(reason.into()),
                ..plan(subject, Some(policy.later(&token, now, policy.first_backoff)), Outcome::StillDue)
            },
            Next::NotTaken => {
                Planned { outcome: None, ..plan(subject, Some(policy.not_taken(&token)), Outcome::StillDue) }
            }
            Next::Overtaken => match read.map(|read| read.get(&token.id)) {
                Some(None) => plan(subject, None, Outcome::Gone),
                Some(Some(document)) => plan(subject, overtaken(self.line, document), Outcome::Superseded),
                None => {
                    self.line.left_claimed();
                    Planned { reason: Some(Reason::Store.into()), ..plan(subject, None, Outcome::StillDue) }
                }
            },
            Next::Copy { first, .. } => self.plan_copy(&token, &first),
        }
    }

    /// A token that was redeemed already: its pair is in the document for which it was, or nobody has it any more.
    fn plan_copy(&self, token: &DueToken, first: &TokenId) -> Planned {
        let now = self.line.clock.now();
        let (change, outcome, reason) = match self.find_pair(token, first) {
            Pair::NotRead => {
                self.line.left_claimed();
                (None, Outcome::StillDue, Some(Reason::Store))
            }
            Pair::OnItsWay => {
                (Some(self.line.policy.release(token)), Outcome::StillDue, Some(Reason::SameTokenInFlight))
            }
            Pair::There(change) => (Some(*change), Outcome::Duplicate, None),
            Pair::Nowhere => {
                let evidence = LastError {
                    class: Evidence::Refused.into(),
                    code: Code::AlreadyRedeemed.into(),
                    http_status: None,
                    at: now,
                    lost: None,
                };
                let change = self.line.policy.retirement(token, State::NeedsLogin, evidence);
                (Some(change), Outcome::NeedsLogin, None)
            }
        };
        let (reason, news) = (reason.map(Reason::into), !is_known_dead(token));
        Planned { reason, news, ..plan(&token.subject, change, outcome) }
    }

    /// Would a token that was redeemed already be marked, by what is known now, as no pass has marked it before?
    pub(super) fn is_news(&self, token: &DueToken, first: &TokenId) -> bool {
        !is_known_dead(token) && matches!(self.find_pair(token, first), Pair::Nowhere)
    }

    /// Looks for the pair that came for a token.
    fn find_pair(&self, token: &DueToken, first: &TokenId) -> Pair {
        let Some(read) = self.read else { return Pair::NotRead };
        let now = self.line.clock.now();
        if *first != token.id && read.get(first).is_some_and(|first| is_claimed(first, now)) {
            return Pair::OnItsWay;
        }
        // Only what came out of this very token: the first document may belong to another login by now.
        let is_successor = |first: &&TokenDocument| {
            let now_there = first.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
            now_there.is_some()
                && now_there.as_ref() == self.successors.get(&token.refresh_token.fingerprint())
        };
        let pair_of = |first: &TokenDocument| self.line.policy.copy(token, first);
        let change = read.get(first).filter(is_successor).and_then(pair_of);
        change.map_or(Pair::Nowhere, |change| Pair::There(Box::new(change)))
    }
}

/// Where the pair is that came for a token which was redeemed before.
enum Pair {
    /// The store can't be read.
    NotRead,
    /// The document in which it should be is claimed.
    OnItsWay,
    /// In that document; the change copies it.
    There(Box<Change>),
    /// In no document.
    Nowhere,
}

/// The change for a document that holds somebody else's token, if it still carries our claim: another process' claim
/// isn't ours to give back.
pub(super) fn overtaken(line: &Line, theirs: &TokenDocument) -> Option<Change> {
    let lease = theirs.bookkeeping.lease.as_ref()?;
    let ours = lease.id == line.terms.lease_id;
    ours.then(|| line.policy.overtaken(theirs, line.clock.now()))
}

/// May the token in this document be on its way, so that its pair isn't to be copied?
pub(super) fn is_claimed(document: &TokenDocument, now: Timestamp) -> bool {
    document.bookkeeping.lease.as_ref().is_some_and(|lease| lease.until > now)
}

/// The provider of a document: the one that it names, or the only one.
pub(super) fn provider_name(line: &Line, document: &TokenDocument) -> Option<String> {
    let only = if let [(only, _)] = &line.gates[..] { Some(only.to_string()) } else { None };
    document.provider.clone().or(only)
}

pub(super) fn plan(subject: &Subject, change: Option<Change>, outcome: Outcome) -> Planned {
    Planned {
        subject: subject.clone(),
        change,
        outcome: Some(outcome),
        reason: None,
        ending: None,
        recovered: false,
        kept: true,
        provider: None,
        news: true,
    }
}

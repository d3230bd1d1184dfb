//! Marks whose pass is in doubt are taken back; those of a pass that was judged leave the list.

use super::Sink;
use crate::journal::{JournalError, Judged, MadeMark};
use crate::kill_point::{Point, reach};
use crate::report::{LiveAgain, Outcome, PutOff, WhyLiveAgain};
use crate::store::Change;
use crate::token::{Code, Reason, State, TokenDocument, TokenId};
use crate::verdict::{TakingBack, take_back};
use tracing::{info, warn};

impl Sink {
    /// What earlier passes left on the list: what is to be taken back for sure is, before anybody is asked. A person who
    /// says that refusals are to be believed has looked at all of them.
    pub(in crate::pass) async fn begin_judging(&mut self) {
        let Some(held) = &self.held else { return };
        let accepted = held.gate.standing().accepted;
        self.adopt_marks().await;
        if accepted {
            self.judged(Judged::Accepted).await;
        } else {
            self.take_back().await;
        }
    }

    /// Judges the pass at its end: in doubt its marks are taken back, otherwise they stay what they are, and with them those
    /// of passes that were killed before they were judged. A pass without a grant says nothing about those.
    pub(super) async fn end_judging(&mut self) {
        let Some(held) = &self.held else { return };
        let standing = held.gate.standing();
        if standing.suspicious {
            self.note_doubt().await;
            self.take_back().await;
        } else if standing.proven {
            let pass = self.line.terms.lease_id.clone();
            self.judged(Judged::Good { pass, earlier: self.line.whole }).await;
        }
    }

    /// Notes that what this pass has marked is to be taken back, and what a pass has marked that was killed before it was
    /// judged: what can't be taken back now is taken back by the next pass.
    pub(super) async fn note_doubt(&mut self) {
        let Some(counter) = self.line.whose.counter() else { return };
        if let Err(error) = self.line.base.journal.doubt_marks(&counter.provider.name).await {
            self.list_failed(&error);
        }
    }

    async fn judged(&self, judged: Judged) {
        let Some(counter) = self.line.whose.counter() else { return };
        if let Err(error) = self.line.base.journal.judge_marks(&counter.provider.name, judged).await {
            self.list_failed(&error);
        }
    }

    /// Takes back all that the list says, a page at a time.
    pub(super) async fn take_back(&mut self) {
        let Some(counter) = self.line.whose.counter().cloned() else { return };
        let (line, mut after) = (self.line.clone(), None);
        loop {
            let page = match line.base.journal.doubted_marks(&counter.provider.name, after).await {
                Ok(page) => page,
                Err(error) => return self.list_failed(&error),
            };
            let Some(last) = page.last() else { return };
            after = Some(last.document.clone());
            // A store that is away has been told of; the list stays.
            let Some(settled) = self.take_back_page(page).await else { return };
            self.judged(Judged::Settled(settled)).await;
        }
    }

    /// The documents whose marks are settled; `None` when the store can't be used.
    async fn take_back_page(&mut self, page: Vec<MadeMark>) -> Option<Vec<TokenId>> {
        let ids: Vec<_> = page.iter().map(|mark| mark.document.clone()).collect();
        let documents = self.read(&ids).await?;
        let (mut settled, mut changes, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for mark in page {
            let document = documents.get(&mark.document);
            match self.taking_back(&mark, document) {
                TakingBack::Write(change) => {
                    changes.push(*change);
                    marks.push((mark, Said::of(document)));
                }
                TakingBack::IsClaimed => tell_later(&mark),
                TakingBack::IsNotThere => settled.push(mark.document),
            }
        }
        if changes.is_empty() {
            return Some(settled);
        }
        reach(Point::TakesBack);
        let applied = self.apply(&changes).await?;
        reach(Point::TakenBack);
        let now_there = if applied.every_matched {
            None
        } else {
            let ids: Vec<_> = changes.iter().map(|change| change.id.clone()).collect();
            Some(self.read(&ids).await?)
        };
        for (change, (mark, said)) in changes.iter().zip(marks) {
            let document = now_there.as_ref().map(|documents| documents.get(&change.id));
            match document {
                Some(document) if !is_written(change, document) => {
                    let again = self.taking_back(&mark, document);
                    if matches!(again, TakingBack::IsNotThere) {
                        settled.push(mark.document);
                    } else {
                        tell_later(&mark);
                    }
                }
                Some(_) | None => {
                    self.tell_live_again(&mark, said, change);
                    settled.push(mark.document);
                }
            }
        }
        Some(settled)
    }

    fn taking_back(&self, mark: &MadeMark, document: Option<&TokenDocument>) -> TakingBack {
        let around = self.line.around();
        take_back(mark, document, self.line.terms.takes_over_from(&self.line.base.clock), &around)
    }

    fn tell_live_again(&self, mark: &MadeMark, Said { was, why }: Said, change: &Change) {
        let (id, subject, line) = (&mark.document, &mark.subject, &self.line);
        info!(%subject, was = was.word(), "live again: the mark of `{subject}` is taken back, because the refusals of its pass are not believed");
        let provider = Some(line.whose.name().to_string());
        line.report.live_again(LiveAgain {
            id: id.clone(),
            subject: subject.clone(),
            provider: provider.clone(),
            was,
            why: WhyLiveAgain::TakenBack,
        });
        let outcome = if was == State::LostInFlight { Outcome::LostInFlight } else { Outcome::NeedsLogin };
        let (id, subject, code) = (id.clone(), subject.clone(), why.word().to_owned());
        let due_at = change.bookkeeping.due_at.unwrap_or_else(|| line.base.clock.now());
        let put_off = PutOff { id, subject, provider, code, due_at, new: true };
        line.report.unmarked(put_off, outcome, mark.pass == line.terms.lease_id);
    }

    fn list_failed(&self, error: &JournalError) {
        self.line.journal_failed(error);
    }
}

/// What a document's mark said.
#[derive(Clone, Copy)]
struct Said {
    was: State,
    /// Why the document is still due without it.
    why: Reason,
}

impl Said {
    fn of(document: Option<&TokenDocument>) -> Self {
        let books = document.map(|document| &document.bookkeeping);
        let error = books.and_then(|books| books.last_error.as_ref());
        let says = |code| error.is_some_and(|error| error.code.is(code));
        let why = if says(Code::AlreadyRedeemed) {
            Reason::AlreadyRedeemed
        } else if says(Code::NotAskedAgain) {
            Reason::NotAskedAgain
        } else {
            Reason::RefusedShare
        };
        Self { was: books.map(|books| books.state).unwrap_or_default(), why }
    }
}

/// Is this very change in the document?
fn is_written(change: &Change, document: Option<&TokenDocument>) -> bool {
    document.is_some_and(|there| there.bookkeeping == change.bookkeeping)
}

/// Claimed, or refused by the store: the next pass tries again.
fn tell_later(mark: &MadeMark) {
    let subject = &mark.subject;
    warn!(%subject, "the mark of `{subject}` could not be taken back yet; the next pass tries again");
}

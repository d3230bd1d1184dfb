//! One grant, from the intent to its verdict. It runs in a task of its own that is never cancelled.

use super::Line;
use super::again::RefusedOnce;
use super::landed::{Landed, met};
use super::look::Sending;
use super::question::Question;
use crate::clock::ReadAt;
use crate::duration::words;
use crate::gate::{Gate, LONGEST_WAIT_IN_A_PASS, Permit, Signal};
use crate::grant::answer::{Class, Reading};
use crate::grant::{self, Sent, Wire};
use crate::journal::{EntryId, Event, Received};
use crate::kill_point::{Point, reach};
use crate::provider::{AskAgain, Provider, Rotation};
use crate::report::{Outcome, if_these_logins_ended};
use crate::token::{Code, DueToken, Facts, Lost, Reason};
use crate::verdict::{Asked, Case, Document, Fact, Heard, Step, Tried, Verdict, judge, noted, past_end};
use chrono::TimeDelta;
use futures::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, error, warn};
use url::Url;

/// A token on its way through a lane, with what this pass has already tried.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) token: DueToken,
    pub(super) tried: Tried,
    /// The first request of this pass that no answer has settled.
    pub(super) lost: Option<Lost>,
    /// The refusal after which it is to be sent once more.
    pub(super) refused: Option<RefusedOnce>,
    /// Times that another document's grant of the same token was in the way.
    pub(super) in_the_way: u32,
    /// When its document was last read.
    pub(super) read_at: ReadAt,
    /// Did it go back to the gate, because reading it again took too long for its place in the rate?
    pub(super) went_back: bool,
    /// A failure of which it isn't known yet whether it was an outage.
    pub(super) question: Option<Question>,
}

impl Attempt {
    pub(super) const fn new(token: DueToken, read_at: ReadAt) -> Self {
        Self {
            token,
            tried: Tried { put_off: 0, unanswered: 0, refused: 0 },
            lost: None,
            refused: None,
            in_the_way: 0,
            read_at,
            went_back: false,
            question: None,
        }
    }
}

/// What a task gives back to its lane; exactly one each.
#[derive(Debug)]
pub(super) enum Returned {
    /// Its outcome is with the sink.
    Done,
    /// The same token again, not before this.
    Again(Box<Attempt>, Instant),
}

/// What a task works with.
pub(super) struct Redeemer {
    pub(super) line: Arc<Line>,
    pub(super) provider: Arc<Provider>,
    pub(super) gate: Arc<Gate>,
    pub(super) wire: Arc<dyn Wire>,
    pub(super) landed: mpsc::Sender<Landed>,
}

/// How far a task has come, for the case that it panics.
#[derive(Default)]
struct Progress {
    recorded: OnceLock<EntryId>,
    kept: OnceLock<()>,
}

impl Redeemer {
    /// Sends one grant, if it still may be sent, and brings its outcome to the sink or the token back to the lane.
    ///
    /// **Must run to completion.** A panic is an outcome too: the intent stays in doubt in the journal.
    pub(super) async fn redeem(&self, attempt: Attempt, permit: Permit) -> Returned {
        let subject = attempt.token.subject.clone();
        let progress = Progress::default();
        // Boxed, because a task's future is copied several times on its way into the runtime, and this one is large.
        let redeem = AssertUnwindSafe(Box::pin(self.redeem_once(attempt, permit, &progress)));
        if let Ok(returned) = redeem.catch_unwind().await {
            return returned;
        }
        // The claim stays, so that the token isn't taken again in this pass; the next start gives it back.
        self.line.left_claimed();
        let code = Reason::Panic.word();
        if progress.kept.get().is_some() {
            // Its answer is in the journal, and may hold a pair: as it is, the row keeps the token from being sent again,
            // and the next start reads it.
            error!(code, "reading the answer for `{subject}` panicked; it is kept in the journal");
        } else if let Some(entry) = progress.recorded.get() {
            error!(code, "a grant of `{subject}` panicked; its journal entry {entry} stays unsettled");
            self.end_row((*entry, Event::Lost { cause: Code::Panic.into(), peer: None })).await;
        } else {
            error!(code, "a grant of `{subject}` panicked before it was sent");
        }
        self.line.ended(&subject, Outcome::StillDue, Some(code), None);
        Returned::Done
    }

    async fn redeem_once(&self, attempt: Attempt, mut permit: Permit, progress: &Progress) -> Returned {
        let sending = match self.permission(attempt, &mut permit).await {
            Ok(sending) => sending,
            Err(returned) => return returned,
        };
        let Sending { attempt, entry, sent_at, doubts } = sending;
        let _ = progress.recorded.set(entry);
        reach(Point::IntentKnown);
        let line = &self.line;
        let unanswered = line.sent();
        let Ok(request) = grant::request(&self.provider, &attempt.token) else {
            // What a document lacks was seen when it was read.
            drop(unanswered);
            self.end_row((entry, Event::NotProcessed)).await;
            permit.signal(Signal::NotAsked);
            self.land_as(attempt, Fact::NotSent(Reason::DocumentChanged)).await;
            return Returned::Done;
        };
        reach(Point::BeforePost);
        let posted = Instant::now();
        let sent = self.wire.post(&request).await;
        let took = posted.elapsed();
        permit.answered();
        let heard = self.keep_and_read(entry, &attempt.token, sent, progress).await;
        line.report.heard(&heard.reading().class, took, line.base.clock.now());
        drop(unanswered);
        reach(Point::AnswerRead);
        let sending = Sending { attempt, entry, sent_at, doubts };
        self.follow(sending, heard, permit, &request.url).await
    }

    /// Does what follows from an answer, or from none: the token goes back to its lane, or to the sink with the verdict.
    async fn follow(&self, sending: Sending, heard: Heard, mut permit: Permit, url: &Url) -> Returned {
        let Sending { attempt, entry, sent_at, doubts } = sending;
        let Attempt { token, tried, lost: earlier, in_the_way, read_at, went_back, .. } = attempt;
        let rotation = self.provider.profile.rotation;
        // A grace doesn't wait for the end of an outage: within it the token is asked for again at once.
        // Nor is a first failure enough to know where a second request would be punished.
        let is_punished = self.provider.profile.ask_again == AskAgain::Never;
        let without_grants = rotation == Rotation::SingleUse && self.gate.is_without_grants(!is_punished);
        let granted = matches!(heard.reading().class, Class::Granted(_));
        let peer = if granted { None } else { self.wire.peer(url) };
        let unproven = self.gate.is_unproven();
        let mut asked =
            Asked { entry, sent_at, peer, heard, earlier, doubts, tried, unproven, without_grants };
        asked.tried = tried.and(&asked.reading().class, asked.is_of_an_outage(), rotation);
        let tried = asked.tried;
        let question = Question::of(&asked, &self.provider.profile, Instant::now());
        let lost = asked.in_this_pass(rotation != Rotation::None);
        let mut case = Case { token, provider: self.provider.clone(), fact: Fact::Asked(Box::new(asked)) };
        let around = self.line.around();
        let verdict = judge(&case, Document::NotRead, &around);
        if granted && tried.refused > 0 {
            self.gate.granted_after_all();
        }
        permit.signal(self.of_tenant(verdict.gate.clone(), url, &case.token));
        self.tell(&case, &verdict);
        let (wait, refused) = match verdict.document {
            Step::Again(wait) => (wait, None),
            Step::OnceMore(wait, refusal) => {
                (wait, Some(RefusedOnce { refusal, granted: self.gate.granted() }))
            }
            Step::Write(..) | Step::Leave | Step::Look | Step::Hold(_) => {
                case.token = noted(&case.token, lost.as_ref(), around.now).into_owned();
                let landed = Landed::of(case, verdict, &around);
                self.land_by(permit, landed).await;
                return Returned::Done;
            }
        };
        met(verdict.rule);
        // Before the token goes through the gate again: an open row would keep it from being sent.
        if let Some(row) = verdict.row {
            self.end_row(row).await;
        }
        if refused.is_some() {
            reach(Point::RefusedOnce);
        }
        self.line.report.retried();
        let attempt =
            Attempt { token: case.token, tried, lost, refused, in_the_way, read_at, went_back, question };
        Returned::Again(Box::new(attempt), Instant::now() + wait)
    }

    /// Where each document has a host or a client of its own, a rejection is about that one.
    fn of_tenant(&self, signal: Signal, url: &Url, token: &DueToken) -> Signal {
        let is_fixed = self.provider.token_url.fixed().is_some();
        let own_url = (!is_fixed).then(|| format!("{}{}", url.host_str().unwrap_or_default(), url.path()));
        let own = own_url.as_deref().or_else(|| token.facts.value(Facts::CLIENT_ID));
        match signal {
            Signal::ClientRejected { code, http_status, tenant: _, unread } => {
                Signal::ClientRejected { code, http_status, tenant: own.map(str::to_owned), unread }
            }
            signal => signal,
        }
    }

    /// Says what came of a request.
    fn tell(&self, case: &Case, verdict: &Verdict) {
        let Fact::Asked(asked) = &case.fact else { return };
        let (reading, subject) = (asked.reading(), &case.token.subject);
        let (class, code) = (reading.class.word(), &reading.code);
        if reading.class == Class::ClientRejected {
            self.line.report.rejected(code, reading.http_status);
        }
        let rule = verdict.rule.says();
        debug!(class, code, rule, "the grant of `{subject}` was {class} ({code})");
        match reading.class {
            Class::Throttled(wait) => {
                self.line.report.throttled();
                if let Some(wait) = wait.filter(|wait| *wait > LONGEST_WAIT_IN_A_PASS) {
                    let until = self.line.base.clock.now() + TimeDelta::from_std(wait).unwrap_or_default();
                    let (long, until) = (words(wait), until.format("%Y-%m-%d %H:%M:%S UTC"));
                    warn!(code, "the provider asks to wait {long}, until {until} (the grant of `{subject}`)");
                }
            }
            Class::Unreadable if self.provider.profile.rotation == Rotation::None => {
                warn!(
                    code,
                    "the answer for `{subject}` is a success without tokens that can be read ({code}); the refresh token stays good"
                );
            }
            Class::Unreadable => {
                error!(
                    code,
                    "the answer for `{subject}` is a success without a pair that can be read ({code}); it is kept in the journal, and the token is not sent again"
                );
            }
            Class::Ambiguous => {
                let (to, received_bytes) =
                    (asked.peer.as_deref().unwrap_or("an unknown address"), asked.received_bytes());
                warn!(code, to, received_bytes, "no usable answer for `{subject}` ({code}) from {to}");
            }
            // A client that is rejected is rejected for all.
            Class::ClientRejected if !asked.unproven && self.line.report.is_first_rejection() => {
                let hint = if_these_logins_ended(code, reading.http_status).unwrap_or_default();
                warn!(
                    code,
                    "the provider rejects the client for `{subject}` ({code}), and grants others. {hint}"
                );
            }
            Class::Granted(_)
            | Class::Transient
            | Class::Unlisted
            | Class::Refused
            | Class::Suspected
            | Class::ClientRejected => {}
        }
    }

    /// Makes the answer durable, then reads it.
    async fn keep_and_read(
        &self,
        entry: EntryId,
        token: &DueToken,
        sent: Sent,
        progress: &Progress,
    ) -> Heard {
        let (profile, subject) = (&self.provider.profile, &token.subject);
        let raw = match sent {
            Sent::Answered(raw) => raw,
            Sent::NotSent(_) | Sent::Lost(_) => {
                return Heard::Nothing(grant::answer::read(&sent, profile, self.line.base.clock.now()));
            }
        };
        reach(Point::AnswerReceived);
        let (received_at, bytes) = (raw.received_at, raw.body.len() as u64);
        let received = match self.line.base.journal.answer(entry, raw).await {
            Ok(journaled) => Received::Kept(journaled),
            Err(unjournaled) => {
                self.line.journal_failed(&unjournaled.error);
                Received::Rescued(unjournaled.rescue())
            }
        };
        let is_kept = received.is_kept();
        if is_kept {
            let _ = progress.kept.set(());
        }
        let now = self.line.base.clock.now();
        let reading = received.map(|raw| grant::answer::read_answer(&raw, profile, now)).map(|reading| {
            let is_lost = matches!(reading.class, Class::Unreadable) && !is_kept;
            if !is_lost {
                return past_end(reading, token, profile);
            }
            // The answer is kept nowhere: to call it unread would be to wait for it for ever.
            let code = &reading.code;
            error!(code, "the answer for `{subject}` is a success without a pair that can be read, and the journal failed: it is kept nowhere");
            Reading { class: Class::Ambiguous, ..reading }
        });
        Heard::Answer { reading, received_at, bytes }
    }

    pub(super) async fn end_row(&self, row: (EntryId, Event)) {
        if let Err(error) = self.line.end_rows(vec![row]).await {
            self.line.journal_failed(&error);
        }
    }

    /// Hands a token to the sink, with what this pass knows of a lost answer.
    pub(super) async fn land_as(&self, attempt: Attempt, fact: Fact) {
        let (Ok(attempt) | Err(attempt)) = self.answered(attempt).await;
        let now = self.line.base.clock.now();
        let token = match noted(&attempt.token, attempt.lost.as_ref(), now) {
            std::borrow::Cow::Owned(token) => token,
            std::borrow::Cow::Borrowed(_) => attempt.token,
        };
        self.land(self.line.judge(token, &self.provider, fact)).await;
    }

    /// Hands over what came of a request. Until the store has accepted a pair, the gate waits until this one is written.
    async fn land_by(&self, permit: Permit, landed: Landed) {
        if landed.brings_a_pair() && self.gate.waits_for_write_backs() {
            return self.land(landed.by(permit)).await;
        }
        let sent = Some(permit.sent());
        self.land(Landed { sent, ..landed }).await;
        drop(permit);
    }

    pub(super) async fn land(&self, landed: Landed) {
        // The sink outlives all tasks that a lane waits for. Without it the answers are in the journal, and the next pass
        // writes them: there is no reason to ask for more.
        if self.landed.send(landed).await.is_err() {
            self.line.cannot_keep();
        }
    }
}

//! How a gate stands: what it lets through now, and what each answer changes.

use super::pace::Pace;
use super::refusals::Refusals;
use super::sample::Sample;
use super::status::Pauses;
use super::write_backs::WriteBacks;
use super::{Signal, Stopped};
use crate::provider::history::History;
use crate::provider::rate::Rate;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;

/// Pause after a throttled answer that names no time.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);

/// Failures in a row that make an outage: fewer are bad luck with a provider that fails now and then.
pub(super) const OUTAGE_FAILURES: u32 = 8;

/// Failures in a row, without an answer between them, that were an outage when all is over: one or two are bad luck.
const FEWEST_FAILURES: u32 = 3;

/// First wait of an outage; it doubles with each failed probe.
const FIRST_OUTAGE_WAIT: Duration = Duration::from_secs(1);

/// Longest wait between two probes of an outage.
const LONGEST_OUTAGE_WAIT: Duration = Duration::from_mins(1);

/// An outage that lasts longer ends the pass: what is due stays due, and the next wake tries again.
pub(super) const OUTAGE_PATIENCE: Duration = Duration::from_mins(5);

/// A provider that asked for pauses and answered nothing else for so long is out: three of the longest pauses.
///
/// What is due stays due, and the next wake tries again; a pass that never ends would help no user.
pub(super) const THROTTLED_PATIENCE: Duration = Duration::from_mins(30);

/// Longest pause that a pass waits for. A longer one ends it, so that it holds no claims for hours; the next pass follows
/// when the pause is over.
pub const LONGEST_WAIT_IN_A_PASS: Duration = Duration::from_mins(10);

/// An outage that an earlier pass has met already is given up after so long.
const KNOWN_OUTAGE_PATIENCE: Duration = Duration::from_mins(1);

/// Client rejections in a row that stop the provider: the client registration is wrong, and asking on would only fail
/// user after user.
const CLIENT_REJECTIONS: u32 = 3;

/// Tokens of the sample that stops the provider when all of them are refused.
pub(super) const REFUSED_SAMPLE: usize = 20;

/// The same, when the client is rejected with all of them.
const REJECTED_SAMPLE: usize = 3;

/// Tokens in a row that are asked to wait for longer than a pass does, each for itself, before that is the provider's wish.
const MOST_LONG_WAITS: u32 = 2;

/// How long after a grant the next pass needs no canary: by then the provider, or our registration there, may be another.
const PROVEN_FOR: Duration = Duration::from_hours(1);

/// Everything that a gate knows of its provider.
#[derive(Debug)]
pub(super) struct State {
    pub(super) pace: Pace,
    concurrency: NonZeroUsize,
    pub(super) in_flight: usize,
    /// No grant for a while: one at a time, so that a mistake of ours costs one token and not a pool of them. So it is while a
    /// sample is asked.
    pub(super) canary: bool,
    granted_at: Option<Instant>,
    pub(super) paused_until: Option<Instant>,
    pub(super) pauses: Pauses,
    pub(super) closed: bool,
    failures: u32,
    /// When it last worked.
    worked_at: Option<Instant>,
    pub(super) outage: Option<Outage>,
    /// The last outage that has ended: from the last answer before it to the first one after it.
    last_outage: Option<(Option<Instant>, Instant)>,
    /// Since when it has only asked for pauses.
    throttled_since: Option<Instant>,
    /// Has it asked for a pause that may have been about one token, and granted nothing since?
    waits_asked: u32,
    client_rejections: u32,
    /// Those hosts or clients of documents among them.
    rejecting: HashSet<String>,
    /// Why the provider is to be left alone, unless a sample is granted: our client was rejected so often in a row.
    rejection: Option<Stopped>,
    pub(super) refusals: Refusals,
    pub(super) sample: Sample,
    pub(super) write_backs: WriteBacks,
    pub(super) stopped: Option<Stopped>,
}

/// A provider that gives no usable answer.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) since: Instant,
    /// When this pass began to wait for its end.
    waited_since: Instant,
    patience: Duration,
    wait: Duration,
    last_probe: Instant,
}

impl Outage {
    /// One that an earlier pass has met.
    pub(super) const fn going_on(since: Instant, now: Instant) -> Self {
        Self {
            since,
            waited_since: now,
            patience: KNOWN_OUTAGE_PATIENCE,
            wait: FIRST_OUTAGE_WAIT,
            last_probe: now,
        }
    }
}

/// What a failure was a part of, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// An outage: no user was granted.
    Outage,
    /// Others were granted.
    AmongGrants,
    /// It isn't known yet: no answer has come since that says so.
    Open,
}

/// What stands between a token and the provider.
#[derive(Debug)]
pub(super) enum Wait {
    Until(Instant),
    Change,
}

impl State {
    pub(super) fn new(rate: Option<Rate>, concurrency: NonZeroUsize, now: Instant) -> Self {
        Self {
            pace: Pace::new(rate, now),
            concurrency,
            in_flight: 0,
            canary: true,
            granted_at: None,
            paused_until: None,
            pauses: Pauses::default(),
            closed: false,
            failures: 0,
            worked_at: None,
            outage: None,
            last_outage: None,
            throttled_since: None,
            waits_asked: 0,
            client_rejections: 0,
            rejecting: HashSet::new(),
            rejection: None,
            refusals: Refusals::default(),
            sample: Sample::None,
            write_backs: WriteBacks::default(),
            stopped: None,
        }
    }

    /// A pass begins.
    pub(super) fn begin_pass(&mut self, history: History, accepted: bool, now: Instant) {
        let is_proven = |at: Instant| now.saturating_duration_since(at) <= PROVEN_FOR;
        self.canary = !self.granted_at.is_some_and(is_proven);
        self.refusals = Refusals::default();
        self.sample = Sample::None;
        self.write_backs = WriteBacks::default();
        self.refusals.expect(history, accepted);
        self.refusals.in_flight_at_once(self.concurrency.get() as u64);
        let paused_for = self.paused_until.map(|until| until.saturating_duration_since(now));
        self.stopped = paused_for.filter(|left| *left > LONGEST_WAIT_IN_A_PASS).map(|_| Stopped::Paused);
        self.closed = false;
        self.throttled_since = None;
        self.waits_asked = 0;
        self.client_rejections = 0;
        self.rejecting.clear();
        self.rejection = None;
        self.outage = self.outage.take().map(|outage| Outage::going_on(outage.since, now));
    }

    /// Is no user granted now? Since a run of failures began that is an outage with one more; or, where that is enough to know,
    /// since the pass began.
    pub(super) fn is_without_grants(&self, since_it_began: bool) -> bool {
        since_it_began && self.canary || self.outage.is_some() || self.failures + 1 >= OUTAGE_FAILURES
    }

    /// What is known by now of the stretch in which a request failed at `failed_at`.
    pub(super) fn stretch(&self, failed_at: Instant) -> Stretch {
        let is_after = |worked_at: Option<Instant>| worked_at.is_none_or(|at| failed_at >= at);
        let is_within = |(before, end): (Option<Instant>, Instant)| is_after(before) && failed_at <= end;
        let goes_on = self.outage.is_some() && is_after(self.worked_at);
        if goes_on || self.last_outage.is_some_and(is_within) {
            return Stretch::Outage;
        }
        if is_after(self.worked_at) { Stretch::Open } else { Stretch::AmongGrants }
    }

    /// Lets one grant through, and numbers it; or says what it waits for.
    pub(super) fn take(&mut self, now: Instant) -> Result<u64, Wait> {
        if self.closed || self.in_flight >= self.most_in_flight() {
            return Err(Wait::Change);
        }
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Err(Wait::Until(until));
        }
        let number = self.pace.take(now).map_err(Wait::Until)?;
        self.in_flight += 1;
        Ok(number)
    }

    fn most_in_flight(&self) -> usize {
        let is_sampled = self.sample.is_wanted() || self.write_backs.one_at_a_time();
        if self.canary || self.outage.is_some() || is_sampled {
            return 1;
        }
        if self.pace.is_limited() {
            return self.concurrency.get();
        }
        // Without a rate to slow down, a throttled provider gets fewer at once.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a pool size, rounded up"
        )]
        let share = (self.concurrency.get() as f64 * self.pace.factor()).ceil() as usize;
        share.max(1)
    }

    /// Takes note of what the provider answered to a grant that was let through at `sent`.
    pub(super) fn signal(&mut self, signal: Signal, sent: Instant, now: Instant) {
        match signal {
            Signal::Works { granted } => {
                if self.outage.is_some() || self.failures >= FEWEST_FAILURES {
                    self.last_outage = Some((self.worked_at, now));
                }
                self.worked_at = Some(now);
                self.failures = 0;
                self.throttled_since = None;
                self.client_rejections = 0;
                self.rejecting.clear();
                if self.rejection.is_some() || self.outage.is_some() || self.waits_asked > 0 {
                    // Its question is answered; refusals ask for a sample of their own.
                    self.sample = Sample::None;
                }
                self.rejection = None;
                self.outage = None;
                self.canary &= !granted;
                if granted {
                    self.waits_asked = 0;
                    self.sample = Sample::None;
                    self.granted_at = Some(now);
                    self.refusals.granted();
                }
                self.pace.clean(now);
            }
            Signal::RefusedInDoubt { code, http_status } => {
                self.signal(Signal::Works { granted: false }, sent, now);
                self.refusals.refused_in_doubt(&code, http_status);
            }
            Signal::Refused { code, http_status, before } => {
                self.signal(Signal::Works { granted: false }, sent, now);
                let grants_nothing = self.refusals.refused(&code, http_status, before);
                if grants_nothing
                    && self.sample.failed(REFUSED_SAMPLE, sent)
                    && let Some(suspicion) = self.refusals.grants_nothing()
                {
                    self.stopped.get_or_insert(Stopped::Refusals(suspicion));
                }
            }
            Signal::Throttled { wait, may_be_alone: true } if self.is_about_one_token(wait) => {}
            Signal::Throttled { wait, may_be_alone: _ } => {
                self.pace.throttled(sent, now);
                let since = *self.throttled_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= THROTTLED_PATIENCE {
                    self.stopped.get_or_insert(Stopped::Outage);
                }
                let wait = wait.unwrap_or(DEFAULT_PAUSE);
                if wait <= LONGEST_WAIT_IN_A_PASS {
                    self.pause_as_asked(wait, now);
                } else if self.canary || self.waits_asked > 0 {
                    self.pause_as_asked(wait, now);
                    self.stopped.get_or_insert(Stopped::Paused);
                } else {
                    // It may be about one token, while its neighbours are granted.
                    self.waits_asked += 1;
                    self.pause_as_asked(DEFAULT_PAUSE, now);
                }
            }
            Signal::Failed => self.failed(sent, now),
            Signal::ClientRejected { code, http_status, tenant, unread } => {
                self.client_rejections += 1;
                let only_one = tenant.is_some_and(|tenant| {
                    self.rejecting.insert(tenant);
                    self.rejecting.len() < 2
                });
                let in_a_row = self.client_rejections >= CLIENT_REJECTIONS && !only_one;
                // Each success that can't be read has cost a user's token: of these, three are enough.
                if in_a_row {
                    self.rejection = Some(Stopped::ClientRejected { code, http_status });
                    if unread || self.sample.failed(REJECTED_SAMPLE, sent) {
                        self.nothing_left();
                    }
                }
            }
            Signal::NotAsked => {}
        }
    }

    /// No other tokens are left that could prove that our client is accepted.
    pub(super) fn nothing_left(&mut self) {
        if self.stopped.is_none() {
            self.stopped = self.rejection.take();
        }
    }

    /// Is a wait that came with a 4xx about one token alone, as far as is known? Others are asked first, before a long one leaves
    /// the provider alone.
    fn is_about_one_token(&mut self, wait: Option<Duration>) -> bool {
        let is_long = wait.is_some_and(|wait| wait > LONGEST_WAIT_IN_A_PASS);
        let most = if is_long { MOST_LONG_WAITS } else { u32::from(!self.canary) };
        if self.waits_asked >= most {
            return false;
        }
        self.waits_asked += 1;
        if is_long {
            self.sample.want(REJECTED_SAMPLE);
        }
        true
    }

    fn failed(&mut self, sent: Instant, now: Instant) {
        self.failures += 1;
        let wait = match &mut self.outage {
            // Grants that were out when the outage was noticed say nothing new.
            Some(outage) if sent < outage.last_probe => return,
            Some(outage) => {
                if now.saturating_duration_since(outage.waited_since) >= outage.patience {
                    self.stopped.get_or_insert(Stopped::Outage);
                }
                outage.wait = (outage.wait * 2).min(LONGEST_OUTAGE_WAIT);
                outage.last_probe = now;
                outage.wait
            }
            None if self.failures >= OUTAGE_FAILURES => {
                // It may be these documents alone: others are asked whether it is over.
                self.sample.want(REFUSED_SAMPLE);
                self.outage = Some(Outage {
                    since: now,
                    waited_since: now,
                    patience: OUTAGE_PATIENCE,
                    wait: FIRST_OUTAGE_WAIT,
                    last_probe: now,
                });
                FIRST_OUTAGE_WAIT
            }
            None => return,
        };
        self.pause(now + wait);
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |earlier| earlier.max(until)));
    }
}

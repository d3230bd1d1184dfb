//! The end of the demo: our store against the provider's own ledger.

use crate::commands::CommandError;
use crate::sandbox::{Audit, Sandbox};
use crate::store::Store as _;
use crate::store::sqlite::SqliteStore;
use crate::token::{State, Subject};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Documents read at once.
const PAGE: usize = 500;

/// What the killed process left.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Crash {
    /// Rotations in the provider's ledger at that moment.
    pub(super) rotated: u64,
    /// Grants whose answer hadn't been journaled.
    pub(super) cut_off: u64,
    /// Whose answers were in the journal, and not yet written back.
    pub(super) received: Vec<Subject>,
}

/// Both sides' numbers. Serializes as the one JSON object that `demo --format json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// Made-up users.
    users: u64,
    /// Rotations that the provider's ledger has.
    provider_rotated: u64,
    /// Users whose token in our store the provider accepts.
    pairs_held: u64,
    /// Users whom the provider refuses, by its ledger.
    provider_dead: u64,
    /// Documents in our store by state.
    states: BTreeMap<&'static str, u64>,
    /// Users whom we say must log in again, by the provider's code.
    must_log_in: BTreeMap<String, u64>,
    /// Logins that the network or the crash took, by the provider's ledger: rotated, and the answer never came.
    lost_in_flight: u64,
    /// Of these: users whom our store doesn't name as lost. Must be 0.
    lost_unnamed: Vec<String>,
    /// Answers that we had received, and whose pair is gone. Must be 0.
    received_and_lost: u64,
    /// Tokens that we sent again after we had their answer. Must be 0.
    replayed: u64,
    /// Answers with 429 that the provider gave.
    throttled: u64,
    /// What recovery found, when there was a crash.
    recovery: Option<Value>,
    /// What the killed process had left.
    crash: Option<Crash>,
}

impl Verdict {
    /// Compares what the store holds with what the provider would accept.
    pub(super) async fn new(
        sandbox: &Sandbox,
        store: &SqliteStore,
        summary: &Value,
        crash: Option<Crash>,
    ) -> Result<Self, CommandError> {
        let (mut held, mut states, mut must_log_in) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (mut named_lost, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(after.as_ref(), PAGE).await?;
            for document in page.documents {
                let bookkeeping = &document.bookkeeping;
                *states.entry(bookkeeping.state.word()).or_default() += 1;
                let code = bookkeeping.last_error.as_ref().map_or("unknown", |error| &*error.code);
                match bookkeeping.state {
                    State::NeedsLogin => *must_log_in.entry(code.to_owned()).or_default() += 1,
                    State::LostInFlight => {
                        *must_log_in.entry("lost in flight".to_owned()).or_default() += 1;
                        named_lost.push(document.subject.as_str().to_owned());
                    }
                    State::Live | State::Malformed => {}
                }
                if let Ok(token) = document.refresh_token {
                    held.push((document.subject.as_str().to_owned(), token));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let ledger = sandbox.ledger();
        let audit = sandbox.audit(held.iter().map(|(subject, token)| (subject, token.expose())));
        let lost: Vec<String> = audit.lost.iter().map(|lost| lost.user.clone()).collect();
        let is_lost = |subject: &Subject| lost.iter().any(|user| subject.as_str().starts_with(user.as_str()));
        let received = crash.as_ref().map_or(&[][..], |crash| &crash.received);
        let received_and_lost = received.iter().filter(|subject| is_lost(subject)).count() as u64;
        let named = |user: &String| named_lost.iter().any(|subject| subject.starts_with(user.as_str()));
        Ok(Self {
            users: ledger.alive_users + ledger.dead_users,
            provider_rotated: ledger.granted,
            pairs_held: audit.kept,
            provider_dead: audit.dead_users,
            states,
            must_log_in,
            lost_in_flight: audit.lost_in_flight + audit.lost_received,
            lost_unnamed: lost.iter().filter(|user| !named(user)).cloned().collect(),
            received_and_lost: received_and_lost + unexplained(&audit, crash.as_ref()),
            replayed: replayed(ledger.reuses, crash.as_ref()),
            throttled: ledger.throttled + ledger.faults.get("429").copied().unwrap_or_default(),
            recovery: crash.is_some().then(|| summary["recovery"].clone()),
            crash,
        })
    }

    /// Do both sides say the same, and is nothing lost that we had?
    pub(super) fn agrees(&self) -> bool {
        let marked: u64 = self.must_log_in.values().sum();
        self.received_and_lost == 0
            && self.replayed == 0
            && self.lost_unnamed.is_empty()
            && self.pairs_held + self.provider_dead + self.lost_in_flight == self.users
            && marked == self.provider_dead + self.lost_in_flight
    }
}

/// Lost answers that left the provider whole. Without a crash there is no excuse for one; with a crash, each is one of
/// the grants that were cut off between the provider's answer and our journal.
fn unexplained(audit: &Audit, crash: Option<&Crash>) -> u64 {
    audit.lost_received.saturating_sub(crash.map_or(0, |crash| crash.cut_off))
}

/// Reuses that no cut-off grant explains: those are asked again on purpose, because what became of them isn't known.
fn replayed(reuses: u64, crash: Option<&Crash>) -> u64 {
    reuses.saturating_sub(crash.map_or(0, |crash| crash.cut_off))
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<_> = self.must_log_in.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let marked: u64 = self.must_log_in.values().sum();
        let line = |formatter: &mut fmt::Formatter<'_>, name: &str, count: u64, note: &str| {
            writeln!(formatter, "  {name:<44} {count:>6}  {note}")
        };
        if let Some(recovery) = &self.recovery {
            let found = |name: &str| recovery[name].as_u64().unwrap_or_default();
            writeln!(formatter, "recovery, before the first new grant:")?;
            line(formatter, "answers in the journal, not yet written", found("answers"), "")?;
            line(formatter, "of these, written back", found("written"), "")?;
            line(formatter, "requests without an answer, sent again first", found("unsettled"), "")?;
            line(formatter, "claims of the dead process released", found("claims_released"), "")?;
            writeln!(formatter)?;
        }
        writeln!(formatter, "the provider's ledger against our store:")?;
        line(formatter, "made-up users", self.users, "")?;
        let twice = match self.provider_rotated.saturating_sub(self.pairs_held + self.lost_in_flight) {
            0 => "by its ledger".to_owned(),
            twice => format!(
                "by its ledger; {twice} twice, because a first answer was lost and this provider has a grace"
            ),
        };
        line(formatter, "rotated by the provider", self.provider_rotated, &twice)?;
        line(formatter, "users whose pair in our store works", self.pairs_held, "")?;
        line(formatter, "must log in again", marked, &codes.join(", "))?;
        line(formatter, "pauses that the provider asked for", self.throttled, "")?;
        line(formatter, "lost in flight", self.lost_in_flight, "rotated, and the answer never reached us")?;
        line(formatter, "sent again after its answer", self.replayed, "")?;
        line(formatter, "received and lost", self.received_and_lost, "")?;
        writeln!(formatter)?;
        if self.agrees() {
            write!(formatter, "the ledger agrees. received and lost: {}", self.received_and_lost)
        } else {
            write!(
                formatter,
                "THE LEDGER DISAGREES: {} users, {} held, {} dead, {} lost in flight, {marked} marked, unnamed: {:?}",
                self.users, self.pairs_held, self.provider_dead, self.lost_in_flight, self.lost_unnamed
            )
        }
    }
}

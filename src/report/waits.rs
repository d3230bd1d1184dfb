//! Documents that wait for another machine: its journal may hold the answer for their tokens.

use super::summary::Summary;
use super::text::{MOST_SHOWN, moment};
use super::{MOST_NAMED, Outcome, Report};
use crate::clock::Timestamp;
use crate::token::{Reason, Subject, TokenId, UNKNOWN_JOURNAL, Word};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// A document that waits for another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitsFor {
    /// Why: [`Reason::WaitsFor`] or [`Reason::SpentElsewhere`].
    pub reason: Word<Reason>,
    /// The `_id` of the document, as extended JSON.
    pub id: TokenId,
    /// Who.
    pub subject: Subject,
    /// At which provider; `null` where the document names none.
    pub provider: Option<String>,
    /// Host and process id of the pass that held the document; `null` where it waits for the pair of a redeemed token.
    pub owner: Option<String>,
    /// Id of the journal that may hold the answer, or that has the pair; `null` where the claim is of an earlier version,
    /// which told none.
    pub journal: Option<String>,
    /// When the claim was made, or the pair written; `null` where the document doesn't say when.
    pub since: Option<Timestamp>,
    /// When the token is sent by itself; `null` where it never is.
    pub sent_at: Option<Timestamp>,
    /// Is this the first report that says so of this pass? Otherwise an earlier one did.
    pub new: bool,
}

/// Documents that other processes hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LeftToOthers {
    /// How many.
    pub documents: u64,
    /// When the last of these claims ends, unless it is renewed; none where there are none.
    pub until: Option<Timestamp>,
}

impl LeftToOthers {
    /// One more, until then.
    pub fn add(&mut self, until: Timestamp) {
        self.documents += 1;
        self.until = self.until.max(Some(until));
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { documents: self.documents + other.documents, until: self.until.max(other.until) }
    }
}

/// What the report knows of those that wait for other machines.
#[derive(Debug, Default, Clone)]
pub(super) struct Waits {
    pub(super) named: Vec<WaitsFor>,
    pub(super) count: u64,
    /// Those of which no earlier report spoke.
    pub(super) new: u64,
    whom: BTreeSet<String>,
    /// Those that have the pair of a document.
    journals: BTreeSet<String>,
}

impl Report {
    /// So much was held by other processes when the pass began.
    pub fn left_to_others(&self, left: LeftToOthers) {
        self.lock().left_to_others = left;
    }

    /// A document is left as it is, because another machine's journal may hold the answer for its token.
    ///
    /// Is it the first of the pass with that lease id in this report?
    pub fn waits_for(&self, waits: WaitsFor, lease_id: &str) -> bool {
        self.touched();
        self.set_aside();
        self.ended(Outcome::StillDue, Some(Reason::WaitsFor.word()));
        let known = &mut self.lock().waits;
        known.names(waits);
        known.whom.insert(lease_id.to_owned())
    }

    /// Names a document that ends as still due because another machine's journal has its pair. `whom` stands for both.
    ///
    /// Is it the first that waits for that journal in this report?
    pub fn waits_for_a_pair(&self, waits: WaitsFor, journal: &str, whom: String) -> bool {
        let known = &mut self.lock().waits;
        known.names(waits);
        known.whom.insert(if known.whom.len() < MOST_NAMED { whom } else { journal.to_owned() });
        known.journals.insert(journal.to_owned())
    }

    /// What the next report knows: for which passes documents wait, by the lease id, and which wait for the pair in a journal.
    #[must_use]
    pub fn waited_for(&self) -> BTreeSet<String> {
        self.lock().waits.whom.clone()
    }
}

impl Waits {
    fn names(&mut self, waits: WaitsFor) {
        self.count += 1;
        self.new += u64::from(waits.new);
        if self.named.len() < MOST_NAMED {
            self.named.push(waits);
        }
    }
}

/// What waits for one process, or for one journal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Together<'a> {
    owner: Option<&'a str>,
    journal: Option<&'a str>,
    documents: u64,
    since: Option<Timestamp>,
    /// The first of them that is sent by itself.
    sent_at: Option<Timestamp>,
}

/// The earlier of both; the one that is known, where the other isn't.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

impl Together<'_> {
    fn write(&self, text: &mut String) -> fmt::Result {
        let Self { documents, since, .. } = self;
        let journal = self.journal.unwrap_or(UNKNOWN_JOURNAL);
        let since = since.map_or_else(|| "an unknown time".to_owned(), |at| moment(at).to_string());
        let Some(owner) = self.owner else {
            return writeln!(
                text,
                "  {documents} for journal {journal}, which has their pair since {since}; they hold a redeemed token, which is not sent"
            );
        };
        let sent = self.sent_at.map_or_else(
            || "never sent by itself".to_owned(),
            |at| format!("first one sent by itself at {}", moment(at)),
        );
        writeln!(text, "  {documents} for `{owner}`, journal {journal}, claimed since {since}; {sent}")
    }
}

impl Summary {
    /// Which journals documents wait for, and what a person can do.
    pub(super) fn write_waits(&self, text: &mut String) -> fmt::Result {
        if self.waits_for.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\nwait for another machine, because its journal may hold the new pair: {}",
            self.waits_for_count
        )?;
        self.waits_together().iter().try_for_each(|together| together.write(text))?;
        writeln!(
            text,
            "  start that machine with its `state_dir`; if it is gone for good: `evergrant run --once --take-over JOURNAL`"
        )?;
        for WaitsFor { subject, new, .. } in self.waits_for.iter().take(MOST_SHOWN) {
            let before = if *new { "" } else { "  (known before)" };
            writeln!(text, "  {subject}{before}")?;
        }
        let rest = self.waits_for_count.saturating_sub(MOST_SHOWN as u64);
        if rest > 0 {
            writeln!(text, "  … and {rest} more: `--format json` names up to {MOST_NAMED}")?;
        }
        Ok(())
    }

    /// Those that are named, by the process and the journal that they wait for.
    fn waits_together(&self) -> Vec<Together<'_>> {
        let mut found = BTreeMap::<_, Together<'_>>::new();
        for WaitsFor { owner, journal, since, sent_at, .. } in &self.waits_for {
            let (owner, journal, since, sent_at) = (owner.as_deref(), journal.as_deref(), *since, *sent_at);
            let together = found.entry((owner, journal)).or_insert(Together {
                owner,
                journal,
                documents: 0,
                since,
                sent_at,
            });
            together.documents += 1;
            together.since = earlier(together.since, since);
            together.sent_at = earlier(together.sent_at, sent_at);
        }
        found.into_values().collect()
    }
}

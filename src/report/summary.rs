//! The end of a pass, for people and for programs.

use super::{MOST_NAMED, Named, Outcome, Recovery, Trouble};
use crate::clock::Timestamp;
use crate::exit::Exit;
use crate::gate::Suspicion;
use crate::journal::Parked;
use crate::token::{State, Subject};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// People shown in the text; `--format json` has up to [`MOST_NAMED`], `evergrant tokens list` all.
const MOST_SHOWN: usize = 20;

/// What a pass did. Serializes as the one JSON object that `run --once --format json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Which collection, at which store.
    pub collection: String,
    /// Documents in the collection, an estimate; none when the store wasn't reached before a stop.
    pub documents: Option<u64>,
    /// When the pass began.
    pub started_at: Timestamp,
    /// How long it took, in seconds.
    #[serde(rename = "took_seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// Documents that it touched; the outcomes add up to it.
    pub touched: u64,
    /// Where they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Users marked in this pass, and not before: they must log in again.
    pub newly_marked: u64,
    /// Documents that were found malformed in this pass, and not before.
    pub newly_malformed: u64,
    /// People who must log in again, and malformed documents, known ones too; at most [`MOST_NAMED`].
    pub named: Vec<Named>,
    /// Why documents are still due: class or code, and how many.
    pub still_due_reasons: BTreeMap<String, u64>,
    /// Grants sent, retries among them.
    pub grants: u64,
    /// Answers that asked for a pause.
    pub throttled: u64,
    /// Grants sent once more for a token.
    pub retries: u64,
    /// Good pairs parked in the journal by this pass.
    pub orphans: u64,
    /// All that is parked in the journal and waits for a person.
    pub parked: Parked,
    /// Whose new pair was received and could be kept nowhere; at most [`MOST_NAMED`].
    pub lost: Vec<Subject>,
    /// When the last of those that are still due is due again, which may be at once; none when nothing is still due.
    pub put_off_until: Option<Timestamp>,
    /// What an earlier process had left.
    pub recovery: Recovery,
    /// What kept the pass from its work.
    pub troubles: Vec<Trouble>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

impl Summary {
    /// How many documents ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    /// Does every touched document have its outcome?
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.outcomes.values().sum::<u64>() == self.touched
    }

    /// Is everything that it touched malformed, and none of it known before? Then it is more likely the mapping, or the
    /// collection's rules, than everybody's document.
    #[must_use]
    pub fn finds_no_token(&self) -> bool {
        self.touched > 0
            && self.count(Outcome::Malformed) == self.touched
            && self.named.iter().all(|named| named.new)
    }

    /// Should another pass follow before the next scheduled wake? People who must log in again are no reason.
    #[must_use]
    pub fn leaves_something_due(&self) -> bool {
        let interrupted = |trouble: &Trouble| matches!(trouble, Trouble::Interrupted { .. });
        self.count(Outcome::StillDue) + self.count(Outcome::Held) > 0
            || self.troubles.iter().any(|trouble| !interrupted(trouble))
            || !self.adds_up()
    }

    /// The exit code: the most urgent of all [reasons](Self::reasons).
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.reasons().into_iter().fold(Exit::Well, Exit::or_more_urgent)
    }

    /// Every reason of this pass for an exit code other than 0; without one it is 0.
    ///
    /// What an earlier pass said already is no reason: a user who is known to need a login, a malformed document that is
    /// known, a pair that was parked before.
    #[must_use]
    pub fn reasons(&self) -> BTreeSet<Exit> {
        let interrupted = self.troubles.iter().any(|trouble| matches!(trouble, Trouble::Interrupted { .. }));
        let newly_malformed = if self.finds_no_token() { Exit::Usage } else { Exit::StillDue };
        let found = [
            // After a stop the answers that were given up have no outcome.
            (!self.adds_up() && !interrupted, Exit::Internal),
            (self.count(Outcome::Held) + self.count(Outcome::Lost) > 0, Exit::Unavailable),
            (self.newly_marked > 0, Exit::NeedsLogin),
            (self.newly_malformed > 0, newly_malformed),
            (self.count(Outcome::StillDue) + self.orphans > 0, Exit::StillDue),
        ];
        let troubles = self.troubles.iter().map(Trouble::exit);
        found.into_iter().filter_map(|(holds, exit)| holds.then_some(exit)).chain(troubles).collect()
    }
}

impl Trouble {
    /// The exit code of a pass that had this trouble and none that is more urgent.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Journal { .. } => Exit::JournalFailed,
            Self::Store { .. } => Exit::Unavailable,
            Self::ClientRejected { .. } | Self::Refusals { .. } => Exit::ClientRejected,
            Self::Outage { .. } | Self::Interrupted { .. } => Exit::StillDue,
        }
    }
}

/// What to tell about a trouble, and what to do next.
impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientRejected { provider, code, http_status } => {
                let status = http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
                write!(
                    formatter,
                    "the provider `{provider}` rejected our client ({code}{status}); no user was marked for it\nhint: "
                )?;
                formatter.write_str(match (code.as_str(), http_status) {
                    (_, Some(300..400)) => "the token URL answers with a redirect; set `token_url` to the final address",
                    (_, Some(404 | 405 | 410)) => "nothing redeems tokens at the token URL; check `token_url`",
                    ("http_403", _) => "a firewall or proxy may be in the way: open the token URL with `curl` from this machine; else check `client_id` and `client_secret`",
                    ("no_tokens", _) => "the provider answers with a success in which the profile finds no tokens: set `answer.access_token` and `answer.refresh_token`; the answers are in the journal, and the next start reads them again",
                    ("invalid_scope", _) => "check `scope`: it may ask for no more than the user granted",
                    _ => "check `client_id`, `client_secret` and `client_auth`, then run `evergrant check --probe-client`",
                })
            }
            Self::Refusals { provider, suspicion } => {
                let Suspicion { code, http_status, refused, asked, usual_share } = suspicion;
                let status = http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
                let usual = usual_share.map_or_else(
                    || "and granted none".to_owned(),
                    |usual| format!("where {:.1} % are usual", usual * 100.0),
                );
                write!(
                    formatter,
                    "the provider `{provider}` refused {refused} of {asked} tokens ({code}{status}), {usual}; none of their users was marked\nhint: is this the client that the tokens were issued to, and the right `token_url`? If the logins have ended indeed, `evergrant run --once --accept-refusals` marks them"
                )
            }
            Self::Outage { provider } => write!(
                formatter,
                "the provider `{provider}` gave no usable answer for minutes; what is due stays due\nhint: the next pass tries again; the reasons beside `still_due` name what was seen"
            ),
            Self::Store { message } => write!(
                formatter,
                "{message}\nhint: pairs that were received are in the journal, and the next pass writes them; check `store.url` and the server, then run again"
            ),
            // Most errors of the journal say what to do; the first hint is enough.
            Self::Journal { message } if message.contains("\nhint: ") => formatter.write_str(message),
            Self::Journal { message } => write!(
                formatter,
                "{message}\nhint: nothing is redeemed without a journal; look at the disk of `state_dir`, then run again"
            ),
            Self::Interrupted { given_up: 0 } => {
                formatter.write_str("stopped before everything due was through; nothing was cut off")
            }
            Self::Interrupted { given_up } => write!(
                formatter,
                "stopped with {given_up} grant(s) unanswered\nhint: the journal remembers them; the next start asks again before anything else"
            ),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_text(&mut text)?;
        formatter.write_str(text.trim_end())
    }
}

impl Summary {
    fn write_text(&self, text: &mut String) -> fmt::Result {
        let took = Duration::from_millis(u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX));
        match self.documents {
            Some(documents) => writeln!(text, "{documents} documents in {}", self.collection)?,
            None => writeln!(text, "{} was not reached", self.collection)?,
        }
        writeln!(
            text,
            "{} due, {} grants in {}",
            self.touched,
            self.grants,
            humantime::format_duration(took)
        )?;
        if !self.recovery.is_empty() {
            let Recovery { answers, written, unsettled, claims_released } = self.recovery;
            writeln!(
                text,
                "recovered from an earlier process: {answers} answers ({written} written back), {unsettled} cut-off grants, {claims_released} claims given back"
            )?;
        }
        writeln!(text)?;
        for (outcome, count) in
            self.outcomes.iter().filter(|(outcome, count)| **count > 0 || **outcome == Outcome::Refreshed)
        {
            writeln!(text, "  {:<15} {count:>8}{}", outcome.word(), self.note(*outcome))?;
        }
        if self.orphans > 0 {
            writeln!(text, "  {:<15} {:>8}  good pairs parked in this pass", "orphans", self.orphans)?;
        }
        self.write_parked(text)?;
        if self.throttled + self.retries > 0 {
            writeln!(
                text,
                "\n  {} pauses asked for by the provider, {} grants repeated",
                self.throttled, self.retries
            )?;
        }
        self.write_lost(text)?;
        self.write_named(text)?;
        if self.finds_no_token() {
            writeln!(
                text,
                "\nno document could be worked on\nhint: does `documents.refresh_token` name the right field, and may Evergrant write into the documents? `evergrant check` looks at a sample"
            )?;
        }
        for trouble in &self.troubles {
            writeln!(text, "\n{trouble}")?;
        }
        Ok(())
    }

    fn note(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::StillDue if !self.still_due_reasons.is_empty() => {
                let reasons: Vec<_> =
                    self.still_due_reasons.iter().map(|(why, count)| format!("{why} {count}")).collect();
                format!("  ({})", reasons.join(", "))
            }
            Outcome::Held => "  in the journal; the next pass writes them".to_owned(),
            Outcome::Lost => {
                "  received, and kept nowhere: the journal failed, and no document took them".to_owned()
            }
            Outcome::Superseded => "  somebody else's newer token was kept".to_owned(),
            Outcome::Gone => "  deleted while we held the claim".to_owned(),
            Outcome::Duplicate => "  got the pair of the document with the same refresh token".to_owned(),
            Outcome::Refreshed
            | Outcome::NeedsLogin
            | Outcome::LostInFlight
            | Outcome::Malformed
            | Outcome::StillDue => String::new(),
        }
    }

    fn write_parked(&self, text: &mut String) -> fmt::Result {
        let Parked { orphans, unread } = self.parked;
        if orphans > 0 {
            writeln!(
                text,
                "  {:<15} {orphans:>8}  good pairs parked in all: `evergrant journal list --orphans`",
                "parked"
            )?;
        }
        if unread > 0 {
            writeln!(
                text,
                "  {:<15} {unread:>8}  answers that nobody could read: `evergrant journal list`",
                "unread"
            )?;
        }
        Ok(())
    }

    fn write_lost(&self, text: &mut String) -> fmt::Result {
        if self.lost.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\nLOST: a new pair was received for them and could be kept nowhere; unless a newer login works by now, they must log in again:"
        )?;
        for subject in self.lost.iter().take(MOST_SHOWN) {
            writeln!(text, "  {subject}")?;
        }
        let rest = self.count(Outcome::Lost).saturating_sub(MOST_SHOWN as u64);
        if rest > 0 {
            writeln!(text, "  … and {rest} more: the log names them")?;
        }
        Ok(())
    }

    fn write_named(&self, text: &mut String) -> fmt::Result {
        let groups = [
            (State::NeedsLogin, "must log in again"),
            (State::LostInFlight, "must log in again: the answer with the new token never arrived"),
            (
                State::Malformed,
                "can't be worked on: no token that can be sent, no provider of ours, or `no_room` (the log says why)",
            ),
        ];
        for (state, title) in groups {
            let of_state: Vec<_> = self.named.iter().filter(|named| named.state == state).collect();
            if of_state.is_empty() {
                continue;
            }
            writeln!(text, "\n{title}:")?;
            for named in of_state.iter().take(MOST_SHOWN) {
                let since = named.since.map_or_else(String::new, |since| {
                    format!(" since {}", since.format("%Y-%m-%d %H:%M UTC"))
                });
                let new = if named.new { "" } else { ", known before" };
                writeln!(text, "  {}  ({}{since}{new})", named.subject, named.code)?;
            }
            let rest = of_state.len().saturating_sub(MOST_SHOWN);
            if rest > 0 || self.named.len() >= MOST_NAMED {
                let list = format!("`evergrant tokens list --state {}`", state.word());
                let rest = if state == State::Malformed { ", and the log where it is `no_room`" } else { "" };
                writeln!(text, "  … all of them: {list}{rest}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    fn summary(outcomes: &[Outcome], troubles: &[Trouble]) -> Summary {
        let report = Report::new();
        for outcome in outcomes {
            report.touched();
            report.ended(*outcome, (*outcome == Outcome::StillDue).then_some("http_503"));
        }
        for trouble in troubles {
            report.trouble(trouble.clone());
        }
        report.summary("logins.tokens", Some(3), Timestamp::default(), Duration::from_millis(1500))
    }

    #[test]
    fn the_exit_code_names_the_most_urgent() {
        let store = Trouble::Store { message: "m".into() };
        let client = Trouble::ClientRejected {
            provider: "p".into(),
            code: "invalid_client".into(),
            http_status: Some(401),
        };
        let outage = Trouble::Outage { provider: "p".into() };
        let stopped = Trouble::Interrupted { given_up: 0 };
        let journal = Trouble::Journal { message: "m".into() };
        for (outcomes, troubles, exit) in [
            (&[][..], &[][..], Exit::Well),
            (&[Outcome::Refreshed, Outcome::Malformed, Outcome::Superseded], &[], Exit::Well),
            (&[Outcome::StillDue], &[], Exit::StillDue),
            (&[], &[outage], Exit::StillDue),
            (&[Outcome::Refreshed], &[stopped], Exit::StillDue),
            (&[Outcome::StillDue, Outcome::NeedsLogin], &[], Exit::StillDue),
            (&[Outcome::NeedsLogin, Outcome::LostInFlight], &[], Exit::Well),
            (&[Outcome::NeedsLogin], std::slice::from_ref(&client), Exit::ClientRejected),
            (&[Outcome::Held], &[], Exit::Unavailable),
            (&[Outcome::NeedsLogin], &[client.clone(), store.clone()], Exit::Unavailable),
            (&[Outcome::Held], &[journal, store, client.clone()], Exit::JournalFailed),
        ] {
            assert_eq!(summary(outcomes, troubles).exit(), exit, "{outcomes:?}");
        }
    }

    #[test]
    fn what_is_news_has_its_code_and_what_is_known_has_none() {
        for (state, outcome, news) in [
            (State::NeedsLogin, Outcome::NeedsLogin, Exit::NeedsLogin),
            (State::LostInFlight, Outcome::LostInFlight, Exit::NeedsLogin),
            (State::Malformed, Outcome::Malformed, Exit::StillDue),
        ] {
            for (new, exit) in [(true, news), (false, Exit::Well)] {
                let report = Report::new();
                for outcome in [outcome, Outcome::Refreshed] {
                    report.touched();
                    report.ended(outcome, None);
                }
                report.named(&Subject::new("a"), state, None, None, new);
                let summary = report.summary("c", Some(2), Timestamp::default(), Duration::ZERO);
                assert_eq!(summary.exit(), exit, "{state:?} {new}");
            }
        }
    }

    #[test]
    fn a_pass_has_all_of_its_reasons_and_ends_with_the_most_urgent() {
        let report = Report::new();
        for outcome in [Outcome::NeedsLogin, Outcome::StillDue, Outcome::Refreshed] {
            report.touched();
            report.ended(outcome, None);
        }
        report.named(&Subject::new("a"), State::NeedsLogin, None, None, true);
        report.orphaned();
        let summary = report.summary("c", Some(3), Timestamp::default(), Duration::ZERO);
        assert_eq!(summary.reasons(), [Exit::NeedsLogin, Exit::StillDue].into());
        assert_eq!(summary.exit(), Exit::NeedsLogin);
        let report = Report::new();
        report.orphaned();
        let parked = report.summary("c", Some(3), Timestamp::default(), Duration::ZERO);
        assert_eq!(parked.exit(), Exit::StillDue, "a newly parked pair waits for a person");
    }

    #[test]
    fn counts_that_do_not_add_up_are_our_error() {
        let report = Report::new();
        report.touched();
        assert_eq!(report.summary("c", Some(1), Timestamp::default(), Duration::ZERO).exit(), Exit::Internal);
    }
}

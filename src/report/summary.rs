//! The end of a pass, for people and for programs.

use super::{
    Ending, LeftToOthers, LiveAgain, Named, Outcome, ProviderPart, PutOff, Recovery, Trouble, WaitsFor,
};
use crate::clock::Timestamp;
use crate::exit::Exit;
use crate::journal::Parked;
use crate::survey::Survey;
use crate::token::Subject;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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
    /// Documents that were due; `null` when the store could not count them.
    pub due: Option<u64>,
    /// Of these: taken. Whatever became of them is in the outcomes.
    pub taken: u64,
    /// Of these: not taken, or given back, so that they are due now; `null` when the store could not count them.
    pub remaining_due: Option<u64>,
    /// Did the pass end because it had taken as many as `--limit` says?
    pub limited: bool,
    /// Users who were known to need a login, and were not asked.
    pub known_needs_login: u64,
    /// Documents that were known to be malformed, and are still.
    pub known_malformed: u64,
    /// Documents that the pass looked at, known ones too; the outcomes add up to it.
    pub touched: u64,
    /// Where they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Users marked in this pass, and not before: they must log in again.
    pub newly_marked: u64,
    /// Of these: those whose token an answer that never arrived may have rotated.
    pub newly_lost_in_flight: u64,
    /// Documents that were found malformed in this pass, and not before.
    pub newly_malformed: u64,
    /// Of the documents that are gone: those whose token the provider refuses.
    pub gone_while_refused: u64,
    /// Users who must log in again, and malformed documents, known ones too; at most [`MOST_NAMED`](super::MOST_NAMED).
    pub named: Vec<Named>,
    /// Why documents are still due: class or code, and how many.
    pub still_due_reasons: BTreeMap<String, u64>,
    /// Token requests sent, retries among them.
    pub grants: u64,
    /// Answers that asked for a pause.
    pub throttled: u64,
    /// Token requests sent once more for a token.
    pub retries: u64,
    /// New pairs that this pass parked in the journal, because their document is gone or holds another token.
    pub orphans: u64,
    /// All that is parked in the journal and waits for a person.
    pub parked: Parked,
    /// Users whose new pair was received, and which neither the journal nor the document could keep; at most [`MOST_NAMED`](super::MOST_NAMED).
    pub lost: Vec<Subject>,
    /// Users whom this pass, or an earlier one, put off, and when each is due again; at most [`MOST_NAMED`](super::MOST_NAMED).
    pub put_off: Vec<PutOff>,
    /// How many these are in all.
    pub put_off_count: u64,
    /// When the last of those that are still due or put off is due again, which may be at once; none when there are none.
    pub put_off_until: Option<Timestamp>,
    /// Documents that wait for another machine, whose journal may hold the answer for their tokens; at most
    /// [`MOST_NAMED`](super::MOST_NAMED).
    pub waits_for: Vec<WaitsFor>,
    /// How many these are in all.
    pub waits_for_count: u64,
    /// How many of them no earlier report spoke of.
    pub waits_for_new: u64,
    /// What other processes held when the pass began.
    pub left_to_others: LeftToOthers,
    /// Users whose login ends soon, the soonest end first, among the documents that the pass wrote; at most
    /// [`MOST_NAMED`](super::MOST_NAMED).
    pub ending: Vec<Ending>,
    /// How many these are in all.
    pub ending_count: u64,
    /// Users who were marked, in this pass or before, and are live again with the same refresh token; at most
    /// [`MOST_NAMED`](super::MOST_NAMED).
    pub live_again: Vec<LiveAgain>,
    /// How many these are in all.
    pub live_again_count: u64,
    /// What an earlier process had left.
    pub recovery: Recovery,
    /// The part of each provider that was asked.
    pub providers: BTreeMap<String, ProviderPart>,
    /// Providers that have no part, because nothing of theirs was due: no pass was begun.
    pub idle_providers: u64,
    /// When logins end if nothing more is refreshed; none where no survey was made: then a warning says why.
    pub forecast: Option<Survey>,
    /// What will go wrong later as things are set; no reason for an exit code.
    pub warnings: Vec<Warned>,
    /// The ids of the passes, as their log lines have them.
    #[serde(skip)]
    pub passes: Vec<String>,
    /// What kept the pass from its work.
    pub troubles: Vec<Trouble>,
}

/// Something that will go wrong later as things are set, or that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warned {
    /// Of which provider; none where it concerns all of them.
    pub provider: Option<String>,
    /// What, with the numbers.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
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
        let malformed = self.count(Outcome::Malformed);
        let is_everything = self.documents.is_some_and(|documents| documents > 0 && malformed >= documents);
        self.touched > 0
            && malformed == self.touched
            && (is_everything || self.named.iter().all(|named| named.new))
    }

    /// Should another pass follow before the next scheduled wake? Users who must log in again are no reason.
    #[must_use]
    pub fn leaves_something_due(&self) -> bool {
        let interrupted = |trouble: &Trouble| matches!(trouble, Trouble::Interrupted { .. });
        self.count(Outcome::StillDue) + self.count(Outcome::Held) > self.waits_for_count
            || self.troubles.iter().any(|trouble| !interrupted(trouble))
            || !self.adds_up()
    }

    /// Until when a provider asked us to wait, where that is longer than a pass waits.
    #[must_use]
    pub fn paused_until(&self) -> Option<Timestamp> {
        let until = |trouble: &Trouble| match trouble {
            Trouble::Paused { until, .. } => Some(*until),
            _ => None,
        };
        self.troubles.iter().filter_map(until).max()
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
        let waits_known = self.waits_for_count - self.waits_for_new;
        // A claim of a process that lives is no trouble, unless there was nothing else.
        let is_held = self.left_to_others.documents > 0 && self.due == Some(0);
        let newly_malformed = if self.finds_no_token() { Exit::Usage } else { Exit::StillDue };
        let found = [
            // After a stop the answers that were given up have no outcome.
            (!self.adds_up() && !interrupted, Exit::Internal),
            (self.count(Outcome::Held) + self.count(Outcome::Lost) > 0, Exit::Unavailable),
            (self.newly_marked > 0, Exit::NeedsLogin),
            (self.newly_malformed > 0 || self.finds_no_token(), newly_malformed),
            (self.count(Outcome::StillDue) + self.orphans > waits_known, Exit::StillDue),
            (is_held || self.recovery.claims_cut > 0, Exit::StillDue),
        ];
        let troubles = self.troubles.iter().map(Trouble::exit);
        found.into_iter().filter_map(|(holds, exit)| holds.then_some(exit)).chain(troubles).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::json::assert_documented;
    use crate::provider::ClientAuth;
    use crate::report::Report;
    use crate::token::{State, TokenId};

    fn named(state: State) -> Named {
        Named::new(&TokenId::from_extended_json("1"), &Subject::new("a"), state, None)
    }

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
    fn a_collection_of_which_nothing_can_be_refreshed_is_told_each_time() {
        let known = |documents| {
            let report = Report::new();
            report.touched();
            report.named(Named { new: false, ..named(State::Malformed) });
            report.ended(Outcome::Malformed, None);
            report.summary("c", Some(documents), Timestamp::default(), Duration::ZERO).exit()
        };
        assert_eq!((known(1), known(2)), (Exit::Usage, Exit::Well));
    }

    #[test]
    fn help_names_each_field_of_the_json() {
        assert_documented("run --once", &summary(&[], &[]));
        assert_documented("run --once: named[]", &named(State::NeedsLogin));
        let put_off = PutOff {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            provider: None,
            code: "timeout".into(),
            due_at: Timestamp::default(),
            new: true,
        };
        assert_documented("run --once: put_off[]", &put_off);
        let warned = Warned { provider: None, message: "m".into(), hint: None };
        assert_documented("run --once: warnings[]", &warned);
        let PutOff { id, subject, provider, due_at: ends_at, .. } = put_off;
        let (was, why) = (State::NeedsLogin, crate::report::WhyLiveAgain::TakenBack);
        let live_again =
            LiveAgain { id: id.clone(), subject: subject.clone(), provider: provider.clone(), was, why };
        assert_documented("run --once: live_again[]", &live_again);
        assert_documented("run --once: ending[]", &Ending { id, subject, provider, ends_at });
    }

    #[test]
    fn the_exit_code_names_the_most_urgent() {
        let store = Trouble::Store { message: "m".into(), hint: None };
        let client = Trouble::ClientRejected {
            provider: "p".into(),
            code: "invalid_client".into(),
            http_status: Some(401),
            client_auth: ClientAuth::Basic,
        };
        let outage = Trouble::Outage { provider: "p".into() };
        let overrun = Trouble::Overrun { provider: "p".into(), documents: 1, taken: 1002 };
        let stopped = Trouble::Interrupted { given_up: 0 };
        let journal = Trouble::Journal { message: "m".into(), hint: None };
        for (outcomes, troubles, exit) in [
            (&[][..], &[][..], Exit::Well),
            (&[Outcome::Refreshed, Outcome::Malformed, Outcome::Superseded], &[], Exit::Well),
            (&[Outcome::StillDue], &[], Exit::StillDue),
            (&[], &[outage], Exit::StillDue),
            (&[Outcome::Refreshed], &[stopped], Exit::StillDue),
            (&[Outcome::Refreshed], &[overrun], Exit::StillDue),
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
                report.named(Named { new, ..named(state) });
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
        report.named(named(State::NeedsLogin));
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

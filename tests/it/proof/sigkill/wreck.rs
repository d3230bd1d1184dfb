//! What stands after a kill, and how it is judged after the next pass.

use super::death::Death;
use super::world::{USERS, World};
use evergrant::testing::clock::Timestamp;
use evergrant::testing::journal::{EntryId, EntryState, Intent, Journal, JournalSettings};
use evergrant::testing::token::{AccessToken, RefreshToken, State};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

/// What stands after a kill and must be so after the next pass.
#[derive(Debug, Default)]
pub(super) struct Wreck {
    /// Whose grants were cut off before their answer was in the journal.
    cut_off: HashSet<String>,
    /// Tokens whose successes the journal held, and how often each had been presented by then.
    spent: HashMap<String, usize>,
}

impl World {
    /// What the killed process had received is what its journal holds; what it had sent is there as an intent.
    pub(super) async fn look_at(&mut self, wreck: &mut Wreck) {
        self.quiet().await;
        let state = self.scene.state_folder();
        for entry in Journal::peek(&state).unwrap() {
            match entry.state {
                // A refusal says again what it said, whoever asks; only a success is never asked for again.
                EntryState::Answer if !has_a_success(&state, entry.id) => {}
                EntryState::Answer => {
                    let token = self.token_of(&entry.intent);
                    let record = self.scene.sandbox.token_history(&token).unwrap();
                    // As often as before the first of several kills.
                    wreck.spent.entry(token).or_insert(record.presentations.len());
                }
                EntryState::Intent | EntryState::Unsettled | EntryState::AskAgain => {
                    wreck.cut_off.insert(entry.intent.subject.as_str().to_owned());
                    if self.cut_off.insert(entry.intent.fingerprint) {
                        self.tally.cut_off += 1;
                    }
                }
                EntryState::Unread | EntryState::SetAside | EntryState::Orphan => {
                    panic!("{}: {entry:?}", self.name)
                }
            }
        }
    }

    /// The refresh token that the journal knows by its fingerprint: one of the last that its user was handed.
    fn token_of(&self, intent: &Intent) -> String {
        let user = self.scene.sandbox.user(intent.subject.as_str()).unwrap();
        let mut token = Some(user.current_refresh_token);
        while let Some(candidate) = token {
            if RefreshToken::new(candidate.clone()).fingerprint() == intent.fingerprint {
                return candidate;
            }
            token = self.scene.sandbox.token_history(&candidate).and_then(|record| record.predecessor);
        }
        panic!("{}: nobody handed out {intent:?}", self.name)
    }

    /// Waits until the provider has done with what a dead client had sent.
    async fn quiet(&self) {
        while self.scene.sandbox.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What must be so after the pass that followed; then whoever was lost logs in again.
    pub(super) async fn judge(&mut self, death: Death, began: Timestamp, wreck: Wreck) {
        let round = format!("{} {death:?} (kill {})", self.name, self.tally.kills);
        self.tally.journaled += wreck.spent.len() as u64;
        for (token, presented) in &wreck.spent {
            let now = self.scene.sandbox.token_history(token).unwrap().presentations.len();
            assert_eq!(
                now, *presented,
                "{round}: a token was sent again after its answer was in the journal"
            );
        }
        let replays = self.scene.sandbox.replays().into_iter();
        let replayed: Vec<_> =
            replays.filter(|replay| !self.may_be_sent_again(&replay.refresh_token)).collect();
        self.tally.replayed += replayed.len() as u64;
        assert!(replayed.is_empty(), "{round}: replayed: {replayed:?}");

        let open = Journal::peek(&self.scene.state_folder()).unwrap();
        assert!(open.is_empty(), "{round}: still open: {open:?}");
        let documents = self.scene.documents().await;
        assert_eq!(documents.len(), USERS, "{round}");
        let audit = self.scene.audit().await;
        let lost: HashSet<_> = audit.lost.iter().map(|lost| format!("{}@example.com", lost.user)).collect();
        self.tally.received_and_lost += lost.difference(&wreck.cut_off).count() as u64;
        assert!(lost.is_subset(&wreck.cut_off), "{round}: received and lost: {:?}", audit.lost);
        assert!(!self.grace || lost.is_empty(), "{round}: lost within the grace: {:?}", audit.lost);
        assert_eq!(
            (audit.held_crossed, audit.unknown, audit.kept),
            (0, 0, (USERS - lost.len()) as u64),
            "{round}"
        );
        for document in &documents {
            let subject = document.subject.as_str();
            let bookkeeping = &document.bookkeeping;
            let expected = if lost.contains(subject) { State::LostInFlight } else { State::Live };
            assert_eq!(bookkeeping.state, expected, "{round}: {subject} {bookkeeping:?}");
            assert_eq!(bookkeeping.lease, None, "{round}: {subject} is still claimed");
            let refreshed = bookkeeping.refreshed_at >= Some(began);
            assert!(refreshed || expected == State::LostInFlight, "{round}: {subject} {bookkeeping:?}");
            let token = document.refresh_token.as_ref().unwrap().expose();
            let record = self.scene.sandbox.token_history(token).unwrap();
            let access_token = document.access_token.as_ref().map(AccessToken::expose);
            assert_eq!(access_token, Some(record.access_token.as_str()), "{round}: {subject} of two answers");
        }
        self.tally.lost_in_flight += lost.len() as u64;
        for document in documents.iter().filter(|document| lost.contains(document.subject.as_str())) {
            self.scene.log_in(document).await;
        }
    }

    fn may_be_sent_again(&self, token: &str) -> bool {
        self.cut_off.contains(&RefreshToken::new(token.to_owned()).fingerprint())
    }
}

/// [`Journal::peek`] reads rows without their answers.
fn has_a_success(state: &Path, row: EntryId) -> bool {
    let row = Journal::look_at(state, row, JournalSettings::default()).unwrap();
    let answer = row.expect("no process has the journal").unwrap().answer.expect("it is an answer's row");
    (200..300).contains(&answer.get().status)
}

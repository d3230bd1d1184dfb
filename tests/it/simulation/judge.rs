//! What must be so at the end of a simulation.

use super::collection;
use super::ledger::{Reached, Rotation, Who};
use super::people;
use super::world::{self, Away, Inner};
use evergrant::testing::grant::answer::Class;
use evergrant::testing::token::{Bookkeeping, LastError, State};
use tokio::time::Instant;

/// Does a document say that an answer for its token is kept in a journal?
pub(super) fn is_kept(error: &LastError) -> bool {
    error.class == Class::Unreadable.word()
}

impl Inner {
    pub(super) fn calm_down(&mut self) {
        self.note(|| "the faults end".into());
        self.calm = true;
        self.store_down_until = None;
        self.storms.fill(None);
        self.lapses.end();
        self.set_clocks_right();
    }

    /// Did another machine write the last pair of the document than the one to which this token was handed out?
    fn is_refreshed_by_another(&self, books: &Bookkeeping, token: usize) -> bool {
        let birth = self.ledger.tokens[token].parent.and_then(|parent| {
            self.ledger.tokens[parent].redemptions.iter().find(|success| success.child == token)
        });
        let Some(Who::Process(machine, _)) = birth.map(|birth| birth.by) else { return false };
        books.is_refreshed_elsewhere(&self.machines[machine].journal)
    }

    /// What must be so once the faults have ended and everybody had their passes.
    pub(super) fn judge_the_end(&mut self, calm_since: evergrant::testing::clock::Timestamp) {
        self.check_kept();
        for (place, document) in self.documents.clone() {
            let refresh = document.refresh;
            let books = &document.bookkeeping;
            let found = format!("document {place} with rt-{refresh}, {:?}", books.state);
            // Beside an unknown provider an ended claim stays: its token may have been sent.
            if books.lease.is_some() && self.is_named_well(&document) {
                self.violated(format!("GOES ON: {found} is still claimed"));
            }
            let redeemed = self.ledger.tokens[refresh].redemptions.iter().any(|success| {
                success.reached == Reached::Kept && self.ledger.rotation_of(refresh) != Rotation::Keep
            });
            if !self.is_named_well(&document) {
                // What is in doubt of a token isn't hidden by a mark for what stands beside it.
                let error = books.last_error.as_ref();
                let in_doubt = error.is_some_and(|error| error.lost.is_some() || is_kept(error));
                // A due date that was written under a clock years ahead is mended by the provider's own pass.
                let is_void = self.rare.clocks > 0.0 && books.due_at.is_some_and(|at| at > self.now());
                if books.state == State::Live && !in_doubt && !is_void {
                    self.violated(format!(
                        "ACCOUNTED: {found} names {:?} as its provider, and isn't marked",
                        document.provider
                    ));
                }
                continue;
            }
            if self.ledger.would_accept(refresh, Instant::now()) && !redeemed {
                if self.waits_for_a_person(place) {
                    continue;
                }
                // Refused twice, or after a lost answer: its provider has said so.
                if books.state != State::Live && self.lapses.has_marked(refresh) {
                    continue;
                }
                if books.state != State::Live || books.refreshed_at.is_none_or(|at| at < calm_since) {
                    self.violated(format!(
                        "GOES ON: {found} would be granted, and isn't refreshed ({books:?})"
                    ));
                }
                continue;
            }
            // What was received is worth something: where it would be granted, the document holds it. Where a journal's disk had
            // failed, it may have been in a document only; and so may what it came for, so that nothing leads to it.
            let received =
                self.ledger.newest_received(refresh, &|machine| self.machines[machine].away != Away::ForGood);
            let is_known = |newest: &usize| {
                let came_for_it = self.ledger.tokens[*newest].parent == Some(refresh);
                self.weather.disk == 0.0 || came_for_it && self.in_a_journal(*newest)
            };
            // Where the tokens alone went back behind another machine's pair, that one's may be worth more.
            let is_last = |newest: &usize| !self.is_refreshed_by_another(books, *newest);
            if let Some(newest) = received
                .filter(|newest| self.ledger.would_accept(*newest, Instant::now()) && is_known(newest))
                .filter(is_last)
                && books.state != State::Live
                && !self.lapses.has_marked(refresh)
            {
                self.violated(format!(
                    "RESTORED: {found}: rt-{newest} was received for it, and would be granted"
                ));
            }
            let token = &self.ledger.tokens[refresh];
            let unreadable = self.weather.peers[self.ledger.provider_of(refresh)].no_tokens > 0.0;
            // A second document whose first one was claimed at that very moment gets its pair in the next pass.
            let follows_another = self
                .documents
                .iter()
                .any(|(other, first)| *other != place && self.ledger.descends(first.refresh, refresh));
            // A small collection of which no user is granted anything is a question for a person, and the pass asks it.
            let name = world::name_of(self.ledger.provider_of(refresh));
            // Its pair is on a machine that is gone for good: that waits for a person.
            let is_elsewhere = books.spent.contains(self.ledger.fingerprint(refresh))
                && self.machines.iter().any(|machine| {
                    machine.away == Away::ForGood && books.refreshed_by.as_ref() == Some(&machine.journal)
                });
            if books.state == State::Live
                && !is_elsewhere
                && !unreadable
                && !follows_another
                && !self.doubted.contains(&name)
            {
                self.violated(format!("ACCOUNTED: {found} would be refused, and isn't marked ({books:?})"));
                continue;
            }
            let kept = token
                .redemptions
                .iter()
                .find(|success| matches!(success.by, Who::Process(..)) && success.reached == Reached::Kept);
            if let Some(kept) = kept
                && self.ledger.rotation_of(refresh) != Rotation::Keep
                && !self.ledger.tokens[kept.child].written
                && !self.in_a_journal(kept.child)
            {
                let child = kept.child;
                self.violated(format!("KEPT: {found}: rt-{child} was received and is nowhere"));
            }
        }
        self.judge_open_rows();
    }

    /// Does a journal hold an answer that nobody could read, for the document in this place or where it was before?
    fn waits_for_a_person(&self, place: usize) -> bool {
        let ids: Vec<_> = people::places_of(place).map(collection::id_of).collect();
        let mut open = self.machines.iter().flat_map(|machine| machine.disk.open_rows());
        open.any(|(of, state)| state == "unread" && ids.iter().any(|id| id.as_str() == of))
    }

    /// No journal of a machine that is there waits for anything.
    fn judge_open_rows(&mut self) {
        let there = self.machines.iter().filter(|machine| machine.away.is_there());
        let open: Vec<_> = there.flat_map(|machine| machine.disk.open_rows()).collect();
        // A token that another machine holds an unread answer for isn't asked for here either; nor is one whose document
        // names no configured provider.
        let misnamed: Vec<_> = self
            .documents
            .iter()
            .filter(|(_, document)| !self.is_named_well(document))
            .map(|(place, _)| collection::id_of(*place).as_str().to_owned())
            .collect();
        let waits = |document: &str| {
            misnamed.iter().any(|of| of == document)
                || open.iter().any(|(of, state)| of == document && state == "unread")
        };
        // What is in doubt of a document that has gone stays known for a day: it may be in another place.
        let is_gone = |document: &str| {
            !self.documents.keys().any(|place| collection::id_of(*place).as_str() == document)
        };
        // What a provider refuses beyond belief is not decided.
        let is_doubted = |document: &str| {
            self.documents.iter().any(|(place, there)| {
                collection::id_of(*place).as_str() == document
                    && self.doubted.contains(&world::name_of(self.ledger.provider_of(there.refresh)))
            })
        };
        let is_left = |(document, state): &&(String, String)| match state.as_str() {
            "orphan" | "set_aside" | "unread" => false,
            "unsettled" | "ask_again" if is_gone(document) || is_doubted(document) => false,
            _ => !waits(document),
        };
        if let Some((document, state)) = open.iter().find(is_left) {
            self.violated(format!(
                "GOES ON: a journal still has a row for document {document} that is `{state}`"
            ));
        }
    }
}

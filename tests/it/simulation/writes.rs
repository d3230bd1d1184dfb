//! Each write of the simulated store into a document: compare-and-swap, and judged.

use super::bugs::Bug;
use super::collection::{Collection, place_of};
use super::ledger::{Reached, Rotation, Who, access_text};
use super::weather::REQUEST_TIMEOUT;
use super::world::{Document, Inner, Look};
use evergrant::testing::store::{Change, Fence};
use evergrant::testing::token::{AccessToken, SpentTokens, State};
use std::time::Duration;
use tokio::time::Instant;

impl Collection {
    /// One compare-and-swap, judged: `KEPT`, `WHOLE`, `NEVER BACKWARDS` and `OUR FAULT IS NOT THEIRS`.
    pub(super) fn change(&self, world: &mut Inner, change: &Change) -> bool {
        let place = place_of(&change.id);
        let Some(document) = world.documents.get(&place).cloned() else { return false };
        let now_there = world.ledger.text(document.refresh);
        let access_now = AccessToken::new(access_text(document.access));
        let is_mark = change.pair.is_none();
        let is_put_back = change.pair.as_ref().is_some_and(|pair| {
            world
                .ledger
                .by_text(pair.refresh_token.expose())
                .is_some_and(|token| world.ledger.tokens[token].written)
        });
        let blind = match world.bug {
            Some(Bug::MarksWithoutCompare) => is_mark,
            Some(Bug::WritesWithoutCompare) => !is_mark,
            Some(Bug::PutsBackWithoutCompare) => is_put_back,
            _ => false,
        };
        // By the store's clock, whatever the process says the time is.
        let store_now = world.store_clock.now();
        let lives = !world.rare.is_local
            && matches!(&change.expect_lease, Fence::Ended { until, ended_for, .. } if *until > store_now - *ended_for);
        let expected = change.expect_refresh_token.as_ref().is_none_or(|token| token.expose() == now_there)
            && !lives
            && change.expect_lease.admits(&document.bookkeeping)
            && change.pair.as_ref().is_none_or(|pair| pair.replaces.admits(Some(&access_now)));
        if !expected && !blind {
            return false;
        }
        if world.bug == Some(Bug::LeavesMarks) && matches!(change.expect_lease, Fence::Marked(_)) {
            return true;
        }
        if self.0.elsewhere {
            world.write_into_a_copy(&self.0, place, document, change);
            return true;
        }
        let mut written = document.clone();
        written.bookkeeping = self.0.known(change.bookkeeping.clone());
        match world.bug {
            Some(Bug::ForgetsWhoRefreshed) => written.bookkeeping.refreshed_by = None,
            Some(Bug::ForgetsWhatWasSpent) => written.bookkeeping.spent = SpentTokens::default(),
            _ => {}
        }
        if let Some(pair) = &change.pair {
            let refresh = world.ledger.by_text(pair.refresh_token.expose()).unwrap();
            written.refresh = refresh;
            if world.bug != Some(Bug::WritesHalfAPair) {
                let access = pair.access_token.as_ref().unwrap().expose();
                written.access = access.strip_prefix("at-").unwrap().parse().unwrap();
            }
            if world.ledger.text(written.access) != world.ledger.text(written.refresh) {
                world.violated(format!(
                    "WHOLE: document {place} holds rt-{refresh} and at-{}",
                    written.access
                ));
            }
            // It came for the very text that stands there, which was handed out again since.
            let came_for_it = world.ledger.was_called_again(document.refresh)
                && world.ledger.came_for_text_of(refresh, document.refresh);
            if !world.ledger.supersedes(refresh, document.refresh) && !came_for_it {
                let before = document.refresh;
                world.violated(format!(
                    "NEVER BACKWARDS: document {place} held rt-{before}, rt-{refresh} overwrites it"
                ));
            }
            // A pair that is put back may have been sent since its document first held it: what the document said of that is gone.
            world.ledger.tokens[refresh].memory_lost |= world.ledger.tokens[refresh].written;
            world.wrote(refresh);
            self.look_after_writing(world, place, refresh);
        } else if document.bookkeeping.state != written.bookkeeping.state
            || document.bookkeeping.fingerprint != written.bookkeeping.fingerprint
        {
            // A mark of the token that was there before is no mark of this one.
            judge_mark(world, place, &document, written.bookkeeping.state);
        }
        let books = &written.bookkeeping;
        let is_kept = books.last_error.as_ref().is_some_and(super::judge::is_kept);
        let of_this_token = world.ledger.fingerprint(written.refresh);
        if is_kept && books.fingerprint == Some(of_this_token) {
            world.ledger.tokens[written.refresh].noted = true;
        }
        world.note(|| format!("document {place}: rt-{}, {:?}", written.refresh, written.bookkeeping.state));
        world.documents.insert(place, written);
        true
    }

    fn look_after_writing(&self, world: &mut Inner, place: usize, refresh: usize) {
        let look = Look { refresh, lease_until: None, seen_at: Instant::now() };
        world.looks.insert((self.0.machine, self.0.number, place), look);
    }
}

/// Is the mark true, and is it the right one?
fn judge_mark(world: &mut Inner, place: usize, document: &Document, state: State) {
    let refresh = document.refresh;
    if matches!(state, State::Live | State::Malformed) {
        return;
    }
    // An old copy of a token that we have redeemed is not sent again once its grace is over by our clock: it began when the
    // token was sent, and the provider's a little later.
    let redeemed =
        world.ledger.tokens[refresh].redemptions.iter().any(|success| success.reached == Reached::Kept);
    let soon = if redeemed { REQUEST_TIMEOUT + world.weather.skew } else { Duration::ZERO };
    if world.ledger.would_accept(refresh, Instant::now() + soon) {
        world.judge_mark_of_the_living(place, refresh, state);
    }
    let token = &world.ledger.tokens[refresh];
    let ours = token.redemptions.first().is_some_and(|first| {
        matches!(first.by, Who::Process(..)) && !world.ledger.tokens[first.child].written
    });
    let rotated_by_us = ours && world.ledger.rotation_of(refresh) != Rotation::Keep;
    let kept = token.redemptions.iter().any(|redemption| redemption.reached == Reached::Kept);
    // A commit that failed may have recorded an intent that was never sent: nobody can know.
    // Two documents hold one token: what became of it is written into the one that was asked for.
    let twin = world.weather.duplicate;
    // And an old copy may have brought a claim back, under which the token may have been sent.
    let in_doubt = token.in_doubt > 0 || world.weather.disk > 0.0 || token.memory_lost;
    if state == State::NeedsLogin && rotated_by_us && !kept && !token.memory_lost && !twin {
        world.violated(format!(
            "TOLD APART: document {place} is marked NeedsLogin, and it was us who lost what came for rt-{refresh}"
        ));
    }
    if state == State::LostInFlight && !in_doubt {
        world.violated(format!(
            "TOLD APART: document {place} is marked LostInFlight, and rt-{refresh} was never in doubt"
        ));
    }
}

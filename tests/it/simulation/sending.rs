//! May this token be sent? What the simulation judges before each request.

use super::WAITS_FOR_A_MACHINE;
use super::ledger::{Reached, Rotation, Who};
use super::life::Life;
use super::weather::LEASE;
use super::world::{Away, Inner, Look, name_of};
use evergrant::testing::select::FRESH_FOR;
use tokio::time::Instant;

/// The documents in which this process saw this token when it last looked.
pub(super) fn looks_at(world: &Inner, life: &Life, token: usize) -> Vec<(usize, Look)> {
    world
        .looks
        .range((life.machine, life.number, 0)..=(life.machine, life.number, usize::MAX))
        .filter(|(_, look)| look.refresh == token)
        .map(|((_, _, document), look)| (*document, *look))
        .collect()
}

/// May this token be sent? To its `OWN` provider, `ONCE`, and never against what the process itself has seen.
pub(super) fn judge_sending(world: &mut Inner, life: &Life, peer: usize, token: usize) {
    let of = world.ledger.provider_of(token);
    if of != peer {
        let (to, of) = (name_of(peer), name_of(of));
        world.violated(format!("OWN: {life:?} sends rt-{token} of {of} to {to}"));
    }
    if world.ledger.rotation_of(token) == Rotation::Keep {
        return;
    }
    // Two documents hold one token: what is in doubt of it is written into the one that was asked for.
    let is_told = !world.weather.duplicate;
    if world.weather.peers[of].never && is_told && world.may_have_been_sent(life, token) {
        world.violated(format!("NEVER: {life:?} sends rt-{token} again, and it may have been sent"));
    }
    let looks = looks_at(world, life, token);
    // Where two documents hold one token, one of them is looked at on behalf of the other, too.
    if looks.is_empty() && !world.weather.duplicate {
        world.violated(format!("ONCE: {life:?} sends rt-{token}, which it had seen replaced"));
    }
    // The application, another machine or a person may have replaced it since then: who looked long ago looks again.
    let holds_it = |place: &usize| world.documents.get(place).is_some_and(|there| there.refresh == token);
    let unseen = looks.iter().find(|(place, look)| !holds_it(place) && look.seen_at.elapsed() > FRESH_FOR);
    // It may have moved to another `_id` since, and been seen there.
    let is_seen = looks.iter().any(|(place, _)| holds_it(place));
    if let Some((place, look)) = unseen.filter(|_| !world.weather.duplicate && !is_seen) {
        let ago = look.seen_at.elapsed();
        world.violated(format!(
            "FRESH: {life:?} sends rt-{token}, which document {place} doesn't hold any more; it looked {ago:?} ago"
        ));
    }
    let known = &world.ledger.tokens[token];
    if known.noted && !known.memory_lost {
        world.violated(format!(
            "ONCE: {life:?} sends rt-{token}, whose document says that its answer is kept"
        ));
    }
    let now = Instant::now();
    let tolerance = world.weather.skew;
    // Within the grace of its first use a token is asked for again, also by the machine that redeemed it.
    let within_grace = world.ledger.is_within_grace(token, now, tolerance);
    // What another machine has sent is told by the document alone, where that speaks of the very pair that came for it.
    let came: Vec<_> = world.ledger.tokens[token]
        .redemptions
        .iter()
        .map(|success| Some(world.ledger.fingerprint(success.child)))
        .collect();
    let is_told = world.documents.values().any(|there| {
        let books = &there.bookkeeping;
        there.refresh == token && books.refreshed_at.is_some() && came.contains(&books.fingerprint)
    });
    let unknown = world.ledger.tokens[token].memory_lost && !is_told;
    let successes = world.ledger.tokens[token].redemptions.iter();
    let again = successes.filter(|success| matches!(success.reached, Reached::Kept | Reached::Hand(_))).any(
        |success| {
            let Who::Process(machine, _) = success.by else { return false };
            // Another machine can't know: it sees the claim of the one that has the pair, and waits for it.
            let after = |wait| {
                success
                    .lease_until
                    .is_some_and(|until| until + wait <= now + tolerance + world.leapt_since(until))
            };
            let is_over = after(WAITS_FOR_A_MACHINE) || within_grace && after(LEASE);
            if machine == life.machine || is_told { !within_grace } else { !is_over && !unknown }
        },
    );
    // Where a journal's disk had failed, the document was all that knew of its pair: with an old copy in its place, nobody
    // does.
    let forgotten = world.ledger.tokens[token].memory_lost && world.weather.disk > 0.0;
    // An old copy of a document with a token that was handed out again since, beside another access token, looks like a new login.
    let looks_new = world.ledger.tokens[token].memory_lost && world.ledger.was_called_again(token);
    if again && !forgotten && !looks_new {
        world.violated(format!("ONCE: {life:?} sends rt-{token} again, after a success for it was received"));
    }
}

impl Inner {
    /// May a request for this token have arrived, as far as this process can know? A machine that is gone for good can't tell,
    /// and a person has given its claims up.
    pub(super) fn may_have_been_sent(&self, life: &Life, token: usize) -> bool {
        let known = &self.ledger.tokens[token];
        let counts = |machine: usize| machine == life.machine || self.machines[machine].away != Away::ForGood;
        !known.memory_lost && known.unanswered.iter().any(|(machine, times)| *times > 0 && counts(*machine))
    }
}

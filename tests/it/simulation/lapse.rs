//! A provider that refuses living tokens for a while, with its own `invalid_grant`; and which marks may come of it.

use super::ledger::Who;
use super::world::Inner;
use evergrant::testing::token::State;
use rand::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Share of the living that a lapse of some refuses, in percent.
const SOME: u32 = 3;

/// Longest lapse that ends by the clock.
const LONGEST: Duration = Duration::from_mins(10);

/// Most refusals of a lapse that ends by their number.
const MOST_ANSWERS: u32 = 12;

/// Whom it refuses.
#[derive(Debug, Clone, Copy)]
enum Whom {
    All,
    Some,
    User(usize),
}

/// When it is over.
#[derive(Debug, Clone, Copy)]
enum Ends {
    At(Instant),
    After(u32),
}

/// The lapse of one provider.
#[derive(Debug, Clone, Copy)]
struct Lapse {
    whom: Whom,
    ends: Ends,
}

/// A refusal of a living token that a process has read.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    by: Who,
    at: Instant,
}

/// The lapses of all providers, and what they did.
#[derive(Debug, Default)]
pub(super) struct Lapses {
    /// Of each provider, by its number.
    now: BTreeMap<usize, Lapse>,
    /// Of each token.
    refusals: BTreeMap<usize, Vec<Refusal>>,
    /// Tokens whose users were marked although they live.
    marked: BTreeSet<usize>,
    /// Those of them whose pass has ended without doubt.
    believed: BTreeSet<usize>,
}

impl Lapses {
    /// Is this user among that share of all users, in percent? The users of a smaller share are among those of a larger one.
    pub(super) fn is_among(share: u32, user: usize) -> bool {
        // A number without a common divisor with 100, so that neighbours are apart.
        user * 37 % 100 < share as usize
    }

    /// All providers are well.
    pub(super) fn end(&mut self) {
        self.now.clear();
    }

    /// A process has read that this living token is refused.
    pub(super) fn refused(&mut self, token: usize, by: Who) {
        self.refusals.entry(token).or_default().push(Refusal { by, at: Instant::now() });
    }

    /// Has this process read such a refusal of this token?
    pub(super) fn has_refused(&self, token: usize, by: Who) -> bool {
        self.refusals.get(&token).is_some_and(|refusals| refusals.iter().any(|refusal| refusal.by == by))
    }

    /// Was the user of this token marked for such refusals?
    pub(super) fn has_marked(&self, token: usize) -> bool {
        self.marked.contains(&token)
    }

    /// This token is handed out under the text of an earlier one: what became of that text is not told apart.
    pub(super) fn call_again(&mut self, token: usize, earlier: usize) {
        if self.marked.contains(&earlier) {
            self.marked.insert(token);
        }
        if let Some(refusals) = self.refusals.get(&earlier).cloned() {
            self.refusals.entry(token).or_default().extend(refusals);
        }
    }

    /// Was that so in a pass that ended without doubt?
    pub(super) fn is_believed(&self, token: usize) -> bool {
        self.believed.contains(&token)
    }

    /// Was this very token refused to one process twice, or on two occasions so far apart?
    fn has_refused_twice(&self, token: usize, apart: Duration) -> bool {
        let refusals = self.refusals.get(&token).map(Vec::as_slice).unwrap_or_default();
        refusals.iter().enumerate().any(|(place, later)| {
            refusals[..place].iter().any(|first| first.by == later.by || later.at - first.at >= apart)
        })
    }
}

impl Inner {
    /// Does the provider refuse this token, which it would grant at any other time? Perhaps a lapse begins with it.
    pub(super) fn lapses_for(&mut self, peer: usize, token: usize) -> bool {
        if !self.ledger.would_accept(token, Instant::now()) {
            return false;
        }
        let chance = self.weather.peers[peer].lapse;
        if !self.lapses.now.contains_key(&peer) && self.happens(chance) {
            let user = self.ledger.tokens[token].user;
            let whom = [Whom::All, Whom::Some, Whom::User(user)][self.random.random_range(0..3)];
            let ends = if self.random.random() {
                Ends::At(Instant::now() + self.random.random_range(Duration::ZERO..LONGEST))
            } else {
                Ends::After(self.random.random_range(1..=MOST_ANSWERS))
            };
            self.begin_lapse(peer, whom, ends);
        }
        self.is_refused(peer, token)
    }

    /// The last lapse of a run: the next answers of each provider are refusals, and no user is to be marked for them.
    pub(super) fn lapse_once_more(&mut self) {
        for peer in 0..self.weather.peers.len() {
            if self.weather.peers[peer].lapse > 0.0 {
                let answers = self.random.random_range(1..=MOST_ANSWERS);
                self.begin_lapse(peer, Whom::All, Ends::After(answers));
            }
        }
    }

    fn begin_lapse(&mut self, peer: usize, whom: Whom, ends: Ends) {
        self.note(|| format!("provider {peer} refuses the living: {whom:?}"));
        self.lapses.now.insert(peer, Lapse { whom, ends });
    }

    fn is_refused(&mut self, peer: usize, token: usize) -> bool {
        let Some(mut lapse) = self.lapses.now.get(&peer).copied() else { return false };
        let is_over = match lapse.ends {
            Ends::At(at) => at <= Instant::now(),
            Ends::After(answers) => answers == 0,
        };
        if is_over {
            self.lapses.now.remove(&peer);
            return false;
        }
        let is_refused = match lapse.whom {
            Whom::All => true,
            Whom::Some => self.random.random_ratio(SOME, 100),
            Whom::User(user) => self.ledger.tokens[token].user == user,
        };
        if is_refused {
            if let Ends::After(answers) = &mut lapse.ends {
                *answers -= 1;
            }
            self.lapses.now.insert(peer, lapse);
        }
        is_refused
    }

    /// A pass has ended without doubt: the marks that are in the documents now stand.
    pub(super) fn believe_marks(&mut self) {
        let marked = self.documents.values().filter(|document| document.bookkeeping.state.is_mark());
        let marked = marked.map(|document| document.refresh).filter(|token| self.lapses.has_marked(*token));
        let marked: Vec<_> = marked.collect();
        self.lapses.believed.extend(marked);
    }

    /// The user of a living token is marked: for refusals, and for enough of them? After a lost answer one is enough.
    pub(super) fn judge_mark_of_the_living(&mut self, place: usize, token: usize, state: State) {
        let apart = self.weather.first_backoff.saturating_sub(self.weather.skew);
        // Where no token is sent twice, what is in doubt ends so, whether or not its request had arrived; and one refusal is enough.
        let known = &self.ledger.tokens[token];
        // A commit that failed may have recorded an intent that was never sent.
        let may_be_intended = known.in_doubt > 0 || self.weather.disk > 0.0;
        let is_in_doubt = may_be_intended
            || known.doubtful > 0
            || known.unanswered.values().any(|times| *times > 0)
            || known.memory_lost;
        let never = self.weather.peers[self.ledger.provider_of(token)].never;
        let is_enough = match state {
            State::LostInFlight if never && is_in_doubt => true,
            State::NeedsLogin | State::LostInFlight if never => self.lapses.refusals.contains_key(&token),
            State::LostInFlight => self.lapses.refusals.contains_key(&token),
            State::Live | State::NeedsLogin | State::Malformed => self.lapses.has_refused_twice(token, apart),
        };
        if is_enough {
            self.note(|| format!("document {place} is marked {state:?}, and rt-{token} would be granted"));
            self.lapses.marked.insert(token);
            self.wrong_marks += 1;
        } else {
            let refusals = self.lapses.refusals.get(&token).map_or(0, Vec::len);
            self.violated(format!(
                "OUR FAULT IS NOT THEIRS: document {place} is marked {state:?}, and rt-{token} would be granted; its provider has refused it {refusals} times"
            ));
        }
    }

    /// A pass of calm weather has left this provider alone for its refusals: has it asked for all that was due before?
    pub(super) fn judge_left_alone(
        &mut self,
        provider: &str,
        began: Instant,
        due_by: evergrant::testing::clock::Timestamp,
    ) {
        for (place, document) in self.documents.clone() {
            let books = &document.bookkeeping;
            let is_due = books.due_at.is_none_or(|at| at <= due_by) && books.state == State::Live;
            // What another machine had claimed waits for that.
            let is_due = is_due && books.lease.is_none();
            let is_there = super::world::name_of(self.ledger.provider_of(document.refresh)) == provider
                && self.is_named_well(&document);
            let asked = self.asked.get(&document.user);
            let is_asked = asked.is_some_and(|asked| asked.iter().any(|at| *at >= began));
            if is_there && is_due && !is_asked && self.ledger.would_accept(document.refresh, Instant::now()) {
                self.violated(format!(
                    "GOES ON: {provider} is left alone for its refusals, and rt-{} of document {place} wasn't asked for",
                    document.refresh
                ));
            }
        }
    }
}

//! The providers of a simulation: what each handed out, to whom, and what became of it. They are the oracle.

use evergrant::testing::token::{Fingerprint, RefreshToken};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// What it does with a refresh token that was redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotation {
    Strict,
    /// A token that was redeemed works again for so long.
    Grace(Duration),
    /// The same token stays good.
    Keep,
}

/// Who presents a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// A process of ours, by its machine and the number of its life.
    Process(usize, u64),
    /// The application.
    App,
    /// A process of ours over a copy of the database, which a person has adopted there: as the application, it is another program.
    Elsewhere,
}

/// How far the answer of a redemption came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Nobody has it yet, or it was lost, or cut.
    Nobody,
    /// A process has all of it in memory, since this instant.
    Hand(Instant),
    /// The process that had it in memory died, or its disk failed, before it could be kept.
    Excused,
    /// It is in a journal, or was in a document.
    Kept,
}

pub(super) struct Redemption {
    pub(super) by: Who,
    pub(super) child: usize,
    pub(super) reached: Reached,
    /// The claim under which it was sent ends then.
    pub(super) lease_until: Option<Instant>,
}

pub(super) struct Token {
    pub(super) user: usize,
    /// The number in its text.
    text: usize,
    pub(super) parent: Option<usize>,
    family: usize,
    pub(super) redemptions: Vec<Redemption>,
    /// The machines of ours that have presented it.
    pub(super) sent_by: BTreeSet<usize>,
    first_redeemed_at: Option<Instant>,
    /// Was it in a document at any time?
    pub(super) written: bool,
    /// Has a process of ours sent it without an answer that settled what became of it?
    pub(super) in_doubt: u32,
    /// How many requests of each machine for it got no answer that says what became of it.
    pub(super) unanswered: BTreeMap<usize, u32>,
    /// How many of its answers left open whether it was processed.
    pub(super) doubtful: u32,
    /// Did its document ever say that a success for it is kept in a journal, and can't be read or written?
    pub(super) noted: bool,
    /// Did a power cut, or an old copy of its document, take what was known of its sending?
    pub(super) memory_lost: bool,
}

/// One login.
struct Family {
    /// The provider at which it is.
    provider: usize,
    ended: bool,
}

/// What one provider does with its refresh tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) rotation: Rotation,
    /// Does a token that comes again end the whole login?
    pub(super) revokes_family: bool,
}

pub(super) struct Ledger {
    /// Of each provider.
    rules: Vec<Rules>,
    pub(super) tokens: Vec<Token>,
    families: Vec<Family>,
    /// By the number in a text that was handed out more than once: the token that it is now.
    again: BTreeMap<usize, usize>,
    pub(super) grants: u64,
}

/// What the provider says to a token.
pub(super) enum Said {
    /// The place of the new one.
    Granted(usize),
    Refused,
}

impl Ledger {
    pub(super) fn new(rules: Vec<Rules>) -> Self {
        Self { rules, tokens: Vec::new(), families: Vec::new(), again: BTreeMap::new(), grants: 0 }
    }

    /// Other rules for the same providers.
    pub(super) fn set_rules(&mut self, rules: Vec<Rules>) {
        self.rules = rules;
    }

    /// A login at a provider: the first token of a new family.
    pub(super) fn login(&mut self, user: usize, provider: usize) -> usize {
        self.families.push(Family { provider, ended: false });
        self.hand_out(user, None, self.families.len() - 1)
    }

    /// The provider that handed this token out.
    pub(super) fn provider_of(&self, token: usize) -> usize {
        self.families[self.tokens[token].family].provider
    }

    /// What that provider does with a token that was redeemed.
    pub(super) fn rotation_of(&self, token: usize) -> Rotation {
        self.rules[self.provider_of(token)].rotation
    }

    /// The person takes the permission back.
    pub(super) fn revoke(&mut self, token: usize) {
        let family = self.tokens[token].family;
        self.families[family].ended = true;
    }

    fn hand_out(&mut self, user: usize, parent: Option<usize>, family: usize) -> usize {
        self.tokens.push(Token {
            user,
            text: self.tokens.len(),
            parent,
            family,
            redemptions: Vec::new(),
            sent_by: BTreeSet::new(),
            first_redeemed_at: None,
            written: false,
            in_doubt: 0,
            unanswered: BTreeMap::new(),
            doubtful: 0,
            noted: false,
            memory_lost: false,
        });
        self.tokens.len() - 1
    }

    pub(super) fn would_accept(&self, token: usize, now: Instant) -> bool {
        let known = &self.tokens[token];
        let spent = match (self.rotation_of(token), known.first_redeemed_at) {
            (Rotation::Keep, _) | (_, None) => false,
            (Rotation::Strict, Some(_)) => true,
            (Rotation::Grace(grace), Some(at)) => now - at >= grace,
        };
        !spent && !self.families[known.family].ended
    }

    /// Does the grace of its first use last, by a clock that is wrong by up to `tolerance`?
    pub(super) fn is_within_grace(&self, token: usize, now: Instant, tolerance: Duration) -> bool {
        match (self.rotation_of(token), self.tokens[token].first_redeemed_at) {
            (Rotation::Grace(grace), Some(at)) => now - at < grace + tolerance,
            _ => false,
        }
    }

    pub(super) fn present(
        &mut self,
        token: usize,
        by: Who,
        now: Instant,
        lease_until: Option<Instant>,
    ) -> Said {
        if !self.would_accept(token, now) {
            if self.rules[self.provider_of(token)].revokes_family
                && self.tokens[token].first_redeemed_at.is_some()
            {
                self.revoke(token);
            }
            return Said::Refused;
        }
        self.grants += 1;
        let (user, family) = (self.tokens[token].user, self.tokens[token].family);
        let child = if self.rotation_of(token) == Rotation::Keep {
            token
        } else {
            self.hand_out(user, Some(token), family)
        };
        let known = &mut self.tokens[token];
        known.first_redeemed_at.get_or_insert(now);
        known.redemptions.push(Redemption { by, child, reached: Reached::Nobody, lease_until });
        Said::Granted(child)
    }

    /// The redemption that handed this token out.
    pub(super) fn birth(&mut self, token: usize) -> Option<&mut Redemption> {
        let parent = self.tokens[token].parent?;
        self.tokens[parent].redemptions.iter_mut().find(|redemption| redemption.child == token)
    }

    /// The newest token that a machine of ours has kept of all that came out of this one; none where nothing was kept, or that
    /// machine isn't `there`. Nor where several machines have had a part in the login: the one that meets an old token of it
    /// may not know what the other has made of that.
    pub(super) fn newest_received(&self, token: usize, there: &impl Fn(usize) -> bool) -> Option<usize> {
        let family = self.tokens[token].family;
        let of_login = self.tokens.iter().filter(|token| token.family == family);
        let machines: BTreeSet<_> = of_login.flat_map(|token| &token.sent_by).copied().collect();
        if machines.len() > 1 || !machines.iter().all(|machine| there(*machine)) {
            return None;
        }
        let kept = |token: usize| {
            let kept = |success: &&Redemption| {
                matches!(success.by, Who::Process(..))
                    && success.reached == Reached::Kept
                    && success.child != token
            };
            Some(self.tokens[token].redemptions.iter().rev().find(kept)?.child)
        };
        std::iter::successors(kept(token), |token| kept(*token)).last()
    }

    /// Did `later` come out of `earlier`?
    pub(super) fn descends(&self, later: usize, earlier: usize) -> bool {
        self.ancestry(later).contains(&earlier)
    }

    /// May this one take the place of `earlier`? It came out of it; or it is of another login of the same user at the same
    /// provider, was granted after all of that one that is of use, and a document held it before.
    pub(super) fn supersedes(&self, later: usize, earlier: usize) -> bool {
        let [new, old] = [later, earlier].map(|token| &self.tokens[token]);
        let provider = |token: &Token| self.families[token.family].provider;
        let is_newest = (later..self.tokens.len())
            .all(|token| self.tokens[token].family != old.family || self.is_of_no_use(token));
        let is_newer = new.user == old.user && provider(new) == provider(old) && new.written && is_newest;
        self.descends(later, earlier) || is_newer
    }

    /// Was the answer with this token lost, or is the token spent, so that what came for it counts in its place?
    fn is_of_no_use(&self, token: usize) -> bool {
        let is_lost = |redemption: &Redemption| {
            redemption.child == token && matches!(redemption.reached, Reached::Nobody | Reached::Excused)
        };
        let known = &self.tokens[token];
        let birth = known.parent.map(|parent| &self.tokens[parent].redemptions);
        let was_lost = !known.written && birth.is_some_and(|all| all.iter().any(is_lost));
        was_lost || !known.redemptions.is_empty() && !self.would_accept(token, Instant::now())
    }

    /// A token, what it came from, and so on back to the login.
    pub(super) fn ancestry(&self, token: usize) -> Vec<usize> {
        std::iter::successors(Some(token), |token| self.tokens[*token].parent).collect()
    }

    /// The text of a refresh token; the quotes around it in an answer make it unlike all others.
    pub(super) fn text(&self, token: usize) -> String {
        refresh_text(self.tokens[token].text)
    }

    pub(super) fn fingerprint(&self, token: usize) -> Fingerprint {
        RefreshToken::new(self.text(token)).fingerprint()
    }

    /// The token that a text is now: the one that was handed out last under it.
    pub(super) fn by_text(&self, text: &str) -> Option<usize> {
        let first: usize = text.strip_prefix("rt-")?.parse().ok()?;
        Some(self.last_of(first))
    }

    /// The token that the text of this one is now.
    pub(super) fn last_of(&self, token: usize) -> usize {
        let text = self.tokens[token].text;
        self.again.get(&text).copied().unwrap_or(token)
    }

    /// Was the text of this token handed out more than once?
    pub(super) fn was_called_again(&self, token: usize) -> bool {
        self.again.contains_key(&self.tokens[token].text)
    }

    /// Did a token come out of another one with the text of this one?
    pub(super) fn came_for_text_of(&self, token: usize, other: usize) -> bool {
        let text = self.tokens[other].text;
        self.ancestry(token).into_iter().any(|earlier| self.tokens[earlier].text == text)
    }

    /// Hands this token out under the text of an earlier one of its login: what is known of that text is in doubt of it, too.
    pub(super) fn call_again(&mut self, token: usize, earlier: usize) {
        let (text, in_doubt) = (self.tokens[earlier].text, self.tokens[earlier].in_doubt);
        let memory_lost = self.tokens[earlier].memory_lost;
        let known = &mut self.tokens[token];
        (known.text, known.in_doubt, known.memory_lost) = (text, in_doubt, memory_lost);
        self.again.insert(text, token);
    }

    /// The answer that hands a token out.
    pub(super) fn body(&self, token: usize) -> String {
        format!(
            r#"{{"token_type":"bearer","access_token":"{}","refresh_token":"{}","expires_in":3600}}"#,
            access_text(token),
            self.text(token)
        )
    }
}

/// The text under which a token is handed out for the first time.
pub(super) fn refresh_text(token: usize) -> String {
    format!("rt-{token}")
}

/// The text of the access token that came with it; where tokens stay, each answer has one all the same.
pub(super) fn access_text(token: usize) -> String {
    format!("at-{token}")
}

//! The wires of a simulation, one to each provider: requests that arrive, or don't, or late, and answers that come, or don't, or in part.

use super::bugs::Bug;
use super::lapse::Lapses;
use super::ledger::{Reached, Redemption, Rotation, Said};
use super::life::Life;
use super::peer::Storm;
use super::sending::{judge_sending, looks_at};
use super::weather::REQUEST_TIMEOUT;
use super::world::{Inner, Script, World, name_of};
use async_trait::async_trait;
use evergrant::testing::clock::Clock;
use evergrant::testing::grant::headers::Headers;
use evergrant::testing::grant::http::ClientError;
use evergrant::testing::grant::{Connect, GrantRequest, RawAnswer, Sent, Wire};
use evergrant::testing::provider::{AskAgain, ClientSecret, Profile, Provider, profile};
use rand::Rng as _;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::Instant;

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Well,
    NotSent,
    LostBefore,
    LostAfter,
    /// It arrives after we gave it up.
    Late,
    Cut,
    ErrorBefore,
    ErrorAfter,
    Throttled,
    NoTokens,
    /// Its provider refuses it, and would grant it at any other time.
    RefusedAlive,
    Storm(Storm),
    Scripted(Script),
}

/// The ways to the providers, as one process has them.
#[derive(Debug)]
pub(super) struct Line(pub(super) Life);

impl Connect for Line {
    fn connect(&self, provider: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, ClientError> {
        let peers = self.0.world.with(|world| world.weather.peers.len());
        let peer = (0..peers).find(|peer| name_of(*peer) == *provider.name).unwrap();
        Ok(Arc::new(Endpoint { life: self.0.clone(), peer, clock: clock.clone() }))
    }
}

/// Read once: each process of each seed starts with it.
static GENERIC: LazyLock<Profile> = LazyLock::new(|| profile::load("generic").unwrap());

/// A success without anything that could be a token.
const NOTHING: &str = r#"{"status":"done"}"#;

/// What a provider says to a token that it doesn't take.
const REFUSED: &str = r#"{"error":"invalid_grant"}"#;

/// Answers of somebody between us and the provider, before or after it has done its work.
const PAGES: [(u16, &str); 8] = [
    (500, "oops"),
    (500, "oops"),
    (502, "<html>"),
    (503, "<html>"),
    (503, "upstream connect error"),
    (429, "<html>"),
    (408, ""),
    (422, "<html>"),
];

/// The provider's own error of a kind that no profile lists: nothing was processed.
const UNLISTED: (u16, &str) = (409, r#"{"error":"not_now"}"#);

#[derive(Debug)]
struct Endpoint {
    life: Life,
    /// The number of the provider.
    peer: usize,
    clock: Clock,
}

#[async_trait]
impl Wire for Endpoint {
    async fn post(&self, request: &GrantRequest) -> Sent {
        let mut fields = url::form_urlencoded::parse(&request.body);
        let (_, text) = fields.find(|(name, _)| name == "refresh_token").unwrap();
        let (token, bug, was_refused) = self.life.world.with(|world| {
            let token = world.ledger.by_text(&text).unwrap();
            (token, world.bug, world.lapses.has_refused(token, self.life.who()))
        });
        if was_refused && bug == Some(Bug::MarksAtTheFirstRefusal) {
            return self.answer(400, REFUSED);
        }
        match (self.once(token).await, bug) {
            (Sent::Lost(_), Some(Bug::RepeatsInTheTransport)) => self.once(token).await,
            (Sent::Lost(cause), Some(Bug::TakesLostForNotSent)) => Sent::NotSent(cause),
            (sent, _) => sent,
        }
    }
}

impl Endpoint {
    async fn once(&self, token: usize) -> Sent {
        let world = &self.life.world;
        world.with(|world| {
            if self.life.elsewhere {
                world.judge_sending_of_a_copy(&self.life, token);
                return;
            }
            world.ledger.tokens[token].in_doubt += 1;
            if self.life.is_alive(world) {
                judge_sending(world, &self.life, self.peer, token);
            }
            let known = &mut world.ledger.tokens[token];
            *known.unanswered.entry(self.life.machine).or_default() += 1;
            // It counts for its machine, whether or not the request arrives.
            known.sent_by.insert(self.life.machine);
        });
        // Judged above: a process that is stopped here, between its last look and the first byte, can't know better.
        world.some_time().await;
        self.life.go_on().await;
        let fate = world.with(|world| {
            let fate = draw(world, self.peer, token);
            world.note(|| format!("{:?} sends rt-{token}: {fate:?}", self.life));
            let user = world.ledger.tokens[token].user;
            world.asked.entry(user).or_default().push(Instant::now());
            world.scripts.get_mut(&user).and_then(VecDeque::pop_front).map_or(fate, Fate::Scripted)
        });
        let (sent, delivered) = self.answered(token, fate).await;
        // The process reads it only if it lives, and when it runs.
        self.life.go_on().await;
        world.with(|world| {
            world.note(|| format!("{:?} has for rt-{token}: {sent:?}", self.life));
            let settled = match &sent {
                Sent::Answered(answer) => {
                    answer.complete
                        && !(500..503).contains(&answer.status)
                        && answer.body.first() == Some(&b'{')
                        && answer.body != NOTHING
                }
                Sent::NotSent(_) => true,
                Sent::Lost(_) => false,
            };
            if !settled || leaves_open(&sent) {
                // Its text may be another token's by now.
                let now = world.ledger.last_of(token);
                world.ledger.tokens[token].doubtful += 1;
                world.ledger.tokens[now].doubtful += u32::from(now != token);
                world.ledger.tokens[now].in_doubt += u32::from(now != token);
            }
            if let Some(unanswered) = world.ledger.tokens[token].unanswered.get_mut(&self.life.machine)
                && (settled || says_that_nothing_was_done(&sent))
            {
                *unanswered -= 1;
            }
            if settled && !self.life.elsewhere {
                // Once its journal knows it, too.
                world.answered.entry((self.life.machine, self.life.number)).or_default().push(token);
            }
            if matches!(fate, Fate::RefusedAlive) && self.life.is_alive(world) {
                world.lapses.refused(token, self.life.who());
                // Its text may have been handed out again while the answer was on its way.
                let last = world.ledger.last_of(token);
                if last != token {
                    world.lapses.refused(last, self.life.who());
                }
            }
            if let Some(child) = delivered {
                self.received(world, token, child);
            }
        });
        sent
    }

    /// What comes back, and the token that it hands out in full.
    async fn answered(&self, token: usize, fate: Fate) -> (Sent, Option<usize>) {
        let world = &self.life.world;
        if let Fate::Scripted(Script { status, retry_after, body }) = fate {
            let headers = retry_after.map(|wait| ("retry-after", wait.as_bytes())).into_iter().collect();
            let Sent::Answered(answer) = self.answer(status, body) else { unreachable!("an answer") };
            return (Sent::Answered(RawAnswer { headers, ..answer }), None);
        }
        if matches!(fate, Fate::NotSent | Fate::Storm(Storm::Unreachable)) {
            return (Sent::NotSent("connect"), None);
        }
        world.some_time().await;
        if matches!(fate, Fate::Late) {
            let (life, wait) = (
                self.life.clone(),
                world.with(|world| Duration::from_secs(world.random.random_range(0..60))),
            );
            tokio::spawn(async move {
                tokio::time::sleep(REQUEST_TIMEOUT + wait).await;
                life.world.with(|world| {
                    let said = present(world, &life, token);
                    world.note(|| {
                        format!(
                            "the late rt-{token} of {life:?} arrives: {}",
                            matches!(said, Said::Granted(_))
                        )
                    });
                });
            });
            tokio::time::sleep(REQUEST_TIMEOUT).await;
            return (Sent::Lost("timeout"), None);
        }
        let processed =
            matches!(fate, Fate::Well | Fate::LostAfter | Fate::Cut | Fate::ErrorAfter | Fate::NoTokens);
        let said = processed.then(|| world.with(|world| present(world, &self.life, token)));
        world.some_time().await;
        let takes = world.with(|world| {
            let most = world.weather.peers[self.peer].takes;
            (!most.is_zero()).then(|| world.random.random_range(Duration::ZERO..most))
        });
        if let Some(takes) = takes {
            tokio::time::sleep(takes).await;
        }
        let sent = match (fate, said) {
            (Fate::LostBefore | Fate::LostAfter, _) => Sent::Lost("reset"),
            (Fate::ErrorBefore | Fate::ErrorAfter, _) => {
                let pages = PAGES.len() + usize::from(matches!(fate, Fate::ErrorBefore));
                let drawn = world.with(|world| world.random.random_range(0..pages));
                let (status, page) = PAGES.get(drawn).copied().unwrap_or(UNLISTED);
                self.answer(status, page)
            }
            (Fate::Storm(Storm::Errors), _) => self.answer(500, "oops"),
            (Fate::Throttled | Fate::Storm(Storm::Throttles), _) => self.answer(429, "{}"),
            (Fate::Storm(Storm::Rejects), _) => self.answer(401, r#"{"error":"invalid_client"}"#),
            (Fate::RefusedAlive, _) => self.answer(400, REFUSED),
            (Fate::Storm(Storm::Portal), _) => self.answer(200, "<html>log in to the network</html>"),
            // One that could hold a token under a name that nobody knows, and one that can't.
            (Fate::NoTokens, Some(Said::Granted(child))) => {
                let unknown = child.is_multiple_of(2);
                self.answer(200, if unknown { r#"{"token":"sealed"}"# } else { NOTHING })
            }
            (Fate::Cut, Some(Said::Granted(child))) => {
                let body = world.with(|world| world.ledger.body(child));
                let kept = world.with(|world| world.random.random_range(0..body.len()));
                let Sent::Answered(answer) = self.answer(200, &body[..kept]) else {
                    unreachable!("an answer")
                };
                Sent::Answered(RawAnswer { complete: false, ..answer })
            }
            (_, Some(Said::Granted(child))) => {
                let body = world.with(|world| world.ledger.body(child));
                return (self.answer(200, &body), Some(child));
            }
            (_, Some(Said::Refused)) => self.answer(400, REFUSED),
            (fate, None) => unreachable!("{fate:?} is processed"),
        };
        (sent, None)
    }

    fn answer(&self, status: u16, body: &str) -> Sent {
        Sent::Answered(RawAnswer {
            status,
            headers: Headers::default(),
            body: body.to_owned().into(),
            complete: true,
            received_at: self.clock.now(),
        })
    }

    /// The whole answer is in the memory of a living process: from now on it must be kept.
    fn received(&self, world: &mut Inner, token: usize, child: usize) {
        let who = self.life.who();
        let keeps = world.ledger.rotation_of(token) == Rotation::Keep;
        let mine = |success: &&mut Redemption| success.by == who && success.child == child;
        if let Some(success) = world.ledger.tokens[token].redemptions.iter_mut().rev().find(mine) {
            success.reached = if keeps { Reached::Kept } else { Reached::Hand(Instant::now()) };
        }
    }
}

/// Does a page say that it failed, by whomever it is?
fn leaves_open(sent: &Sent) -> bool {
    matches!(sent, Sent::Answered(answer) if (500..=504).contains(&answer.status))
}

/// Statuses with which a provider, or the one before it, turns a request away: with any body, and also where it must not be sent twice.
fn says_that_nothing_was_done(sent: &Sent) -> bool {
    match sent {
        // 502, 503 and 504 are those of an outage, where no user is granted.
        Sent::Answered(answer) => matches!(answer.status, 401 | 429 | 502..=504),
        Sent::NotSent(_) | Sent::Lost(_) => false,
    }
}

fn present(world: &mut Inner, life: &Life, token: usize) -> Said {
    let lease_until = looks_at(world, life, token).into_iter().find_map(|(_, look)| look.lease_until);
    let said = world.ledger.present(token, life.who(), Instant::now(), lease_until);
    if let Said::Granted(child) = said {
        world.hand_out_again(token, child);
    }
    said
}

fn draw(world: &mut Inner, peer: usize, token: usize) -> Fate {
    let weather = world.weather.peers[peer].clone();
    if let Some((storm, until)) = world.storms[peer]
        && until > Instant::now()
    {
        match storm {
            Storm::Refuses(share) => {
                let refused = Lapses::is_among(share, world.ledger.tokens[token].user);
                let lives = world.ledger.would_accept(token, Instant::now());
                return if refused && lives { Fate::RefusedAlive } else { Fate::Well };
            }
            storm => return Fate::Storm(storm),
        }
    }
    if world.happens(weather.storm) {
        let storms = [Storm::Errors, Storm::Rejects, Storm::Portal, Storm::Throttles, Storm::Unreachable];
        let storm = storms[world.random.random_range(0..storms.len())];
        let until = Instant::now() + Duration::from_secs(world.random.random_range(1..600));
        world.storms[peer] = Some((storm, until));
        return Fate::Storm(storm);
    }
    let fates = [
        (weather.not_sent, Fate::NotSent),
        (weather.lost_before, Fate::LostBefore),
        (weather.lost_after, Fate::LostAfter),
        (weather.late, Fate::Late),
        (weather.cut, Fate::Cut),
        (weather.error_before, Fate::ErrorBefore),
        (weather.error_after, Fate::ErrorAfter),
        (weather.throttled, Fate::Throttled),
        (weather.no_tokens, Fate::NoTokens),
    ];
    let fate = fates.into_iter().find(|(chance, _)| world.happens(*chance)).map(|(_, fate)| fate);
    fate.unwrap_or_else(|| if world.lapses_for(peer, token) { Fate::RefusedAlive } else { Fate::Well })
}

/// The provider of this number as the pass knows it.
pub(super) fn provider(world: &World, number: usize) -> Provider {
    let mut profile = GENERIC.clone();
    let (peer, bug) = world.with(|world| (world.weather.peers[number].clone(), world.bug));
    profile.request_timeout = REQUEST_TIMEOUT;
    profile.rate = peer.rate.map(|rate| rate.parse().unwrap());
    profile.concurrency = peer.concurrency.try_into().unwrap();
    profile.rotation = match peer.rules.rotation {
        Rotation::Strict => evergrant::testing::provider::Rotation::SingleUse,
        Rotation::Grace(grace) => {
            profile.grace = grace;
            evergrant::testing::provider::Rotation::Grace
        }
        Rotation::Keep => evergrant::testing::provider::Rotation::None,
    };
    if peer.never && bug != Some(Bug::AsksAgainWhatMayBeSpent) {
        profile.ask_again = AskAgain::Never;
    }
    if bug == Some(Bug::MarksOnRejectedClient) {
        profile.answer.client_rejected.retain(|code| code != "invalid_client");
        profile.answer.refused.push("invalid_client".into());
    }
    Provider {
        name: name_of(number).into(),
        profile_name: "generic".into(),
        profile,
        token_url: "http://127.0.0.1/token".parse().unwrap(),
        values: evergrant::testing::provider::Values::default(),
        client_id: "simulated".into(),
        client_secret: Some(ClientSecret::new("simulated".into())),
    }
}

//! The wires of a simulation, one to each provider: requests that arrive, or don't, or late, and answers that come, or don't, or in part.

use super::WAITS_FOR_A_MACHINE;
use super::bugs::Bug;
use super::lapse::Lapses;
use super::ledger::{Reached, Redemption, Rotation, Said, Who, body, by_text, refresh_text};
use super::peer::Storm;
use super::weather::{LEASE, REQUEST_TIMEOUT};
use super::world::{Inner, Life, Look, Script, World, name_of};
use async_trait::async_trait;
use evergrant::testing::clock::Clock;
use evergrant::testing::grant::headers::Headers;
use evergrant::testing::grant::http::ClientError;
use evergrant::testing::grant::{Connect, GrantRequest, RawAnswer, Sent, Wire};
use evergrant::testing::provider::{ClientSecret, Provider, profile};
use evergrant::testing::select::FRESH_FOR;
use evergrant::testing::token::RefreshToken;
use rand::Rng as _;
use std::collections::VecDeque;
use std::sync::Arc;
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
        let token = by_text(&text).unwrap();
        let (bug, was_refused) =
            self.life.world.with(|world| (world.bug, world.lapses.has_refused(token, self.life.who())));
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
            world.ledger.tokens[token].in_doubt += 1;
            if self.life.is_alive(world) {
                judge_sending(world, &self.life, self.peer, token);
            }
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
            if settled {
                // Once its journal knows it, too.
                world.answered.entry((self.life.machine, self.life.number)).or_default().push(token);
            }
            if matches!(fate, Fate::RefusedAlive) && self.life.is_alive(world) {
                world.lapses.refused(token, self.life.who());
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
                let body = body(child);
                let kept = world.with(|world| world.random.random_range(0..body.len()));
                let Sent::Answered(answer) = self.answer(200, &body[..kept]) else {
                    unreachable!("an answer")
                };
                Sent::Answered(RawAnswer { complete: false, ..answer })
            }
            (_, Some(Said::Granted(child))) => return (self.answer(200, &body(child)), Some(child)),
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

fn present(world: &mut Inner, life: &Life, token: usize) -> Said {
    let lease_until = looks_at(world, life, token).into_iter().find_map(|(_, look)| look.lease_until);
    world.ledger.present(token, life.who(), Instant::now(), lease_until)
}

/// The documents in which this process saw this token when it last looked.
fn looks_at(world: &Inner, life: &Life, token: usize) -> Vec<(usize, Look)> {
    world
        .looks
        .range((life.machine, life.number, 0)..=(life.machine, life.number, usize::MAX))
        .filter(|(_, look)| look.refresh == token)
        .map(|((_, _, document), look)| (*document, *look))
        .collect()
}

/// May this token be sent? To its `OWN` provider, `ONCE`, and never against what the process itself has seen.
fn judge_sending(world: &mut Inner, life: &Life, peer: usize, token: usize) {
    let of = world.ledger.provider_of(token);
    if of != peer {
        let (to, of) = (name_of(peer), name_of(of));
        world.violated(format!("OWN: {life:?} sends rt-{token} of {of} to {to}"));
    }
    if world.ledger.rotation_of(token) == Rotation::Keep {
        return;
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
        .map(|success| Some(RefreshToken::new(refresh_text(success.child)).fingerprint()))
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
            let after = |wait| success.lease_until.is_some_and(|until| until + wait <= now + tolerance);
            let is_over = after(WAITS_FOR_A_MACHINE) || within_grace && after(LEASE);
            if machine == life.machine || is_told { !within_grace } else { !is_over && !unknown }
        },
    );
    // Where a journal's disk had failed, the document was all that knew of its pair: with an old copy in its place, nobody
    // does.
    let forgotten = world.ledger.tokens[token].memory_lost && world.weather.disk > 0.0;
    if again && !forgotten {
        world.violated(format!("ONCE: {life:?} sends rt-{token} again, after a success for it was received"));
    }
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
    let mut profile = profile::load("generic").unwrap();
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

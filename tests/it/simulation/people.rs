//! Everybody else who touches documents and logins: the application, the people, the operators.

use super::ledger::{Said, Who};
use super::world::{Document, Inner, World};
use super::{by_hand, elsewhere};
use evergrant::testing::token::Bookkeeping;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How far a document moves: no two get to one place.
const MOVED_BY: usize = 1_000;

/// Where a document is, and where it was before.
pub(super) fn places_of(place: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(place), |place| place.checked_sub(MOVED_BY))
}

/// Lives until it is calm.
pub(super) async fn live(world: Arc<World>) {
    let backup = world.with(|world| world.documents.clone());
    loop {
        let wait = world.with(|world| Duration::from_secs(world.random.random_range(1..60)));
        tokio::time::sleep(wait).await;
        if world.with(|world| world.calm) {
            return;
        }
        let weather = world.with(|world| world.weather.clone());
        let happens = |chance| world.with(|world| world.happens(chance));
        let Some(place) = world.with(|world| {
            let places: Vec<_> = world.documents.keys().copied().collect();
            places.choose(&mut world.random).copied()
        }) else {
            return;
        };
        let rare = world.with(|world| world.rare.clone());
        if happens(rare.copies) {
            tokio::spawn(elsewhere::try_out(world.clone()));
        } else if happens(rare.renames) {
            world.with(Inner::rename);
        } else if happens(rare.imports) {
            tokio::spawn(by_hand::import(world.clone(), backup.clone()));
        } else if happens(rare.clocks) {
            world.with(Inner::set_a_clock);
        } else if happens(rare.leaps) {
            world.with(Inner::leap);
        } else if happens(weather.app) {
            tokio::spawn(refresh(world.clone(), place));
        } else if happens(weather.login) {
            tokio::spawn(log_in(world.clone(), place, None));
        } else if happens(weather.revoke) {
            world.with(|world| {
                let refresh = world.documents[&place].refresh;
                world.note(|| format!("the person of document {place} revokes rt-{refresh}"));
                world.ledger.revoke(refresh);
            });
        } else if happens(weather.delete) {
            world.with(|world| {
                world.note(|| format!("document {place} is deleted"));
                world.documents.remove(&place);
            });
        } else if happens(weather.misnames) {
            tokio::spawn(misname(world.clone(), place));
        } else if happens(weather.moves) {
            let peer = world.with(|world| world.random.random_range(0..world.weather.peers.len()));
            tokio::spawn(log_in(world.clone(), place, Some(peer)));
        } else if happens(weather.stale) {
            tokio::spawn(save_what_was_read(world.clone(), place));
        } else if happens(weather.relocate) {
            world.with(|world| relocate(world, place));
        } else if happens(weather.restore) {
            world.with(|world| {
                let (place, old) = backup.iter().nth(world.random.random_range(0..backup.len())).unwrap();
                world.note(|| format!("document {place} comes back as it was: rt-{}", old.refresh));
                // What the document said of the token's last sending is gone with the newer copy; and where the journal had
                // failed, that copy alone knew what its token came from.
                let newer = world.documents.get(place).map(|document| document.refresh);
                let displaced: Vec<_> = newer.map(|newer| world.ledger.ancestry(newer)).unwrap_or_default();
                let refresh = world.ledger.last_of(old.refresh);
                for token in displaced.into_iter().chain([old.refresh, refresh]) {
                    world.ledger.tokens[token].memory_lost = true;
                }
                world.documents.insert(*place, Document { refresh, ..old.clone() });
            });
        }
    }
}

/// The application refreshes a user by itself, and writes what it got by `_id`, as applications do.
async fn refresh(world: Arc<World>, place: usize) {
    let Some(token) = world.with(|world| world.documents.get(&place).map(|document| document.refresh)) else {
        return;
    };
    world.some_time().await;
    let said = world.with(|world| world.ledger.present(token, Who::App, Instant::now(), None));
    let Said::Granted(child) = said else { return };
    world.with(|world| world.hand_out_again(token, child));
    world.some_time().await;
    world.with(|world| {
        world.note(|| format!("the application writes rt-{child} for rt-{token} into document {place}"));
        put(world, place, child);
    });
}

/// The application reads a document, and writes it back later: whole, without what it doesn't know, or the tokens alone.
async fn save_what_was_read(world: Arc<World>, place: usize) {
    let Some((read, wait)) = world.with(|world| {
        let wait = Duration::from_secs(world.random.random_range(1..600));
        Some((world.documents.get(&place)?.clone(), wait))
    }) else {
        return;
    };
    tokio::time::sleep(wait).await;
    world.with(|world| {
        let how = world.random.random_range(0..3);
        let Some(there) = world.documents.get(&place).cloned() else { return };
        let bookkeeping = match how {
            0 => read.bookkeeping.clone(),
            1 => Bookkeeping::default(),
            _ => there.bookkeeping,
        };
        world.note(|| {
            format!("the application writes document {place} as it had read it: rt-{}", read.refresh)
        });
        // What the document said of the token's last sending may be gone with it.
        for token in world.ledger.ancestry(there.refresh).into_iter().chain([read.refresh]) {
            world.ledger.tokens[token].memory_lost = true;
        }
        let refresh = world.ledger.last_of(read.refresh);
        world.documents.insert(place, Document { refresh, bookkeeping, ..read });
    });
}

/// The application moves a document to another `_id`: it inserts a copy and deletes the document.
fn relocate(world: &mut Inner, place: usize) {
    let Some(document) = world.documents.remove(&place) else { return };
    let to = place + MOVED_BY;
    world.note(|| format!("document {place} is document {to} now"));
    world.documents.insert(to, document);
}

/// A person logs in again, at the same provider or at another one.
async fn log_in(world: Arc<World>, place: usize, elsewhere: Option<usize>) {
    let token = world.with(|world| {
        let (user, provider) = world
            .documents
            .get(&place)
            .map_or((place, 0), |document| (document.user, world.ledger.provider_of(document.refresh)));
        world.ledger.login(user, elsewhere.unwrap_or(provider))
    });
    world.some_time().await;
    world.with(|world| {
        world.note(|| format!("the person of document {place} logs in: rt-{token}"));
        put(world, place, token);
    });
}

/// The document names no configured provider, until it is noticed.
async fn misname(world: Arc<World>, place: usize) {
    let noticed = world.with(|world| {
        let name = world.random.random::<bool>().then(|| "elsewhere".to_owned());
        world.note(|| format!("document {place} names {name:?} as its provider"));
        if let Some(document) = world.documents.get_mut(&place) {
            document.provider = name;
        }
        let noticed = world.random.random_bool(0.7);
        noticed.then(|| Duration::from_secs(world.random.random_range(1..600)))
    });
    let Some(noticed) = noticed else { return };
    tokio::time::sleep(noticed).await;
    world.with(|world| {
        let Some(document) = world.documents.get(&place) else { return };
        let name = world.name_for(document.refresh);
        world.note(|| format!("document {place} names {name:?} as its provider again"));
        if let Some(document) = world.documents.get_mut(&place) {
            document.provider = name;
        }
    });
}

fn put(world: &mut Inner, place: usize, token: usize) {
    world.wrote(token);
    let user = world.ledger.tokens[token].user;
    let bookkeeping =
        world.documents.get(&place).map_or_else(Bookkeeping::default, |old| old.bookkeeping.clone());
    // An application that writes a pair writes whose it is.
    let provider = world.name_for(token);
    world.documents.insert(place, Document { user, provider, refresh: token, access: token, bookkeeping });
}

//! Everybody else who touches documents and logins: the application, the people, the operators.

use super::ledger::{Said, Who};
use super::world::{Document, Inner, World};
use evergrant::token::Bookkeeping;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

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
        if happens(weather.app) {
            tokio::spawn(refresh(world.clone(), place));
        } else if happens(weather.login) {
            tokio::spawn(log_in(world.clone(), place));
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
        } else if happens(weather.restore) {
            world.with(|world| {
                let (place, old) = backup.iter().nth(world.random.random_range(0..backup.len())).unwrap();
                world.note(|| format!("document {place} comes back as it was: rt-{}", old.refresh));
                // What the document said of the token's last sending is gone with the newer copy; and where the journal had
                // failed, that copy alone knew what its token came from.
                let newer = world.documents.get(place).map(|document| document.refresh);
                let displaced: Vec<_> = newer.map(|newer| world.ledger.ancestry(newer)).unwrap_or_default();
                for token in displaced.into_iter().chain([old.refresh]) {
                    world.ledger.tokens[token].memory_lost = true;
                }
                world.documents.insert(*place, old.clone());
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
    world.some_time().await;
    world.with(|world| {
        world.note(|| format!("the application writes rt-{child} for rt-{token} into document {place}"));
        put(world, place, child);
    });
}

async fn log_in(world: Arc<World>, place: usize) {
    let token = world.with(|world| {
        let user = world.documents.get(&place).map_or(place, |document| document.user);
        world.ledger.login(user)
    });
    world.some_time().await;
    world.with(|world| {
        world.note(|| format!("the person of document {place} logs in: rt-{token}"));
        put(world, place, token);
    });
}

fn put(world: &mut Inner, place: usize, token: usize) {
    world.wrote(token);
    let user = world.ledger.tokens[token].user;
    let bookkeeping =
        world.documents.get(&place).map_or_else(Bookkeeping::default, |old| old.bookkeeping.clone());
    world.documents.insert(place, Document { user, refresh: token, access: token, bookkeeping });
}

//! What a person does by hand: a command is a process of its own, while no other one has the journal.

use super::collection::{id_of, shown};
use super::ledger::{Reached, Rotation, Who};
use super::life::Life;
use super::machine;
use super::world::{Document, Inner, World};
use evergrant::testing::engine::Engine;
use evergrant::testing::journal::{Entry, EntryState, Event};
use evergrant::testing::store::sqlite::{ImportTerms, keeps_its_pair};
use evergrant::testing::token::{Bookkeeping, TokenId};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// `journal adopt`: what the journal holds is of the collection that is there now.
pub(super) async fn adopt(life: &Life) {
    let (engine, journal) = machine::start(life);
    if let Err(error) = engine.base.adopt_store().await {
        life.world.with(|world| world.note(|| format!("{life:?} can't adopt: {error}")));
    } else {
        life.world.with(|world| world.note(|| format!("{life:?} has adopted what the journal holds")));
    }
    drop(engine);
    journal.close().await;
}

/// A person looks into the journal, and does something to one of its entries.
pub(super) async fn command(life: &Life) {
    let (engine, journal) = machine::start(life);
    let entries = journal.entries().await.unwrap_or_default();
    let entries: Vec<_> = entries
        .into_iter()
        .filter(|entry| matches!(entry.state, EntryState::Orphan | EntryState::Unread))
        .collect();
    let drawn = life.world.with(|world| entries.choose(&mut world.random).map(|entry| entry.id));
    for entry in entries.iter().filter(|entry| Some(entry.id) == drawn) {
        match entry.state {
            EntryState::Orphan => parked(life, &engine, entry).await,
            EntryState::Unread => retry(life, &engine, entry).await,
            _ => {}
        }
    }
    drop(engine);
    journal.close().await;
}

/// The token that an entry's answer handed out.
fn pair_of(world: &Inner, entry: &Entry) -> Option<usize> {
    let body = &entry.answer.as_ref()?.get().body;
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    world.ledger.by_text(body["refresh_token"].as_str()?)
}

/// What a person does to a parked pair.
enum Does {
    Apply(Option<TokenId>),
    Discard,
}

/// `journal apply`, with a document or without, or `journal discard`.
async fn parked(life: &Life, engine: &Engine, entry: &Entry) {
    let Some(child) = life.world.with(|world| pair_of(world, entry)) else { return };
    let does = life.world.with(|world| {
        let place = world.documents.keys().copied().collect::<Vec<_>>().choose(&mut world.random).copied();
        // Only over a token that this pair takes the place of: a person who insists on an older one gets it.
        let own = world.documents.iter().find(|(place, _)| id_of(**place) == entry.intent.document);
        let is_better = own.is_some_and(|(_, there)| world.ledger.supersedes(child, there.refresh));
        match world.random.random_range(0..3) {
            0 if is_better => Some(Does::Apply(None)),
            1 => place.map(|place| Does::Apply(Some(id_of(place)))),
            // Only what is worth nothing: a login that was replaced.
            2 if !is_better => {
                let is_used =
                    world.documents.values().any(|there| world.ledger.descends(child, there.refresh));
                (!is_used).then_some(Does::Discard)
            }
            _ => None,
        }
    });
    match does {
        None => {}
        Some(Does::Apply(to)) => {
            let named = to.as_ref().map(|to| to.as_str().to_owned());
            let applied = engine.base.apply(entry.id, to).await;
            life.world.with(|world| {
                world.note(|| {
                    format!("{life:?} applies rt-{child} to {named:?}: {:?}", applied.map(|it| it.document))
                });
            });
        }
        Some(Does::Discard) => {
            life.world.with(|world| {
                world.note(|| format!("{life:?} discards rt-{child}"));
                // A person has given it up: what becomes of the token it came for isn't ours to answer for.
                world.in_journals.remove(&child);
                if let Some(birth) = world.ledger.birth(child) {
                    birth.reached = Reached::Excused;
                }
                if let Some(parent) = world.ledger.tokens[child].parent {
                    world.ledger.tokens[parent].memory_lost = true;
                }
            });
            let at = engine.base.clock.now();
            let _ = engine.base.journal.end(vec![(entry.id, Event::GivenUp)], at).await;
        }
    }
}

/// `journal retry`: the answer held no pair, and a person knows it.
async fn retry(life: &Life, engine: &Engine, entry: &Entry) {
    // The document is free before the command ends, and another machine may ask at once.
    life.world.with(|world| forget_the_note(world, entry));
    let retried = engine.base.retry(entry.id).await;
    life.world.with(|world| {
        world.note(|| format!("{life:?} retries {}: {}", entry.id, retried.is_ok()));
        if let Some(token) = forget_the_note(world, entry) {
            world.ledger.tokens[token].in_doubt += 1;
        }
    });
}

/// The token of the entry may be sent again, although an answer for it was kept.
fn forget_the_note(world: &mut Inner, entry: &Entry) -> Option<usize> {
    let is_its_own = |token: &usize| world.ledger.fingerprint(*token) == entry.intent.fingerprint;
    let token = (0..world.ledger.tokens.len()).find(is_its_own)?;
    world.ledger.tokens[token].noted = false;
    Some(token)
}

/// A file with documents, as they were exported.
pub(super) type File = BTreeMap<usize, Document>;

/// `tokens import`: of the file that everything began with, or of one that is exported now and imported later.
pub(super) async fn import(world: Arc<World>, first: File) {
    let (mut file, wait) = world.with(|world| {
        let exported = world.random.random::<bool>().then(|| world.documents.clone());
        (exported, Duration::from_secs(world.random.random_range(1..600)))
    });
    tokio::time::sleep(wait).await;
    let with_books = file.is_some();
    let file = file.take().unwrap_or(first);
    world.with(|world| {
        if !world.calm {
            let overwrite = world.random.random_bool(0.2);
            world.note(|| format!("a file is imported, overwrite {overwrite}"));
            let terms = ImportTerms { overwrite, ..terms(world, &file) };
            for (place, document) in file {
                let document = if with_books {
                    document
                } else {
                    Document { bookkeeping: Bookkeeping::default(), ..document }
                };
                import_one(world, place, document, with_books, &terms);
            }
        }
    });
}

/// What an import knows of the tokens in its file, and of those that they would replace.
fn terms(world: &Inner, file: &File) -> ImportTerms {
    let tokens: Vec<_> =
        file.values().chain(world.documents.values()).map(|document| document.refresh).collect();
    let fingerprint = |token: &usize| world.ledger.fingerprint(*token);
    let fingerprints: Vec<_> = tokens.iter().map(fingerprint).collect();
    let known = world.machines[0].disk.known(&fingerprints).unwrap();
    let stays_good = |token: &&usize| world.ledger.rotation_of(**token) == Rotation::Keep;
    let still_good: std::collections::HashSet<_> =
        tokens.iter().filter(stays_good).map(fingerprint).collect();
    ImportTerms {
        overwrite: false,
        redeemed: known.redeemed.difference(&still_good).copied().collect(),
        still_good,
        on_their_way: known.on_their_way,
        now: Some(world.store_clock.now()),
    }
}

fn import_one(world: &mut Inner, place: usize, incoming: Document, with_books: bool, terms: &ImportTerms) {
    let Some(stored) = world.documents.get(&place).cloned() else {
        forget(world, &[incoming.refresh]);
        world.note(|| format!("document {place} is there again, as in the file: rt-{}", incoming.refresh));
        world.documents.insert(place, incoming);
        return;
    };
    let careless = world.bug == Some(super::bugs::Bug::ImportsWithoutCompare);
    if !careless
        && keeps_its_pair(
            &shown(&world.ledger, place, &stored),
            &shown(&world.ledger, place, &incoming),
            terms,
        )
    {
        return;
    }
    judge_import(world, place, &stored, &incoming, terms);
    forget(world, &[stored.refresh, incoming.refresh]);
    let is_claimed = stored.bookkeeping.lease.as_ref().is_some_and(|lease| Some(lease.until) > terms.now);
    let keeps_books = !with_books || is_claimed;
    let bookkeeping = if keeps_books { stored.bookkeeping } else { incoming.bookkeeping.clone() };
    world.note(|| format!("document {place} gets what the file says: rt-{}", incoming.refresh));
    world.documents.insert(place, Document { bookkeeping, ..incoming });
}

/// A pair that we have written isn't replaced by an older one, unless the person says so.
fn judge_import(
    world: &mut Inner,
    place: usize,
    stored: &Document,
    incoming: &Document,
    terms: &ImportTerms,
) {
    let (old, new) = (stored.refresh, incoming.refresh);
    let ours = world.ledger.birth(old).is_some_and(|birth| matches!(birth.by, Who::Process(..)));
    // An old copy of the document, or a disk that failed, has taken what was known of it.
    let is_known = world.weather.disk == 0.0
        && world.ledger.ancestry(old).iter().all(|token| !world.ledger.tokens[*token].memory_lost);
    // A dead login is replaced by whatever the file brings.
    let books = &stored.bookkeeping;
    let is_dead = books.state.is_mark() && books.fingerprint == Some(world.ledger.fingerprint(old));
    if !terms.overwrite && !is_dead && old != new && ours && is_known && world.ledger.descends(old, new) {
        world.violated(format!(
            "NEVER BACKWARDS: document {place} held rt-{old}, and an import puts rt-{new} there"
        ));
    }
}

/// What a document said of a token's last sending may be gone with what is replaced.
fn forget(world: &mut Inner, tokens: &[usize]) {
    for token in tokens.iter().flat_map(|token| world.ledger.ancestry(*token)).collect::<Vec<_>>() {
        world.ledger.tokens[token].memory_lost = true;
    }
}

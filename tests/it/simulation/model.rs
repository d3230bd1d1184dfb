//! Is the simulated store a store? Whatever is asked of it, a real one must answer the same.

use super::collection::{Collection, id_of};
use super::ledger::{access_text, refresh_text};
use super::life::Life;
use super::world::{Document, World};
use chrono::TimeDelta;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::sqlite::SqliteStore;
use evergrant::testing::store::{
    Change, Claim, DueAfter, DueQuery, Fence, Later, PairChange, ProviderFilter, Replaces, Store,
};
use evergrant::testing::token::{
    AccessToken, Bookkeeping, LastError, Lease, RefreshToken, State, TokenDocument,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value, json};

/// Documents in both.
const DOCUMENTS: usize = 6;

/// Calls of both.
const CALLS: usize = 2_000;

fn at(random: &mut StdRng) -> Timestamp {
    let start: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    start + TimeDelta::seconds(random.random_range(0..20))
}

fn later(random: &mut StdRng) -> DueAfter {
    let only = if random.random() { Later::PutOff } else { Later::Unexplained { now: at(random) } };
    DueAfter { at: at(random), only }
}

fn lease(random: &mut StdRng) -> Lease {
    Lease {
        id: format!("lease-{}", random.random_range(0..3)),
        owner: "here:1".into(),
        until: at(random),
        taken_over: random.random_bool(0.3),
        by: None,
    }
}

fn ids(random: &mut StdRng) -> Vec<evergrant::testing::token::TokenId> {
    (0..=DOCUMENTS).filter(|_| random.random_bool(0.5)).map(id_of).collect()
}

fn sorted(mut documents: Vec<TokenDocument>) -> Vec<(String, String, Option<String>, Bookkeeping)> {
    documents.sort_by(|one, other| one.id.cmp(&other.id));
    let shown = |document: TokenDocument| {
        let access = document.access_token.map(|token| token.expose().to_owned());
        let refresh = document.refresh_token.unwrap().expose().to_owned();
        (document.id.as_str().to_owned(), refresh, access, document.bookkeeping)
    };
    documents.into_iter().map(shown).collect()
}

/// The provider that a document names.
fn named(place: usize) -> Option<String> {
    [Some("one"), Some("other"), None][place % 3].map(str::to_owned)
}

fn providers(random: &mut StdRng) -> ProviderFilter {
    match random.random_range(0..3) {
        0 => ProviderFilter::Any,
        1 => ProviderFilter::Named("one".into()),
        _ => ProviderFilter::NoneOf(vec!["one".into()]),
    }
}

fn change(random: &mut StdRng) -> Change {
    let mut maybe = |chance| random.random_bool(chance);
    let (token, lease_id, pair, leased, due) = (maybe(0.5), maybe(0.3), maybe(0.5), maybe(0.3), maybe(0.8));
    let (marked, error) = (maybe(0.2), maybe(0.5));
    let (demands, absent) = (maybe(0.5), maybe(0.1));
    let replaced = AccessToken::new(access_text(random.random_range(0..4)));
    let replaces = match (demands, absent) {
        (false, _) => Replaces::Any,
        (true, true) => Replaces::Nothing,
        (true, false) => Replaces::Token(replaced),
    };
    let number = random.random_range(0..4_usize);
    Change {
        id: id_of(random.random_range(0..=DOCUMENTS)),
        expect_refresh_token: token.then(|| RefreshToken::new(refresh_text(random.random_range(0..4)))),
        expect_lease: if lease_id {
            Fence::Lease(format!("lease-{}", random.random_range(0..3)))
        } else if marked {
            Fence::Marked(at(random))
        } else {
            Fence::None
        },
        pair: pair.then(|| PairChange {
            refresh_token: RefreshToken::new(refresh_text(number)),
            access_token: Some(AccessToken::new(access_text(number))),
            also: Vec::new(),
            replaces,
        }),
        bookkeeping: Bookkeeping {
            state: if random.random() { State::Live } else { State::NeedsLogin },
            failures: random.random_range(0..3),
            due_at: due.then(|| at(random)),
            lease: leased.then(|| lease(random)),
            since: error.then(|| at(random)),
            last_error: error.then(|| refused(at(random))),
            ..Bookkeeping::default()
        },
    }
}

fn refused(at: Timestamp) -> LastError {
    LastError {
        class: "refused".into(),
        code: "invalid_grant".into(),
        http_status: Some(400),
        at,
        lost: None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_simulated_store_answers_as_a_real_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = Mapping { provider: Some("provider".parse().unwrap()), ..Mapping::default() };
    let real = SqliteStore::open(&folder.path().join("tokens.db"), mapping).await.unwrap();
    let world = World::new(0, None, false);
    world.with(|world| {
        world.calm = true;
        world.documents.clear();
        for place in 0..DOCUMENTS {
            while world.ledger.tokens.len() < 4 {
                world.ledger.login(place, 0);
            }
            let (provider, bookkeeping) = (named(place), Bookkeeping::default());
            let document = Document { user: place, provider, refresh: 0, access: 0, bookkeeping };
            world.documents.insert(place, document);
        }
    });
    let document = |place: usize| -> Map<String, Value> {
        let mut fields = json!({ "_id": place.to_string(), "refresh_token": "rt-0", "access_token": "at-0" });
        if let Some(name) = named(place) {
            fields["provider"] = name.into();
        }
        if let Value::Object(fields) = fields { fields } else { Map::new() }
    };
    real.import((0..DOCUMENTS).map(document).collect()).await.unwrap();
    let simulated = Collection(Life::start(&world, 0));

    let random = &mut StdRng::seed_from_u64(7);
    for call in 0..CALLS {
        match random.random_range(0..5) {
            0 => {
                let query = DueQuery {
                    due_by: at(random),
                    due_after: random.random::<bool>().then(|| later(random)),
                    force: false,
                    now: at(random),
                    limit: random.random_range(1..4),
                    after: None,
                    providers: providers(random),
                };
                let (mut one, mut other) = (query.clone(), query);
                loop {
                    let (ours, theirs) =
                        (simulated.due_page(&one).await.unwrap(), real.due_page(&other).await.unwrap());
                    let ids = |documents: &[TokenDocument]| -> Vec<_> {
                        documents.iter().map(|document| document.id.clone()).collect()
                    };
                    assert_eq!(ids(&ours.documents), ids(&theirs.documents), "page, call {call}");
                    assert_eq!(ours.next.is_some(), theirs.next.is_some(), "page, call {call}");
                    (one.after, other.after) = (ours.next, theirs.next);
                    if one.after.is_none() {
                        break;
                    }
                }
            }
            1 => {
                let due_by = if random.random() { Some(at(random)) } else { None };
                let claim = Claim {
                    ids: ids(random),
                    lease: lease(random),
                    due_by,
                    now: at(random),
                    over: Vec::new(),
                    // The real one has no clock of its own.
                    ended_for: -TimeDelta::days(36_500),
                };
                let (ours, theirs) =
                    (simulated.claim(&claim).await.unwrap(), real.claim(&claim).await.unwrap());
                assert_eq!(sorted(ours.documents), sorted(theirs.documents), "claim, call {call}");
            }
            2 => {
                let (ids, lease) = (ids(random), lease(random));
                let (mut ours, mut theirs) =
                    (simulated.renew(&ids, &lease).await.unwrap(), real.renew(&ids, &lease).await.unwrap());
                ours.sort();
                theirs.sort();
                assert_eq!(ours, theirs, "renew, call {call}");
            }
            _ => {
                let changes = [change(random)];
                let (ours, theirs) =
                    (simulated.apply(&changes).await.unwrap(), real.apply(&changes).await.unwrap());
                assert_eq!(ours, theirs, "apply, call {call}");
            }
        }
        let all: Vec<_> = (0..=DOCUMENTS).map(id_of).collect();
        let (ours, theirs) = (simulated.read(&all).await.unwrap(), real.read(&all).await.unwrap());
        assert_eq!(sorted(ours), sorted(theirs), "after call {call}");
    }
}

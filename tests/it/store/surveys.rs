//! The survey says what a count over the documents says, one by one.

use super::backend::{Backend, at, both, date, login, mongo, path, settings, sqlite};
use crate::support::mongod;
use bson::{Document, doc};
use chrono::TimeDelta;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::store::{DueQuery, IndexState, ProviderFilter, connect, mapping::Mapping};
use evergrant::testing::survey::{
    NextPass, NotMade, Survey, SurveyQuery, Surveyed, Tokens, WITHIN_DAYS, Within,
};
use evergrant::testing::token::{State, TokenDocument};
use mongodb::Client;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The providers that are configured.
const NAMES: [&str; 3] = ["acme", "box", "mail"];

const DAY: i64 = 86_400;

fn asked() -> SurveyQuery {
    let next = |(place, name): (i64, &&str)| NextPass {
        provider: (*name).to_owned(),
        begins_at: at(DAY * 2 * (place + 1)),
        per_token: Duration::from_hours(u64::try_from(place).unwrap()),
    };
    SurveyQuery { now: at(0), providers: (0..).zip(&NAMES).map(next).collect() }
}

fn by_provider() -> Mapping {
    Mapping { provider: Some(path("account.provider")), ..Mapping::default() }
}

async fn survey(backend: &Backend) -> Survey {
    match backend.store.survey(&asked()).await.unwrap() {
        Surveyed::Made(survey) => *survey,
        Surveyed::NotMade(why) => panic!("{why:?}"),
    }
}

/// A moment ahead or behind, often at the very edge of what is counted.
fn some_moment(random: &mut StdRng) -> Value {
    let seconds = match random.random_range(0..4) {
        0 => WITHIN_DAYS[random.random_range(0..WITHIN_DAYS.len())] * DAY,
        1 => random.random_range(-DAY * 3..DAY * 4),
        2 => 0,
        _ => random.random_range(0..DAY * 60),
    };
    let millis = [0, 0, 1, -1, 999][random.random_range(0..5)];
    let at = at(seconds) + TimeDelta::milliseconds(millis);
    json!({ "$date": at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true) })
}

fn some_end(random: &mut StdRng) -> Option<Value> {
    let far = |millis: i64| json!({ "$date": { "$numberLong": millis.to_string() } });
    match random.random_range(0..20) {
        0 => None,
        1 => Some(Value::Null),
        2 => Some(json!(1_800_000_000)),
        3 => Some(json!("2027-02-01T00:00:00Z")),
        4 => Some(far(i64::MAX)),
        5 => Some(far(i64::MIN)),
        6 => Some(far(300_000_000_000_000)),
        7 => Some(far(-70_000_000_000_000)),
        _ => Some(some_moment(random)),
    }
}

fn some_bookkeeping(random: &mut StdRng, arrays: bool) -> Option<Value> {
    if random.random_range(0..10) == 0 {
        return None;
    }
    let mut books = serde_json::Map::new();
    let states =
        ["live", "live", "live", "live", "needs_login", "lost_in_flight", "malformed", "asleep", "LIVE", ""];
    match random.random_range(0..12) {
        0 => {}
        1 => {
            drop(
                books.insert("state".to_owned(), [Value::Null, json!(5)][random.random_range(0..2)].clone()),
            );
        }
        _ => drop(books.insert("state".to_owned(), states[random.random_range(0..states.len())].into())),
    }
    books.extend(some_end(random).map(|end| ("refresh_expires_at".to_owned(), end)));
    if random.random_range(0..5) > 0 {
        books.insert("due_at".to_owned(), some_moment(random));
    }
    if random.random_range(0..6) == 0 {
        let until = some_moment(random);
        books.insert("lease".to_owned(), json!({ "id": "l", "owner": "host:1", "until": until }));
    }
    if arrays {
        match random.random_range(0..6) {
            0 => return Some(json!([Value::Object(books)])),
            1 => drop(books.insert("state".to_owned(), json!(["live", "needs_login"]))),
            2 => {
                drop(books.insert(
                    "refresh_expires_at".to_owned(),
                    json!([some_moment(random), some_moment(random)]),
                ));
            }
            _ => {}
        }
    }
    Some(Value::Object(books))
}

fn some_documents(seed: u64, arrays: bool) -> Vec<Value> {
    let mut random = StdRng::seed_from_u64(seed);
    let document = |id: i64| {
        let mut more = serde_json::Map::new();
        let named = ["acme", "acme", "box", "mail", "zz", "", "ACME"];
        let provider = match random.random_range(0..10) {
            0 => None,
            1 => Some(Value::Null),
            2 if arrays => Some(json!(["acme", "zz"])),
            _ => Some(named[random.random_range(0..named.len())].into()),
        };
        // An index over both can't hold a document with an array in each.
        let arrays = arrays && !matches!(provider, Some(Value::Array(_)));
        more.extend(provider.map(|name| ("account".to_owned(), json!({ "provider": name }))));
        more.insert("kind".to_owned(), random.random_range(0..3).into());
        more.extend(some_bookkeeping(&mut random, arrays).map(|books| ("evergrant".to_owned(), books)));
        login(&json!(id), Value::Object(more))
    };
    (0..400).map(document).collect()
}

/// One document, counted as it is read: `raw` tells a state that none of ours is from one that is.
fn add(tokens: &mut Tokens, document: &TokenDocument, raw: &Value) {
    let books = &document.bookkeeping;
    let word = raw["evergrant"]["state"].as_str().and_then(|word| {
        [State::Live, State::NeedsLogin, State::LostInFlight, State::Malformed]
            .into_iter()
            .find(|state| json!(state) == word)
    });
    let forecast = &mut tokens.forecast;
    match word {
        None => tokens.unseen += 1,
        Some(State::NeedsLogin) => tokens.needs_login += 1,
        Some(State::LostInFlight) => tokens.lost_in_flight += 1,
        Some(State::Malformed) => tokens.malformed += 1,
        Some(State::Live) => tokens.live += 1,
    }
    if !matches!(word, None | Some(State::Live)) {
        return;
    }
    match books.refresh_expires_at.filter(|_| word.is_some()) {
        None => forecast.unknown += 1,
        Some(end) if end <= at(0) => forecast.ended_unseen += 1,
        Some(end) => {
            forecast.first_end_at = forecast.first_end_at.into_iter().chain([end]).min();
            let Within(within) = &mut forecast.within;
            for (days, count) in WITHIN_DAYS.into_iter().zip(within) {
                *count += u64::from(end <= at(days * DAY));
            }
        }
    }
}

/// What ends before the next pass reaches it: a pass takes them in turn, and each takes its time.
fn too_late(ends: &[Timestamp], next: &NextPass) -> u64 {
    let mut until = next.begins_at;
    loop {
        let ending = ends.iter().filter(|end| **end <= until).count() as u64;
        let through = next.through_at(ending);
        if ending == 0 || through <= until {
            return ending;
        }
        until = through;
    }
}

/// The survey, by a look at each document.
async fn by_brute_force(backend: &Backend, mapping: &Mapping, wanted: impl Fn(&Value) -> bool) -> Survey {
    let documents = backend.store.list(None, 10_000).await.unwrap().documents;
    let raw = backend.all().await;
    let raw_of = |document: &TokenDocument| {
        raw.iter().find(|raw| super::backend::id(&raw["_id"]) == document.id).unwrap()
    };
    let mut rows: BTreeMap<Option<&str>, (Tokens, Vec<Timestamp>)> = BTreeMap::new();
    let is_mapped = mapping.provider.is_some();
    let names: Vec<_> = if is_mapped { NAMES.to_vec() } else { vec![NAMES[0]] };
    rows.extend(names.iter().map(|name| (Some(*name), Default::default())));
    if is_mapped {
        rows.insert(None, Default::default());
    }
    for document in documents.iter().filter(|document| wanted(raw_of(document))) {
        let named = NAMES.iter().find(|name| document.provider.as_deref() == Some(name)).copied();
        let (tokens, ends) = rows.get_mut(&if is_mapped { named } else { Some(NAMES[0]) }).unwrap();
        let before = tokens.forecast.clone();
        add(tokens, document, raw_of(document));
        if tokens.forecast.unknown == before.unknown && document.bookkeeping.state == State::Live {
            ends.extend(document.bookkeeping.refresh_expires_at.filter(|end| *end > at(0)));
        }
    }
    let mut survey =
        Survey { made_at: at(0), took: Duration::ZERO, providers: BTreeMap::new(), others: None };
    for (name, (mut tokens, ends)) in rows {
        let next = asked().providers.into_iter().find(|next| Some(&*next.provider) == name);
        tokens.forecast.before_next_pass = next.map_or(0, |next| too_late(&ends, &next));
        let providers = match name {
            _ if !is_mapped => ProviderFilter::Any,
            Some(name) => ProviderFilter::Named(name.to_owned()),
            None => ProviderFilter::NoneOf(NAMES.map(str::to_owned).to_vec()),
        };
        let due = DueQuery {
            due_by: at(0),
            due_after: None,
            force: false,
            now: at(0),
            limit: 1000,
            after: None,
            providers,
        };
        tokens.due = Some(backend.store.count_due(&due).await.unwrap());
        let work = backend.due(&due).await;
        let is_work = |document: &&TokenDocument| {
            let is_ours = work.contains(&document.id) && !document.bookkeeping.state.is_mark();
            // MongoDB goes by each state of several.
            let is_one = !backend.is_mongo() || !raw_of(document)["evergrant"]["state"].is_array();
            is_ours && is_one && document.bookkeeping.state != State::Malformed
        };
        tokens.oldest_due_at =
            documents.iter().filter(is_work).filter_map(|document| document.bookkeeping.due_at).min();
        match name {
            Some(name) => drop(survey.providers.insert(name.to_owned(), tokens)),
            None => survey.others = Some(tokens),
        }
    }
    survey
}

async fn assert_as_counted(backend: &Backend, mapping: &Mapping, wanted: impl Fn(&Value) -> bool) {
    let (found, expected) = (survey(backend).await, by_brute_force(backend, mapping, wanted).await);
    assert_eq!(Survey { took: Duration::ZERO, ..found }, expected, "MongoDB: {}", backend.is_mongo());
}

#[tokio::test]
async fn the_survey_is_a_count_over_the_documents() {
    for (name, mapping) in [("one", Mapping::default()), ("named", by_provider())] {
        for seed in 0..4 {
            for backend in both(&format!("survey_{name}_{seed}"), mapping.clone()).await {
                backend.store.prepare().await.unwrap();
                assert_as_counted(&backend, &mapping, |_| true).await;
                backend.insert(some_documents(seed, false)).await;
                assert_as_counted(&backend, &mapping, |_| true).await;
            }
        }
    }
}

#[tokio::test]
async fn arrays_and_a_filter_are_counted_as_a_pass_reads_them() {
    for (name, mapping) in [("one", Mapping::default()), ("named", by_provider())] {
        for backend in both(&format!("survey_arrays_{name}"), mapping.clone()).await {
            backend.store.prepare().await.unwrap();
            backend.insert(some_documents(9, true)).await;
            assert_as_counted(&backend, &mapping, |_| true).await;
        }
        let filter = Some(json!({ "kind": { "$lt": 2 } }).to_string());
        let mapping = Mapping { filter, ..mapping };
        let Some(backend) = mongo(&format!("survey_filter_{name}"), mapping.clone()).await else { return };
        for arrays in [false, true] {
            backend.collection().delete_many(doc! {}).await.unwrap();
            backend.insert(some_documents(11, arrays)).await;
            assert_as_counted(&backend, &mapping, |raw| raw["kind"].as_i64() < Some(2)).await;
        }
    }
}

#[tokio::test]
async fn one_large_group_is_what_the_others_leave() {
    for backend in both("survey_large", Mapping::default()).await {
        backend.store.prepare().await.unwrap();
        let live =
            |end: i64| json!({ "state": "live", "refresh_expires_at": date(end), "due_at": date(DAY) });
        let mut documents: Vec<Value> =
            (0..60_000).map(|id| json!({ "_id": id, "evergrant": live(10 * DAY) })).collect();
        documents.extend((60_000..60_007).map(|id| json!({ "_id": id, "evergrant": live(2 * DAY) })));
        documents.push(json!({ "_id": 60_007, "evergrant": { "state": "needs_login", "due_at": date(-5) } }));
        documents.push(json!({ "_id": 60_008 }));
        backend.insert(documents).await;
        let found = survey(&backend).await.total();
        assert_eq!(found.forecast.within, Within([0, 7, 7, 60_007, 60_007]));
        assert_eq!((found.live, found.needs_login, found.unseen, found.due), (60_007, 1, 1, Some(1)));
        assert_eq!(found.forecast.first_end_at, Some(at(2 * DAY)));
    }
}

#[tokio::test]
async fn an_index_that_is_gone_or_of_another_mapping_gives_a_reason_and_no_scan() {
    let Some(backend) = mongo("survey_dropped", Mapping::default()).await else { return };
    backend.insert(some_documents(1, false)).await;
    survey(&backend).await;
    backend.collection().drop_index("evergrant_expiry").await.unwrap();
    let not_made = |surveyed| match surveyed {
        Surveyed::NotMade(NotMade { reason, .. }) => reason,
        Surveyed::Made(_) => panic!("by which index?"),
    };
    for reason in ["the expiry index was dropped", "there is no expiry index yet"] {
        assert!(not_made(backend.store.survey(&asked()).await.unwrap()).starts_with(reason), "{reason}");
    }
    backend.store.prepare().await.unwrap();
    survey(&backend).await;
    // A command that makes nothing finds what is there.
    let beside = connect(backend.settings(), 1).await.unwrap();
    assert!(matches!(beside.survey(&asked()).await.unwrap(), Surveyed::Made(_)));

    let file = sqlite(Mapping::default()).await;
    assert!(not_made(file.store.survey(&asked()).await.unwrap()).contains("not there yet"));
    file.store.prepare().await.unwrap();
    survey(&file).await;
    let settings = settings(secrecy::ExposeSecret::expose_secret(&file.settings().url), None, by_provider());
    let named = connect(&settings, 1).await.unwrap();
    assert!(not_made(named.survey(&asked()).await.unwrap()).contains("not there yet"));
    named.prepare().await.unwrap();
    assert!(matches!(named.survey(&asked()).await.unwrap(), Surveyed::Made(_)));
}

#[tokio::test]
async fn a_role_that_may_create_no_index_gets_the_command_and_no_survey() {
    let Some(server) = mongod::Server::start(&["--auth"]) else { return };
    let create = |user: &str, role: &str| doc! { "createUser": user, "pwd": "s3cret", "roles": [role] };
    let administrator = Client::with_uri_str(&server.uri).await.unwrap().database("admin");
    administrator.run_command(create("root", "root")).await.unwrap();
    let role = doc! { "createRole": "narrow", "roles": [], "privileges": [{
        "resource": { "db": "logins", "collection": "tokens" },
        "actions": ["find", "update", "listIndexes", "collStats"],
    }] };
    let url = |user: &str| server.uri.replace("mongodb://", &format!("mongodb://{user}:s3cret@"));
    for command in [role, create("narrow", "narrow")] {
        mongod::admin(&url("root"), command).await.unwrap();
    }
    let root = Client::with_uri_str(url("root")).await.unwrap().database("logins");
    root.collection::<Document>("tokens").insert_one(doc! { "_id": 1, "refresh_token": "r" }).await.unwrap();
    let narrow = format!("{}logins?authSource=admin", url("narrow"));
    let store = connect(&settings(&narrow, None, by_provider()), 4).await.unwrap();
    let IndexState::Missing { command, reason } = store.prepare().await.unwrap().expiry else {
        panic!("it can't be made")
    };
    let expected = "db.getSiblingDB(\"logins\").getCollection(\"tokens\").createIndex({\"account.provider\":1,\
        \"evergrant.state\":1,\"evergrant.refresh_expires_at\":1}, { name: \"evergrant_provider_expiry\" })";
    assert_eq!((command.as_str(), reason.as_str()), (expected, "Unauthorized (13)"));
    let Surveyed::NotMade(why) = store.survey(&asked()).await.unwrap() else { panic!("by which index?") };
    assert!(why.reason.contains("Unauthorized (13)") && why.hint.unwrap().ends_with(expected));
    // The same role may use it once a person has made it.
    let keys = doc! { "account.provider": 1, "evergrant.state": 1, "evergrant.refresh_expires_at": 1 };
    let command = doc! { "createIndexes": "tokens", "indexes": [{ "key": keys, "name": "by_a_person" }] };
    root.run_command(command).await.unwrap();
    assert_eq!(store.prepare().await.unwrap().expiry, IndexState::Ready);
    let Surveyed::Made(survey) = store.survey(&asked()).await.unwrap() else { panic!("there is an index") };
    assert_eq!((survey.total().unseen, survey.total().due), (1, None), "what is due would be a scan");
}

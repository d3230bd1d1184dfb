//! Bad documents among good ones: each ends in one named outcome, and stops nobody else.

use crate::store::backend::{both, path};
use crate::support::rehearsal::{Plan, Rehearsal, document_id};
use chrono::{SecondsFormat, TimeDelta};
use evergrant::testing::clock::Clock;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::store::mapping::Mapping;
use serde_json::{Map, Value, json};

/// What becomes of a document in the first pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Refreshed,
    /// Marked in the document with this code.
    Malformed(&'static str),
    /// Named, and nothing was written into it.
    NoRoom,
    /// Named, and nothing was written into it. An import into the embedded store takes it for nothing: refreshed.
    NoRoomInMongo,
    /// Refreshed; by MongoDB, whose index has a key for each date of an array, when the earliest of them has come.
    ByEarliest,
    /// Not due, or somebody else's: not touched.
    Left,
}
use End::{ByEarliest, Left, Malformed, NoRoom, NoRoomInMongo, Refreshed};

/// A document that isn't as it should be: its name, what is different from a good one, and its end.
type Shape = (&'static str, Value, End);

/// What takes the place of a field that a shape takes away.
const ABSENT: &str = "\u{1}absent";

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("bottom"), |inner, _| json!({ "d": inner }))
}

fn tomorrow() -> Value {
    let at = Clock::system().now() + TimeDelta::days(1);
    json!({ "$date": at.to_rfc3339_opts(SecondsFormat::Millis, true) })
}

fn far() -> Value {
    json!({ "$date": "2100-01-01T00:00:00Z" })
}

/// Tokens of every type, `_id`s of every type, and subjects that want to be more than a name.
fn fields() -> Vec<Shape> {
    let refresh = |value: Value| json!({ "refresh_token": value });
    let with_id = |value: Value| json!({ "_id": value });
    let subject = |value: Value| json!({ "email": value });
    vec![
        ("no refresh token", refresh(json!(ABSENT)), Malformed("missing")),
        ("null", refresh(json!(null)), Malformed("null")),
        ("empty", refresh(json!("")), Malformed("empty")),
        ("16 KiB and a byte", refresh(json!("x".repeat(16 * 1024 + 1))), Malformed("too_long")),
        ("not ASCII", refresh(json!("tökén")), Malformed("forbidden_character")),
        ("a NUL", refresh(json!("a\u{0}b")), Malformed("forbidden_character")),
        ("a line end", refresh(json!("a\n")), Malformed("forbidden_character")),
        ("a tab", refresh(json!("a\tb")), Malformed("forbidden_character")),
        ("DEL", refresh(json!("a\u{7f}b")), Malformed("forbidden_character")),
        ("a number", refresh(json!(7)), Malformed("not_text")),
        ("a long", refresh(json!({ "$numberLong": "7" })), Malformed("not_text")),
        ("a double", refresh(json!(7.5)), Malformed("not_text")),
        ("NaN", refresh(json!({ "$numberDouble": "NaN" })), Malformed("not_text")),
        ("a decimal", refresh(json!({ "$numberDecimal": "1.50" })), Malformed("not_text")),
        ("a bool", refresh(json!(true)), Malformed("not_text")),
        ("an array", refresh(json!(["a"])), Malformed("not_text")),
        ("an empty array", refresh(json!([])), Malformed("not_text")),
        ("a sub-document", refresh(json!({ "value": "a" })), Malformed("not_text")),
        ("a date", refresh(far()), Malformed("not_text")),
        ("an ObjectId", refresh(json!({ "$oid": "507f1f77bcf86cd799439011" })), Malformed("not_text")),
        (
            "binary",
            refresh(json!({ "$binary": { "base64": "AAEC", "subType": "00" } })),
            Malformed("not_text"),
        ),
        (
            "a regex",
            refresh(json!({ "$regularExpression": { "pattern": "a", "options": "" } })),
            Malformed("not_text"),
        ),
        ("code", refresh(json!({ "$code": "a" })), Malformed("not_text")),
        ("a symbol", refresh(json!({ "$symbol": "a" })), Malformed("not_text")),
        ("a timestamp", refresh(json!({ "$timestamp": { "t": 1, "i": 1 } })), Malformed("not_text")),
        ("the smallest key", refresh(json!({ "$minKey": 1 })), Malformed("not_text")),
        ("undefined", refresh(json!({ "$undefined": true })), Malformed("not_text")),
        ("access token of another type", json!({ "access_token": { "a": [1] } }), Refreshed),
        ("access token that is null", json!({ "access_token": null }), Refreshed),
        ("no access token", json!({ "access_token": ABSENT }), Refreshed),
        ("_id: ObjectId", with_id(json!({ "$oid": "507f1f77bcf86cd799439012" })), Refreshed),
        ("_id: empty text", with_id(json!("")), Refreshed),
        ("_id: text with a line end", with_id(json!("a\n\u{1b}[2J\"b")), Refreshed),
        ("_id: 1 KB of text", with_id(json!("i".repeat(1000))), Refreshed),
        ("_id: int", with_id(json!(41)), Refreshed),
        ("_id: long", with_id(json!({ "$numberLong": "9007199254740993" })), Refreshed),
        ("_id: double", with_id(json!(0.1)), Refreshed),
        ("_id: NaN", with_id(json!({ "$numberDouble": "NaN" })), Refreshed),
        ("_id: infinity", with_id(json!({ "$numberDouble": "-Infinity" })), Refreshed),
        ("_id: decimal", with_id(json!({ "$numberDecimal": "1E-6000" })), Refreshed),
        ("_id: date", with_id(far()), Refreshed),
        ("_id: binary", with_id(json!({ "$binary": { "base64": "AAEC", "subType": "80" } })), Refreshed),
        ("_id: UUID", with_id(json!({ "$uuid": "3b241101-e2bb-4255-8caf-4136c566a962" })), Refreshed),
        ("_id: sub-document", with_id(json!({ "b": 1, "a": { "c": [1, null] } })), Refreshed),
        ("_id: null", with_id(json!(null)), Refreshed),
        ("_id: bool", with_id(json!(false)), Refreshed),
        ("_id: timestamp", with_id(json!({ "$timestamp": { "t": 1, "i": 2 } })), Refreshed),
        ("_id: the smallest key", with_id(json!({ "$minKey": 1 })), Refreshed),
        ("_id: the largest key", with_id(json!({ "$maxKey": 1 })), Refreshed),
        ("subject with terminal escapes", subject(json!("a@b\u{1b}[2J\u{1b}]0;x\u{7}")), Refreshed),
        ("subject with line ends", subject(json!("a@b\r\n2026-11-21 ERROR all is lost")), Refreshed),
        ("subject from right to left", subject(json!("\u{202e}moc.elpmaxe@b")), Refreshed),
        ("subject of 10 KB", subject(json!("s".repeat(10_000))), Refreshed),
        ("subject of another type", subject(json!([["a@b"]])), Refreshed),
        ("subject that is blank", subject(json!(" \u{a0} ")), Refreshed),
        (
            "names with dots and dollars",
            json!({ "a.b": 1, "$c": 2, "": 3, "refresh_token.x": 4, "evergrant.state": 5 }),
            Refreshed,
        ),
        ("deep", json!({ "x": nested(90) }), Refreshed),
        (
            "wide",
            json!({ "x": (0..5000).map(|n| (format!("f{n}"), json!(n))).collect::<Map<_, _>>() }),
            Refreshed,
        ),
    ]
}

/// Bookkeeping that somebody else has written, or nobody can read.
fn bookkeeping() -> Vec<Shape> {
    let ours = |value: Value| json!({ "evergrant": value });
    let due = |value: Value| json!({ "evergrant": { "due_at": value } });
    let leased = |value: Value| json!({ "evergrant": { "lease": value } });
    vec![
        ("bookkeeping: empty", ours(json!({})), Refreshed),
        ("bookkeeping: unknown fields", ours(json!({ "x": { "y": [1] }, "state": "live" })), Refreshed),
        ("due: text", due(json!("2100-01-01T00:00:00Z")), Refreshed),
        ("due: number", due(json!(4_102_444_800_000_i64)), Refreshed),
        ("due: NaN", due(json!({ "$numberDouble": "NaN" })), Refreshed),
        ("due: infinity", due(json!({ "$numberDouble": "Infinity" })), Refreshed),
        ("due: null", due(json!(null)), Refreshed),
        ("due: bool", due(json!(true)), Refreshed),
        ("due: array of far dates", due(json!([far()])), ByEarliest),
        ("due: array of dates", due(json!([far(), { "$date": "2020-01-01T00:00:00Z" }])), Refreshed),
        ("due: empty array", due(json!([])), Refreshed),
        ("due: sub-document", due(json!({ "at": far() })), Refreshed),
        ("due: timestamp", due(json!({ "$timestamp": { "t": 4_102_444_800_u32, "i": 1 } })), Refreshed),
        ("due: regex", due(json!({ "$regularExpression": { "pattern": "a", "options": "" } })), Refreshed),
        ("due: 1970", due(json!({ "$date": { "$numberLong": "0" } })), Refreshed),
        ("due: before 1970", due(json!({ "$date": { "$numberLong": "-62135596800001" } })), Refreshed),
        (
            "due: the first date",
            due(json!({ "$date": { "$numberLong": "-9223372036854775808" } })),
            Refreshed,
        ),
        // No life explains these: they were written under a clock that was ahead.
        ("due: far", due(far()), Refreshed),
        ("due: 9999", due(json!({ "$date": "9999-12-31T23:59:59Z" })), Refreshed),
        ("due: tomorrow", due(tomorrow()), Left),
        ("lease: of somebody", leased(json!({ "id": "x", "owner": "h:1", "until": far() })), Left),
        (
            "lease: over",
            leased(json!({ "id": "x", "owner": "h:1", "until": { "$date": "2020-01-01T00:00:00Z" } })),
            Refreshed,
        ),
        ("lease: without an end", leased(json!({ "id": "x", "owner": "h:1" })), Refreshed),
        ("lease: end of another type", leased(json!({ "id": "x", "until": "2100" })), Refreshed),
        ("lease: text", leased(json!("x")), Refreshed),
        ("lease: array", leased(json!([1])), Refreshed),
        ("lease: null", leased(json!(null)), Refreshed),
        ("state: unknown", ours(json!({ "state": "asleep" })), Refreshed),
        ("state: another type", ours(json!({ "state": ["needs_login"] })), Refreshed),
        (
            "state: dead, of another token",
            ours(json!({ "state": "needs_login", "fingerprint": "zz" })),
            Refreshed,
        ),
        ("state: lost, without a token", ours(json!({ "state": "lost_in_flight" })), Refreshed),
        (
            "state: malformed, and isn't",
            ours(json!({ "state": "malformed", "last_error": { "code": "missing" } })),
            Refreshed,
        ),
        ("failures: negative", ours(json!({ "failures": -7 })), Refreshed),
        ("failures: huge", ours(json!({ "failures": { "$numberLong": "9223372036854775807" } })), Refreshed),
        ("failures: the most", ours(json!({ "failures": 4_294_967_295_u32 })), Refreshed),
        ("failures: text", ours(json!({ "failures": "many" })), Refreshed),
        (
            "every field of another type",
            ours(json!({
                "state": 1, "since": [], "fingerprint": {}, "due_at": "x", "refreshed_at": 1, "access_expires_at": true,
                "refresh_expires_at": "x", "failures": {}, "last_error": [{}], "lease": 1,
            })),
            Refreshed,
        ),
        (
            "last error with escapes",
            ours(json!({ "last_error": { "class": "\u{1b}[2J", "code": "\n", "at": far() } })),
            Refreshed,
        ),
        ("bookkeeping: text", ours(json!("live")), NoRoom),
        ("bookkeeping: array", ours(json!([{ "state": "live" }])), NoRoom),
        ("bookkeeping: null", ours(json!(null)), NoRoomInMongo),
        ("bookkeeping: number", ours(json!(7)), NoRoom),
        ("bookkeeping: date", ours(far()), NoRoom),
    ]
}

/// Where a team keeps what.
struct Layout {
    mapping: Mapping,
    refresh_token: &'static str,
    bookkeeping: &'static str,
}

fn flat() -> Layout {
    Layout { mapping: Mapping::default(), refresh_token: "/refresh_token", bookkeeping: "/evergrant" }
}

fn deep() -> Layout {
    let mapping = Mapping {
        refresh_token: path("oauth.refresh"),
        access_token: Some(path("oauth.access")),
        access_expires_at: Some(path("ends.access")),
        bookkeeping: path("meta.evergrant"),
        ..Mapping::default()
    };
    Layout { mapping, refresh_token: "/oauth/refresh", bookkeeping: "/meta/evergrant" }
}

/// The document of a shape: a good one, and what is different in it.
fn document(position: usize, layout: &Layout, rehearsal: &Rehearsal, (name, changes, _): &Shape) -> Value {
    let user = &rehearsal.users[position];
    let pair = [&user.refresh_token, &user.access_token];
    let mut document = json!({ "_id": format!("shape-{position}"), "shape": name, "email": user.email });
    if layout.refresh_token == "/oauth/refresh" {
        document["oauth"] = json!({ "refresh": pair[0], "access": pair[1] });
    } else {
        document["refresh_token"] = json!(pair[0]);
        document["access_token"] = json!(pair[1]);
    }
    let fields = document.as_object_mut().unwrap();
    for (field, value) in changes.as_object().unwrap() {
        if *value == json!(ABSENT) {
            fields.remove(field);
        } else {
            fields.insert(field.clone(), value.clone());
        }
    }
    document
}

fn text<'a>(document: &'a Value, pointer: &str) -> Option<&'a str> {
    document.pointer(pointer)?.as_str()
}

fn of_shape<'a>(all: &'a [Value], name: &str) -> &'a Value {
    all.iter().find(|document| document["shape"] == name).unwrap_or_else(|| panic!("`{name}` is gone"))
}

/// Good documents among the bad ones.
const GOOD_NAMES: [&str; GOOD] = ["good 1", "good 2", "good 3", "good 4"];
const GOOD: usize = 4;

/// Every document is where it belongs, by the store and by the provider's ledger.
async fn assert_ended(
    rehearsal: &Rehearsal,
    layout: &Layout,
    shapes: &[Shape],
    summary: &Summary,
    grants: usize,
) {
    let all = rehearsal.backend.all().await;
    let mut wrong = Vec::new();
    let mut held = Vec::new();
    for (position, (name, _, end)) in shapes.iter().enumerate() {
        let (user, document) = (&rehearsal.users[position], of_shape(&all, name));
        let asked = rehearsal.sandbox.token_history(&user.refresh_token).unwrap().presentations.len();
        let ours = document.pointer(layout.bookkeeping).unwrap_or(&Value::Null);
        let (state, code) = (text(ours, "/state"), text(ours, "/last_error/code"));
        let as_it_should = match end {
            Refreshed => state == Some("live") && code.is_none() && asked == 1,
            Malformed(expected) => state == Some("malformed") && code == Some(expected) && asked == 0,
            NoRoom | NoRoomInMongo | Left | ByEarliest => asked == 0,
        };
        let claimed = ours.pointer("/lease/id").is_some();
        if !as_it_should || claimed && *end != Left {
            wrong.push(format!("{name}: asked {asked} times, not {end:?}: {ours}"));
        }
        let token = if *end == Refreshed {
            text(document, layout.refresh_token).unwrap_or_default()
        } else {
            &user.refresh_token
        };
        held.push((user.email.clone(), token.to_owned()));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}\n{summary}", wrong.len(), shapes.len(), wrong.join("\n"));
    let audit = rehearsal.sandbox.audit(held);
    assert!(audit.is_clean() && audit.held_stale == 0, "{audit:#?}");
    assert_eq!(audit.kept, rehearsal.users.len() as u64, "{audit:#?}");
    assert_eq!(rehearsal.sandbox.ledger().granted, grants as u64, "{summary}");
    if layout.refresh_token == "/refresh_token" {
        rehearsal.assert_whole().await;
    }
}

fn count(shapes: &[Shape], is: impl Fn(End) -> bool) -> usize {
    shapes.iter().filter(|(_, _, end)| is(*end)).count()
}

fn assert_counts(summary: &Summary, refreshed: usize, malformed: usize) {
    let counts = (summary.count(Outcome::Refreshed), summary.count(Outcome::Malformed));
    assert_eq!(counts, (refreshed as u64, malformed as u64), "{summary}");
    let others = <Outcome as evergrant::testing::token::Vocabulary>::ALL
        .iter()
        .filter(|one| !matches!(one, Outcome::Refreshed | Outcome::Malformed));
    assert_eq!(others.map(|other| summary.count(*other)).sum::<u64>(), 0, "{summary}");
    let shown = format!("{summary} {}", serde_json::to_string(summary).unwrap());
    let forged = |c: &char| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c);
    assert_eq!(shown.chars().find(forged), None, "a document writes into the report");
}

/// Three passes over all of the shapes with good documents between: what is due, nothing, and everything.
async fn three_passes(test: &str, layout: &Layout, shapes: fn() -> Vec<Shape>) {
    for backend in both(test, layout.mapping.clone()).await {
        let in_this_store = |end| match end {
            ByEarliest if backend.is_mongo() => Left,
            NoRoomInMongo if backend.is_mongo() => NoRoom,
            ByEarliest | NoRoomInMongo => Refreshed,
            end => end,
        };
        let shapes: Vec<Shape> =
            shapes().into_iter().map(|(name, changes, end)| (name, changes, in_this_store(end))).collect();
        let rehearsal = Rehearsal::over(backend, &Plan::users(shapes.len() + GOOD)).await;
        for position in 0..rehearsal.users.len() {
            rehearsal.backend.delete(&document_id(position)).await;
        }
        let good = GOOD_NAMES.map(|name| (name, json!({}), Refreshed));
        let all: Vec<Shape> = shapes.into_iter().chain(good).collect();
        let documents =
            all.iter().enumerate().map(|(position, shape)| document(position, layout, &rehearsal, shape));
        let mut documents: Vec<Value> = documents.collect();
        documents.rotate_right(GOOD / 2);
        rehearsal.backend.insert(documents).await;
        let refreshed = count(&all, |end| end == Refreshed);
        let malformed = count(&all, |end| matches!(end, Malformed(_) | NoRoom));

        let first = rehearsal.run().await;
        assert_ended(&rehearsal, layout, &all, &first, refreshed).await;
        assert_counts(&first, refreshed, malformed);

        let second = rehearsal.run().await;
        assert_ended(&rehearsal, layout, &all, &second, refreshed).await;
        assert_counts(&second, 0, malformed);

        let request = PassRequest { force: true, ..PassRequest::default() };
        let forced = rehearsal.run_with(&request, &Stop::default()).await;
        let not_due = all.iter().filter(|(name, _, end)| *end == Left && name.starts_with("due")).count();
        assert_counts(&forced, refreshed + not_due, malformed);
    }
}

#[tokio::test]
async fn bad_fields_end_in_one_outcome_each_and_stop_nobody() {
    assert!(fields().len() >= 55);
    three_passes("bad_fields", &flat(), fields).await;
}

#[tokio::test]
async fn bad_bookkeeping_ends_in_one_outcome_each_and_stops_nobody() {
    assert!(bookkeeping().len() >= 38);
    three_passes("bad_bookkeeping", &flat(), bookkeeping).await;
}

/// Documents of a team that keeps everything in sub-documents.
fn dotted() -> Vec<Shape> {
    let token = |value: Value| json!({ "oauth": value });
    vec![
        ("through an array", token(json!([{ "refresh": "a", "access": "b" }])), NoRoom),
        ("through a text", token(json!("a")), NoRoom),
        ("through null", token(json!(null)), NoRoom),
        ("through a number", token(json!(7)), NoRoom),
        ("through a date", token(far()), NoRoom),
        ("bookkeeping through a text", json!({ "meta": "a" }), NoRoom),
        ("bookkeeping through an array", json!({ "meta": [{}] }), NoRoom),
        ("expiry through a number", json!({ "ends": 7 }), NoRoom),
        ("no parent at all", json!({ "oauth": ABSENT }), Malformed("missing")),
        ("an empty parent", token(json!({})), Malformed("missing")),
        ("a sub-document in its place", token(json!({ "refresh": { "value": "a" } })), Malformed("not_text")),
        ("a dotted name beside", json!({ "oauth.refresh": "a" }), Refreshed),
        ("bookkeeping that is none", json!({ "meta": { "evergrant": 7, "x": 1 } }), NoRoom),
        ("bookkeeping whose parent holds more", json!({ "meta": { "x": 1 } }), Refreshed),
    ]
}

#[tokio::test]
async fn bad_parents_end_in_one_outcome_each_and_stop_nobody() {
    three_passes("bad_parents", &deep(), dotted).await;
}

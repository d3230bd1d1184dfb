//! Each profile has its rehearsal: the real client refreshes at a sandbox that plays the same profile.
//!
//! What must come of it follows from the profile alone: its rotation, and what its examples and lists say. A finding is a
//! sentence; a profile that is right has none, and one with a wrong place has some.

mod files;

use crate::store::backend;
use crate::support::rehearsal::{FORCED, Plan, Rehearsal};
use evergrant::sandbox::{Role, SandboxConfig};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::Stop;
use evergrant::testing::provider::place::RequestPlace;
use evergrant::testing::provider::request::{ClientAuth, Encoding, Method};
use evergrant::testing::provider::token_url::{TokenUrl, UrlTemplate, is_template};
use evergrant::testing::provider::{AskAgain, ClientSecret, Profile, Rotation, profile};
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::token::State;
use futures::StreamExt as _;
use std::time::Duration;

/// Rehearsals at once.
const AT_ONCE: usize = 16;

/// Who plays, and who asks: the same profile, unless a test breaks one of them.
#[derive(Clone)]
struct Case {
    name: String,
    played: Profile,
    asked: Profile,
}

/// What makes a profile wrong.
type Break = fn(&mut Profile);

/// What isn't as the profile says.
struct Findings {
    of: String,
    all: Vec<String>,
}

impl Findings {
    fn new(case: &Case, scenario: &str) -> Self {
        Self { of: format!("{}: {scenario}", case.name), all: Vec::new() }
    }

    fn expect(&mut self, what: &str, so: bool, seen: &dyn std::fmt::Debug) {
        if !so {
            self.all.push(format!("{}: not so: {what}: {seen:?}", self.of));
        }
    }
}

/// Every built-in profile, and the files.
fn cases() -> Vec<Case> {
    let built_in = profile::names().map(|name| (name.to_owned(), profile::load(name).unwrap()));
    let all: Vec<_> = built_in.chain(files::all()).collect();
    assert!(all.len() >= 46, "{}", all.len());
    all.into_iter().map(|(name, profile)| Case { name, played: profile.clone(), asked: profile }).collect()
}

/// A sandbox that plays the profile, and a client that asks there. A test waits for nothing: only times are changed.
async fn rehearse(case: &Case, users: usize, dead: usize, faults: &str) -> Rehearsal {
    let role = Role::new(&case.name, &case.played).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let faults = faults.parse().unwrap();
    role.can_play(&faults, dead).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let mut plan = Plan::users(users);
    plan.sandbox = role.played_by(SandboxConfig {
        users,
        dead_users: dead,
        faults,
        client_id: "id & co".into(),
        client_secret: "s3+cret/%&".into(),
        ..SandboxConfig::default()
    });
    plan.profile = case.asked.clone();
    plan.profile.rate = None;
    plan.profile.request_timeout = Duration::from_secs(20);
    plan.profile.settle_after = Duration::from_millis(1);
    for rule in &mut plan.profile.answer.rules {
        rule.wait = rule.wait.map(|_| Duration::from_millis(1));
    }
    let mut rehearsal = Rehearsal::over(backend::sqlite(plan.mapping.clone()).await, &plan).await;
    let token_url = rehearsal.sandbox.token_url();
    rehearsal.change_provider(|provider| {
        let variables = &provider.profile.variables;
        provider.values.0 =
            variables.iter().map(|(name, variable)| (name.clone(), variable.example(name))).collect();
        provider.token_url = if is_template(&token_url) {
            TokenUrl::Of(UrlTemplate::new(&token_url, variables).unwrap())
        } else {
            token_url.parse().unwrap()
        };
        provider.profile.token_url = Some(token_url);
    });
    rehearsal
}

async fn forced(rehearsal: &Rehearsal) -> Summary {
    rehearsal.run_with(&FORCED, &Stop::default()).await
}

async fn tokens(rehearsal: &Rehearsal) -> Vec<String> {
    let mut tokens = Vec::new();
    for position in 0..rehearsal.users.len() {
        tokens.push(rehearsal.token(position).await);
    }
    tokens
}

/// The users of whom a document says that they are lost, or must log in again.
async fn marked(rehearsal: &Rehearsal) -> Vec<(usize, State)> {
    let states = rehearsal.states().await.into_iter().enumerate();
    states.filter(|(_, state)| *state != State::Live).collect()
}

/// Everybody is refreshed with a pair of one answer, a token is new where the provider rotates, and works again.
async fn granted(case: &Case) -> Vec<String> {
    let mut findings = Findings::new(case, "granted");
    let rehearsal = rehearse(case, 4, 0, "").await;
    let before = tokens(&rehearsal).await;
    let rotates = case.played.rotation != Rotation::None;
    // A second pass must not come sooner than the provider likes it.
    let passes = if case.asked.min_age.is_zero() { 2 } else { 1 };
    for pass in 1..=passes {
        let summary = forced(&rehearsal).await;
        findings.expect("all are refreshed", summary.count(Outcome::Refreshed) == 4, &summary);
        let ledger = rehearsal.sandbox.ledger();
        let counts = (ledger.requests, ledger.granted, ledger.reuses);
        findings.expect("each is asked for once", counts == (4 * pass, 4 * pass, 0), &ledger);
    }
    let audit = rehearsal.audit().await;
    findings.expect("all are held", (audit.kept, audit.held_current, audit.unknown) == (4, 4, 0), &audit);
    let after = tokens(&rehearsal).await;
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    findings.expect("rotated or kept", changed == if rotates { 4 } else { 0 }, &changed);
    for (position, token) in after.iter().enumerate() {
        let document = rehearsal.document(position).await;
        let record = rehearsal.sandbox.token_history(token);
        let is_whole = record.is_some_and(|record| document["access_token"] == record.access_token);
        findings.expect("both tokens are of one answer", is_whole, &position);
    }
    findings.all
}

/// What a dead token is answered by the profile's own words.
fn dead_means(profile: &Profile) -> &'static str {
    let shows = |word: &str| profile.examples.iter().any(|example| example.means == word);
    let lists = |codes: &[String]| codes.iter().any(|code| code == "invalid_grant");
    match (shows("refused"), shows("suspected")) {
        (true, _) => "refused",
        (false, true) => "suspected",
        _ if lists(&profile.answer.refused) => "refused",
        _ if lists(&profile.answer.suspected) => "suspected",
        _ => "nothing",
    }
}

/// One dead user among others is marked, at once or on the second occasion, and no other is.
async fn dead(case: &Case) -> Vec<String> {
    let mut findings = Findings::new(case, "dead");
    let rehearsal = rehearse(case, 8, 1, "").await;
    let first = rehearsal.run().await;
    findings.expect("the others are refreshed", first.count(Outcome::Refreshed) == 7, &first);
    if dead_means(&case.played) == "suspected" {
        let marked = marked(&rehearsal).await;
        findings.expect("not marked on one occasion", marked.is_empty(), &marked);
        forced(&rehearsal).await;
    }
    let found = marked(&rehearsal).await;
    findings.expect("the dead one is marked", found == [(7, State::NeedsLogin)], &(found.clone(), &first));
    let audit = rehearsal.audit().await;
    findings.expect("the others are held", (audit.kept, audit.dead_users) == (7, 1), &audit);
    findings.expect("it was refused", rehearsal.sandbox.ledger().refused > 0, &rehearsal.sandbox.ledger());
    findings.all
}

/// One request too many costs time and nothing else.
async fn throttled(case: &Case) -> Vec<String> {
    let mut findings = Findings::new(case, "throttled");
    let rehearsal = rehearse(case, 3, 0, "429(0) user=user-000001 times=1").await;
    let summary = rehearsal.run().await;
    findings.expect("it is read as throttled", summary.throttled == 1, &summary);
    let mut refreshed = summary.count(Outcome::Refreshed);
    if refreshed < 3 {
        refreshed += rehearsal.run_with(&FORCED, &Stop::default()).await.count(Outcome::Refreshed).min(1);
    }
    findings.expect("all are refreshed", refreshed == 3, &summary);
    let (audit, marked) = (rehearsal.audit().await, marked(&rehearsal).await);
    findings.expect("all are held", audit.kept == 3 && audit.held_stale == 0, &audit);
    findings.expect("no user is marked", marked.is_empty(), &marked);
    findings.expect("no token is sent twice", rehearsal.sandbox.ledger().reuses == 0, &());
    findings.all
}

/// A fault of the client is ours: it ends the pass, and no document changes.
async fn client_fault(case: &Case) -> Vec<String> {
    let mut findings = Findings::new(case, "client fault");
    let role = Role::new(&case.name, &case.played).unwrap();
    let is_known = role.can_play(&"reject-client".parse().unwrap(), 0).is_ok();
    let is_told =
        |profile: &Profile| profile.examples.iter().any(|example| example.means == "client_rejected");
    let has_client = case.played.client_auth != ClientAuth::NoClient;
    findings.expect(
        "known or refused to be played",
        is_known == (has_client || is_told(&case.played)),
        &is_known,
    );
    if is_known {
        let rehearsal = rehearse(case, 3, 0, "reject-client").await;
        findings = is_ours(findings, &rehearsal).await;
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let mended = rehearsal.run().await;
        findings.expect("all are refreshed afterwards", mended.count(Outcome::Refreshed) == 3, &mended);
    }
    if case.asked.client_auth.takes_secret() {
        let mut rehearsal = rehearse(case, 3, 0, "").await;
        rehearsal
            .change_provider(|provider| provider.client_secret = Some(ClientSecret::new("wrong".into())));
        findings = is_ours(findings, &rehearsal).await;
        let ledger = rehearsal.sandbox.ledger();
        findings.expect("it is rejected", ledger.client_rejected == ledger.requests, &ledger);
    }
    findings.all
}

async fn is_ours(mut findings: Findings, rehearsal: &Rehearsal) -> Findings {
    let before = tokens(rehearsal).await;
    let summary = rehearsal.run().await;
    let is_our_fault = match rehearsal.providers[0].token_url {
        TokenUrl::Fixed(_) => summary.exit() == Exit::ClientRejected,
        // One document's address may be wrong alone: it stops no other, and is asked for again.
        TokenUrl::Of(_) => summary.still_due_reasons.get("client_rejected") == Some(&summary.touched),
    };
    findings.expect("it is our fault", is_our_fault && summary.touched == 3, &summary);
    findings.expect("nothing is granted", rehearsal.sandbox.ledger().granted == 0, &summary);
    let (after, marked) = (tokens(rehearsal).await, marked(rehearsal).await);
    findings.expect("no document changes", before == after && marked.is_empty(), &marked);
    findings
}

/// A request that isn't the profile's is refused, whatever is wrong with it, and no user is marked for it.
async fn wrong_request(case: &Case) -> Vec<String> {
    let mut findings = Findings::new(case, "wrong request");
    let wrong_place = |profile: &mut Profile| {
        profile.request.refresh_token = RequestPlace::Header("x-wrong-place".to_owned());
    };
    let wrong_method = |profile: &mut Profile| {
        profile.request.method = match profile.request.method {
            Method::Post => Method::Put,
            Method::Get | Method::Put => Method::Post,
        };
    };
    let wrong_encoding = |profile: &mut Profile| {
        profile.request.encoding = match profile.request.encoding {
            Encoding::Form => Encoding::Json,
            Encoding::Json | Encoding::Query | Encoding::None => Encoding::Form,
        };
        if matches!(profile.request.refresh_token, RequestPlace::Pointer(_)) {
            profile.request.refresh_token = RequestPlace::default();
            profile.extra_parameters.clear();
        }
        "refresh_token".clone_into(&mut profile.request.grant_type);
    };
    let breaks: [(&str, Break); 3] =
        [("place", wrong_place), ("method", wrong_method), ("encoding", wrong_encoding)];
    for (what, break_it) in breaks {
        let mut broken = case.clone();
        break_it(&mut broken.asked);
        let rehearsal = rehearse(&broken, 2, 0, "").await;
        for _ in 0..2 {
            forced(&rehearsal).await;
        }
        let (ledger, marked, audit) =
            (rehearsal.sandbox.ledger(), marked(&rehearsal).await, rehearsal.audit().await);
        let seen = (what, &ledger, &marked);
        findings.expect("it is refused", ledger.granted == 0 && ledger.requests > 0, &seen);
        findings.expect("as a request", ledger.invalid_requests == ledger.requests, &seen);
        findings.expect("no user is marked", marked.is_empty() && audit.kept == 2, &seen);
    }
    findings.all
}

/// An answer that never comes costs the login where the token works once, and nothing where the old one works on.
async fn lost_answer(case: &Case) -> Vec<String> {
    let mut findings = Findings::new(case, "lost answer");
    let rehearsal = rehearse(case, 6, 0, "drop-after user=user-000001 times=1").await;
    rehearsal.run().await;
    for _ in 0..2 {
        forced(&rehearsal).await;
    }
    let (ledger, audit) = (rehearsal.sandbox.ledger(), rehearsal.audit().await);
    let marked = marked(&rehearsal).await;
    let seen = (&ledger, &audit, &marked);
    findings.expect(
        "one answer is lost, none that came",
        (ledger.answers_lost, audit.lost_received) == (1, 0),
        &seen,
    );
    if case.played.rotation == Rotation::SingleUse {
        findings.expect("one login is lost", (audit.kept, audit.lost_in_flight) == (5, 1), &seen);
        findings.expect("it is named so", marked == [(1, State::LostInFlight)], &seen);
    } else {
        findings.expect("all are held", audit.kept == 6 && marked.is_empty(), &seen);
    }
    if case.asked.ask_again == AskAgain::Never {
        findings.expect("it is not asked for again", ledger.reuses == 0, &seen);
    }
    findings.all
}

async fn findings_of(case: &Case) -> Vec<String> {
    let mut all = granted(case).await;
    all.extend(dead(case).await);
    all.extend(throttled(case).await);
    all.extend(client_fault(case).await);
    all.extend(wrong_request(case).await);
    all.extend(lost_answer(case).await);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_profile_is_rehearsed_from_grant_to_lost_answer() {
    let cases = cases();
    let findings: Vec<Vec<String>> = futures::stream::iter(&cases)
        .map(|case| async move { findings_of(case).await })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let findings = findings.concat();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// The rehearsal finds what it is there to find: each of these profiles is wrong in one word.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_with_a_wrong_word_is_found_out() {
    let broken = |name: &str, break_it: &dyn Fn(&mut Profile)| {
        let played = profile::load(name).unwrap();
        let mut asked = played.clone();
        break_it(&mut asked);
        Case { name: name.to_owned(), played, asked }
    };
    let place = |text: &str| text.parse().unwrap();
    for (what, case) in [
        (
            "the access token's place",
            broken("box", &|profile| profile.answer.access_token = place("/accessToken")),
        ),
        (
            "the refresh token's place",
            broken("box", &|profile| profile.answer.refresh_token = place("/refreshToken")),
        ),
        ("another token beside it", broken("slack", &|profile| profile.answer.refresh_token.0.reverse())),
        (
            "the cookie's name",
            broken("cookie-session", &|profile| profile.answer.refresh_token.0.truncate(1)),
        ),
        (
            "the place in the request",
            broken("express-jwt", &|profile| {
                profile.request.refresh_token = RequestPlace::Field("refresh_token".to_owned());
            }),
        ),
        ("the old access token", broken("jwt-pair", &|profile| profile.request.access_token = None)),
        ("the client's field", broken("tiktok", &|profile| profile.client_id_name = "client_id".to_owned())),
        ("the client's way", broken("snowflake", &|profile| profile.client_auth = ClientAuth::Basic)),
        ("a header", broken("intuit", &|profile| profile.request.headers.clear())),
    ] {
        let findings = granted(&case).await;
        assert!(!findings.is_empty(), "{what} is wrong, and {} is granted all the same", case.name);
    }
    let case = broken("box", &|profile| profile.answer.refused.clear());
    assert!(!dead(&case).await.is_empty(), "the word for a dead token");
    let case = broken("zoho", &|profile| profile.answer.rules.clear());
    assert!(!throttled(&case).await.is_empty(), "the word for one request too many");
    let case = broken("xero", &|profile| profile.rotation = Rotation::SingleUse);
    let case = Case { played: case.asked.clone(), ..case };
    assert!(lost_answer(&case).await.is_empty(), "the judge follows the profile");
}

/// Is there a field or a cookie that is called after it?
fn names_a_refresh_token(text: &str) -> bool {
    let is_name = |rest: &str| {
        let rest = rest.trim_start_matches(|char: char| char.is_alphanumeric() || char == '_');
        rest.trim_start_matches('"').trim_start().starts_with([':', '='])
    };
    text.split("refresh").skip(1).any(is_name)
}

/// A profile that is wrong on both sides contradicts its own examples.
#[test]
fn a_profile_that_contradicts_its_examples_is_not_played() {
    for name in profile::names().filter(|name| !["generic", "auth0"].contains(name)) {
        let right = profile::load(name).unwrap();
        let mut wrong = right.clone();
        wrong.answer.access_token = "/no_such_place".parse().unwrap();
        assert!(Role::new(name, &wrong).is_err(), "{name}: the access token's place");
        // Some vendors rotate, and their documentation shows no rotated token.
        let shows_one = right.examples.iter().any(|example| {
            let mut texts = example.fields().map(|(_, value)| value).chain([&*example.body]);
            example.means == "granted" && texts.any(names_a_refresh_token)
        });
        if right.rotation != Rotation::None && shows_one {
            let mut wrong = right.clone();
            wrong.answer.refresh_token = "/no_such_place".parse().unwrap();
            assert!(Role::new(name, &wrong).is_err(), "{name}: the refresh token's place");
        }
    }
}

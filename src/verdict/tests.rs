//! The judge's tables: each line's case, and the verdict that a person wrote for it.

mod answers;
mod by_hand;
mod documents;
mod leftovers;
mod permission;

use super::change::DuePolicy;
use super::*;
use crate::clock::Timestamp;
use crate::provider::{AskAgain, Profile, Provider, Rotation, profile};
use crate::store::Change;
use crate::token::{
    AccessToken, Bookkeeping, DueToken, Lease, RefreshToken, State, Subject, TokenDocument, TokenId,
};
use std::sync::Arc;

/// The claim of the pass.
const LEASE: &str = "ours";

fn now() -> Timestamp {
    "2026-11-21T03:00:00Z".parse().unwrap()
}

/// The policy of a pass that began then.
pub(super) fn policy_of(due_by: Timestamp) -> DuePolicy {
    DuePolicy {
        journal: "journal".into(),
        renew_after: "1/3".parse().unwrap(),
        first_backoff: Duration::from_mins(15),
        longest_backoff: Duration::from_hours(24),
        wakes: None,
        assumed_life: None,
        documents: 0,
        due_by,
    }
}

fn policy() -> DuePolicy {
    policy_of(now())
}

fn around(policy: &DuePolicy) -> Around<'_> {
    Around {
        policy,
        lease_id: LEASE,
        earlier: &[],
        attempts: 3,
        documents_name_provider: true,
        now: now(),
        jitter: 0.0,
    }
}

fn provider(rotation: Rotation, ask_again: AskAgain) -> Arc<Provider> {
    let grace = if rotation == Rotation::Grace { Duration::from_secs(30) } else { Duration::ZERO };
    Arc::new(Provider {
        name: "acme".into(),
        profile_name: "generic".into(),
        profile: Profile { rotation, grace, ask_again, ..profile::load("generic").unwrap() },
        token_url: "https://acme.example/token".parse::<url::Url>().unwrap().into(),
        values: crate::provider::Values::default(),
        client_id: "id".into(),
        client_secret: None,
    })
}

fn entry() -> EntryId {
    "7".parse().unwrap()
}

fn id() -> TokenId {
    TokenId::from_extended_json("1")
}

/// Bookkeeping of a document that we have claimed; it speaks of `token`.
fn books(token: &str, state: State) -> Bookkeeping {
    let lease = Lease { id: LEASE.into(), owner: "host:1".into(), until: now(), taken_over: false, by: None };
    let fingerprint = Some(RefreshToken::new(token.into()).fingerprint());
    Bookkeeping { state, fingerprint, lease: Some(lease), ..Bookkeeping::default() }
}

fn token(bookkeeping: Bookkeeping) -> DueToken {
    let refresh_token = RefreshToken::new("old".into());
    DueToken {
        id: id(),
        subject: Subject::new("a@example.com"),
        refresh_token,
        access_token: None,
        facts: crate::token::Facts::default(),
        bookkeeping,
    }
}

fn document(refresh_token: &str, bookkeeping: Bookkeeping) -> TokenDocument {
    TokenDocument {
        id: id(),
        subject: Subject::new("a@example.com"),
        provider: Some("acme".into()),
        refresh_token: Ok(RefreshToken::new(refresh_token.into())),
        access_token: Some(AccessToken::new("access".into())),
        facts: crate::token::Facts::default(),
        bookkeeping,
    }
}

/// A verdict in one line: rule | row | document | provider | end.
fn line(verdict: &Verdict) -> String {
    let row = verdict.row.as_ref().map_or("-".to_owned(), |(id, event)| {
        assert_eq!(*id, entry());
        match event {
            Event::Redeemed { .. } => "Redeemed".to_owned(),
            Event::Lost { cause, .. } => format!("Lost({cause})"),
            Event::TurnedAway { cause, .. } => format!("TurnedAway({cause})"),
            Event::CannotRead(code) => format!("CannotRead({code})"),
            Event::AskAgain(code) => format!("AskAgain({code})"),
            Event::NoPlace(why) => format!("NoPlace({why:?})"),
            Event::Renewed | Event::Settled | Event::NotProcessed | Event::GivenUp => format!("{event:?}"),
        }
    });
    let document = match &verdict.document {
        Step::Write(change, pair) => {
            format!("{}{}", written(change), if *pair == Pair::Rescued { ", rescued" } else { "" })
        }
        Step::Leave => "leave".to_owned(),
        Step::Look => "look".to_owned(),
        Step::Hold(Mark::Refused(refusal)) => format!(
            "hold {:?}{}{}",
            refusal.state,
            if refusal.certain { ", certain" } else { "" },
            if refusal.before { ", before" } else { "" }
        ),
        Step::Hold(Mark::Redeemed(_)) => "hold redeemed".to_owned(),
        Step::Hold(Mark::MayBeSpent(..)) => "hold may be spent".to_owned(),
        Step::Again(wait) => format!("again {wait:?}"),
        Step::OnceMore(wait, _) => format!("once more after {wait:?}"),
    };
    let gate = match &verdict.gate {
        Signal::Works { granted: true } => "granted".to_owned(),
        Signal::Works { granted: false } => "works".to_owned(),
        Signal::Refused { .. } => "refused".to_owned(),
        Signal::RefusedInDoubt { .. } => "in doubt".to_owned(),
        Signal::Throttled { .. } => "throttled".to_owned(),
        Signal::Failed => "failed".to_owned(),
        Signal::ClientRejected { .. } => "rejected".to_owned(),
        Signal::NotAsked => "-".to_owned(),
    };
    let ends = verdict.ends.as_ref().map_or("-".to_owned(), |end| {
        let reason = end.reason.as_deref().map_or(String::new(), |reason| format!("({reason})"));
        let heals = end.heals.map_or(String::new(), |(was, why)| format!(", was {was:?}: {}", why.word()));
        format!("{:?}{reason}{}{heals}", end.outcome, if end.news { "" } else { ", known" })
    });
    format!("{:?} | {row} | {document} | {gate} | {ends}", verdict.rule)
}

/// What a change does to the document, in a word or two.
fn written(change: &Change) -> String {
    assert_eq!(change.bookkeeping.lease, None, "whatever is written gives the claim back");
    let books = &change.bookkeeping;
    let due = books.due_at.map(|due_at| due_at - now()).map_or("as before".to_owned(), |after| {
        match after.num_milliseconds() {
            0..=1 => "next pass".to_owned(),
            2 => "next pass, after others".to_owned(),
            more => format!("{} min", more / 60_000),
        }
    });
    let lost = books.last_error.as_ref().and_then(|error| error.lost.as_ref());
    let lost = lost.map_or("", |lost| if lost.turned_away { ", turned away" } else { ", lost" });
    match &change.pair {
        Some(pair) => format!("pair {} {:?}", pair.refresh_token.expose(), books.state),
        None => format!("{:?} {}, failures {}{lost}", books.state, due, books.failures),
    }
}

/// Compares verdicts with a table of (case, expected line); a test says at once every line that differs.
fn compare(found: impl IntoIterator<Item = (String, Verdict)>, expected: &[(&str, &str)]) {
    let found: Vec<_> = found.into_iter().map(|(case, verdict)| (case, line(&verdict))).collect();
    let cases: Vec<_> = found.iter().map(|(case, _)| case.as_str()).collect();
    let wanted: Vec<_> = expected.iter().map(|(case, _)| *case).collect();
    assert_eq!(cases, wanted);
    let wrong: Vec<_> = found
        .iter()
        .zip(expected)
        .filter(|((_, found), (_, wanted))| found != wanted)
        .map(|((case, found), (_, wanted))| format!("{case}\n  found  {found}\n  wanted {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_rule_stands_in_a_table() {
    let tables = [
        include_str!("tests/answers.rs"),
        include_str!("tests/by_hand.rs"),
        include_str!("tests/documents.rs"),
        include_str!("tests/leftovers.rs"),
        include_str!("tests/permission.rs"),
    ];
    for rule in Rule::ALL {
        let begins_a_line = format!("\"{rule:?} | ");
        assert!(tables.iter().any(|table| table.contains(&begins_a_line)), "{rule:?} stands in no table");
    }
}

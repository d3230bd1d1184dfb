//! What a person does to a row by hand.

use super::leftovers::{granted, row};
use super::*;
use crate::journal::{Entry, EntryState, Journaled};
use crate::token::Malformed;

/// The verdicts of cases that nothing stands in the way of.
fn verdicts(found: &[(&str, Result<Verdict, Obstacle>)]) -> Vec<(String, Verdict)> {
    let done = found.iter().filter_map(|(case, found)| Some(((*case).to_owned(), found.clone().ok()?)));
    done.collect()
}

/// What stands in the way of the others.
fn obstacles<'a>(found: &'a [(&'a str, Result<Verdict, Obstacle>)]) -> Vec<(&'a str, Obstacle)> {
    found.iter().filter_map(|(case, found)| Some((*case, found.clone().err()?))).collect()
}

fn unclaimed(token: &str) -> TokenDocument {
    document(token, Bookkeeping { lease: None, ..books(token, State::Live) })
}

fn claimed(token: &str) -> (TokenDocument, Lease) {
    let until = now() + chrono::TimeDelta::minutes(1);
    let lease = Lease { id: "theirs".into(), owner: "host:2".into(), until, taken_over: false, by: None };
    (document(token, Bookkeeping { lease: Some(lease.clone()), ..books(token, State::Live) }), lease)
}

#[test]
fn a_parked_pair_is_written_in_place_of_whatever_token_is_there() {
    let pair = Journaled::for_tests(entry(), granted(Some("new")));
    let provider = provider(Rotation::SingleUse, AskAgain::Once);
    let over = |document: Option<&TokenDocument>, over: Option<&str>| {
        let over = over.map(|token| RefreshToken::new(token.into()).fingerprint());
        let sent = RefreshToken::new("old".into()).fingerprint();
        let parked = ByHandPair { entry: entry(), pair: pair.clone(), sent, received_at: now(), over };
        by_hand_apply(parked, &provider, document, &around(&policy()))
    };
    let with = |document| over(document, None);
    let (busy, lease) = claimed("theirs");
    let strange = TokenDocument { provider: Some("else".into()), ..unclaimed("theirs") };
    let empty = TokenDocument { refresh_token: Err(Malformed::Null), ..unclaimed("theirs") };
    let found = [
        ("gone", with(None)),
        ("the pair", with(Some(&unclaimed("new")))),
        ("another provider's", with(Some(&strange))),
        ("claimed", with(Some(&busy))),
        ("no token", with(Some(&empty))),
        ("another token", with(Some(&unclaimed("theirs")))),
        ("named, holds the token", over(Some(&unclaimed("old")), Some("old"))),
        ("named, holds the pair", over(Some(&unclaimed("new")), Some("old"))),
        ("named, another token", over(Some(&unclaimed("theirs")), Some("old"))),
    ];
    compare(
        verdicts(&found),
        &[
            ("the pair", "ByHandThere | Redeemed | leave | - | -"),
            ("another token", "ByHandWritten | Redeemed | pair new Live | granted | Refreshed"),
            ("named, holds the token", "ByHandWritten | Redeemed | pair new Live | granted | Refreshed"),
            ("named, holds the pair", "ByHandThere | Redeemed | leave | - | -"),
        ],
    );
    let expected = [
        ("gone", Obstacle::Gone),
        ("another provider's", Obstacle::ProviderChanged),
        ("claimed", Obstacle::Claimed(Box::new(lease))),
        ("no token", Obstacle::NoToken(Malformed::Null)),
        ("named, another token", Obstacle::OtherToken),
    ];
    assert_eq!(obstacles(&found), expected);
}

#[test]
fn a_token_whose_answer_held_no_pair_is_asked_for_again_where_its_provider_allows_it() {
    let row = row(EntryState::Unread);
    let with = |rotation, ask_again, document: Option<&TokenDocument>| {
        let provider = provider(rotation, ask_again);
        by_hand_retry(&row, Some(&provider.profile), document, &around(&policy()))
    };
    let (busy, lease) = claimed("old");
    let (old, other) = (unclaimed("old"), unclaimed("other"));
    let (single, once) = (Rotation::SingleUse, AskAgain::Once);
    let found = [
        ("never", with(single, AskAgain::Never, Some(&old))),
        ("never, but nothing rotates", with(Rotation::None, AskAgain::Never, Some(&old))),
        ("the token", with(single, once, Some(&old))),
        ("claimed", with(single, once, Some(&busy))),
        ("another token", with(single, once, Some(&other))),
        ("gone", with(single, once, None)),
    ];
    let again = "ByHandAskAgain | AskAgain(unreadable) | Live as before, failures 0, lost | - | -";
    compare(
        verdicts(&found),
        &[
            ("never, but nothing rotates", again),
            ("the token", again),
            ("another token", "ByHandParked | NoPlace(Superseded) | leave | - | -"),
            ("gone", "ByHandAskAgain | AskAgain(unreadable) | leave | - | -"),
        ],
    );
    assert_eq!(
        obstacles(&found),
        [("never", Obstacle::NeverAskedAgain), ("claimed", Obstacle::Claimed(Box::new(lease)))]
    );
}

#[test]
fn an_answer_is_given_up_unless_recovery_writes_it() {
    let page = Entry { received_bytes: Some(7), ..row(EntryState::Unsettled) };
    let given_up = "ByHandDiscarded | GivenUp | leave | - | -";
    let found: Vec<_> = EntryState::ALL
        .into_iter()
        .map(|state| (state.word(), by_hand_discard(&row(state), true)))
        .chain([
            ("a page", by_hand_discard(&page, true)),
            ("an answer of nobody", by_hand_discard(&row(EntryState::Answer), false)),
        ])
        .collect();
    compare(
        verdicts(&found),
        &[
            ("ask_again", given_up),
            ("unread", given_up),
            ("set_aside", given_up),
            ("orphan", given_up),
            ("a page", given_up),
            ("an answer of nobody", given_up),
        ],
    );
    let nothing = Obstacle::NothingToDiscard;
    assert_eq!(
        obstacles(&found),
        [("intent", nothing.clone()), ("answer", Obstacle::OnItsWay), ("unsettled", nothing)]
    );
}

//! May a token be sent, by what the journal and its document say?

use super::documents::{case, evidence, verdict};
use super::*;
use crate::token::{Code, Evidence, LastError, Reason};

#[test]
fn a_document_says_that_its_redeemed_token_was_handed_out_again_since() {
    use crate::journal::Permission;
    let fingerprint = |token: &str| RefreshToken::new(token.into()).fingerprint();
    let redeemed = |successor: Option<&str>| Permission::AlreadyRedeemed {
        first: TokenId::from_extended_json("1"),
        at: Some(now()),
        has_other_access: false,
        successor: successor.map(fingerprint),
    };
    let later = now() + chrono::TimeDelta::seconds(1);
    let says = |of: &str, by: &str, spent: &str, at| Bookkeeping {
        refreshed_by: Some(by.into()),
        refreshed_at: Some(at),
        spent: [fingerprint(spent)].into_iter().collect(),
        ..books(of, State::Live)
    };
    for (expected, successor, books) in [
        (true, Some("new"), says("old", "theirs", "new", later)),
        (false, Some("new"), says("old", "ours", "new", later)),
        (false, Some("new"), says("old", "theirs", "new", now())),
        (false, Some("new"), says("old", "theirs", "other", later)),
        (false, Some("new"), says("new", "theirs", "old", later)),
        (false, None, says("old", "theirs", "new", later)),
    ] {
        let case = case(Fact::NotTaken, books);
        let found = is_handed_out_again(&redeemed(successor), &case.token, "ours");
        assert_eq!(found, expected, "{:?}", case.token.bookkeeping);
    }
    let case = case(Fact::NotTaken, says("old", "theirs", "new", later));
    let send = Permission::Send { entry: entry(), doubts: crate::journal::Doubts::default() };
    assert!(!is_handed_out_again(&send, &case.token, "ours"));
}

#[test]
fn a_permission_says_whose_turn_it_is() {
    use crate::journal::Permission;
    let other = || TokenId::from_extended_json("2");
    let redeemed =
        |first| Permission::AlreadyRedeemed { first, at: None, has_other_access: false, successor: None };
    let word = |turn: Turn| match turn {
        Turn::Recorded => "sends",
        Turn::StepAside => "steps aside",
        Turn::AskAllTheSame => "sends all the same",
        Turn::Ends(Fact::Waits(Reason::Held)) => "held",
        Turn::Ends(Fact::Waits(Reason::UnreadAnswer)) => "unread",
        Turn::Ends(Fact::Redeemed(_)) => "redeemed",
        Turn::Ends(other) => panic!("{other:?}"),
    };
    let send = Permission::Send { entry: entry(), doubts: crate::journal::Doubts::default() };
    for (permission, first_is_claimed, expected) in [
        (send, false, "sends"),
        (Permission::InFlight(id()), false, "held"),
        (Permission::InFlight(other()), false, "steps aside"),
        (Permission::Unread, false, "unread"),
        (redeemed(other()), true, "steps aside"),
        (redeemed(other()), false, "redeemed"),
        (redeemed(id()), true, "redeemed"),
    ] {
        let profile = &provider(Rotation::SingleUse, AskAgain::Once).profile;
        let first = First { is_claimed: first_is_claimed, ..First::default() };
        assert_eq!(word(may_go(&permission, &id(), first, profile, now())), expected, "{permission:?}");
    }
    let unread = LastError { class: Evidence::Unreadable.into(), code: Code::NoTokens.into(), ..evidence() };
    let says = Bookkeeping { last_error: Some(unread), ..books("old", State::Live) };
    for (rotation, books, force, expected) in [
        (Rotation::SingleUse, says.clone(), false, true),
        (Rotation::SingleUse, says.clone(), true, false),
        (Rotation::None, says.clone(), false, false),
        (Rotation::SingleUse, Bookkeeping { fingerprint: None, ..says }, false, false),
        (Rotation::SingleUse, books("old", State::Live), false, false),
    ] {
        let provider = provider(rotation, AskAgain::Once);
        assert_eq!(has_unread_answer(&token(books), &provider.profile, force), expected);
    }
}

#[test]
fn a_redeemed_token_is_asked_all_the_same_where_its_provider_takes_it() {
    use crate::journal::Permission;
    let seconds_ago = |seconds: i64| Some(now() - chrono::TimeDelta::seconds(seconds));
    let (there, gone) = (First { has_pair: true, ..First::default() }, First::default());
    let (none, grace, single) = (Rotation::None, Rotation::Grace, Rotation::SingleUse);
    for (rotation, ask_again, at, first, expected) in [
        (none, AskAgain::Once, seconds_ago(10_000_000), gone, true),
        (none, AskAgain::Never, seconds_ago(10), gone, true),
        (none, AskAgain::Once, None, gone, true),
        // One pair for two documents.
        (none, AskAgain::Once, seconds_ago(10), there, false),
        (grace, AskAgain::Once, seconds_ago(29), gone, true),
        (grace, AskAgain::Once, seconds_ago(30), gone, false),
        (grace, AskAgain::Once, seconds_ago(-1), gone, false),
        (grace, AskAgain::Once, None, gone, false),
        (single, AskAgain::Once, seconds_ago(0), gone, false),
        (single, AskAgain::Never, seconds_ago(0), gone, false),
    ] {
        let provider = provider(rotation, ask_again);
        let other = TokenId::from_extended_json("2");
        let permission = Permission::AlreadyRedeemed {
            first: other.clone(),
            at,
            has_other_access: false,
            successor: None,
        };
        let turn = may_go(&permission, &id(), first, &provider.profile, now());
        assert_eq!(matches!(turn, Turn::AskAllTheSame), expected, "{rotation:?} {at:?} {first:?}");
        if first.has_pair {
            continue;
        }
        // And not any more when its grace has ended before it is sent.
        let late = now() + chrono::TimeDelta::seconds(10);
        let ended = grace_has_ended(&permission, &provider.profile, now(), late).is_some();
        assert_eq!(ended, rotation == grace && expected, "{rotation:?} {at:?}");
        // Another access token beside it is a new login, where the journal could put the pair back.
        let new_login = First { is_new_login: true, ..first };
        let turn = may_go(&permission, &id(), new_login, &provider.profile, now());
        let is_asked = expected || ask_again != AskAgain::Never;
        assert_eq!(matches!(turn, Turn::AskAllTheSame), is_asked, "{rotation:?} {ask_again:?} {at:?}");
        // Nor is its user marked, where the pair that was to be copied has gone meanwhile.
        let fact = Fact::Redeemed(Redeemed { first: other, at, successor: None, received: None });
        let case = Case { token: token(books("old", State::Live)), provider, fact };
        let line = if expected {
            "RedeemedIsTaken | - | Live next pass, failures 0 | - | StillDue(document_changed)"
        } else {
            "RedeemedIsHeld | - | hold redeemed | - | -"
        };
        compare([("gone".to_owned(), verdict(&case, Document::Gone))], &[("gone", line)]);
    }
}

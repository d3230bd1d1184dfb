//! What stays known of a token whose row has gone.

use super::*;
use crate::token::AccessToken;

#[tokio::test]
async fn an_answer_that_is_given_up_leaves_its_token_in_doubt() {
    let lost = || Event::Lost { cause: "timeout".into(), peer: None };
    let unread = || Event::CannotRead("no_tokens".into());
    let ask_again = || Event::AskAgain("unreadable".into());
    for (token, status, before) in
        [("a page", 502, vec![lost()]), ("a freed success", 200, vec![unread(), ask_again()])]
    {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path()).unwrap();
        let (entry, since) = sent(&journal, token).await;
        assert_eq!(since, None);
        journal.answer(entry, RawAnswer { status, ..answer("page") }).await.unwrap();
        for event in before.into_iter().chain([Event::GivenUp]) {
            journal.end(vec![(entry, event)], Timestamp::default()).await.unwrap();
        }
        assert!(journal.entries().await.unwrap().is_empty());
        assert!(sent(&journal, token).await.1.is_some(), "{token}: another document may hold it");
    }
}

#[tokio::test]
async fn an_old_access_token_beside_a_token_that_comes_again_and_again_is_no_new_login() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let began = intent("a", "1").sent_at;
    let access = |text: &str| Some(AccessToken::new(text.to_owned()).fingerprint());
    let ask = async |token: &str, beside: &str, minutes: i64| {
        let sent_at = began + chrono::TimeDelta::minutes(minutes);
        let intent = Intent { sent_at, access: access(beside), ..intent(token, "1") };
        journal.intent(intent, RefreshToken::new(token.into())).await.unwrap()
    };
    // Two tokens in turn, each time beside another access token; then three others.
    let turns = [("a", "a1", "b"), ("b", "b1", "a"), ("a", "a2", "b")];
    let three = [("c", "c1", "d"), ("d", "d1", "e"), ("e", "e1", "c"), ("c", "c2", "d"), ("d", "d2", "e")];
    for ((sent, beside, handed_out), minutes) in turns.into_iter().chain(three).zip(0..) {
        let Permission::Send { entry, .. } = ask(sent, beside, minutes).await else {
            panic!("{sent} is good")
        };
        let at = began + chrono::TimeDelta::minutes(minutes);
        journal.end(vec![(entry, redeemed(handed_out))], at).await.unwrap();
    }
    for (token, beside) in [("a", "a1"), ("a", "a2"), ("c", "c1"), ("d", "d1"), ("d", "d2")] {
        let Permission::AlreadyRedeemed { has_other_access, .. } = ask(token, beside, 9).await else {
            panic!("{token} is redeemed")
        };
        assert!(!has_other_access, "{token} beside {beside}: an old file brings it back");
    }
}

//! What stays known of a token whose row has gone.

use super::*;

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

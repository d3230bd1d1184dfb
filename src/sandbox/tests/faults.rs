//! Each fault: what the client sees, and what the ledger says of it.

use super::*;

#[test]
fn fault_scripts_are_read_and_written() {
    for (text, written) in [
        ("", ""),
        ("503:2%", "503:2%"),
        ("500:0.5%,502@10..20", "500:0.5%, 502@10..=19"),
        ("429", "429(1)"),
        ("429(2):3%@7", "429(2):3%@7"),
        ("503(5)@5..", "503(5)@5.."),
        ("drop-before, drop-after@1..=3 , truncate:100%", "drop-before, drop-after@1..=3, truncate:100%"),
        ("html,html-after,redirect,refuse", "html, html-after, redirect, refuse"),
        ("gzip,gzip-unnamed:3%", "gzip, gzip-unnamed:3%"),
        ("slow,slow(0.25),delay(5):1%", "slow(3), slow(0.25), delay(5):1%"),
        ("500-after:1% times=3 user=user-000007", "500-after:1% user=user-000007 times=3"),
    ] {
        let script: FaultScript = text.parse().unwrap();
        assert_eq!(script.to_string(), written);
        assert_eq!(written.parse::<FaultScript>().unwrap(), script);
    }
}

#[test]
fn a_wrong_fault_rule_is_named_together_with_what_was_expected() {
    for (text, rule, expected) in [
        ("503:2%, nonsense", "nonsense", "a status from 400 to 599"),
        ("200", "200", "a status from 400 to 599"),
        ("503,,502", "", "a fault between the commas"),
        ("503:2", "503:2", "a share above 0% and up to 100%"),
        ("503:0%", "503:0%", "a share above 0%"),
        ("503:101%", "503:101%", "up to 100%"),
        ("503:NaN%", "503:NaN%", "a share"),
        ("503@0", "503@0", "request numbers from 1"),
        ("503@20..10", "503@20..10", "request numbers from 1"),
        ("delay", "delay", "seconds, as in `delay(5)`"),
        ("delay(-1)", "delay(-1)", "seconds instead of `-1`"),
        ("slow(3", "slow(3", "a `)`"),
        ("500-after(3)", "500-after(3)", "no argument"),
        ("503 times=0", "503 times=0", "a number above 0"),
        ("503 who=me", "503 who=me", "`user=NAME` or `times=N`"),
    ] {
        let error = text.parse::<FaultScript>().unwrap_err();
        assert_eq!(error.rule, rule);
        assert!(error.expected.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn faults_before_the_commit_leave_the_token_alive() {
    for (script, status, body, outcome) in [
        ("503(5) times=1", Some(503), "503", Outcome::Unprocessed),
        ("401 times=1", Some(401), "invalid_client", Outcome::Unprocessed),
        ("429(2) times=1", Some(429), "Quota limit exceeded", Outcome::Unprocessed),
        ("refuse times=1", Some(400), "invalid_grant", Outcome::Unprocessed),
        ("html times=1", Some(200), "<html>", Outcome::Unprocessed),
        ("redirect times=1", Some(302), "", Outcome::Unprocessed),
        ("drop-before times=1", None, "", Outcome::CutBeforeCommit),
    ] {
        let sandbox = start_with(script, 1).await;
        let token = seeded(&sandbox, 0);
        let reply = redeem(&sandbox, &token).await;
        assert_eq!(reply.status, status, "{script}");
        assert!(reply.body.contains(body), "{script}: {}", reply.body);
        let ledger = sandbox.ledger();
        assert_eq!((ledger.granted, ledger.unprocessed, ledger.faults.len()), (0, 1, 1), "{script}");
        let presentations = sandbox.token_history(&token).unwrap().presentations;
        assert_eq!(presentations.iter().map(|it| it.outcome).collect::<Vec<_>>(), [outcome], "{script}");
        assert_eq!(redeem(&sandbox, &token).await.status, Some(200), "{script}");
    }
}

#[tokio::test]
async fn faults_after_the_commit_lose_the_answer() {
    for (script, status, outcome) in [
        ("drop-after times=1", None, Outcome::CutAfterCommit),
        ("truncate times=1", Some(200), Outcome::Truncated),
        ("html-after times=1", Some(200), Outcome::Replaced),
        ("500-after times=1", Some(500), Outcome::Replaced),
    ] {
        let sandbox = start_with(script, 1).await;
        let token = seeded(&sandbox, 0);
        let reply = redeem(&sandbox, &token).await;
        assert_eq!(reply.status, status, "{script}");
        assert!(!reply.body.contains("refresh_token"), "{script}: {}", reply.body);
        let ledger = sandbox.ledger();
        assert_eq!((ledger.granted, ledger.delivered, ledger.answers_lost), (1, 0, 1), "{script}");
        assert_eq!(sandbox.token_history(&token).unwrap().delivery(), Some(outcome), "{script}");
        assert_eq!(sandbox.user("user-000000").unwrap().lost_answers, 1);
        assert_eq!(redeem(&sandbox, &token).await.error(), "invalid_grant", "{script}");
    }
}

#[tokio::test]
async fn a_truncated_body_announces_more_than_it_sends() {
    let sandbox = start_with("truncate", 1).await;
    let reply = redeem(&sandbox, &seeded(&sandbox, 0)).await;
    let announced: usize = reply.header("content-length").unwrap().parse().unwrap();
    assert_eq!(reply.body.len(), announced / 2);
    assert!(reply.body.starts_with(r#"{"access_token":""#));
}

#[tokio::test]
async fn slow_and_delayed_answers_arrive_whole() {
    for script in ["slow(0.05)", "delay(0.01)"] {
        let sandbox = start_with(script, 1).await;
        let reply = redeem(&sandbox, &seeded(&sandbox, 0)).await;
        assert_eq!(reply.refresh_token(), seeded(&sandbox, 0), "{script}");
        assert_eq!(sandbox.ledger().delivered, 1);
    }
}

#[tokio::test]
async fn a_compressed_answer_is_a_delivered_one() {
    for (script, coding) in [("gzip", Some("gzip")), ("gzip-unnamed", None)] {
        let sandbox = start_with(script, 1).await;
        let reply = redeem(&sandbox, &seeded(&sandbox, 0)).await;
        assert_eq!((reply.status, reply.header("content-encoding")), (Some(200), coding), "{script}");
        assert!(!reply.body.contains("access_token"), "{script}: {}", reply.body);
        let ledger = sandbox.ledger();
        assert_eq!((ledger.granted, ledger.delivered, ledger.answers_lost), (1, 1, 0), "{script}");
    }
}

#[tokio::test]
async fn rules_hit_by_request_number_user_and_times() {
    let sandbox = start_with("502@2..4, 503 user=user-000001 times=1", 2).await;
    let mut statuses = Vec::new();
    for user in [0, 0, 1, 1, 1, 0] {
        statuses.push(redeem(&sandbox, &seeded(&sandbox, user)).await.status.unwrap());
    }
    assert_eq!(statuses, [200, 502, 502, 503, 200, 200]);
    let faults = sandbox.ledger().faults;
    assert_eq!(faults.into_iter().collect::<Vec<_>>(), [("502".into(), 2), ("503".into(), 1)]);
}

#[test]
fn a_share_hits_so_many_and_the_same_ones_for_the_same_seed() {
    let hits = |seed| {
        let mut draw = fault::FaultDraw::new("503:2%".parse().unwrap(), seed);
        (1..=100_000).filter(|number| draw.draw(*number, None).is_some()).collect::<Vec<_>>()
    };
    assert!((1_900..2_100).contains(&hits(1).len()), "{}", hits(1).len());
    assert_eq!(hits(1), hits(1));
    assert_ne!(hits(1), hits(2));
}

#[tokio::test]
async fn faults_are_changed_while_it_runs() {
    let sandbox = start_with("", 1).await;
    assert_eq!(send(&sandbox, "POST", "/control/faults", "", "503@1..").await.body, "503@1..\n");
    assert_eq!(redeem(&sandbox, &seeded(&sandbox, 0)).await.status, Some(503));
    let refused = send(&sandbox, "POST", "/control/faults", "", "nonsense").await;
    assert_eq!(refused.status, Some(400));
    assert!(refused.body.contains("fault rule `nonsense`: expected"));
    assert_eq!(get(&sandbox, "/control/faults").await.body, "503@1..\n");
    sandbox.set_faults(FaultScript::default());
    assert_eq!(redeem(&sandbox, &seeded(&sandbox, 0)).await.status, Some(200));
}

#[tokio::test]
async fn every_request_of_a_bad_day_is_counted_once() {
    let day = "503:7%, 429:5%, drop-before:7%, drop-after:7%, truncate:7%, html:5%, html-after:7%, 500-after:7%, \
               refuse:5%, redirect:5%, slow(0.001):5%";
    let users = 200;
    let sandbox = start_with(day, users).await;
    let before: Vec<_> = sandbox.users().into_iter().map(|user| (user.user, user.refresh_token)).collect();
    let asked = before.iter().map(|(_, token)| redeem(&sandbox, token));
    let replies = futures::future::join_all(asked).await;
    let ledger = sandbox.ledger();
    assert_eq!(ledger.requests, users as u64);
    assert_eq!(ledger.requests, ledger.granted + ledger.unprocessed);
    assert_eq!(ledger.granted, ledger.delivered + ledger.answers_lost);
    assert_eq!(ledger.faults.len(), 11, "{:?}", ledger.faults);
    // Whoever writes down what arrives, and nothing else, loses exactly what the faults kept from it.
    let held = before.into_iter().zip(&replies).map(|((user, token), reply)| {
        let whole = reply.status == Some(200) && reply.body.starts_with('{') && reply.body.ends_with('}');
        (user, if whole { reply.refresh_token() } else { token })
    });
    let audit = sandbox.audit(held);
    assert_eq!((audit.lost_in_flight, audit.lost_received), (ledger.answers_lost, 0));
    assert_eq!(audit.kept + audit.lost_in_flight, users as u64);
    assert_eq!(audit.answers_lost_users, ledger.answers_lost);
}

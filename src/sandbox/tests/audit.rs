//! The judgement over what somebody holds.

use super::*;

fn held(sandbox: &Sandbox) -> Vec<(String, String)> {
    sandbox.users().into_iter().map(|user| (user.user, user.refresh_token)).collect()
}

#[tokio::test]
async fn current_tokens_are_kept() {
    let sandbox = start_with("", 3).await;
    let audit = sandbox.audit(held(&sandbox));
    assert_eq!((audit.held, audit.held_current, audit.kept), (3, 3, 3));
    assert!(audit.is_clean());
}

#[tokio::test]
async fn an_answer_that_was_cut_is_lost_in_flight_and_one_that_arrived_is_lost_received() {
    let sandbox = start_with("drop-after user=user-000000, truncate user=user-000001", 4).await;
    let before = held(&sandbox);
    for (_, token) in &before[..3] {
        redeem(&sandbox, token).await;
    }
    let audit = sandbox.audit(before);
    assert_eq!((audit.held_current, audit.held_stale), (1, 3));
    assert_eq!((audit.kept, audit.lost_in_flight, audit.lost_received), (1, 2, 1));
    assert_eq!((audit.missing_users, audit.answers_lost_users), (3, 2));
    assert_eq!(audit.stale_users, ["user-000000", "user-000001", "user-000002"]);
    let lost: Vec<_> = audit.lost.iter().map(|lost| (lost.received, lost.last_answer)).collect();
    let outcomes = [Outcome::CutAfterCommit, Outcome::Truncated, Outcome::Delivered].map(Some);
    assert_eq!(lost, [(false, outcomes[0]), (false, outcomes[1]), (true, outcomes[2])]);
    assert!(!audit.is_clean());
}

#[tokio::test]
async fn within_the_grace_a_lost_answer_is_not_lost() {
    let clock = Clock::steppable();
    let grace = Duration::from_mins(1);
    let faults = "drop-after".parse().unwrap();
    let sandbox = start(SandboxConfig { grace, faults, clock: clock.clone(), ..Default::default() }).await;
    let before = held(&sandbox);
    redeem(&sandbox, &before[0].1).await;
    assert_eq!(sandbox.audit(before.clone()).kept, 1);
    clock.step(TimeDelta::seconds(60));
    assert_eq!(sandbox.audit(before).lost_in_flight, 1);
}

#[tokio::test]
async fn dead_users_are_nobodys_loss_unless_a_reuse_killed_them() {
    let sandbox = start(SandboxConfig {
        users: 4,
        dead_users: 1,
        reuse: Reuse::RevokeFamily,
        ..SandboxConfig::default()
    })
    .await;
    sandbox.revoke("user-000002");
    let first = seeded(&sandbox, 0);
    redeem(&sandbox, &first).await;
    redeem(&sandbox, &first).await;
    let audit = sandbox.audit(held(&sandbox));
    assert_eq!((audit.kept, audit.dead_users, audit.reuse_ended_users), (1, 2, 1));
    assert_eq!((audit.lost_received, audit.lost_in_flight), (1, 0));
    assert!(audit.lost[0].reuse);
}

#[tokio::test]
async fn a_login_that_expired_in_hand_is_dead_and_one_that_was_lost_before_stays_lost() {
    let clock = Clock::steppable();
    let sandbox = start(SandboxConfig { users: 2, clock: clock.clone(), ..Default::default() }).await;
    let before = held(&sandbox);
    redeem(&sandbox, &before[0].1).await;
    clock.step(TimeDelta::days(15));
    let audit = sandbox.audit(before);
    assert_eq!((audit.dead_users, audit.lost_received, audit.missing_users), (1, 1, 0));
}

#[tokio::test]
async fn nobody_holding_anything_has_lost_everything() {
    let sandbox = start_with("", 2).await;
    let audit = sandbox.audit(Vec::<(String, String)>::new());
    assert_eq!((audit.missing_users, audit.lost_received), (2, 2));
    assert_eq!(audit.missing, ["user-000000", "user-000001"]);
}

#[tokio::test]
async fn crossed_unknown_and_repeated_pairs_are_told_apart() {
    let sandbox = start_with("", 2).await;
    let (first, second) = (seeded(&sandbox, 0), seeded(&sandbox, 1));
    let newer = redeem(&sandbox, &first).await.refresh_token();
    let audit = sandbox.audit([
        ("user-000000@example.com", first.as_str()),
        ("user-000000", newer.as_str()),
        ("user-000000", second.as_str()),
        ("user-000001", "made up"),
        ("stranger", second.as_str()),
    ]);
    assert_eq!((audit.held_current, audit.held_stale, audit.held_crossed, audit.unknown), (1, 1, 1, 2));
    assert_eq!((audit.kept, audit.lost_received), (1, 1));
}

#[tokio::test]
async fn the_audit_reads_documents_as_lines_or_as_an_array() {
    let sandbox = start_with("", 2).await;
    let lines = get(&sandbox, "/users").await.body;
    let lines: Vec<_> = lines.lines().filter(|line| line.starts_with('{')).collect();
    for body in [lines.join("\n"), format!("[{}]", lines.join(","))] {
        let reply = send(&sandbox, "POST", "/ledger/audit", "", &body).await;
        let audit: Audit = serde_json::from_str(&reply.body).unwrap();
        assert_eq!((audit.held_current, audit.kept), (2, 2));
    }
    assert_eq!(send(&sandbox, "POST", "/ledger/audit", "", "user-000000").await.status, Some(400));
}

#[tokio::test]
async fn the_ledger_shows_users_and_tokens_line_by_line() {
    let sandbox = start_with("drop-after times=1", 2).await;
    redeem(&sandbox, &seeded(&sandbox, 0)).await;
    let summary: LedgerSummary = serde_json::from_str(&get(&sandbox, "/ledger").await.body).unwrap();
    assert_eq!(summary, sandbox.ledger());
    assert_eq!((summary.answers_lost, summary.tokens, summary.in_flight_peak), (1, 3, 1));
    let text = get(&sandbox, "/ledger/users").await.body;
    let users = text.lines().filter(|line| line.starts_with('{'));
    let users: Vec<UserRecord> = users.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((users.len(), users[0].rotations, users[0].lost_answers), (2, 1, 1));
    let text = get(&sandbox, "/ledger/tokens").await.body;
    let tokens = text.lines().filter(|line| line.starts_with('{'));
    let tokens: Vec<TokenRecord> = tokens.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tokens.len(), 3);
    assert_eq!(tokens[0].delivery(), Some(Outcome::CutAfterCommit));
    assert_eq!(Some(&tokens[2].refresh_token), tokens[0].successor.as_ref());
}

/// Waits until the ledger says so; the sandbox learns of a lost client a moment after the client is gone.
async fn until(sandbox: &Sandbox, reached: impl Fn(&LedgerSummary) -> bool) {
    tokio::time::timeout(Duration::from_secs(5), async {
        while !reached(&sandbox.ledger()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the ledger gets there");
}

async fn ask(sandbox: &Sandbox, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    let body = format!(
        "grant_type=refresh_token&client_id=sandbox-client&client_secret=sandbox-secret&refresh_token={token}"
    );
    let length = body.len();
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: sandbox\r\nContent-Length: {length}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_dies_with_the_answer_unread_has_not_received_it() {
    let sandbox = start_with("", 1).await;
    let before = held(&sandbox);
    let stream = ask(&sandbox, &before[0].1).await;
    stream.readable().await.unwrap();
    drop(stream);
    until(&sandbox, |ledger| ledger.answers_untaken == 1).await;
    let audit = sandbox.audit(before);
    assert_eq!((audit.lost_in_flight, audit.lost_received), (1, 0));
    assert_eq!(sandbox.ledger().delivered, 0);
}

#[tokio::test]
async fn a_client_that_dies_before_the_answer_comes_has_not_received_it() {
    let sandbox = start_with("slow(60)", 1).await;
    let before = held(&sandbox);
    let stream = ask(&sandbox, &before[0].1).await;
    until(&sandbox, |ledger| ledger.granted == 1).await;
    drop(stream);
    until(&sandbox, |ledger| ledger.answers_untaken == 1).await;
    assert_eq!(sandbox.audit(before).lost_in_flight, 1);
}

#[tokio::test]
async fn a_client_that_read_its_answer_and_then_died_has_received_it() {
    let sandbox = start_with("", 1).await;
    let before = held(&sandbox);
    let mut stream = ask(&sandbox, &before[0].1).await;
    let mut read = Vec::new();
    while !read.ends_with(b"}") {
        stream.read_buf(&mut read).await.unwrap();
    }
    drop(stream);
    sandbox.clone().stop().await;
    assert_eq!(sandbox.ledger().answers_untaken, 0);
    assert_eq!(sandbox.audit(before).lost_received, 1);
}

#[tokio::test]
async fn a_replay_is_told_from_the_second_try_of_a_lost_answer() {
    let sandbox = start_with("drop-after user=user-000000", 2).await;
    let before = held(&sandbox);
    for (_, token) in before.iter().chain(&before) {
        redeem(&sandbox, token).await;
    }
    let replays = sandbox.replays();
    let told: Vec<_> = replays.iter().map(|replay| (replay.user.as_str(), replay.outcome)).collect();
    assert_eq!(told, [("user-000001", Outcome::Refused)]);
    assert_eq!(replays[0].refresh_token, before[1].1);
    assert!(replays[0].presented_at >= replays[0].redeemed_at);
}

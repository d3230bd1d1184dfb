//! A measurement: `cargo test --release --lib sandbox -- --ignored --nocapture`.

use super::*;
use std::time::Instant;

/// Keep-alive connections that redeem at the same time.
const CONNECTIONS: usize = 32;

/// Redemptions of each user.
const ROUNDS: usize = 5;

#[test]
#[ignore = "a measurement, not a test"]
#[expect(clippy::print_stdout, reason = "a measurement is there to be read")]
fn one_core_grants_15_000_a_second() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = SandboxConfig { users: 200_000, ..SandboxConfig::default() };
    let started = Instant::now();
    let server = runtime();
    let (sandbox, serving) = server.block_on(Sandbox::bind(config, (Ipv4Addr::LOCALHOST, 0).into())).unwrap();
    let seeded = started.elapsed();
    let (shutdown, asked) = tokio::sync::oneshot::channel::<()>();
    let serving = std::thread::spawn(move || {
        server.block_on(serving.run(async { asked.await.unwrap() }));
    });
    let users = sandbox.users();
    let started = Instant::now();
    runtime().block_on(async {
        let share = users.len() / CONNECTIONS / 4;
        let clients =
            users.chunks(share).take(CONNECTIONS).map(|users| redeem_again_and_again(&sandbox, users));
        futures::future::join_all(clients).await;
    });
    let elapsed = started.elapsed();
    let granted = sandbox.ledger().granted;
    shutdown.send(()).unwrap();
    serving.join().unwrap();
    let rate = u128::from(granted) * 1000 / elapsed.as_millis();
    let message = format!("seeded in {seeded:?}; {granted} grants in {elapsed:?}: {rate}/s");
    assert!(rate >= 15_000, "{message}");
    println!("{message}");
}

async fn redeem_again_and_again(sandbox: &Sandbox, users: &[SeededUser]) {
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = Vec::with_capacity(1024);
    for user in users.iter().take(2_000) {
        let mut token = user.refresh_token.clone();
        for _ in 0..ROUNDS {
            let request = format!(
                "POST /token HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 136\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\n\
                 grant_type=refresh_token&client_id=sandbox-client&client_secret=sandbox-secret&refresh_token={token}"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            answer.clear();
            while !answer.ends_with(b"}") {
                stream.read_buf(&mut answer).await.unwrap();
            }
            let text = std::str::from_utf8(&answer).unwrap();
            token = text.split_once(r#""refresh_token":""#).unwrap().1[..43].into();
        }
    }
}

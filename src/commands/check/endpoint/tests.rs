use super::super::finding::Status;
use super::super::given::{self, now};
use super::*;
use crate::sandbox::{Sandbox, SandboxConfig};

fn config(settings: &[(&str, &str)]) -> Config {
    let client =
        [("provider", "autodesk"), ("client_id", "sandbox-client"), ("client_secret", "sandbox-secret")];
    given::config(&[&client, settings].concat())
}

#[test]
fn chances_are_told_once_and_with_their_arithmetic() {
    let weekly = config(&[]);
    let check = chances(&weekly.providers[0], &weekly, Learned::default(), now());
    assert_eq!(
        (check.status, &*check.detail),
        (
            Status::Ok,
            "each refresh token meets at least 1 scheduled pass before it expires. If that pass fails, the service \
             tries again 7 times in the 2d 8h that are left at the worst. `run --once` does not try again: start it \
             every day. The numbers: a refresh token lives 14d, is due 4d 16h after it was issued, and then has 9d \
             8h left; scheduled passes start up to 7d apart"
        )
    );
    let daily = config(&[("schedule", "0 3 * * *")]);
    let check = chances(&daily.providers[0], &daily, Learned::default(), now());
    assert_eq!(
        check.detail,
        "each refresh token meets at least 9 scheduled passes before it expires: a refresh token lives 14d, is due 4d \
         16h after it was issued, and then has 9d 8h left; scheduled passes start up to 1d apart"
    );
    let short = config(&[("refresh_token_lifetime", "11d")]);
    let check = chances(&short.providers[0], &short, Learned::default(), now());
    assert_eq!(check.status, Status::Warning);
    assert!(check.detail.contains("meets only 1 scheduled pass before it expires"), "{check:?}");
    assert!(!other_warnings(&short).any(|warning| warning.to_string().contains("before it expires")));
    let unknown = config(&[("refresh_token_lifetime", "unknown")]);
    assert!(chances(&unknown.providers[0], &unknown, Learned::default(), now()).hint.is_some());
}

#[test]
fn a_login_that_nothing_extends_is_told_and_old_facts_are_warned_of() {
    let daily = config(&[("login_lifetime", "60d"), ("refresh_token_lifetime", "60d")]);
    let provider = &daily.providers[0];
    assert_eq!(
        chances(provider, &daily, Learned::default(), now()).detail,
        "nothing extends the life of a token: it ends with its login"
    );
    let login = fixed_login(provider, &daily).unwrap();
    assert_eq!(login.status, Status::Ok);
    assert!(login.detail.starts_with("a login ends 60d after it began"), "{login:?}");
    let short = config(&[("login_lifetime", "24h")]);
    let login = fixed_login(&short.providers[0], &short).unwrap();
    assert_eq!(login.status, Status::Warning);
    assert_eq!(other_warnings(&short).count(), other_warnings(&config(&[])).count(), "it is told once");
    let mut provider = Provider::clone(provider);
    assert_eq!(old_facts(&provider, now()), None);
    for (days, told) in [(183, false), (184, true), (-5, false)] {
        provider.profile.checked = Some(now().date_naive() - TimeDelta::days(days));
        assert_eq!(old_facts(&provider, now()).is_some(), told, "{days}");
    }
}

#[test]
fn the_time_of_a_whole_pass_is_told() {
    let config = config(&[]);
    let check = drain(&config.providers[0], &config, 12_000, now());
    assert_eq!(
        check.detail,
        "a pass over all documents (12000) takes 30min at 400/min, 16 in flight at most"
    );
    assert_eq!(drain(&config.providers[0], &config, 40_000_000, now()).status, Status::Warning);
}

#[test]
fn what_the_provider_says_of_the_client_is_never_guessed() {
    let config = config(&[]);
    let check = |class, code: &str| {
        let reading = Reading::new(class, code, Some(400), true);
        check_client(&config.providers[0], &reading)
    };
    for (class, status) in [
        (Class::Refused, Status::Ok),
        (Class::Suspected, Status::Ok),
        (Class::ClientRejected, Status::Failed),
        (Class::Throttled(None), Status::Warning),
        (Class::Transient, Status::Warning),
        (Class::Ambiguous, Status::Warning),
        (Class::Unreadable, Status::Warning),
    ] {
        assert_eq!(check(class.clone(), "c").status, status, "{class:?}");
    }
    let rejected = check(Class::ClientRejected, "invalid_client");
    assert_eq!(rejected.exit(), Exit::ClientRejected);
    assert!(rejected.hint.unwrap().contains("`client_secret`"));
    let hint = check(Class::ClientRejected, "invalid_request").hint.unwrap();
    assert!(hint.contains("`client_secret`") && hint.contains("list `invalid_request` in `answer.refused`"));
    let unlisted = check(Class::Unlisted, "token_ended").hint.unwrap();
    assert!(unlisted.contains("list `token_ended` in `answer.refused`"), "{unlisted}");
}

/// A server that knows one method of each path.
async fn server_that_takes(method: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap_or_default();
            let known = head[..length].starts_with(format!("{method} /token ").as_bytes());
            let status = if known { "400 Bad Request" } else { "404 Not Found" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_path_that_is_not_there_is_told_and_one_that_takes_posts_only_is_there() {
    let server = server_that_takes("POST").await;
    for (path, expected, words) in
        [("/token", Status::Ok, "HTTP 400"), ("/tokens", Status::Warning, "there is no such path (HTTP 404")]
    {
        let config = config(&[("token_url", &format!("{server}{path}"))]);
        let found =
            checks(&config.providers[0], &config, Learned::default(), None, false, &Clock::system()).await;
        assert_eq!(found[1].status, expected, "{found:?}");
        assert!(found[1].detail.contains(words), "{found:?}");
        let names_the_key = found[1].hint.as_ref().is_some_and(|hint| hint.contains("`token_url`"));
        assert_eq!(names_the_key, expected == Status::Warning, "{found:?}");
    }
}

#[tokio::test]
async fn a_sandbox_knows_its_client_and_no_other() {
    let sandbox = Sandbox::start(SandboxConfig::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = sandbox.token_url();
    for (secret, status) in [("sandbox-secret", Status::Ok), ("wrong", Status::Failed)] {
        let config = config(&[("token_url", &url), ("client_secret", secret)]);
        let found =
            checks(&config.providers[0], &config, Learned::default(), None, true, &Clock::system()).await;
        let statuses: Vec<_> = found.iter().skip(1).map(|check| check.status).collect();
        assert_eq!(statuses, [Status::Ok, status], "{found:?}");
    }
    assert_eq!(sandbox.ledger().granted, 0);
    sandbox.stop().await;
    let config = config(&[("token_url", &url)]);
    let found = checks(&config.providers[0], &config, Learned::default(), None, true, &Clock::system()).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((found[1].status, found[1].exit()), (Status::Failed, Exit::Usage));
    assert!(found[1].detail.contains("can't be reached (connect)"), "{found:?}");
}

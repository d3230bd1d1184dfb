//! Every output of every process that a test runs is searched for secrets.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

/// The secret of every scene's client: nothing else that is said has this text in it.
pub(crate) const CLIENT_SECRET: &str = "planted-Client-Secret-0815";

/// Letters, digits, `-` and `_` in a row from which on they are a token, when they are a mixture: the sandbox's have 43.
const TOKEN_CHARACTERS: usize = 32;

/// Shorter ones could be a word of a message.
const SHORTEST_PLANTED: usize = 8;

static PLANTED: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);
static OUTPUTS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// From now on no process may say this.
pub(crate) fn plant(secret: &str) {
    if secret.len() >= SHORTEST_PLANTED {
        PLANTED.lock().unwrap().insert(secret.to_owned());
    }
}

/// Plants the password of a URL that has one.
pub(crate) fn plant_password(url: &str) {
    let credentials = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    if let Some((_, password)) = credentials.and_then(|(credentials, _)| credentials.split_once(':')) {
        plant(password);
    }
}

/// So many outputs, with so many bytes in all, have been searched by this process.
pub(crate) fn searched() -> (u64, u64) {
    (OUTPUTS.load(Ordering::SeqCst), BYTES.load(Ordering::SeqCst))
}

/// Panics if a secret is in it, without repeating the secret.
pub(crate) fn search(what: &str, output: &str) {
    if let Some((found, at)) = find(output) {
        let around: String = output[..at].chars().rev().take(300).collect();
        let around: String = around.chars().rev().collect();
        panic!("{found} is said on {what}, behind: {around}");
    }
    OUTPUTS.fetch_add(1, Ordering::SeqCst);
    BYTES.fetch_add(output.len() as u64, Ordering::SeqCst);
    note(output.len());
}

fn find(output: &str) -> Option<(&'static str, usize)> {
    let planted = PLANTED.lock().unwrap();
    if let Some(at) = planted.iter().find_map(|secret| output.find(secret.as_str())) {
        return Some(("a planted secret", at));
    }
    let in_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    output.split(|c| !in_token(c)).find_map(|run| {
        let has = |is: fn(&u8) -> bool| run.as_bytes().iter().any(is);
        let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
        let at = run.as_ptr() as usize - output.as_ptr() as usize;
        (run.len() >= TOKEN_CHARACTERS && mixed).then_some(("a token", at))
    })
}

/// Adds a line to the file that `EVERGRANT_TEST_SEARCHED` names, so that the figures of a whole suite can be added up.
#[expect(clippy::disallowed_methods, reason = "a knob of the tests, not a setting")]
fn note(bytes: usize) {
    let Ok(path) = std::env::var("EVERGRANT_TEST_SEARCHED") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.unwrap(), "{bytes}").unwrap();
}

#[test]
fn a_token_and_a_planted_secret_are_found() {
    plant("planted-for-this-test");
    assert_eq!(find("a planted-for-this-test b"), Some(("a planted secret", 2)));
    let token = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop0";
    assert_eq!(find(&format!("error: {token}\n")), Some(("a token", 7)));
    assert_eq!(find("67e5504410b1426f9247bb680e5fe0c8 /tmp/.tmpQ7f2Ax/state"), None);
}

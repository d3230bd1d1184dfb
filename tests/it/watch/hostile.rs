//! Users whose names forge lines, close quotes, turn the text around, or have no end.

use super::outlets::Listener;
use super::{Shown, after_a_pass};
use crate::support::process::{Kind, Scene};
use evergrant::sandbox::SandboxConfig;
use serde_json::{Value, json};

/// A part of each name.
const MARK: &str = "name-of-a-user";

fn hostile_names() -> [String; 6] {
    [
        format!("{MARK}\nFORGED evergrant_store_up 0\r\nFORGED"),
        format!("{MARK}\"}} 1\n# TYPE FORGED gauge \\"),
        format!("{MARK}\u{202e}\u{2066}\u{200f}dessim"),
        format!("{MARK}\u{1b}[2J\u{7}\u{0}\u{85}\u{2028}FORGED"),
        format!("{MARK} <script>alert(1)</script> {{{{ $value }}}} %0d%0a"),
        format!("{MARK}{}", "x".repeat(10 * 1024)),
    ]
}

/// The same documents, with these names.
async fn rename(scene: &Scene, names: &[String]) {
    let documents = scene.documents().await;
    let lines = documents.iter().zip(names).map(|(document, name)| {
        let token = document.refresh_token.as_ref().unwrap().expose();
        let id = serde_json::to_value(&document.id).unwrap();
        json!({ "_id": id, "email": name, "refresh_token": token }).to_string()
    });
    let file = scene.folder.path().join("renamed.json");
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let ended = scene.run(&["tokens", "import", file.to_str().unwrap(), "--overwrite"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Nothing of a name makes a line of its own, or moves what stands around it.
fn assert_harmless(what: &str, text: &str) {
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("FORGED"), "{what}: {line}");
        assert!(line.len() < 4096, "{what}: {} bytes in a line", line.len());
    }
    let may_stand = |letter: char| {
        letter == '\n' || !letter.is_control() && !"\u{202e}\u{2066}\u{200f}\u{2028}".contains(letter)
    };
    assert_eq!(text.chars().find(|letter| !may_stand(*letter)), None, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_reaches_what_is_shown_and_none_forges_a_line_of_log_or_report() {
    for format in ["json", "text"] {
        let names = [hostile_names(), hostile_names()].concat();
        let config = SandboxConfig { users: names.len(), dead_users: 1, ..SandboxConfig::default() };
        let mut scene = Scene::new("watch_hostile", Kind::Sqlite, config).await.unwrap();
        rename(&scene, &names).await;
        let (gateway, ping) = (Listener::start().await, Listener::start().await);
        let file = scene.folder.path().join("evergrant.prom");
        for (key, value) in [
            ("metrics.file", file.to_str().unwrap()),
            ("metrics.push_url", &format!("http://{}/metrics/job/evergrant", gateway.address)),
            ("ping_url", &format!("http://{}/check", ping.address)),
            ("log.format", format),
            ("log.level", "debug"),
            ("schedule", "* * * * * *"),
        ] {
            scene.set(key, value);
        }
        let mut shown = Shown::start(&mut scene);
        let page = shown.until(after_a_pass).await;
        assert!(page.keys().all(|series| !series.contains("FORGED")));
        for path in ["/metrics", "/status", "/status.json", "/livez?verbose", "/readyz?verbose"] {
            let (status, text) = shown.get(path).await.unwrap();
            assert_eq!(status, 200, "{path}");
            assert!(!text.contains(MARK), "{path}: {text}");
        }
        let ended = shown.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!std::fs::read_to_string(&file).unwrap().contains(MARK));
        let told = [gateway.heard(), ping.heard()].concat();
        assert!(told.len() >= 3, "{told:?}");
        assert!(told.iter().all(|(line, body)| !line.contains(MARK) && !body.contains(MARK)), "{told:?}");
        assert!(ended.stderr.contains(MARK), "a person must know who it is: {ended:?}");
        assert_harmless("the log", &ended.stderr);
        if format == "json" {
            for line in ended.stderr.lines() {
                assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
            }
        }
        for arguments in [
            &["run", "--once", "--dry-run", "--force"][..],
            &["run", "--once", "--force"],
            &["tokens", "list"],
            &["journal", "list"],
            &["status"],
        ] {
            let ended = scene.run(arguments).await;
            assert_harmless(&arguments.join(" "), &ended.stdout);
            assert_harmless(&arguments.join(" "), &ended.stderr);
        }
    }
}

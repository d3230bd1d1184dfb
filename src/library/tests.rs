//! The face that another program sees.

use super::*;
use std::path::Path;

/// A client secret that nothing may show.
const CANARY: &str = "canary-S3cr3t";

fn settings(folder: &Path, further: &[(&str, &str)]) -> Result<Settings, Error> {
    let state_dir = folder.to_str().unwrap();
    let all = [
        ("state_dir", state_dir),
        ("provider", "generic"),
        ("token_url", "http://127.0.0.1:1/token"),
        ("client_id", "id"),
        ("client_secret", CANARY),
    ];
    Settings::new(all.into_iter().chain(further.iter().copied()))
}

#[test]
fn an_error_names_the_key_and_what_to_do_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let error = Settings::new([("state_dir", "/s")]).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.to_string().contains("no provider is configured"), "{error}");
    assert!(error.hint().unwrap().contains("`provider`"), "{error:?}");
    for (key, value, named) in [
        ("leese", "9min", "did you mean `lease`?"),
        ("lease", CANARY, "the program's settings"),
        ("store.url", "http://admin:canary-S3cr3t@db", "`mongodb://…`"),
    ] {
        let error = settings(folder.path(), &[(key, value)]).unwrap_err();
        let told = format!("{error}\n{}", error.hint().unwrap_or_default());
        assert!(told.contains(named), "{told}");
        assert!(key == "lease" || !format!("{told}{error:?}").contains(CANARY), "{told}");
    }
    let good = settings(folder.path(), &[]).unwrap();
    assert!(!format!("{good:?}").contains(CANARY), "{good:?}");
    // Other programs see a command line. They don't see this one's memory.
    assert_eq!(good.warnings().iter().find(|warning| warning.contains("client_secret")), None);
}

#[tokio::test]
async fn a_second_engine_is_refused_until_the_last_clone_of_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), &[]).unwrap();
    let first = Engine::open(&settings).await.unwrap();
    let clone = first.clone();
    assert_eq!(Engine::open(&settings).await.unwrap_err().exit(), Exit::JournalHeld);
    drop(first);
    assert_eq!(clone.import("{\"_id\":1,\"refresh_token\":\"a\"} {\"_id\":2}").await.unwrap(), 2);
    clone.close().await;
    let again = Engine::open(&settings).await.unwrap();
    let pair = again.read(&TokenId::from_extended_json(r#"{"$numberInt":"1"}"#)).await.unwrap().unwrap();
    assert_eq!(pair.refresh_token.unwrap().expose(), "a");
    assert_eq!(pair.state, State::Live);
    let malformed = again.read(&TokenId::from_extended_json(r#"{"$numberInt":"2"}"#)).await.unwrap().unwrap();
    assert_eq!(malformed.refresh_token, None);
    assert!(again.read(&TokenId::from_extended_json("3")).await.unwrap().is_none());
    let broken = again.import("{\"_id\":3} {").await.unwrap_err();
    assert_eq!(broken.exit(), Exit::Usage);
    assert!(again.read(&TokenId::from_extended_json("3")).await.unwrap().is_none(), "all or none");
    again.close().await;
}

//! A profile of one's own, in a file that `provider` names.

use super::*;
use crate::help;
use crate::provider::request::{ClientAuth, Encoding};

const OWN: &str = r#"
token_url = "https://api.example.com/auth/refresh"
client_auth = "no_client"
request = { encoding = "json", grant_type = "none", refresh_token = "body:refreshToken" }
[answer]
access_token = "/accessToken"
rules = [{ status = 401, where = { "/message" = "Refresh token expired" }, means = "refused" }]
"#;

#[test]
fn a_file_is_the_profile_and_the_settings_lie_over_it() {
    let settings =
        "provider = \"../profiles/own.toml\"\naccess_token_lifetime = \"1h\"\nrequest.method = \"PUT\"";
    let setup = Setup::bare().write("etc/evergrant.toml", settings).write("profiles/own.toml", OWN);
    let setup =
        Setup { inputs: Inputs { file: Some(setup.path("etc/evergrant.toml")), ..setup.inputs }, ..setup };
    let config = setup.load();
    let provider = &config.providers[0];
    assert_eq!((&*provider.name, provider.client_id.as_str()), ("own", ""));
    assert_eq!(provider.profile.client_auth, ClientAuth::NoClient);
    assert_eq!(provider.profile.request.encoding, Encoding::Json);
    assert_eq!(provider.profile.request.method.word(), "PUT");
    assert_eq!(provider.profile.answer.rules.len(), 1);
    assert_eq!(provider.token_url.to_string(), "https://api.example.com/auth/refresh");

    let named = "[providers.acme]\nprofile = \"./own.toml\"";
    let named = Setup::bare().file(named).write("own.toml", OWN).load();
    assert_eq!(&*named.providers[0].name, "acme");
    let variable = Setup::bare().variable("EVERGRANT_PROVIDER", "./own").write("own", OWN).load();
    assert_eq!(&*variable.providers[0].name, "own");
}

#[test]
fn the_settings_in_the_topic_of_each_kind_can_be_used() {
    for (name, topic) in [
        ("autodesk", help::AUTODESK),
        ("bearer-session", help::BEARER_SESSION),
        ("cookie-session", help::COOKIE_SESSION),
        ("express-jwt", help::EXPRESS_JWT),
        ("jwt-pair", help::JWT_PAIR),
    ] {
        let (_, rest) = topic.split_once("```toml\n").unwrap();
        let settings = rest.split_once("```").unwrap().0;
        let settings =
            settings.replace("client_secret_file = \"/run/secrets/autodesk\"", "client_secret = \"s\"");
        let config = Setup::bare().file(&settings).load();
        assert_eq!(&*config.providers[0].name, name);
    }
}

#[test]
fn what_does_not_fit_the_file_is_told_with_its_place() {
    let with = |settings: &str, own: &str| {
        Setup::bare().file(&format!("provider = \"./own.toml\"\n{settings}")).write("own.toml", own).refused()
    };
    for (settings, own, parts) in [
        ("client_id = \"x\"", OWN, &["no client id is sent", "evergrant.toml line 2", "own.toml"][..]),
        ("client_secret = \"x\"", OWN, &["client_secret", "no_client"]),
        ("request.method = \"GET\"", OWN, &["a GET has no body", "evergrant.toml line 2"]),
        ("request.refresh_token = \"cookie\"", OWN, &["a place in a request: `body:NAME`"]),
        ("answer.rules = []", OWN, &["there is no key `answer.rules`", "evergrant help own-server"]),
        ("", "token_url = \"http://api.example.com/token\"", &["own.toml", "`token_url`", "https://"]),
        (
            "",
            "token_url = \"https://user:s3cret@api.example.com/token\"",
            &["own.toml", "`token_url`", "user name"],
        ),
        ("", "[answer]\nerror_code = [\"error\"]", &["own.toml", "`answer.error_code`", "JSON pointer"]),
        ("", "client_id_name = \"\"", &["own.toml", "`client_id_name`"]),
        ("", "colour = 1", &["own.toml line 1", "no key `colour`"]),
        ("", "\n[answer]\nacces_token = \"/a\"", &["own.toml line 3", "did you mean `answer.access_token`?"]),
        (
            "",
            "client_id = \"x\"",
            &["own.toml line 1", "`client_id` is a setting: it stands in evergrant.toml"],
        ),
        ("", "[documents]\nsubject = \"x\"", &["own.toml line 1", "`documents` is a setting"]),
        ("", "client_auth = \"no_client\"", &["has no token endpoint", "token_url"]),
    ] {
        assert_tells(&with(settings, own), parts);
    }
    assert_tells(&Setup::bare().file("provider = \"./none.toml\"").refused(), &["none.toml can't be read"]);
    assert_tells(
        &Setup::bare().file("provider = \"./my own.toml\"").refused(),
        &["my own", "letters, digits"],
    );
    let slip = Setup::minimal().variable("EVERGRANT_REQUEST_HEADERS", "X-Api-Key: s3cret").refused();
    assert!(slip.contains("EVERGRANT_REQUEST_HEADERS") && !slip.contains("s3cret"), "{slip}");
    let variable = Setup::minimal().variable("EVERGRANT_ANSWER_RULES", "x").refused();
    assert_tells(&variable, &["EVERGRANT_ANSWER_RULES", "evergrant help own-server"]);
}

#[test]
fn the_eight_lines_of_the_help_are_a_profile_and_so_is_its_example() {
    let blocks = crate::help::OWN_SERVER.split("```toml\n").skip(1);
    let blocks: Vec<_> = blocks.map(|block| block.split("```").next().unwrap_or_default()).collect();
    let (of_shops, whole): (Vec<&str>, Vec<&str>) = blocks
        .into_iter()
        .partition(|block| block.starts_with("# shops.toml") || block.starts_with("# evergrant.toml"));
    let [shops, settings] = of_shops[..] else { panic!("a profile with variables, and its settings") };
    let shops = Setup::bare().file(settings).write("shops.toml", shops).load();
    assert_eq!(shops.providers[0].token_url.to_string(), "https://acme.example.com/oauth/token");
    assert_eq!(shops.providers[0].values.0.len(), 2);
    let text = whole.concat();
    let config = Setup::bare().file("provider = \"./own.toml\"").write("own.toml", &text).load();
    let profile = &config.providers[0].profile;
    assert_eq!((profile.answer.rules.len(), profile.examples.len()), (1, 1));
    assert_eq!(profile.examples[0].means, "refused");
}

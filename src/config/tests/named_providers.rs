use super::*;

const TWO: &str = r#"
documents.provider = "idp"

[providers.autodesk]
client_id = "one"
client_secret = "secret-1"

[providers.in-house]
profile = "generic"
token_url = "https://login.example.com/token"
client_id = "two"
client_secret = "secret-2"
rate = "5/s"
"#;

#[test]
fn documents_choose_among_named_providers() {
    let config = Setup::bare().file(TWO).load();
    let shown: Vec<_> = config
        .providers
        .iter()
        .map(|provider| (&*provider.name, provider.profile_name.as_str(), provider.client_id.as_str()))
        .collect();
    assert_eq!(shown, [("autodesk", "autodesk", "one"), ("in-house", "generic", "two")]);
    assert_eq!(config.providers[1].profile.rate.unwrap().to_string(), "5/s");
    assert_eq!(config.providers[1].client_secret.as_ref().unwrap().expose(), "secret-2");
    assert_eq!(config.store.mapping.provider.unwrap().as_str(), "idp");
}

#[test]
fn their_variables_carry_their_name() {
    let config = Setup::bare()
        .file(TWO)
        .variable("EVERGRANT_PROVIDERS_IN_HOUSE_CLIENT_ID", "from-environment")
        .variable("EVERGRANT_PROVIDERS_IN_HOUSE_ANSWER_ERROR_CODE", "/code,/error")
        .flag("providers.autodesk.rate", "7/s")
        .load();
    assert_eq!(config.providers[1].client_id, "from-environment");
    assert_eq!(config.providers[1].profile.answer.error_code, ["/code", "/error"]);
    assert_eq!(config.providers[0].profile.rate.unwrap().to_string(), "7/s");
}

#[test]
fn a_provider_may_come_from_the_environment_alone() {
    let config = Setup::bare()
        .variable("EVERGRANT_PROVIDERS_AUTODESK_CLIENT_ID", "an-id")
        .variable("EVERGRANT_PROVIDERS_AUTODESK_CLIENT_SECRET", "a-secret")
        .load();
    assert_eq!(
        (&*config.providers[0].name, config.providers.len()),
        ("autodesk", 1),
        "one needs no mapped field"
    );
    let told = Setup::bare().file(TWO).variable("EVERGRANT_PROVIDERS_INHOUSE_RATE", "1/s").refused();
    assert_tells(
        &told,
        &[
            "`[providers.inhouse]` (environment variable `EVERGRANT_PROVIDERS_INHOUSE_RATE`)",
            "`EVERGRANT_PROVIDERS_INHOUSE_PROFILE`",
        ],
    );
}

#[test]
fn their_secrets_are_credentials_with_their_name() {
    let without = TWO.replace("client_secret = \"secret-2\"", "");
    let setup = Setup::bare().file(&without).write("credentials/client_secret.in-house", "from systemd\n");
    let directory = setup.path("credentials").display().to_string();
    let config = setup.variable("CREDENTIALS_DIRECTORY", &directory).load();
    assert_eq!(config.providers[1].client_secret.as_ref().unwrap().expose(), "from systemd");
    let missing = Setup::bare().file(&without).refused();
    assert_tells(
        &missing,
        &[
            "the provider `in-house` has no client secret",
            "`providers.in-house.client_secret`",
            "`EVERGRANT_PROVIDERS_IN_HOUSE_CLIENT_SECRET`",
        ],
    );
}

#[test]
fn a_table_without_keys_is_a_provider_whose_keys_are_missing() {
    let told = Setup::bare().file("[providers.autodesk]\n").refused();
    assert_tells(
        &told,
        &["the provider `autodesk` has no client id", "`EVERGRANT_PROVIDERS_AUTODESK_CLIENT_ID`"],
    );
}

#[test]
fn what_is_ambiguous_among_providers_is_refused() {
    let at_top = Setup::bare().file(TWO).variable("EVERGRANT_PROVIDER", "autodesk").refused();
    assert_tells(
        &at_top,
        &[
            "`provider = \"autodesk\"` (environment variable `EVERGRANT_PROVIDER`)",
            "`[providers.autodesk]` (evergrant.toml line 4)",
        ],
    );
    let xero = "[providers.xero]\nprofile = \"generic\"\nclient_id = \"two\"";
    let beside = Setup::minimal().file(xero).refused();
    assert_tells(
        &beside,
        &[
            "`provider = \"autodesk\"`",
            "hint: move `client_id`, `client_secret` from the top into `[providers.autodesk]`",
            "`EVERGRANT_PROVIDERS_AUTODESK_CLIENT_ID`",
            "and remove `provider`",
        ],
    );
    assert!(!beside.contains("EVERGRANT_PROVIDERS_XERO"), "those keys are the other provider's: {beside}");
    let at_top = Setup::bare().file(TWO).variable("EVERGRANT_CLIENT_SECRET", CANARY).refused();
    assert_tells(&at_top, &["`client_secret` (environment", "`EVERGRANT_PROVIDERS_AUTODESK_CLIENT_SECRET`"]);
    let unmapped = Setup::bare().file(&TWO.replace("documents.provider = \"idp\"", "")).refused();
    assert_tells(
        &unmapped,
        &["2 providers (autodesk, in-house)", "`documents.provider`", "`EVERGRANT_DOCUMENTS_PROVIDER`"],
    );
    let overlapping =
        Setup::bare().file(&format!("{TWO}\n[providers.in_house]\nprofile = \"generic\"")).refused();
    assert_tells(&overlapping, &["`[providers.in-house]`", "`[providers.in_house]`", "`IN_HOUSE`"]);
    let unnamed = Setup::bare().file("[providers.\"my idp\"]\nclient_id = \"x\"").refused();
    assert_tells(&unnamed, &["evergrant.toml line 1", "`my idp`", "letters, digits"]);
    let profile = Setup::bare().file(&TWO.replace("\"generic\"", "\"genric\"")).refused();
    assert_tells(&profile, &["`providers.in-house.profile` is the text `genric`", "did you mean `generic`?"]);
}

//! Variables of a profile: declared in its file, with values from the settings and the documents.

use super::*;
use crate::token::Facts;

const SHOP: &str = r#"
token_url = "https://{shop}.example.com/{path}/token"
client_auth = "no_client"
variables = { shop = "label", path = { kind = "segment", default = "v1" }, key = "secret" }
request = { headers = { X-Key = "{key}" } }
"#;

fn setup(settings: &str) -> Setup {
    Setup::bare().file(&format!("provider = \"./shop.toml\"\n{settings}")).write("shop.toml", SHOP)
}

#[test]
fn settings_and_documents_give_values_and_a_url_is_fixed_where_no_document_has_a_say() {
    let config = setup("values = { shop = \"acme\", key = \"s3cret\" }").load();
    assert_eq!(config.providers[0].token_url.to_string(), "https://acme.example.com/v1/token");
    assert!(!format!("{:?}", config.providers[0]).contains("s3cret"));

    let config = setup("values.key = \"x\"\ndocuments.values = { shop = \"shop_domain\" }").load();
    let provider = &config.providers[0];
    assert_eq!(provider.token_url.fixed(), None);
    assert!(provider.token_url.is_a_documents_host());
    let facts = Facts { values: vec![("shop".into(), "ann".into())], ..Facts::default() };
    assert_eq!(provider.url_for(&facts).unwrap().as_str(), "https://ann.example.com/v1/token");

    let with = setup("").variable("EVERGRANT_VALUES", "shop=acme,key=x").load();
    assert!(with.providers[0].token_url.fixed().is_some());
    let own = setup(
        "values.key = \"x\"\nvalues.shop = \"acme\"\nclient_auth = \"none\"\ndocuments.client_id = \"app\"",
    )
    .load();
    assert_eq!(own.providers[0].client_id, "");
}

#[test]
fn a_variable_without_a_value_or_a_value_without_a_variable_is_refused() {
    for (settings, parts) in [
        (
            "values.key = \"x\"",
            &[
                "no value for the variable `shop`",
                "`values = { shop = \"VALUE\" }`",
                "`EVERGRANT_VALUES=shop=VALUE`",
                "documents.values.shop",
            ][..],
        ),
        (
            "values = { shop = \"a\", key = \"x\" }\nextra_parameters = { city = \"{city}\" }",
            &[
                "`extra_parameters = \"city\"` (evergrant.toml line 3)",
                "declare `city` in the profile's file",
            ],
        ),
        ("values.shop = \"acme\"", &["no value for the variable `key`", "values.key"]),
        ("documents.values.key = \"k\"\nvalues.shop = \"a\"", &["no value for the variable `key`"]),
        (
            "documents.values.key = \"k\"\nvalues = { shop = \"a\", key = \"x\" }",
            &["`documents.values.key`", "a secret stands in the settings only"],
        ),
        ("values = { shop = \"a.b\", key = \"x\" }", &["`values.shop`", "one label of a host's name"]),
        (
            "values = { shop = \"a\", key = \"x\", colour = \"red\" }",
            &["`values.colour`", "one of `key`, `path`, `shop`"],
        ),
        (
            "values = { shop = \"a\", key = \"x\" }\ndocuments.values.colour = \"c\"",
            &["`documents.values.colour`", "`shop`"],
        ),
        ("token_url = \"https://{shop}.com/\"", &["`token_url", "another host", "two literal labels"]),
        ("token_url = \"https://{city}.example.com/\"", &["`{city}` is no variable"]),
        (
            "values = { shop = \"a\", key = \"x\" }\nrequest.access_token = \"bearer\"\ndocuments.access_token = \"none\"",
            &["request.access_token", "documents.access_token", "wants the old access token"],
        ),
        (
            "values = { shop = \"a\", key = \"x\" }\ndocuments.values.shop = \"refresh_token\"",
            &["documents.refresh_token", "documents.values", "overwrite"],
        ),
        ("variables.shop = \"label\"", &["no key `variables", "evergrant help own-server"]),
    ] {
        assert_tells(&setup(settings).refused(), parts);
    }
    let told = setup("values = { shop = \"a\", key = \"s3\\u0007cret\" }").refused();
    assert!(told.contains("values.key") && !told.contains("cret\""), "{told}");
}

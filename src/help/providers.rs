//! `evergrant help providers`: the built-in profiles, and how a provider without one is added.

use super::Topic;
use super::page::Page;
use crate::config::words;
use crate::provider::{PERSON_MUST_COME, Profile, profile};
use serde_json::{Value, json};

/// A second provider beside the first, as a settings file.
const EXAMPLE: &str = r#"  store.url = "mongodb://db-1/app"
  documents.provider = "provider"          # the field of your documents that names the provider

  [providers.autodesk]
  client_id = "…"
  client_secret_file = "/run/secrets/autodesk"

  [providers.xero]
  profile = "generic"
  token_url = "https://identity.xero.com/connect/token"
  client_id = "…"
  client_secret_file = "/run/secrets/xero"
  refresh_token_lifetime = "60d"
  rotation = "grace"
  grace = "30min"
  rate = "none""#;

pub(super) fn text() -> String {
    let mut page = Page::new("Providers");
    page.paragraph(
        "A profile says how to ask a provider and how to read its answers. `evergrant providers show NAME` prints one with its \
         sources. Any value of it can be set: `evergrant help settings`.",
    );
    for (name, profile) in built_in() {
        let topic = Topic::from_name(name)
            .map(|topic| format!("Documents, settings and answers: `evergrant help {}`.", topic.name()));
        let texts: Vec<_> = [Some(facts(&profile)), topic].into_iter().flatten().collect();
        page.entry(name, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    }
    page.heading("The same for all");
    page.paragraph(&format!(
        "OpenID Connect's codes for \"a person must come\" are refusals: {}. Only a profile that lists one of them otherwise \
         says something else.",
        PERSON_MUST_COME.map(|code| format!("`{code}`")).join(", ")
    ));
    page.paragraph(
        "Providers with single-use tokens are asked over HTTP/1.1, unless their rate is per second: one connection for each \
         request in flight (`evergrant help limits`).",
    );
    page.heading("A provider without a profile");
    page.paragraph(
        "Take `generic`, which follows RFC 6749, and set `token_url`. Set also, as the provider documents it: \
         `refresh_token_lifetime`, `rotation` (with `grace`), `rate`, and the codes for a dead token in `answer.refused`. What \
         is not set is taken for the strictest case: single use, unknown life. A server that differs from RFC 6749 in more than that \
         takes a profile of your own, a file: `evergrant help own-server`.",
    );
    page.heading("More than one provider");
    page.paragraph(
        "Each provider has a table of its own, and a field of the documents names theirs. A document that names no configured \
         provider is reported as `malformed`.",
    );
    page.lines(EXAMPLE);
    page.end()
}

pub(super) fn data() -> Value {
    let profiles: Vec<_> =
        built_in().map(|(name, profile)| json!({ "name": name, "profile": profile })).collect();
    json!({ "profiles": profiles })
}

fn built_in() -> impl Iterator<Item = (&'static str, Profile)> {
    profile::names().filter_map(|name| Some((name, profile::load(name).ok()?)))
}

fn facts(profile: &Profile) -> String {
    let rate = profile.rate.map_or_else(|| "no limit".to_owned(), |rate| rate.to_string());
    let life = profile.refresh_token_lifetime.map_or_else(|| "unknown".to_owned(), words);
    let login =
        profile.login_lifetime.map_or_else(String::new, |life| format!(" Life of a login: {}.", words(life)));
    format!(
        "{}. Rate: {rate}. Life of a refresh token: {life}.{login} Rotation: {}.",
        profile.title,
        profile.rotation.words()
    )
}

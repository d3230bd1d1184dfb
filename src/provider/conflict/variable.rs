//! Names in braces: each is a variable of the profile, and none leads a token to another host.

use super::Conflict;
use crate::nearest::nearest_of;
use crate::provider::Profile;
use crate::provider::request::Parameter;
use crate::provider::template::{UUID, names};
use crate::provider::token_url::{self, UrlTemplate};

/// The first name in braces that can't be filled, or must not stand where it stands.
pub(super) fn conflict(profile: &Profile) -> Option<Conflict> {
    url(profile).or_else(|| undeclared(profile))
}

/// A URL that a variable could lead elsewhere.
fn url(profile: &Profile) -> Option<Conflict> {
    let text = profile.token_url.as_deref().filter(|text| token_url::is_template(text))?;
    let error = UrlTemplate::new(text, &profile.variables).err()?;
    Some(Conflict {
        first: ("token_url", text.to_owned()),
        second: ("variables", declared(profile)),
        reason: "a value of a document must not lead a token to another host",
        hint: error.to_string(),
    })
}

/// A name in braces in a header field or another field that is no variable: it would be sent as it stands.
///
/// Other braces stay: `{"a":1}` is a text.
fn undeclared(profile: &Profile) -> Option<Conflict> {
    let headers = profile.request.headers.iter();
    let headers = headers.map(|(name, text)| ("request.headers", name, Some(text.as_str())));
    let fields = profile.extra_parameters.iter();
    let fields = fields.map(|(name, value)| ("extra_parameters", name, Parameter::text(value)));
    let known = |name: &&str| *name == UUID || profile.variables.contains_key(*name);
    headers.chain(fields).find_map(|(key, field, text)| {
        let name = names(text?).find(|name| !known(name))?;
        Some(Conflict {
            first: (key, field.clone()),
            second: ("variables", declared(profile)),
            reason: "a name in braces stands for a variable, and the profile declares none of that name",
            hint: hint(name, profile),
        })
    })
}

fn hint(name: &str, profile: &Profile) -> String {
    let known = profile.variables.keys().map(String::as_str).chain([UUID]);
    let near =
        nearest_of(name, known).map_or_else(String::new, |near| format!("did you mean `{{{near}}}`? Else "));
    format!(
        "{near}declare `{name}` in the profile's file: `variables = {{ {name} = \"text\" }}`, or `\"secret\"` for a value that \
         stands in the settings only and is never shown; to send the braces themselves, \
         `variables = {{ {name} = {{ kind = \"text\", default = \"{{{name}}}\" }} }}`"
    )
}

fn declared(profile: &Profile) -> String {
    let names: Vec<_> = profile.variables.keys().map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::conflict;
    use crate::provider::{Profile, profile};

    fn with(text: &str) -> Profile {
        let mut table = profile::table("generic").unwrap();
        table.extend(text.parse::<toml::Table>().unwrap());
        table.try_into().unwrap()
    }

    #[test]
    fn a_name_in_braces_that_is_no_variable_is_refused_with_its_key_and_what_to_declare() {
        for (text, first, words) in [
            (
                "request = { headers = { X-Key = \"{api_key}\" } }",
                ("request.headers", "X-Key"),
                "variables = { api_key = \"text\" }",
            ),
            ("extra_parameters = { shop = \"a-{shop}\" }", ("extra_parameters", "shop"), "`shop`"),
            (
                "variables = { shop = \"label\" }\nextra_parameters = { shop = \"{shpo}\" }",
                ("extra_parameters", "shop"),
                "did you mean `{shop}`?",
            ),
            ("extra_parameters = { id = \"{UUID}\" }", ("extra_parameters", "id"), "did you mean `{uuid}`?"),
            ("request = { headers = { X-Key = \"${API_KEY}\" } }", ("request.headers", "X-Key"), "`API_KEY`"),
        ] {
            let found = conflict(&with(text)).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (found.first.0, found.first.1.as_str(), found.second.0),
                (first.0, first.1, "variables"),
                "{text}"
            );
            assert!(found.hint.contains(words), "{text}: {}", found.hint);
        }
    }

    #[test]
    fn braces_that_are_no_names_are_sent_as_they_stand() {
        for text in [
            "extra_parameters = { claims = '{\"a\":{\"b\":1}}' }",
            "extra_parameters = { empty = \"{}\", open = \"{a\", spaced = \"{ a }\", id = \"{uuid}\" }",
            "request = { headers = { X-Id = \"{3F2504E0-4F89-11D3-9A0C-0305E82C3301}\" } }",
            "variables = { a = { kind = \"text\", default = \"{a}\" } }\nextra_parameters = { literal = \"{a}\" }",
        ] {
            assert_eq!(conflict(&with(text)), None, "{text}");
        }
    }
}

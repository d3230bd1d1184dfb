//! `evergrant providers`: the profiles that are built in, and those of files. Reads no settings, so it answers also while they
//! are wrong.

mod test;

use super::{CommandError, Surroundings, shown};
use crate::cli::ProvidersCommand;
use crate::config::words;
use crate::exit::Exit;
use crate::provider::rate::{self, Rate};
use crate::provider::{
    Profile, Rotation, file,
    profile::{self, ProfileError},
};
use serde::Serialize;
use std::time::Duration;

/// What `providers list --format json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileList {
    /// The built-in profiles, by name.
    pub profiles: Vec<ListedProfile>,
}

/// A line of `providers list`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedProfile {
    /// What `provider` (`EVERGRANT_PROVIDER`) is set to.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The token endpoint; `null` where `token_url` has to be set.
    pub token_url: Option<String>,
    /// Grants in every sliding window: `400/min`, or `none`.
    #[serde(with = "rate::text")]
    pub rate: Option<Rate>,
    /// How long a refresh token lives: `14days`, or `unknown`.
    #[serde(with = "profile::optional_duration")]
    pub refresh_token_lifetime: Option<Duration>,
    /// What happens to a redeemed refresh token: `single_use`, `grace` or `none`.
    pub rotation: Rotation,
}

/// What `providers show NAME --format json` prints: the profile, with every key as its file has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownProfile {
    /// Its name.
    pub name: String,
    /// The profile.
    #[serde(flatten)]
    pub profile: Profile,
}

/// Lists the profiles, or prints one of them.
#[expect(clippy::unused_async, reason = "every command is called alike")]
pub async fn run(command: ProvidersCommand, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    surroundings.start_logging();
    match command {
        ProvidersCommand::List => {
            let list = list()?;
            surroundings.print(&list_text(&list), &list)?;
        }
        ProvidersCommand::Show { name } => {
            let text = known(&name)?;
            let profile = profile::load(&name)?;
            surroundings.print(text.trim_end(), &ShownProfile { name, profile })?;
        }
        ProvidersCommand::Test { name } => {
            known(&name)?;
            let tested = test::tested(&name, &profile::load(&name)?);
            surroundings.print(&tested.text(), &tested)?;
            return Ok(tested.exit());
        }
    }
    Ok(Exit::Well)
}

/// The text of a profile that is there.
fn known(name: &str) -> Result<String, CommandError> {
    if file::is_file(name) {
        return Ok(file::text(name)?);
    }
    profile::text(name).map(str::to_owned).map_err(|_| unknown(name))
}

fn list() -> Result<ProfileList, ProfileError> {
    let listed = |name: &str| {
        let profile = profile::load(name)?;
        Ok(ListedProfile {
            name: name.to_owned(),
            title: profile.title,
            token_url: profile.token_url,
            rate: profile.rate,
            refresh_token_lifetime: profile.refresh_token_lifetime,
            rotation: profile.rotation,
        })
    };
    Ok(ProfileList { profiles: profile::names().map(listed).collect::<Result<_, _>>()? })
}

fn list_text(list: &ProfileList) -> String {
    let headers = ["NAME", "RATE", "REFRESH TOKEN LIVES", "ROTATION", "TOKEN URL", "TITLE"];
    let rows = list.profiles.iter().map(|profile| {
        [
            profile.name.clone(),
            profile.rate.map_or_else(|| "no limit".to_owned(), |rate| rate.to_string()),
            profile.refresh_token_lifetime.map_or_else(|| "unknown".to_owned(), words),
            profile.rotation.words().to_owned(),
            profile.token_url.clone().unwrap_or_else(|| "set `token_url`".to_owned()),
            profile.title.clone(),
        ]
    });
    shown::columns(headers, rows)
}

fn unknown(name: &str) -> CommandError {
    let names: Vec<_> = profile::names().collect();
    let hint = match crate::nearest::nearest_of(&name.to_lowercase(), names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "a provider without a profile takes `generic`, with a `token_url`: `evergrant providers show generic`"
                .to_owned()
        }
    };
    let names = names.join(", ");
    CommandError::usage(format!("there is no provider profile `{name}`; there are: {names}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::told;

    #[test]
    fn every_profile_has_its_line() {
        let text = list_text(&list().unwrap());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 1 + profile::names().count());
        let line = |name: &str| lines.iter().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        assert_eq!(line("autodesk").split_whitespace().nth(2), Some("14d"), "{text}");
        for words in ["no limit", "unknown", "set `token_url`"] {
            assert!(line("generic").contains(words), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones_and_the_nearest() {
        let text = told(&unknown("AutoDesc"));
        assert!(text.contains("\nhint: did you mean `autodesk`?") && text.contains("generic"), "{text}");
        let text = told(&unknown("acme"));
        assert!(text.contains("\nhint: a provider without a profile takes `generic`"), "{text}");
        assert_eq!(unknown("acme").exit(), Exit::Usage);
    }

    #[test]
    fn a_shown_profile_is_one_object_with_the_keys_of_its_file() {
        let shown = ShownProfile { name: "autodesk".to_owned(), profile: profile::load("autodesk").unwrap() };
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!(json["name"], "autodesk");
        assert_eq!(json["rate"], "400/min");
        assert_eq!(json["answer"]["refused"], serde_json::json!(["invalid_grant"]));
    }
}

//! `evergrant providers`: the profiles that are built in, and those of files. All but `try` read no settings, so they answer
//! also while these are wrong.

mod reading;
mod shown_request;
mod test;
mod try_out;

pub(super) use try_out::chosen;

use super::{CommandError, Surroundings, shown};
use crate::cli::ProvidersCommand;
use crate::config::words;
use crate::exit::Exit;
use crate::provider::rate::{self, Rate};
use crate::provider::{
    Profile, Rotation, file,
    profile::{self, ProfileError},
};
use chrono::NaiveDate;
use serde::Serialize;
use std::time::Duration;

/// What `providers list --format json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileList {
    /// The built-in profiles, by rotation and life.
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
    /// How long a login lives, whatever is refreshed until then; `unknown` where nothing is known of an end.
    #[serde(with = "profile::optional_duration")]
    pub login_lifetime: Option<Duration>,
    /// The day on which the facts were looked up last; `null` for `generic`.
    pub checked: Option<NaiveDate>,
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
pub async fn run(command: ProvidersCommand, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    // It has settings, and starts as they say.
    if !matches!(command, ProvidersCommand::Try(_)) {
        surroundings.start_logging();
    }
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
        ProvidersCommand::Test(args) => {
            known(&args.name)?;
            return test::run(&args, &profile::load(&args.name)?, surroundings);
        }
        ProvidersCommand::Try(args) => return try_out::run(&args, surroundings).await,
    }
    Ok(Exit::Well)
}

/// The text of a profile that is there.
pub(super) fn known(name: &str) -> Result<String, CommandError> {
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
            login_lifetime: profile.login_lifetime,
            rotation: profile.rotation,
            checked: profile.checked,
        })
    };
    let mut profiles = profile::names().map(listed).collect::<Result<Vec<_>, _>>()?;
    // Who is asked with most care comes first, and of those whose tokens end soonest.
    let care = |rotation| match rotation {
        Rotation::SingleUse => 0,
        Rotation::Grace => 1,
        Rotation::None => 2,
    };
    let life = |profile: &ListedProfile| {
        let lives = [profile.refresh_token_lifetime, profile.login_lifetime];
        lives.into_iter().flatten().min().unwrap_or(Duration::MAX)
    };
    profiles.sort_by_cached_key(|profile| (care(profile.rotation), life(profile), profile.name.clone()));
    Ok(ProfileList { profiles })
}

fn list_text(list: &ProfileList) -> String {
    let headers = ["ROTATION", "TOKEN LIVES", "LOGIN LIVES", "NAME", "CHECKED", "TITLE"];
    let rows = list.profiles.iter().map(|profile| {
        let rotation = match profile.rotation {
            Rotation::SingleUse => "single_use",
            Rotation::Grace => "grace",
            Rotation::None => "none",
        };
        [
            rotation.to_owned(),
            profile.refresh_token_lifetime.map_or_else(|| "unknown".to_owned(), words),
            profile.login_lifetime.map_or_else(|| "-".to_owned(), words),
            profile.name.clone(),
            profile.checked.map_or_else(|| "-".to_owned(), |day| day.to_string()),
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
    CommandError::usage(
        format!("there is no provider profile `{name}`: `evergrant providers list` shows them"),
        hint,
    )
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
        let of = |name: &str| {
            lines.iter().position(|line| line.split_whitespace().any(|word| word == name)).unwrap()
        };
        assert!(lines[of("autodesk")].starts_with("single_use  14d"), "{text}");
        assert!(lines[of("linkedin")].contains("none") && lines[of("linkedin")].contains("365d"), "{text}");
        assert!(of("autodesk") < of("xero") && of("xero") < of("google"), "by rotation:\n{text}");
        assert!(lines[of("generic")].contains("unknown"), "{text}");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones_and_the_nearest() {
        let text = told(&unknown("AutoDesc"));
        assert!(text.contains("shows them\nhint: did you mean `autodesk`?"), "{text}");
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

//! The profile that a sandbox plays, and the settings of a client that uses the same one.

use crate::commands::{CommandError, providers};
use crate::provider::{Profile, Rotation, file, profile};
use crate::sandbox::{Role, RoleError, SandboxConfig};
use std::collections::BTreeMap;

/// A profile that is played.
pub(super) struct Played {
    /// Its name, or the absolute path of its file.
    pub(super) name: String,
    profile: Profile,
}

impl Played {
    /// Reads a profile, built in or a file.
    pub(super) fn load(name: &str) -> Result<Self, CommandError> {
        providers::known(name)?;
        let profile = profile::load(name)?;
        let name = if file::is_file(name) {
            super::absolute(name.as_ref())?.display().to_string()
        } else {
            name.to_owned()
        };
        Ok(Self { name, profile })
    }

    /// Does its refresh token stay the same?
    pub(super) fn keeps(&self) -> bool {
        self.profile.rotation == Rotation::None
    }

    /// A sandbox that plays it, if it can with these faults and this number of dead users.
    pub(super) fn by(&self, config: SandboxConfig) -> Result<SandboxConfig, CommandError> {
        let name = if file::is_file(&self.name) { file::stem(&self.name) } else { self.name.clone() };
        let role = Role::new(&name, &self.profile).map_err(|error| usage(&error))?;
        role.can_play(&config.faults, config.dead_users).map_err(|error| usage(&error))?;
        Ok(role.played_by(config))
    }

    /// The settings of a client: the profile, at the sandbox's address, with values for its variables.
    pub(super) fn environment(&self, config: &SandboxConfig, token_url: &str) -> BTreeMap<String, String> {
        let set = |name: &str, value: &str| (format!("EVERGRANT_{name}"), value.to_owned());
        let mut settings = BTreeMap::from([set("PROVIDER", &self.name), set("TOKEN_URL", token_url)]);
        if self.profile.client_auth.takes_id() {
            settings.extend([set("CLIENT_ID", &config.client_id)]);
        }
        if self.profile.client_auth.takes_secret() {
            settings.extend([set("CLIENT_SECRET", &config.client_secret)]);
        }
        let asked = Profile { token_url: Some(token_url.to_owned()), ..self.profile.clone() };
        let values: BTreeMap<_, _> = asked
            .used_variables()
            .filter_map(|name| Some((name, asked.variables.get(name)?)))
            .filter(|(_, variable)| variable.default.is_none())
            .map(|(name, variable)| (name, variable.example(name)))
            .collect();
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
            settings.extend([set("VALUES", &values.join(","))]);
        }
        settings
    }
}

fn usage(error: &RoleError) -> CommandError {
    let hint = match error {
        RoleError::NoDeadAnswer { .. } => {
            "add an `[[example]]` with `means = \"refused\"` to a profile of your own, or leave out `--dead` and `refuse`"
        }
        RoleError::NoClientAnswer { .. } => {
            "add an `[[example]]` with `means = \"client_rejected\"` to a profile of your own, or leave out `reject-client`"
        }
        _ => "`evergrant providers test` shows how each example is read: its places and its text must agree",
    };
    CommandError::usage(error.to_string(), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::failure::told;

    #[test]
    fn the_settings_are_those_that_the_profile_needs() {
        let of =
            |name: &str, url: &str| Played::load(name).unwrap().environment(&SandboxConfig::default(), url);
        let shopify = of("shopify", "http://127.0.0.1:1/{shop}/token");
        let names = |settings: &BTreeMap<String, String>| {
            settings.keys().map(|name| name.trim_start_matches("EVERGRANT_").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&shopify), ["CLIENT_ID", "CLIENT_SECRET", "PROVIDER", "TOKEN_URL", "VALUES"]);
        assert_eq!(shopify["EVERGRANT_VALUES"], "shop=xshop");
        assert_eq!(names(&of("clover", "http://127.0.0.1:1/t")), ["CLIENT_ID", "PROVIDER", "TOKEN_URL"]);
        assert_eq!(names(&of("bearer-session", "http://127.0.0.1:1/t")), ["PROVIDER", "TOKEN_URL"]);
    }

    #[test]
    fn what_cannot_be_played_is_told_with_what_to_do() {
        let unknown = Played::load("AutoDesc").err().unwrap();
        assert!(told(&unknown).contains("hint: did you mean `autodesk`?"), "{}", told(&unknown));
        assert_eq!(unknown.exit(), Exit::Usage);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.toml");
        std::fs::write(&file, "client_auth = \"no_client\"\n[answer]\nrefused = []\nsuspected = []\n")
            .unwrap();
        let played = Played::load(file.to_str().unwrap()).unwrap();
        for (dead_users, faults, words) in [
            (1, "", "what a dead token is answered\nhint: add an `[[example]]` with `means = \"refused\"`"),
            (0, "refuse", "the profile `own` does not say what a dead token"),
            (0, "reject-client", "what a wrong client is answered\nhint: add an `[[example]]`"),
        ] {
            let faults = faults.parse().unwrap();
            let config = SandboxConfig { dead_users, faults, ..SandboxConfig::default() };
            let error = played.by(config).unwrap_err();
            assert!(told(&error).contains(words), "{}", told(&error));
        }
        assert_eq!(played.by(SandboxConfig::default()).unwrap().role.unwrap().name(), "own");
    }
}

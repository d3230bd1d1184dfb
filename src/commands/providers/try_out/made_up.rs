//! `providers try --made-up`: how does the server answer a refresh token that was never issued?

use super::{TriedAnswer, save, tried};
use crate::commands::check::made_up_token;
use crate::commands::providers::shown_request::{ShownRequest, example_of, shown};
use crate::commands::{CommandError, Surroundings};
use crate::config::Config;
use crate::exit::Exit;
use crate::grant::answer::{Class, read};
use crate::grant::http::TokenEndpoint;
use crate::grant::{Login, Wire as _, request};
use crate::pass::PassError;
use crate::provider::Provider;
use crate::token::{AccessToken, Facts};
use serde::Serialize;
use std::path::Path;
use tracing::warn;

/// What `providers try --made-up --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TriedMadeUp {
    /// The provider.
    pub provider: String,
    /// The request, without its secrets.
    pub request: ShownRequest,
    /// What came of it.
    #[serde(flatten)]
    pub tried: TriedAnswer,
    /// The file that the answer was written into.
    pub saved: Option<String>,
}

/// Sends one request, and no second one.
pub(super) async fn run(
    provider: &Provider,
    save_into: Option<&Path>,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let endpoint = TokenEndpoint::new(provider, surroundings.clock.clone()).map_err(PassError::from)?;
    let token = made_up_token();
    let made_up = example_of(provider, &Facts::default());
    let access_token = AccessToken::new(token.expose().to_owned());
    let login = Login { access_token: Some(&access_token), ..Login::from(&token) };
    let request = request(&made_up, login).map_err(|malformed| {
        CommandError::usage(
            format!("the request for a made-up token can't be made: {malformed}"),
            "set `values`, or try a document: `evergrant providers try NAME --id ID`",
        )
    })?;
    let sent = endpoint.post(&request).await;
    let now = surroundings.clock.now();
    let class = read(&sent, &provider.profile, now).class;
    let (tried, masked) = tried(&sent, provider, &request.secrets, &config.store.mapping, now);
    let characters = token.expose().chars().count();
    let answered = tried.answer.is_some();
    let mut result = TriedMadeUp {
        provider: provider.name.to_string(),
        request: shown(provider, characters, &Facts::default()),
        tried,
        saved: None,
    };
    let saved = match (save_into, &masked, &result.tried.reading) {
        (Some(path), Some(masked), Some(reading)) => {
            save::save(path, masked, reading, provider, now).map(Some)
        }
        _ => Ok(None),
    };
    if let Ok(Some(path)) = &saved {
        result.saved = Some(path.clone());
    }
    surroundings.print(&result.text(), &result)?;
    saved?;
    if let Class::Granted(_) = class {
        warn!("the provider granted a made-up refresh token: is `token_url` the right server?");
    }
    Ok(match class {
        Class::ClientRejected => Exit::ClientRejected,
        _ if answered => Exit::Well,
        // As `check` does where nothing answers.
        _ => Exit::Usage,
    })
}

impl TriedMadeUp {
    fn text(&self) -> String {
        let saved = self.saved.as_ref().map_or_else(String::new, |path| {
            format!("\n\nwritten into {path} as an `[[example]]`: `evergrant providers test {path}` reads it")
        });
        format!("request\n{}\n\n{}{saved}", self.request.text(), self.tried.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::json::assert_documented;

    #[test]
    fn help_names_each_field_of_the_json() {
        let request =
            ShownRequest { method: "POST", url: String::new(), headers: vec![], body: String::new() };
        let tried = TriedAnswer { no_answer: Some("connect"), answer: None, reading: None };
        let result = TriedMadeUp { provider: "own".into(), request, tried, saved: None };
        assert_documented("providers try --made-up", &result);
        assert!(result.text().contains("no answer came (connect)"));
    }
}

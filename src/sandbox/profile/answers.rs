//! The answers that a profile shows: its examples, and what RFC 6749 says where it shows none.

use super::RoleError;
use super::template::Template;
use crate::provider::{ClientAuth, Profile, Rotation};
use crate::sandbox::reply::Answer;
use axum::http::StatusCode;

/// The answers of a profile.
pub(super) struct Answers {
    /// Each success that it shows: they take turns. Never empty.
    granted: Vec<Template>,
    dead: Option<Answer>,
    throttled: Option<Answer>,
    client: Option<Answer>,
}

impl Answers {
    pub(super) fn new(profile: &Profile) -> Result<Self, RoleError> {
        let first = |word: &str| {
            let example = profile.examples.iter().find(|example| example.means == word);
            example.map(|example| Template::unchanged(example, profile)).transpose()
        };
        let dead = match first("refused")? {
            Some(answer) => Some(answer),
            None => first("suspected")?.or_else(|| knows_the_usual_code(profile).then(Answer::refused)),
        };
        let usual_client = || {
            let has_client = profile.client_auth != ClientAuth::NoClient;
            has_client
                .then(|| Answer::error(StatusCode::UNAUTHORIZED, "invalid_client", "the client is not known"))
        };
        Ok(Self {
            granted: granted(profile)?,
            dead,
            throttled: first("throttled")?,
            client: first("client_rejected")?.or_else(usual_client),
        })
    }

    /// The success that answers request `number`, counted from 1.
    pub(super) fn granted(&self, number: u64) -> &Template {
        let turn = (number.max(1) - 1) % self.granted.len() as u64;
        &self.granted[usize::try_from(turn).unwrap_or_default()]
    }

    /// Does no success hold a refresh token?
    pub(super) fn omit_the_refresh_token(&self) -> bool {
        self.granted.iter().all(|template| template.refresh_token.is_empty())
    }

    /// What a dead token is answered, where the profile shows it or reads the usual answer so.
    pub(super) const fn dead(&self) -> Option<&Answer> {
        self.dead.as_ref()
    }

    /// What one request too many is answered; 429 without a word more where the profile shows nothing.
    pub(super) fn throttled(&self, retry_after_seconds: u64) -> Answer {
        match &self.throttled {
            Some(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                answer.clone().retry_after(retry_after_seconds)
            }
            Some(answer) => answer.clone(),
            None => Answer::throttled(retry_after_seconds),
        }
    }

    /// What a wrong client is answered, where that is known.
    pub(super) const fn client(&self) -> Option<&Answer> {
        self.client.as_ref()
    }
}

fn granted(profile: &Profile) -> Result<Vec<Template>, RoleError> {
    let examples = profile.examples.iter().filter(|example| example.means == "granted");
    let shown = examples.map(|example| Template::of(example, profile)).collect::<Result<Vec<_>, _>>()?;
    if shown.is_empty() {
        return Ok(vec![Template::plain(profile)?]);
    }
    if profile.rotation == Rotation::None {
        return Ok(shown);
    }
    // A provider that rotates sends the new token.
    let (with, without): (Vec<_>, Vec<_>) =
        shown.into_iter().partition(|template| !template.refresh_token.is_empty());
    match with.is_empty() {
        true if profile.answer.refresh_token.0.is_empty() => Err(RoleError::NoPlace),
        true => Ok(without.into_iter().map(|template| template.with_refresh_token(profile)).collect()),
        false => Ok(with),
    }
}

/// Does the profile read the `invalid_grant` of RFC 6749 §5.2 as a dead token?
fn knows_the_usual_code(profile: &Profile) -> bool {
    let answer = &profile.answer;
    let reads = answer.error_code.iter().any(|place| place == "/error");
    reads && [&answer.refused, &answer.suspected].into_iter().flatten().any(|code| code == "invalid_grant")
}

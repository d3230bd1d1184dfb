//! The pair in an answer, as far as it came.

use super::Granted;
use super::found::{Found, Source};
use super::other_name::could_be_a_refresh_token;
use crate::grant::RawAnswer;
use crate::grant::body::{Body, holds_refresh_token};
use crate::grant::coding::Plain;
use crate::grant::form;
use crate::grant::partial::complete_part;
use crate::provider::lifetime::{LONGEST_LOGIN, LONGEST_TOKEN_LIFE};
use crate::provider::place::AnswerPlaces;
use crate::provider::{AnswerFormat, Profile, Rotation};
use crate::token::{AccessToken, RefreshToken};

/// The pair, where the profile says that it is; none when there is a refresh token that can't be read.
pub(super) fn read_pair(source: Source<'_>, profile: &Profile) -> Option<Granted> {
    let shape = &profile.answer;
    let Found::Token(access_token) = source.token(&shape.access_token) else { return None };
    let value = source.body.value();
    let refresh_token = match source.token(&shape.refresh_token) {
        Found::Token(token) => Some(RefreshToken::new(token)),
        // Not where the profile says, but there: to keep the old one would be to lose the new one.
        Found::Nothing if source.holds_a_refresh_token(&shape.refresh_token) => return None,
        // What isn't JSON, or is cut, may have held one.
        Found::Nothing if value.is_none() && !shape.refresh_token.are_all_in_the_head() => return None,
        // SimpleJWT calls it just `refresh`, and a server of one's own `renewalToken`, or `rt`.
        Found::Nothing if profile.rotation != Rotation::None && source.could_hold_another_token(shape) => {
            return None;
        }
        Found::Nothing => None,
        // A refresh token is there and can't be read.
        Found::Unreadable => return None,
    };
    let new = refresh_token.as_ref().map(RefreshToken::expose);
    // A `+` that wasn't escaped: the token would be damaged.
    let spaced = access_token.contains(' ') || new.is_some_and(|token| token.contains(' '));
    if shape.format == AnswerFormat::Form && spaced {
        return None;
    }
    Some(Granted {
        expires_in: source.lifetime(&shape.expires_in, Some(&access_token), LONGEST_TOKEN_LIFE),
        refresh_expires_in: source.lifetime(&shape.refresh_token_expires_in, new, LONGEST_TOKEN_LIFE),
        login_expires_in: source.lifetime(&shape.login_expires_in, new, LONGEST_LOGIN),
        access_token: AccessToken::new(access_token),
        refresh_token,
        clock_ahead: source.clock_ahead,
        also: shape
            .also
            .iter()
            .filter_map(|(field, place)| Some((field.clone(), source.further(place)?)))
            .collect(),
    })
}

/// A pair of which both strings came to their end in a body that didn't; without a whole refresh token it isn't known
/// whether the rest would have held one.
pub(super) fn read_partial_pair(body: &[u8], answer: &RawAnswer, profile: &Profile) -> Option<Granted> {
    let part = match profile.answer.format {
        AnswerFormat::Json => complete_part(body),
        AnswerFormat::Form => complete_part(body).or_else(|| form::complete_part(body)),
    };
    let body = Body::Json(part?);
    let source = Source::of(answer, &body);
    let granted = read_pair(source, profile)?;
    granted.refresh_token.is_some().then_some(granted)
}

/// Does an answer without a pair hold a refresh token all the same, whole? Then a person may want it.
#[must_use]
pub fn holds_a_token(answer: &RawAnswer) -> bool {
    let text = Plain::of(answer).text;
    let body = Body::read(&text);
    let source = Source::of(answer, &body);
    let part = body.value().cloned().or_else(|| complete_part(&text));
    part.is_some_and(|part| holds_refresh_token(&part) || could_be_a_refresh_token(&part))
        || form::names_a_refresh_token(&text, answer.complete)
        || source.head_holds_a_refresh_token(&AnswerPlaces::default())
}

//! The reading of an answer with its reasons, for a person who writes a profile. Pure.

use super::classify::decide;
use super::elsewhere::{self, CodeElsewhere, LifetimeElsewhere};
use super::found::Source;
use super::{Class, Reading};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::grant::body::Body;
use crate::grant::coding::Plain;
use crate::grant::partial::complete_part;
use crate::provider::Profile;
use crate::provider::place::{AnswerPlace, AnswerPlaces};

/// What decided the class of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// A pair stands in it.
    Pair,
    /// A pair stands in the part that came before the cut.
    CutPair,
    /// This rule of `answer.rules`, counted from 1.
    Rule(usize),
    /// One of the lists of codes: the one with the name of the class.
    List,
    /// A refresh token stands in the head, and no pair can be read.
    RefreshToken,
    /// The body is cut.
    Cut,
    /// What the body of a success is: no rule and no list knows it.
    Body,
    /// 429, which always means too many requests.
    TooMany,
    /// The status alone.
    Status,
}

impl Decided {
    /// For people: `answer.rules, rule 2`.
    #[must_use]
    pub fn words(self, class: &Class) -> String {
        match self {
            Self::Pair => "the tokens in it".to_owned(),
            Self::CutPair => "the tokens before the cut".to_owned(),
            Self::Rule(number) => format!("`answer.rules`, rule {number}"),
            Self::List => format!("the list `answer.{}`", class.word()),
            Self::RefreshToken => "a refresh token without an access token".to_owned(),
            Self::Cut => "the cut body".to_owned(),
            Self::Body => "the body: no rule and no list knows it".to_owned(),
            Self::TooMany => "the status 429".to_owned(),
            Self::Status => "the status alone: no rule and no list knows the body".to_owned(),
        }
    }
}

/// A token that stands at a place of the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundToken {
    /// Where.
    pub place: AnswerPlace,
    /// How long it is, in characters.
    pub characters: usize,
}

/// An answer as it is read, and why it is read so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What a pass takes it for.
    pub reading: Reading,
    /// What decided.
    pub decided: Decided,
    /// The access token, if one stands at a place of the profile.
    pub access_token: Option<FoundToken>,
    /// The refresh token, if one stands at a place of the profile.
    pub refresh_token: Option<FoundToken>,
    /// Where something stands in a success that could be a token, and that no key of the profile names.
    pub unnamed: Vec<AnswerPlace>,
    /// An error code, at a place that no key of the profile names.
    pub code_elsewhere: Option<CodeElsewhere>,
    /// Lifetimes, at places or in forms that no key of the profile names.
    pub lifetimes_elsewhere: Vec<LifetimeElsewhere>,
}

/// Reads an answer as [`read_answer`](super::read_answer) does, and says why.
#[must_use]
pub fn explain(answer: &RawAnswer, profile: &Profile, now: Timestamp) -> Explained {
    let shape = &profile.answer;
    let (reading, decided) = decide(answer, profile, now);
    let plain = Plain::of(answer);
    let whole = Body::of_format(&plain.text, shape.format, answer.complete);
    let part = if whole.value().is_none() { complete_part(&plain.text).map(Body::Json) } else { None };
    let body = part.as_ref().unwrap_or(&whole);
    let source = Source::of(answer, body);
    let found = |places: &AnswerPlaces| {
        let (place, characters) = source.place_of(places)?;
        Some(FoundToken { place: place.clone(), characters })
    };
    let success = (200..300).contains(&answer.status);
    Explained {
        unnamed: if success { source.unnamed(shape) } else { Vec::new() },
        code_elsewhere: elsewhere::code(source, &reading, decided, shape),
        lifetimes_elsewhere: elsewhere::lifetimes(source, &reading.class, shape),
        access_token: found(&shape.access_token),
        refresh_token: found(&shape.refresh_token),
        reading,
        decided,
    }
}

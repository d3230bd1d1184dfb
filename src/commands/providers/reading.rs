//! What a pass makes of an answer, for people and for programs: class, code, tokens, what is written, what comes next.

use crate::clock::Timestamp;
use crate::commands::shown;
use crate::config::words;
use crate::grant::RawAnswer;
use crate::grant::answer::{Class, CodeElsewhere, Explained, FoundToken, LifetimeElsewhere, explain};
use crate::provider::lifetime::Form;
use crate::provider::{AskAgain, Profile, Rotation};
use crate::store::mapping::Mapping;
use serde::Serialize;
use std::fmt::Write as _;

/// An answer, as a pass reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ReadAnswer {
    /// The example's name, or the file.
    pub name: String,
    /// The HTTP status.
    pub status: u16,
    /// What a pass takes it for.
    pub found: &'static str,
    /// The code that a pass finds in it.
    pub code: String,
    /// What decided: the tokens, a rule, a list, the status.
    pub decided_by: String,
    /// The access token, if one stands where the profile says.
    pub access_token: Option<ShownToken>,
    /// The refresh token, if one stands where the profile says.
    pub refresh_token: Option<ShownToken>,
    /// Seconds until the access token ends, by the answer or by the profile.
    pub access_ends_in_seconds: Option<u64>,
    /// Seconds until the refresh token ends, by the answer or by the profile.
    pub refresh_ends_in_seconds: Option<u64>,
    /// Places of texts that could be tokens, and that no key names.
    pub unnamed: Vec<String>,
    /// What stands in it that a key could name: an error code, a lifetime.
    pub hints: Vec<String>,
    /// What would be written.
    pub writes: Vec<Written>,
    /// What a run would do next.
    pub next: String,
}

/// A token, without itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownToken {
    /// Its place.
    pub place: String,
    /// Its length.
    pub characters: usize,
}

/// A field of the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Written {
    /// Its path.
    pub field: String,
    /// What is written, in words.
    pub what: String,
}

/// Reads an answer as a pass would.
pub(super) fn read(
    name: &str,
    answer: &RawAnswer,
    profile: &Profile,
    mapping: &Mapping,
    now: Timestamp,
) -> ReadAnswer {
    let explained = explain(answer, profile, now);
    let class = &explained.reading.class;
    let token = |found: &Option<FoundToken>| {
        let found = found.as_ref()?;
        Some(ShownToken { place: found.place.to_string(), characters: found.characters })
    };
    let ends = match class {
        Class::Granted(granted) => [
            granted.expires_in.or(profile.access_token_lifetime),
            granted.refresh_expires_in.or(profile.refresh_token_lifetime),
        ],
        _ => [None, None],
    };
    let [access_ends_in_seconds, refresh_ends_in_seconds] = ends.map(|end| end.map(|end| end.as_secs()));
    ReadAnswer {
        name: name.to_owned(),
        status: answer.status,
        found: class.word(),
        code: explained.reading.code.clone(),
        decided_by: explained.decided.words(class),
        access_token: token(&explained.access_token),
        refresh_token: token(&explained.refresh_token),
        access_ends_in_seconds,
        refresh_ends_in_seconds,
        unnamed: explained.unnamed.iter().map(ToString::to_string).collect(),
        hints: hints(&explained, profile),
        writes: writes(class, mapping),
        next: next(class, profile),
    }
}

/// What stands in the answer that a key of the profile could name.
fn hints(explained: &Explained, profile: &Profile) -> Vec<String> {
    let quoted = |places: &[String]| {
        let quoted: Vec<_> = places.iter().map(|place| format!("\"{place}\"")).collect();
        quoted.join(", ")
    };
    let code = explained.code_elsewhere.iter().map(|CodeElsewhere { place, code }| {
        let place = shown::plain(place);
        let named = [profile.answer.error_code.as_slice(), std::slice::from_ref(&place)].concat();
        format!(
            "no place of `answer.error_code` holds a code, and `{place}` holds `{code}`: if that is the server's code, set \
             `answer.error_code = [{}]`. Then a rule or a list can name it; only a code of a login that is dead for certain \
             belongs into `answer.refused`",
            quoted(&named)
        )
    });
    let lifetimes = explained.lifetimes_elsewhere.iter().map(|LifetimeElsewhere { key, place }| {
        let unit = if place.form == Form::Seconds { " (in seconds; `as minutes`, `as hours`, `as days` or `as millis` where the server means that)" } else { "" };
        let place = shown::plain(&place.to_string());
        format!("no place of `{key}` says a life, and `{place}` looks like one: if it is, set `{key} = \"{place}\"`{unit}")
    });
    code.chain(lifetimes).collect()
}

fn writes(class: &Class, mapping: &Mapping) -> Vec<Written> {
    let written =
        |field: &dyn ToString, what: &str| Written { field: field.to_string(), what: what.to_owned() };
    let books = |what: &str| vec![written(&mapping.bookkeeping, what)];
    match class {
        Class::Granted(granted) => {
            let refresh = match &granted.refresh_token {
                Some(_) => "the new refresh token",
                None => "the refresh token that was sent: the answer holds none",
            };
            let access = mapping.access_token.iter().map(|path| written(path, "the new access token"));
            let mut all: Vec<_> = access.collect();
            all.push(written(&mapping.refresh_token, refresh));
            all.extend(granted.also.iter().map(|(field, _)| written(field, "a further value of the answer")));
            all.push(written(&mapping.bookkeeping, "state `live`, and when it is due again"));
            all
        }
        Class::Refused => books(
            "state `needs_login`, if others are granted in the same pass, or if a later pass is refused too",
        ),
        Class::Suspected => books("the code; state `needs_login` only after a second occasion"),
        Class::Ambiguous => books("the code, and since when the answer is lost"),
        Class::Throttled(_) | Class::Transient | Class::ClientRejected | Class::Unlisted => {
            books("the code, and when it is due again; the state stays")
        }
        Class::Unreadable => books("the code; the answer itself stays in the journal"),
    }
}

fn next(class: &Class, profile: &Profile) -> String {
    let stays_good = profile.rotation == Rotation::None;
    match class {
        Class::Granted(_) => "the pair is written back".to_owned(),
        Class::Throttled(Some(wait)) => {
            format!("the provider pauses for {}, then the same token is sent again", words(*wait))
        }
        Class::Throttled(None) => "the provider pauses, then the same token is sent again".to_owned(),
        Class::Transient => "the same token is sent again after a wait, else in the next pass".to_owned(),
        Class::Ambiguous if stays_good => "the same token is sent again: it stays good".to_owned(),
        Class::Ambiguous if profile.ask_again == AskAgain::Never => {
            "the token is not sent again (`ask_again = \"never\"`): the user is reported as `lost_in_flight`".to_owned()
        }
        Class::Ambiguous => format!(
            "the document is read again, and after {} the same token is sent once more; if it is refused then, the user \
             is `lost_in_flight`",
            words(profile.settle_after)
        ),
        Class::Refused => {
            "if other users are granted in the same pass, the document is read again and the user is marked `needs_login`; \
             otherwise no user is marked yet: a later pass asks again, and a second refusal marks the user"
                .to_owned()
        }
        Class::Suspected => "no user is marked yet: a later pass asks again, and a second such answer marks the user".to_owned(),
        Class::ClientRejected => "no user is marked; if others are rejected too, the provider stops (exit code 5)".to_owned(),
        Class::Unlisted => "no user is marked: a later pass asks again".to_owned(),
        Class::Unreadable if stays_good => "the refresh token stays good: a later pass asks again".to_owned(),
        Class::Unreadable => {
            "the answer stays in the journal, and the token is not sent again until the profile says where the tokens stand"
                .to_owned()
        }
    }
}

impl ReadAnswer {
    /// Does it say that the user's login is over, now or on a second occasion?
    pub(super) fn may_mark(&self) -> bool {
        matches!(self.found, "refused" | "suspected")
    }

    /// The lines below the first one.
    pub(super) fn details(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, said: &str| {
            // Writing into a text can't fail.
            let _ = write!(text, "\n          {what:<13} {said}");
        };
        line("decided by", &self.decided_by);
        for (what, token) in [("access token", &self.access_token), ("refresh token", &self.refresh_token)] {
            if let Some(ShownToken { place, characters }) = token {
                line(what, &format!("{place}, {}", shown::count(*characters as u64, "character")));
            }
        }
        let ends =
            [("access ends", self.access_ends_in_seconds), ("refresh ends", self.refresh_ends_in_seconds)];
        for (what, seconds) in ends {
            if let Some(seconds) = seconds {
                line(what, &format!("in {}", words(std::time::Duration::from_secs(seconds))));
            }
        }
        for Written { field, what } in &self.writes {
            line("writes", &format!("`{field}`: {what}"));
        }
        line("next", &self.next);
        for hint in &self.hints {
            line("hint", hint);
        }
        text
    }
}

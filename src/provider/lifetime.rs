//! Lifetimes: where an answer says how long something lives, and in which form. As data; nothing here reads an answer.

use super::place::{AnswerPlace, PlaceError};
use crate::clock::Timestamp;
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest life of a token that is believed: three years.
///
/// What is beyond is a unit mistaken: a token that was believed to live for decades would never be due.
pub const LONGEST_TOKEN_LIFE: Duration = Duration::from_hours(3 * 365 * 24);

/// Longest life of a login that is believed: ten years.
pub const LONGEST_LOGIN: Duration = Duration::from_hours(10 * 365 * 24);

/// What parts a place from its form.
const AS: &str = " as ";

/// Where an answer may say how long something lives: the first place that holds a believable life counts. In a profile
/// a text, or a list; an empty text is an empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Texts", into = "Texts")]
pub struct LifetimePlaces(pub Vec<LifetimePlace>);

/// `PLACE [as FORM]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifetimePlace {
    /// Where.
    pub source: LifetimeSource,
    /// In which form.
    pub form: Form,
}

/// Where a life stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifetimeSource {
    /// `/a/b`, `cookie:NAME`, `header:NAME`.
    Place(AnswerPlace),
    /// `jwt:CLAIM`: a claim of the very token that the key speaks of. Its signature is not checked: it is a hint about
    /// time, and no proof of anything.
    Jwt(String),
}

/// How a life is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Seconds from the answer on, a number or a text.
    Seconds,
    /// Minutes from the answer on.
    Minutes,
    /// Hours from the answer on.
    Hours,
    /// Days from the answer on.
    Days,
    /// Milliseconds from the answer on.
    Millis,
    /// The end, in seconds since 1970.
    Unix,
    /// The end, in milliseconds since 1970.
    UnixMillis,
    /// The end: RFC 3339, ISO 8601 (without a zone it is UTC), or an HTTP date (RFC 9110 §5.6.7).
    Date,
    /// From the answer on: `1h30m`, or `D:HH:MM`.
    Duration,
    /// When the browser forgets the cookie: its `Max-Age`, else its `Expires` (RFC 6265 §5.3).
    MaxAge,
}

/// What is said of a life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said {
    /// Seconds from the answer on: any number, also one that makes no sense.
    Lasts(f64),
    /// Until then.
    Ends(Timestamp),
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Texts(#[serde(with = "super::one_or_many")] Vec<String>);

impl Form {
    /// All forms.
    const ALL: [Self; 10] = [
        Self::Seconds,
        Self::Minutes,
        Self::Hours,
        Self::Days,
        Self::Millis,
        Self::Unix,
        Self::UnixMillis,
        Self::Date,
        Self::Duration,
        Self::MaxAge,
    ];

    /// The word in a profile.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Days => "days",
            Self::Millis => "millis",
            Self::Unix => "unix",
            Self::UnixMillis => "unix_millis",
            Self::Date => "date",
            Self::Duration => "duration",
            Self::MaxAge => "max_age",
        }
    }

    /// What a number says in this form.
    #[must_use]
    pub fn number(self, number: f64) -> Option<Said> {
        match self {
            Self::Seconds => Some(Said::Lasts(number)),
            Self::Minutes => Some(Said::Lasts(number * 60.0)),
            Self::Hours => Some(Said::Lasts(number * 3600.0)),
            Self::Days => Some(Said::Lasts(number * 86_400.0)),
            Self::Millis => Some(Said::Lasts(number / 1000.0)),
            Self::Unix => instant(number * 1000.0).map(Said::Ends),
            Self::UnixMillis => instant(number).map(Said::Ends),
            Self::Date | Self::Duration | Self::MaxAge => None,
        }
    }

    /// What a text says in this form.
    #[must_use]
    pub fn text(self, text: &str) -> Option<Said> {
        let text = text.trim();
        match self {
            Self::Date => date(text).map(Said::Ends),
            Self::Duration => duration(text).map(|life| Said::Lasts(life.as_secs_f64())),
            Self::Seconds
            | Self::Minutes
            | Self::Hours
            | Self::Days
            | Self::Millis
            | Self::Unix
            | Self::UnixMillis => self.number(text.parse().ok()?),
            Self::MaxAge => None,
        }
    }
}

impl Said {
    /// The life from `at` on, when it can be believed: it is above zero, and not beyond `longest`.
    #[must_use]
    pub fn believed(self, at: Timestamp, longest: Duration) -> Option<Duration> {
        match self {
            // NaN fails both comparisons.
            Self::Lasts(seconds) => (seconds > 0.0 && seconds <= longest.as_secs_f64())
                .then(|| Duration::try_from_secs_f64(seconds).ok())
                .flatten(),
            Self::Ends(end) => life_until(end, at, longest),
        }
        .filter(|life| !life.is_zero())
    }
}

/// How long it is from `at` until `end`; `None` for an end that is past, or beyond `longest`.
#[must_use]
pub fn life_until(end: Timestamp, at: Timestamp, longest: Duration) -> Option<Duration> {
    (end - at).to_std().ok().filter(|life| !life.is_zero() && *life <= longest)
}

/// An instant in milliseconds since 1970.
fn instant(millis: f64) -> Option<Timestamp> {
    // All of the years that chrono knows are within 2^53 milliseconds, where a float is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be within 2^53")]
    (millis.abs() <= EXACT).then(|| DateTime::from_timestamp_millis(millis as i64)).flatten()
}

fn date(text: &str) -> Option<Timestamp> {
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.to_utc());
    }
    // With the zone as `+0000`, or without one, and with a space in place of the `T`.
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f%z"];
    if let Some(date) = zoned.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()) {
        return Some(date.to_utc());
    }
    let plain = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    if let Some(date) = plain.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()) {
        return Some(date.and_utc());
    }
    // A day alone: its beginning, the earliest that may be meant.
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return day.and_hms_opt(0, 0, 0).map(|day| day.and_utc());
    }
    httpdate::parse_http_date(text).ok().map(Timestamp::from)
}

/// `1h30m`, or `D:HH:MM`.
fn duration(text: &str) -> Option<Duration> {
    let mut parts = text.split(':');
    let (Some(days), Some(hours), Some(minutes), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return humantime::parse_duration(text).ok();
    };
    let number = |part: &str, digits: std::ops::RangeInclusive<usize>, most: i64| {
        let plain = digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<i64>().ok()).flatten().filter(|number| *number <= most)
    };
    let days = number(days, 1..=5, i64::MAX)?;
    let (hours, minutes) = (number(hours, 2..=2, 23)?, number(minutes, 2..=2, 59)?);
    (TimeDelta::days(days) + TimeDelta::hours(hours) + TimeDelta::minutes(minutes)).to_std().ok()
}

impl LifetimePlace {
    /// What is expected, in words.
    pub const EXPECTED: &str = "a place of a lifetime: `/json/pointer`, `cookie:NAME`, `header:NAME` or `jwt:CLAIM`, with or without \
                                `as seconds`, `minutes`, `hours`, `days`, `millis`, `unix`, `unix_millis`, `date`, `duration` or `max_age` (of a cookie)";
}

impl FromStr for LifetimePlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let misfit = || PlaceError::new(text, Self::EXPECTED);
        let (place, form) = match text.rsplit_once(AS) {
            None => (text, None),
            Some((place, word)) => {
                let form = Form::ALL.into_iter().find(|form| form.word() == word.trim());
                (place.trim_end(), Some(form.ok_or_else(misfit)?))
            }
        };
        let source = match place.split_once(':') {
            Some(("jwt", claim)) if !place.starts_with('/') => {
                let plain = !claim.is_empty() && !claim.chars().any(char::is_whitespace);
                LifetimeSource::Jwt(if plain { claim.to_owned() } else { return Err(misfit()) })
            }
            _ => LifetimeSource::Place(place.parse().map_err(|_| misfit())?),
        };
        let form = form.unwrap_or_else(|| source.usual_form());
        let is_a_cookie = matches!(source, LifetimeSource::Place(AnswerPlace::Cookie(_)));
        if form == Form::MaxAge && !is_a_cookie { Err(misfit()) } else { Ok(Self { source, form }) }
    }
}

impl LifetimeSource {
    /// The form where none is named: that of `exp` is known (RFC 7519 §4.1.4).
    fn usual_form(&self) -> Form {
        if *self == Self::Jwt("exp".to_owned()) { Form::Unix } else { Form::Seconds }
    }
}

impl fmt::Display for LifetimePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            LifetimeSource::Place(place) => place.fmt(formatter)?,
            LifetimeSource::Jwt(claim) => write!(formatter, "jwt:{claim}")?,
        }
        if self.form == self.source.usual_form() {
            return Ok(());
        }
        write!(formatter, "{AS}{}", self.form.word())
    }
}

impl LifetimePlaces {
    /// Is there no place?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for LifetimePlaces {
    type Err = PlaceError;

    /// One place, or none.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        Texts(vec![text.to_owned()]).try_into()
    }
}

impl TryFrom<Texts> for LifetimePlaces {
    type Error = PlaceError;

    fn try_from(Texts(texts): Texts) -> Result<Self, PlaceError> {
        texts
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<LifetimePlaces> for Texts {
    fn from(places: LifetimePlaces) -> Self {
        Self(places.0.iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests;

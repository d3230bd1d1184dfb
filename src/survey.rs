//! The survey of a collection: how many tokens stand how, and the forecast: when logins end if nothing more is refreshed. Pure.
//!
//! The end of a login is its `refresh_expires_at`, which is never later than the login's own end. Only live logins end: a marked
//! one has ended already.

use crate::clock::Timestamp;
use crate::duration::words;
use chrono::TimeDelta;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

/// The days ahead for which the forecast counts.
pub const WITHIN_DAYS: [i64; 5] = [1, 3, 7, 14, 30];

/// Groups of live tokens by their end: up to now, up to each of [`WITHIN_DAYS`], and later.
pub(crate) const SPANS: usize = WITHIN_DAYS.len() + 2;

/// Most steps to find the tokens that a pass comes too late for; where that doesn't settle, it says the number so far.
const MOST_STEPS: usize = 8;

/// What a survey is asked.
#[derive(Debug, Clone)]
pub struct SurveyQuery {
    /// The moment that it speaks of.
    pub now: Timestamp,
    /// The providers, and when a pass of each begins next. Where no provider field is mapped, all documents belong to the first.
    pub providers: Vec<NextPass>,
}

/// The next pass of one provider, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPass {
    /// The provider's name.
    pub provider: String,
    /// The next scheduled wake of its loop, or the follow-up that is planned before it.
    pub begins_at: Timestamp,
    /// Time that each token of that pass takes: the even distance of its rate. Zero without a rate.
    pub per_token: Duration,
}

impl NextPass {
    /// Until when a pass is at work on this number of tokens.
    #[must_use]
    pub fn through_at(&self, tokens: u64) -> Timestamp {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let took = TimeDelta::from_std(self.per_token.saturating_mul(tokens)).unwrap_or(TimeDelta::MAX);
        self.begins_at.checked_add_signed(took).unwrap_or(Timestamp::MAX_UTC)
    }

    /// The moments for which it must be known how many tokens end by then, one after the other.
    ///
    /// A pass takes the soonest due first. Tokens that end by a moment are all reached when it has done as many. So the moment
    /// moves on until no token ends in the time that those before it take: what ends by then may be too late.
    pub(crate) fn too_late(&self) -> TooLate<'_> {
        TooLate { pass: self, until: self.begins_at, steps: 0 }
    }
}

/// See [`NextPass::too_late`].
pub(crate) struct TooLate<'a> {
    pass: &'a NextPass,
    /// How many tokens end by this moment?
    pub(crate) until: Timestamp,
    steps: usize,
}

impl TooLate<'_> {
    /// Takes the answer; is it the last one?
    pub(crate) fn is_settled(&mut self, ending: u64) -> bool {
        let through = self.pass.through_at(ending);
        self.steps += 1;
        if ending == 0 || through <= self.until || self.steps == MOST_STEPS {
            return true;
        }
        self.until = through;
        false
    }
}

/// What came of the wish for a survey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Surveyed {
    /// It was made.
    Made(Box<Survey>),
    /// It wasn't: without its index, it would read every document.
    NotMade(NotMade),
}

/// Why there is no survey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotMade {
    /// Why.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
}

/// How many tokens stand how, by provider.
///
/// In JSON the forecast of all documents stands beside these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The moment that it speaks of.
    pub made_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// By the provider's name.
    pub providers: BTreeMap<String, Tokens>,
    /// Documents that name no configured provider; none where no provider field is mapped.
    pub others: Option<Tokens>,
}

/// The tokens of one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Documents with the state `live`.
    pub live: u64,
    /// Documents with the state `needs_login`.
    pub needs_login: u64,
    /// Documents with the state `lost_in_flight`.
    pub lost_in_flight: u64,
    /// Documents with the state `malformed`.
    pub malformed: u64,
    /// Documents with none of these states: no pass has seen them.
    pub unseen: u64,
    /// Documents that a pass would work on now, so without those that are marked; none where that can't be told quickly.
    pub due: Option<u64>,
    /// The earliest due date of these; none where none has one.
    pub oldest_due_at: Option<Timestamp>,
    /// When their logins end.
    pub forecast: Forecast,
}

/// When logins end if nothing more is refreshed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// The first end of a live login that is to come; none where none is known.
    pub first_end_at: Option<Timestamp>,
    /// Live logins that end from now on within 1, 3, 7, 14 and 30 days; each number holds those before it.
    pub within: Within,
    /// Live logins that end from now on before the next pass of their provider reaches them.
    pub before_next_pass: u64,
    /// Logins that are live by our book, and whose end is past.
    pub ended_unseen: u64,
    /// Live logins without a known end, and documents that no pass has seen.
    pub unknown: u64,
}

/// A count for each of [`WITHIN_DAYS`], cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Within(pub [u64; WITHIN_DAYS.len()]);

impl Within {
    /// The days and the count of each.
    pub fn iter(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        WITHIN_DAYS.into_iter().zip(self.0)
    }
}

impl Serialize for Within {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(WITHIN_DAYS.len()))?;
        for (days, count) in self.iter() {
            map.serialize_entry(&format!("{days}d"), &count)?;
        }
        map.end()
    }
}

impl Serialize for Survey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Object<'a> {
            made_at: Timestamp,
            took_seconds: f64,
            #[serde(flatten)]
            total: Forecast,
            providers: &'a BTreeMap<String, Tokens>,
            others: &'a Option<Tokens>,
        }
        let Self { made_at, took, providers, others } = self;
        let took_seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        let total = self.total().forecast;
        Object { made_at: *made_at, took_seconds, total, providers, others }.serialize(serializer)
    }
}

impl Survey {
    /// All documents together.
    #[must_use]
    pub fn total(&self) -> Tokens {
        let mut total = Tokens { due: Some(0), ..Tokens::default() };
        self.providers.values().chain(&self.others).for_each(|tokens| total += tokens);
        total
    }
}

impl AddAssign<&Self> for Tokens {
    fn add_assign(&mut self, other: &Self) {
        self.live += other.live;
        self.needs_login += other.needs_login;
        self.lost_in_flight += other.lost_in_flight;
        self.malformed += other.malformed;
        self.unseen += other.unseen;
        self.due = self.due.zip(other.due).map(|(one, other)| one + other);
        self.oldest_due_at = earlier(self.oldest_due_at, other.oldest_due_at);
        let (ours, theirs) = (&mut self.forecast, &other.forecast);
        ours.first_end_at = earlier(ours.first_end_at, theirs.first_end_at);
        ours.within.0.iter_mut().zip(theirs.within.0).for_each(|(one, other)| *one += other);
        ours.before_next_pass += theirs.before_next_pass;
        ours.ended_unseen += theirs.ended_unseen;
        ours.unknown += theirs.unknown;
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// The documents of one provider, cut into groups of which each holds a document once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    NeedsLogin,
    LostInFlight,
    Malformed,
    /// None of the states that we write.
    Unseen,
    /// Live, without a date as its end.
    Unknown,
    /// Live, with an end so far away that no calendar has it: as good as none.
    TooFar,
    /// Live, with its end in the span of this number: see [`span`].
    Ends(usize),
}

impl Group {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let others = [
            Self::NeedsLogin,
            Self::LostInFlight,
            Self::Malformed,
            Self::Unseen,
            Self::Unknown,
            Self::TooFar,
        ];
        others.into_iter().chain((0..SPANS).map(Self::Ends))
    }
}

/// The number of the span in which an end lies.
pub(crate) fn span_of(end: Timestamp, now: Timestamp) -> usize {
    (0..SPANS).find(|number| end <= span(*number, now).1).unwrap_or(SPANS - 1)
}

/// A span of ends: later than the first moment, and up to the second one.
pub(crate) fn span(number: usize, now: Timestamp) -> (Timestamp, Timestamp) {
    let end = |number: usize| match number {
        0 => now,
        _ => WITHIN_DAYS.get(number - 1).map_or(Timestamp::MAX_UTC, |days| {
            now.checked_add_signed(TimeDelta::days(*days)).unwrap_or(Timestamp::MAX_UTC)
        }),
    };
    (number.checked_sub(1).map_or(Timestamp::MIN_UTC, end), end(number))
}

/// The counts of the groups of one provider.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups(BTreeMap<Group, u64>);

impl Groups {
    pub(crate) fn add(&mut self, group: Group, count: u64) {
        *self.0.entry(group).or_default() += count;
    }

    pub(crate) fn of(&self, group: Group) -> u64 {
        self.0.get(&group).copied().unwrap_or_default()
    }

    /// How many live logins end in the time ahead, up to the end of this span.
    pub(crate) fn ending_by_span(&self, number: usize) -> u64 {
        (1..=number).map(|number| self.of(Group::Ends(number))).sum()
    }

    /// What they say; when the first login ends, and what is due, is found in another way.
    pub(crate) fn tokens(&self) -> Tokens {
        let ends: u64 = (0..SPANS).map(|number| self.of(Group::Ends(number))).sum();
        let (unseen, unknown) = (self.of(Group::Unseen), self.of(Group::Unknown) + self.of(Group::TooFar));
        let mut within = Within::default();
        for (place, count) in within.0.iter_mut().enumerate() {
            *count = self.ending_by_span(place + 1);
        }
        Tokens {
            live: ends + unknown,
            needs_login: self.of(Group::NeedsLogin),
            lost_in_flight: self.of(Group::LostInFlight),
            malformed: self.of(Group::Malformed),
            unseen,
            due: None,
            oldest_due_at: None,
            forecast: Forecast {
                within,
                ended_unseen: self.of(Group::Ends(0)),
                unknown: unknown + unseen,
                ..Forecast::default()
            },
        }
    }
}

impl Forecast {
    /// One sentence for people.
    #[must_use]
    pub fn sentence(&self, now: Timestamp) -> String {
        let mut parts = vec![match self.first_end_at {
            Some(at) => {
                let left = (at - now).to_std().unwrap_or_default();
                format!("the first login ends on {} (in {})", at.format("%Y-%m-%d %H:%M UTC"), about(left))
            }
            None => "no login has a known end ahead".to_owned(),
        }];
        if let Some((days, count)) = self.within.iter().find(|(_, count)| *count > 0) {
            let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
            parts.push(format!("{} within {days}", verb(count, "ends", "end")));
        }
        if self.before_next_pass > 0 {
            let ends = verb(self.before_next_pass, "ends", "end");
            parts.push(format!("{ends} before the next pass can refresh them"));
        }
        if self.ended_unseen > 0 {
            parts.push(format!("{} ended already", verb(self.ended_unseen, "has", "have")));
        }
        if self.unknown > 0 {
            parts.push(format!("{} no known end", verb(self.unknown, "has", "have")));
        }
        format!("If nothing more is refreshed, {}.", parts.join("; "))
    }
}

fn verb(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A time in whole days, or exact to the minute where it is less than one.
fn about(time: Duration) -> String {
    const DAY: u64 = 86_400;
    match time.as_secs() {
        0..60 => "less than a minute".to_owned(),
        seconds @ 60..DAY => words(Duration::from_secs(seconds / 60 * 60)),
        seconds if seconds / DAY == 1 => "1 day".to_owned(),
        seconds => format!("{} days", seconds / DAY),
    }
}

#[cfg(test)]
mod tests;

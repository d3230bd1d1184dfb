//! When the next pass starts, and when a token is due. Pure: `now` is an argument.
//!
//! A cron schedule is read in local wall-clock time. When the clocks go forward, a wake inside the hour that doesn't exist
//! comes at the first instant after it; when they go back, a wake inside the hour that exists twice comes once, the
//! first time. So every scheduled time gives exactly one wake, and a missed one can be told from one that never was.
//! An interval (`every 29min`) knows no zone: its wakes lie evenly on the UTC line. `continuous` goes by what is due: its
//! arithmetic is that of `every 1min`, because a loop looks so often; a pass begins only where something is due.

mod chances;
mod due;
mod every;
mod keep;
mod too_short;

#[cfg(test)]
mod tests;

pub use chances::{FOLLOW_UP_JITTER, chances, drain_bound, follow_ups};
pub use due::{RenewAfter, backoff, due_at_after_success};
pub use keep::{LateAccess, Wakes, keeps_fresh};
pub use too_short::{KnownLives, SHORTEST_PAUSE, TooShort};

use crate::clock::Timestamp;
use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use every::Interval;
use std::{fmt, str::FromStr, time::Duration};

/// Longest distance to a first wake; what is further away is taken for a schedule that never wakes.
///
/// Twelve years hold a 29th of February even across 2100.
const LONGEST_WAIT_YEARS: i32 = 12;

/// How far ahead [`Schedule::longest_gap`] looks: a year with both of its clock changes, and the month that turns it.
const GAP_HORIZON: TimeDelta = TimeDelta::days(400);

/// At most so many wakes are computed to learn something about a schedule.
///
/// A schedule that wakes every minute has half a million wakes a year, and the first twenty thousand say as much.
const MAX_WAKES: usize = 20_000;

/// Longest stretch of local time that a clock change leaves out.
///
/// A whole day: Samoa had no 30 December 2011.
const LONGEST_CLOCK_CHANGE: TimeDelta = TimeDelta::hours(25);

/// A schedule that wakes again and again: a cron expression in a time zone, or an interval.
#[derive(Clone, PartialEq)]
pub struct Schedule {
    text: String,
    rhythm: Rhythm,
    zone: Tz,
}

#[derive(Clone, PartialEq)]
enum Rhythm {
    Cron(Box<Cron>),
    Every(Interval),
    /// By what is due, looked at each minute.
    Continuous,
}

impl Rhythm {
    /// The distance between two wakes, where it is always the same.
    fn interval(&self) -> Result<Interval, &Cron> {
        match self {
            Self::Cron(cron) => Err(cron),
            Self::Every(interval) => Ok(*interval),
            Self::Continuous => Ok(every::MINUTE),
        }
    }
}

/// The word for a schedule that goes by what is due.
const CONTINUOUS: &str = "continuous";

/// The life that a refresh token of unknown life is taken to have where passes go by what is due: otherwise it would be due
/// again each minute. With `renew_after` of a third it is refreshed each day.
pub const ASSUMED_LIFE: Duration = Duration::from_hours(3 * 24);

/// A text that isn't a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five or six fields, or one of them can't be read.
    #[error(
        "`{text}` is not a cron schedule ({reason}): expected five fields (minute, hour, day of month, month, day of \
         week) or six (second first), like `0 3 * * SUN`; an interval, like `every 29min`; or `continuous`"
    )]
    Cron {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `every` without a duration that can be used.
    #[error(
        "`{text}` is not an interval ({reason}): expected `every` and a duration of at least one minute, like `every 29min` \
         or `every 12h`"
    )]
    Interval {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No zone of that name.
    #[error(
        "`{name}` is not a time zone: expected a name of the IANA database, like `UTC` or `Europe/Berlin`"
    )]
    Zone {
        /// What was given.
        name: String,
        /// The zone whose name comes nearest.
        nearest: Option<&'static str>,
    },
    /// A day that no year has, such as `0 3 31 2 *`.
    #[error("the schedule `{text}` never wakes: no day in the next {LONGEST_WAIT_YEARS} years matches it")]
    Never {
        /// What was given.
        text: String,
    },
}

/// One wake, shown in its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// When.
    pub at: Timestamp,
    /// The same instant as people there read it.
    pub local: DateTime<Tz>,
}

impl fmt::Display for Wake {
    /// `Sun 2026-11-22 03:00 CET`, with UTC beside it where the two differ.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.local.format("%a %Y-%m-%d %H:%M:%S %Z"))?;
        if self.local.timezone() == Tz::UTC {
            return Ok(());
        }
        write!(formatter, " ({})", self.at.format("%Y-%m-%d %H:%M UTC"))
    }
}

impl Schedule {
    /// Reads a cron text, `every DURATION` or `continuous`, and the name of a zone, and refuses what never wakes after `now`.
    ///
    /// # Errors
    /// Names what can't be read, and the nearest zone.
    pub fn parse(text: &str, zone: &str, now: Timestamp) -> Result<Self, ScheduleError> {
        if let Some(interval) = Interval::read(text) {
            let interval =
                interval.map_err(|reason| ScheduleError::Interval { text: text.to_owned(), reason })?;
            let rhythm = Rhythm::Every(interval);
            return Ok(Self { text: text.trim().to_owned(), rhythm, zone: parse_zone(zone)? });
        }
        if text.trim().eq_ignore_ascii_case(CONTINUOUS) {
            let zone = parse_zone(zone)?;
            return Ok(Self { text: CONTINUOUS.to_owned(), rhythm: Rhythm::Continuous, zone });
        }
        let unreadable = |reason: String| ScheduleError::Cron { text: text.to_owned(), reason };
        let fields = text.split_whitespace().count();
        if !(5..=6).contains(&fields) {
            let plural = if fields == 1 { "field" } else { "fields" };
            return Err(unreadable(format!("it has {fields} {plural}")));
        }
        let cron = Cron::from_str(text)
            .map_err(|error| unreadable(error.to_string().trim_end_matches('.').to_owned()))?;
        let rhythm = Rhythm::Cron(Box::new(cron));
        let schedule = Self { text: text.trim().to_owned(), rhythm, zone: parse_zone(zone)? };
        let latest = now.year().saturating_add(LONGEST_WAIT_YEARS);
        if schedule.next_after(now).is_none_or(|wake| wake.year() > latest) {
            return Err(ScheduleError::Never { text: schedule.text });
        }
        Ok(schedule)
    }

    /// The text as it was given.
    #[cfg(test)]
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The zone that a cron text is read in, and in which wakes are shown.
    #[must_use]
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// Does a loop go by what is due, and by no wake?
    #[must_use]
    pub const fn is_continuous(&self) -> bool {
        matches!(self.rhythm, Rhythm::Continuous)
    }

    /// The first wake after `now`.
    ///
    /// `None` only centuries ahead of the present, where the cron library stops.
    #[must_use]
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        let cron = match self.rhythm.interval() {
            Err(cron) => cron,
            Ok(interval) => return interval.next_after(now),
        };
        // Local time maps to instants in order, so whatever is scheduled up to now's local time is not after now.
        let mut local = now.with_timezone(&self.zone).naive_local().trunc_subsecs(0);
        loop {
            local = cron.find_next_occurrence(&local.and_utc(), false).ok()?.naive_utc();
            let wake = self.instant(local)?;
            if wake > now {
                return Some(wake);
            }
        }
    }

    /// The wakes after `now`, soonest first.
    pub fn wakes_after(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_after(now), |wake| self.next_after(*wake))
    }

    /// The next `count` wakes after `now`, with the zone's own time: an hour's step across a clock change shows.
    #[must_use]
    pub fn next_wakes(&self, now: Timestamp, count: usize) -> Vec<Wake> {
        let shown = |at: Timestamp| Wake { at, local: at.with_timezone(&self.zone) };
        self.wakes_after(now).take(count).map(shown).collect()
    }

    /// The last wake up to and including `now`.
    #[must_use]
    pub fn last_until(&self, now: Timestamp) -> Option<Timestamp> {
        let cron = match self.rhythm.interval() {
            Err(cron) => cron,
            Ok(interval) => return interval.last_until(now),
        };
        let local = now.with_timezone(&self.zone).naive_local();
        let scheduled = cron.find_previous_occurrence(&local.trunc_subsecs(0).and_utc(), true).ok()?;
        let first = self.instant(scheduled.naive_utc())?;
        // In an hour's second round, wakes of its first round are behind us although their local time is ahead.
        std::iter::successors(Some(first), |wake| self.next_after(*wake).filter(|next| *next <= now)).last()
    }

    /// The most recent wake in (`last_wake`, `now`]: one, however many were missed.
    ///
    /// `last_wake` is the wake that the last pass answered, `None` before the first one: then nothing was missed. A
    /// clock that stepped back has its `last_wake` ahead of `now`: nothing was missed either, and the next wake is
    /// [`Schedule::next_after`] `now` as ever, so that no wake waits for the clock to catch up. The caller then
    /// stores that wake, although it is earlier than the one it had.
    #[must_use]
    pub fn missed_since(&self, last_wake: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let last_wake = last_wake?;
        self.last_until(now).filter(|wake| *wake > last_wake)
    }

    /// The longest distance between two wakes after `from`, over a year and a month; of schedules that wake more
    /// often than hourly, over as many as tell.
    #[must_use]
    pub fn longest_gap(&self, from: Timestamp) -> TimeDelta {
        if let Ok(interval) = self.rhythm.interval() {
            return interval.length();
        }
        let wakes = self.sample(from, GAP_HORIZON);
        let gaps = wakes.iter().zip(wakes.iter().skip(1)).map(|(earlier, later)| *later - *earlier);
        gaps.max().unwrap_or(TimeDelta::MAX)
    }

    /// The wakes from `from` on until `horizon` is covered, at least three and at most [`MAX_WAKES`].
    fn sample(&self, from: Timestamp, horizon: TimeDelta) -> Vec<Timestamp> {
        let end = from.checked_add_signed(horizon).unwrap_or(Timestamp::MAX_UTC);
        let mut wakes = Vec::new();
        for wake in self.wakes_after(from).take(MAX_WAKES) {
            wakes.push(wake);
            if wake > end && wakes.len() >= 3 {
                break;
            }
        }
        wakes
    }

    /// The one instant that a scheduled local time stands for; a later local time never gives an earlier instant.
    fn instant(&self, local: NaiveDateTime) -> Option<Timestamp> {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(only) => Some(only.with_timezone(&Utc)),
            LocalResult::Ambiguous(first, _) => Some(first.with_timezone(&Utc)),
            LocalResult::None => self.end_of_gap(local),
        }
    }

    /// The first instant after a local time that doesn't exist.
    fn end_of_gap(&self, local: NaiveDateTime) -> Option<Timestamp> {
        let exists = |seconds: i64| {
            let later = local.checked_add_signed(TimeDelta::seconds(seconds))?;
            self.zone.from_local_datetime(&later).earliest()
        };
        // Zones change their clocks on whole seconds: the boundary is found by halving.
        let (mut missing, mut there) = (0, LONGEST_CLOCK_CHANGE.num_seconds());
        while there - missing > 1 {
            let middle = i64::midpoint(missing, there);
            if exists(middle).is_some() {
                there = middle;
            } else {
                missing = middle;
            }
        }
        exists(there).map(|instant| instant.with_timezone(&Utc))
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Schedule({self})")
    }
}

impl fmt::Display for Schedule {
    /// `0 3 * * SUN (Europe/Berlin)`, `every 29min`, `continuous`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rhythm {
            Rhythm::Cron(_) => write!(formatter, "{} ({})", self.text, self.zone),
            Rhythm::Every(_) | Rhythm::Continuous => formatter.write_str(&self.text),
        }
    }
}

/// Reads the name of a zone, exactly as the IANA database spells it.
fn parse_zone(name: &str) -> Result<Tz, ScheduleError> {
    name.parse().map_err(|_| {
        let distance = |zone: &Tz| {
            // People write `berlin` or `europe/berlin`: the last part alone counts too.
            let (full, given) = (zone.name().to_lowercase(), name.to_lowercase().replace(' ', "_"));
            let city = full.rsplit('/').next().unwrap_or(&full);
            strsim::damerau_levenshtein(&full, &given).min(strsim::damerau_levenshtein(city, &given))
        };
        // Of equally near ones the shortest: `UTC`, not `Etc/UTC`.
        let ranked = |zone: &Tz| (distance(zone), zone.name().len(), zone.name());
        let nearest = chrono_tz::TZ_VARIANTS.iter().map(ranked).min();
        let close = nearest.filter(|(distance, ..)| *distance <= name.chars().count().div_ceil(3));
        ScheduleError::Zone { name: name.to_owned(), nearest: close.map(|(.., zone)| zone) }
    })
}

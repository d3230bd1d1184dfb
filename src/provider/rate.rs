//! Rates as people write them: `400/min`, `50/s`, `none`.

use serde::{Deserialize, Deserializer, Serializer};
use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// The most grants in every sliding window of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Grants allowed in one window.
    pub grants: NonZeroU32,
    /// The window's length.
    pub window: Duration,
}

/// A text that isn't a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a rate: expected a whole number above 0 and a unit, like `400/min`, `50/s` or `1000/h`, or `none`"
)]
pub struct RateError(String);

/// The units and their lengths in seconds; the first spelling of each is the one shown.
const UNITS: [(&str, u64); 9] = [
    ("s", 1),
    ("min", 60),
    ("h", 3600),
    ("d", 86_400),
    ("sec", 1),
    ("second", 1),
    ("m", 60),
    ("minute", 60),
    ("hour", 3600),
];

impl Rate {
    /// Grants a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.grants.get()) / self.window.as_secs_f64()
    }

    /// The even distance between two grants.
    #[must_use]
    pub fn period(self) -> Duration {
        self.window / self.grants.get()
    }

    /// How long this number of grants takes at this rate.
    #[must_use]
    pub fn time_for(self, grants: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
        let seconds = grants as f64 / self.per_second();
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (grants, unit) = text.trim().split_once('/')?;
            let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
            Some(Self { grants: grants.trim().parse().ok()?, window: Duration::from_secs(*seconds) })
        };
        parse().ok_or_else(|| RateError(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            UNITS.iter().find(|(_, seconds)| *seconds == self.window.as_secs()).map_or("?", |(name, _)| name);
        write!(formatter, "{}/{unit}", self.grants)
    }
}

/// Serde for `Option<Rate>` as text, `none` for no limit.
pub mod text {
    use super::{Deserialize, Deserializer, Rate, Serializer};

    /// Writes `400/min` or `none`.
    pub fn serialize<S: Serializer>(rate: &Option<Rate>, serializer: S) -> Result<S::Ok, S::Error> {
        match rate {
            Some(rate) => serializer.collect_str(rate),
            None => serializer.serialize_str("none"),
        }
    }

    /// Reads `400/min` or `none`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim() == "none" {
            return Ok(None);
        }
        text.parse().map(Some).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        for (text, shown, period_millis) in [
            ("400/min", "400/min", 150),
            ("50/s", "50/s", 20),
            (" 60 / minute ", "60/min", 1000),
            ("3600/hour", "3600/h", 1000),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(
                (rate.to_string().as_str(), rate.period()),
                (shown, Duration::from_millis(period_millis))
            );
        }
        for bad in ["", "0/s", "-1/s", "5", "5/", "/s", "5/week", "1.5/s", "99999999999/s", "none"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}

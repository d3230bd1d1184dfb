//! Moments in a document: read as applications write them, written as BSON dates or as the application wants its own fields.

use crate::clock::Timestamp;
use crate::store::mapping::ExpiryFormat;
use bson::Bson;
use chrono::{DateTime, SecondsFormat};

/// From this number on a moment is in milliseconds: no date between 1973 and 5138 is ambiguous.
const FEWEST_MILLIS: i64 = 100_000_000_000;

/// A moment as applications write it: a date, RFC 3339, or a number.
pub(super) fn moment(value: &Bson) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond every date is no moment")]
    let number = match value {
        Bson::DateTime(date) => return DateTime::from_timestamp_millis(date.timestamp_millis()),
        Bson::String(text) => return text.trim().parse().ok(),
        Bson::Int32(number) => i64::from(*number),
        Bson::Int64(number) => *number,
        Bson::Double(number) => number.trunc() as i64,
        _ => return None,
    };
    match number {
        ..=0 => None,
        1..FEWEST_MILLIS => DateTime::from_timestamp(number, 0),
        FEWEST_MILLIS.. => DateTime::from_timestamp_millis(number),
    }
}

/// An instant as a BSON date.
pub(in crate::store) fn date(at: Timestamp) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(at.timestamp_millis()))
}

/// An expiry as the application wants it in a mapped field.
pub(in crate::store) fn expiry(at: Timestamp, format: ExpiryFormat) -> Bson {
    match format {
        ExpiryFormat::Date => date(at),
        ExpiryFormat::UnixSeconds => Bson::Int64(at.timestamp()),
        ExpiryFormat::UnixMillis => Bson::Int64(at.timestamp_millis()),
        ExpiryFormat::Rfc3339 => Bson::String(at.to_rfc3339_opts(SecondsFormat::Secs, true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_moment_is_read_as_applications_write_it() {
        let seconds = 1_800_000_000;
        for value in [
            date(at(seconds)),
            Bson::Int32(1_800_000_000),
            Bson::Int64(seconds),
            Bson::Int64(seconds * 1000),
            Bson::Double(1.8e9),
            Bson::Double(1.8e12),
            "2027-01-15T08:00:00Z".into(),
            "2027-01-15T09:00:00.000+01:00".into(),
        ] {
            assert_eq!(moment(&value), Some(at(seconds)), "{value}");
        }
        for value in [
            Bson::Int32(0),
            Bson::Int64(-5),
            Bson::Null,
            "soon".into(),
            "1800000000".into(),
            Bson::Double(f64::NAN),
        ] {
            assert_eq!(moment(&value), None, "{value}");
        }
    }

    #[test]
    fn an_expiry_is_written_as_the_application_wants_it() {
        assert_eq!(expiry(at(10), ExpiryFormat::Date), Bson::DateTime(bson::DateTime::from_millis(10_000)));
        assert_eq!(expiry(at(10), ExpiryFormat::UnixSeconds), Bson::Int64(10));
        assert_eq!(expiry(at(10), ExpiryFormat::UnixMillis), Bson::Int64(10_000));
        assert_eq!(expiry(at(10), ExpiryFormat::Rfc3339), Bson::String("1970-01-01T00:00:10Z".into()));
    }
}

//! Durations as people write them.

use std::time::Duration;

/// A duration for people and for the file, in its two largest units: `4d 16h`, `1min 30s`.
pub(crate) fn words(duration: Duration) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let seconds = duration.as_secs_f64().round();
    let largest =
        UNITS.iter().position(|(_, length)| duration.as_secs() >= *length).unwrap_or(UNITS.len() - 1);
    let shown = &UNITS[largest..UNITS.len().min(largest + 2)];
    // Rounded to the smaller of the two, so that 4 d 15 h 59 min 59.9 s is 4 d 16 h.
    let smallest = shown.last().map_or(1, |(_, length)| *length);
    let mut rest = Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |whole| whole.as_secs());
    rest = rest.saturating_add(smallest / 2) / smallest * smallest;
    let mut parts = Vec::new();
    for (name, length) in shown {
        if rest >= *length {
            parts.push(format!("{}{name}", rest / length));
            rest %= length;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_its_two_largest_units() {
        for (millis, shown) in [
            (0, "0s"),
            (400, "0s"),
            (1500, "2s"),
            (60_000, "1min"),
            (90_000, "1min 30s"),
            (3_599_000, "59min 59s"),
            (3_630_000, "1h 1min"),
            (86_400_000 * 14, "14d"),
            (86_400_000 * 14 / 3 - 1, "4d 16h"),
            (86_400_000 * 31 - 1, "31d"),
        ] {
            assert_eq!(words(Duration::from_millis(millis)), shown, "{millis}");
            assert!(millis == 0 || humantime::parse_duration(shown).is_ok());
        }
        assert!(words(Duration::MAX).contains('d'));
    }
}

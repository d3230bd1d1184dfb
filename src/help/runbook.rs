//! `evergrant help runbook ALERT`: the section of the runbook about one alert.

use super::RUNBOOK;

/// What begins a section.
const HEADING: &str = "\n## ";

/// The alerts, in the order of the runbook.
pub(crate) fn alerts() -> impl Iterator<Item = &'static str> {
    sections().map(|(alert, _)| alert)
}

/// What the runbook says of this alert, with its heading.
pub(crate) fn about(alert: &str) -> Option<String> {
    let (alert, text) = sections().find(|(name, _)| name.eq_ignore_ascii_case(alert))?;
    Some(format!("## {alert}\n{}", text.trim_end()))
}

fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    RUNBOOK.split(HEADING).skip(1).filter_map(|section| section.split_once('\n'))
}

#[cfg(test)]
mod tests;

//! The part of each provider, in words: where there are several.

use super::MOST_SHOWN;
use crate::report::summary::Summary;
use crate::report::{Outcome, ProviderPart};
use std::fmt::{self, Write as _};

impl Summary {
    /// A line for each provider that had something to do.
    pub(super) fn write_providers(&self, text: &mut String) -> fmt::Result {
        let without_a_pass = usize::try_from(self.idle_providers).unwrap_or(usize::MAX);
        if self.providers.len().saturating_add(without_a_pass) < 2 {
            return Ok(());
        }
        let at_work: Vec<_> = self.providers.iter().filter(|(_, part)| !part.is_idle()).collect();
        let idle = (self.providers.len() - at_work.len()).saturating_add(without_a_pass);
        let shown = &at_work[..at_work.len().min(MOST_SHOWN)];
        let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default().max(8);
        if !shown.is_empty() {
            writeln!(
                text,
                "\n  {:<width$} {:>8} {:>10} {:>11} {:>10}",
                "provider", "due", "refreshed", "must log in", "still due"
            )?;
        }
        for (name, part) in shown {
            let due = part.due.map_or_else(|| "?".to_owned(), |due| due.to_string());
            let [refreshed, login, still_due] = [
                part.count(&[Outcome::Refreshed]),
                part.count(&[Outcome::NeedsLogin, Outcome::LostInFlight]),
                part.count(&[Outcome::StillDue, Outcome::Held]),
            ];
            writeln!(text, "  {name:<width$} {due:>8} {refreshed:>10} {login:>11} {still_due:>10}")?;
        }
        if at_work.len() > shown.len() {
            let more = at_work.len() - shown.len();
            writeln!(text, "  and {more} more providers (`--format json` has all)")?;
        }
        match idle {
            0 => Ok(()),
            1 => writeln!(text, "  1 provider had nothing due"),
            idle => writeln!(text, "  {idle} providers had nothing due"),
        }
    }
}

impl ProviderPart {
    fn count(&self, outcomes: &[Outcome]) -> u64 {
        outcomes.iter().filter_map(|outcome| self.outcomes.get(outcome)).sum()
    }

    fn is_idle(&self) -> bool {
        self.due == Some(0) && self.outcomes.values().all(|count| *count == 0)
    }
}

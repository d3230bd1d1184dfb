//! The end of a pass in words.

mod by_provider;

use super::summary::{Summary, Warned};
use super::{Ending, LeftToOthers, LiveAgain, MOST_NAMED, Outcome, PutOff, WhyLiveAgain};
use crate::clock::Timestamp;
use crate::failure::{told, with_hint};
use crate::journal::Parked;
use crate::token::State;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// Users shown in the text; `--format json` has up to [`MOST_NAMED`], `evergrant tokens list` all.
pub(super) const MOST_SHOWN: usize = 20;

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_text(&mut text)?;
        formatter.write_str(text.trim_end())
    }
}

impl Summary {
    fn write_text(&self, text: &mut String) -> fmt::Result {
        let took = Duration::from_millis(u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX));
        match self.documents {
            Some(documents) => writeln!(text, "{documents} documents in {}", self.collection)?,
            None => writeln!(text, "the store was not reached: {}", self.collection)?,
        }
        self.write_due(text, took)?;
        if !self.recovery.is_empty() {
            writeln!(text, "{}", self.recovery)?;
        }
        writeln!(text)?;
        for (outcome, count) in
            self.outcomes.iter().filter(|(outcome, count)| **count > 0 || **outcome == Outcome::Refreshed)
        {
            writeln!(text, "  {:<15} {count:>8}{}", outcome.word(), self.note(*outcome))?;
        }
        if self.orphans > 0 {
            writeln!(
                text,
                "  {:<15} {:>8}  new pairs parked in this pass: the document is gone, or holds another token",
                "orphans", self.orphans
            )?;
        }
        self.write_parked(text)?;
        self.write_providers(text)?;
        if self.throttled + self.retries > 0 {
            let pauses = (self.throttled > 0)
                .then(|| format!("the provider asked for {}", many(self.throttled, "pause")));
            let repeated = (self.retries > 0).then(|| format!("{} repeated", many(self.retries, "request")));
            let both: Vec<_> = pauses.into_iter().chain(repeated).collect();
            writeln!(text, "\n  {}", both.join("; "))?;
        }
        self.write_put_off(text)?;
        self.write_waits(text)?;
        self.write_lost(text)?;
        self.write_live_again(text)?;
        self.write_named(text)?;
        self.write_ending(text)?;
        if let Some(survey) = &self.forecast {
            writeln!(text, "\n{}", survey.total().forecast.sentence(survey.made_at))?;
        }
        if self.finds_no_token() {
            let hint = "check that `documents.refresh_token` and `documents.provider` name the right fields, and that Evergrant may write into the documents; `evergrant check` looks at a sample";
            writeln!(text, "\n{}", with_hint("no document could be worked on".into(), Some(hint)))?;
        }
        for Warned { message, hint, .. } in &self.warnings {
            writeln!(text, "\n{}", with_hint(format!("warning: {message}"), hint.as_deref()))?;
        }
        for trouble in &self.troubles {
            writeln!(text, "\n{}", told(trouble))?;
        }
        Ok(())
    }

    /// What was due, what of it was taken, and what is left; the numbers add up.
    fn write_due(&self, text: &mut String, took: Duration) -> fmt::Result {
        let taken = self.taken;
        let requests = format!("{} in {}", many(self.grants, "request"), humantime::format_duration(took));
        match (self.due, self.remaining_due) {
            (Some(due), Some(0)) => writeln!(text, "{due} due, {requests}")?,
            (Some(due), Some(remaining)) => {
                let limit = if self.limited { " (--limit)" } else { "" };
                let remain = if remaining == 1 { "remains" } else { "remain" };
                let given_back = match self.given_back() {
                    0 => String::new(),
                    some => format!(" ({some} of these were claimed and given back)"),
                };
                writeln!(
                    text,
                    "{taken} of {due} due were finished{limit}, {requests}; {remaining} {remain} due{given_back}"
                )?;
            }
            (None, _) | (_, None) => {
                // Those that were given back are known without a count.
                let remaining = match self.given_back() {
                    0 => "how many remain due is not known".to_owned(),
                    least => format!("at least {least} remain due, and the others were not counted"),
                };
                writeln!(text, "{taken} due were finished, {requests}; {remaining}")?;
            }
        }
        if let LeftToOthers { documents, until: Some(until) } = self.left_to_others {
            writeln!(text, "{documents} held by other processes, until {} at the latest", moment(until))?;
        }
        if self.known_needs_login > 0 {
            writeln!(text, "{} known to need a login, not asked", self.known_needs_login)?;
        }
        if self.known_malformed > 0 {
            writeln!(text, "{} known to be malformed, not asked", self.known_malformed)?;
        }
        Ok(())
    }

    /// Documents that were claimed and are due again as they were before.
    const fn given_back(&self) -> u64 {
        self.touched - self.known_needs_login - self.known_malformed - self.taken
    }

    fn note(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::StillDue if !self.still_due_reasons.is_empty() => {
                let reasons: Vec<_> =
                    self.still_due_reasons.iter().map(|(why, count)| format!("{why} {count}")).collect();
                format!("  ({})", reasons.join(", "))
            }
            Outcome::Held => "  the new pair is in the journal; the next pass writes it".to_owned(),
            Outcome::Lost => {
                "  the new pair was received, and neither the journal nor the document could keep it"
                    .to_owned()
            }
            Outcome::Superseded => {
                "  the application wrote a newer token meanwhile; that one was kept".to_owned()
            }
            Outcome::Gone => match self.gone_while_refused {
                0 => "  the document was deleted during the pass".to_owned(),
                some => format!(
                    "  the document was deleted during the pass; gone while refused: {some} (these users must log in again)"
                ),
            },
            Outcome::Duplicate => {
                "  same refresh token as another document; got the new pair of that one".to_owned()
            }
            Outcome::Restored => {
                "  the document held an old token again; the pair that was received for it was put back"
                    .to_owned()
            }
            Outcome::Refreshed
            | Outcome::NeedsLogin
            | Outcome::LostInFlight
            | Outcome::Malformed
            | Outcome::StillDue => String::new(),
        }
    }

    fn write_parked(&self, text: &mut String) -> fmt::Result {
        let Parked { orphans, unread } = self.parked;
        if orphans > 0 {
            writeln!(
                text,
                "  {:<15} {orphans:>8}  new pairs wait in the journal for a person: `evergrant journal list --orphans`",
                "parked"
            )?;
        }
        if unread > 0 {
            writeln!(
                text,
                "  {:<15} {unread:>8}  answers in which no pair was found wait in the journal: `evergrant journal list`",
                "unread"
            )?;
        }
        Ok(())
    }

    /// Who waits for a later pass: why, and until when.
    fn write_put_off(&self, text: &mut String) -> fmt::Result {
        let Some(first) = self.put_off.iter().map(|put_off| put_off.due_at).min() else { return Ok(()) };
        let mut codes = BTreeMap::<&str, u64>::new();
        for put_off in &self.put_off {
            *codes.entry(&put_off.code).or_default() += 1;
        }
        let codes: Vec<_> = codes.keys().copied().collect();
        writeln!(
            text,
            "\nput off: {} ({}, next at {}):",
            self.put_off_count,
            codes.join(", "),
            moment(first)
        )?;
        for PutOff { subject, code, due_at, new, .. } in self.put_off.iter().take(MOST_SHOWN) {
            let before = if *new { "" } else { ", by an earlier pass" };
            writeln!(text, "  {subject}  ({code}, due again at {}{before})", moment(*due_at))?;
        }
        let rest = self.put_off_count.saturating_sub(MOST_SHOWN as u64);
        if rest > 0 {
            writeln!(text, "  … and {rest} more: `--format json` names up to {MOST_NAMED}")?;
        }
        Ok(())
    }

    /// Whose login ends soon.
    fn write_ending(&self, text: &mut String) -> fmt::Result {
        let Some(first) = self.ending.first() else { return Ok(()) };
        writeln!(
            text,
            "\nmust log in again soon, because no refresh extends the login: {} (first end at {}):",
            self.ending_count,
            moment(first.ends_at)
        )?;
        for Ending { subject, ends_at, .. } in self.ending.iter().take(MOST_SHOWN) {
            writeln!(text, "  {subject}  (ends at {})", moment(*ends_at))?;
        }
        let rest = self.ending_count.saturating_sub(MOST_SHOWN as u64);
        if rest > 0 {
            writeln!(
                text,
                "  … and {rest} more: `evergrant tokens list --ending-within 14d` lists them by time"
            )?;
        }
        Ok(())
    }

    /// Whose mark is gone, and why.
    fn write_live_again(&self, text: &mut String) -> fmt::Result {
        if self.live_again.is_empty() {
            return Ok(());
        }
        writeln!(text, "\nlive again: {} (`evergrant help outcomes`):", self.live_again_count)?;
        // Marks that were taken back first: what was only asked twice may be many more.
        let mut live_again: Vec<_> = self.live_again.iter().collect();
        live_again.sort_by_key(|one| one.why);
        for LiveAgain { subject, was, why, .. } in live_again.into_iter().take(MOST_SHOWN) {
            let was = if *why == WhyLiveAgain::AskedTwice { "refused once" } else { was.word() };
            writeln!(text, "  {subject}  (was {was}; {})", why.word())?;
        }
        let rest = self.live_again_count.saturating_sub(MOST_SHOWN as u64);
        if rest > 0 {
            writeln!(text, "  … and {rest} more: `--format json` names up to {MOST_NAMED}")?;
        }
        Ok(())
    }

    fn write_lost(&self, text: &mut String) -> fmt::Result {
        if self.lost.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\nLOST: a new pair was received for these users, and neither the journal nor the document could keep it. They must log in again, unless they have done so meanwhile:"
        )?;
        for subject in self.lost.iter().take(MOST_SHOWN) {
            writeln!(text, "  {subject}")?;
        }
        let rest = self.count(Outcome::Lost).saturating_sub(MOST_SHOWN as u64);
        if rest > 0 {
            writeln!(text, "  … and {rest} more: the log names them")?;
        }
        Ok(())
    }

    fn write_named(&self, text: &mut String) -> fmt::Result {
        let groups = [
            (State::NeedsLogin, "must log in again"),
            (State::LostInFlight, "must log in again: the answer with the new token was lost"),
            (
                State::Malformed,
                "can't be refreshed: the document holds no refresh token that can be sent, names no configured provider, or can't be changed (`no_room`: the log says why)",
            ),
        ];
        for (state, title) in groups {
            let of_state: Vec<_> = self.named.iter().filter(|named| named.state == state).collect();
            if of_state.is_empty() {
                continue;
            }
            writeln!(text, "\n{title}:")?;
            for named in of_state.iter().take(MOST_SHOWN) {
                let since = named.since.map_or_else(String::new, |since| format!(" since {}", moment(since)));
                let new = if named.new { "" } else { ", known before" };
                let again =
                    named.asked_again_at.map_or_else(String::new, |at| format!("; asked again {}", day(at)));
                writeln!(text, "  {}  ({}{since}{new}{again})", named.subject, named.code)?;
            }
            if state == State::NeedsLogin {
                writeln!(text, "  ask for one of them now: `evergrant run --once --only ID --force`")?;
            }
            let rest = of_state.len().saturating_sub(MOST_SHOWN);
            if rest > 0 || self.named.len() >= MOST_NAMED {
                let list = format!("`evergrant tokens list --state {}`", state.word());
                let rest =
                    if state == State::Malformed { ", and the log for those with `no_room`" } else { "" };
                writeln!(text, "  … all of them: {list}{rest}")?;
            }
        }
        Ok(())
    }
}

/// A number with its noun: `1 request`, `2 requests`.
pub(super) fn many(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A moment for people.
pub(super) fn moment(at: Timestamp) -> impl fmt::Display {
    at.format("%Y-%m-%d %H:%M UTC")
}

fn day(at: Timestamp) -> impl fmt::Display {
    at.format("%Y-%m-%d")
}

#[cfg(test)]
mod tests;

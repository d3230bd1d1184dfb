//! The plan for people.

use super::{Plan, PlannedPass, Way};
use crate::commands::shown::{columns, count, instant};
use crate::duration::words;
use std::fmt;
use std::time::Duration;

/// What a document without a due date is: it was never taken.
const AT_ONCE: &str = "at once";

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "a pass over {} would do this now; nothing was claimed, asked or written",
            self.collection
        )?;
        if let Some(holder) = &self.held_by {
            writeln!(
                formatter,
                "the journal is held by {holder}: a pass by hand would end with exit code 6"
            )?;
        }
        if self.claimed > 0 {
            let are = if self.claimed == 1 { "document is" } else { "documents are" };
            writeln!(formatter, "{} {are} claimed by a pass that runs, and left to it", self.claimed)?;
        }
        let passes: Vec<_> = self.passes.iter().map(ToString::to_string).collect();
        write!(formatter, "\n{}", passes.join("\n\n"))
    }
}

impl fmt::Display for PlannedPass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |way: Way| self.documents.get(&way).copied().unwrap_or_default();
        let requests = of(Way::Asked) + of(Way::AskedOnceMore);
        let name = self.provider.as_deref().unwrap_or("documents of no configured provider");
        let time = match self.takes_seconds {
            _ if requests == 0 => String::new(),
            Some(seconds) => {
                let takes = Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX);
                format!(" in about {}", words(takes))
            }
            None => ", as fast as the provider answers".to_owned(),
        };
        write!(formatter, "{name}: {}{time}", count(requests, "request"))?;
        if let Some(until) = self.paused_until {
            let until = instant(Some(until));
            write!(
                formatter,
                "\nthe provider asked for a pause until {until} UTC: a pass before that asks for nothing"
            )?;
        }
        for (way, number) in &self.documents {
            if let Some(what) = what(*way) {
                write!(formatter, "\n  {number:>7}  {what}")?;
            }
        }
        if self.asked.is_empty() {
            return Ok(());
        }
        let rows = self.asked.iter().zip(1..).map(|(document, number): (_, u64)| {
            let due = document.due_at.map_or_else(|| AT_ONCE.to_owned(), |at| instant(Some(at)));
            [number.to_string(), due, document.subject.to_string(), document.id.to_string()]
        });
        write!(formatter, "\n\n{}", columns(["ORDER", "DUE (UTC)", "SUBJECT", "_ID"], rows))?;
        let listed = self.asked.len() as u64;
        if listed < requests {
            write!(formatter, "\n… and {} more (`--limit N` lists the first N)", requests - listed)?;
        }
        Ok(())
    }
}

/// What is said of those that aren't simply asked.
const fn what(way: Way) -> Option<&'static str> {
    Some(match way {
        Way::Asked => return None,
        Way::AskedOnceMore => "of these: marked long ago, asked once more after all others",
        Way::Marked => "not asked: marked, the user must log in again",
        Way::Malformed => "not asked: no token that can be sent",
        Way::InJournal => "not asked: the answer is in the journal, and is written back",
        Way::Redeemed => "not asked: the token was redeemed",
        Way::Waits => "not asked: another machine may hold the answer",
        Way::TooLate => {
            "not asked: another machine may have sent the token, and its life is over; will be marked"
        }
        Way::BeyondLimit => "not asked: beyond `--limit`",
    })
}

//! A standing for people: what to look at first, then how each part stands.

use super::super::{ProviderStatus, Status};
use super::{Concern, Source, Standing};
use crate::clock::Timestamp;
use crate::duration::words;
use crate::failure::with_hint;
use crate::gate::Doing;
use crate::report::PassRecord;
use std::fmt;

impl fmt::Display for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.concerns.is_empty() {
            writeln!(formatter, "nothing needs a look")?;
        }
        for concern in &self.concerns {
            writeln!(formatter, "{}", told(concern))?;
        }
        writeln!(formatter)?;
        let mut parts =
            vec![("process".to_owned(), process(self)), ("store".to_owned(), store(&self.status))];
        parts.push(("forecast".to_owned(), forecast(&self.status)));
        for (name, of) in &self.status.providers {
            parts.push((name.clone(), provider(of, self.status.now)));
        }
        parts.push(("journal".to_owned(), journal(&self.status)));
        let width = parts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let lines = parts.iter().map(|(name, text)| {
            let gap = " ".repeat(width - name.chars().count() + 2);
            format!("{name}{gap}{text}")
        });
        formatter.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

fn told(concern: &Concern) -> String {
    let about = concern.provider.as_ref().map_or_else(String::new, |name| format!("{name}: "));
    with_hint(format!("{about}{}", concern.message), Some(&concern.hint))
}

fn process(standing: &Standing) -> String {
    let status = &standing.status;
    if let Source::Journal { reason, .. } = &standing.source {
        return reason.clone();
    }
    let mut parts = vec![format!("Evergrant {}", status.version)];
    let phase = status.phase.zip(status.since);
    parts.extend(phase.map(|(phase, since)| format!("{} since {}", phase.word(), ago(since, status.now))));
    parts.extend(status.next_wake_at.map(|wake| format!("next wake {}", at(wake))));
    parts.extend(status.follow_up_at.map(|follow_up| format!("next follow-up {}", at(follow_up))));
    parts.join("; ")
}

fn store(status: &Status) -> String {
    let Some(survey) = &status.survey else { return status.collection.clone() };
    let all = survey.total();
    let marked = all.needs_login + all.lost_in_flight;
    let mut parts = vec![format!("{} live", all.live)];
    parts.extend((marked > 0).then(|| format!("{marked} must log in again")));
    parts.extend((all.malformed > 0).then(|| format!("{} malformed", all.malformed)));
    parts.extend((all.unseen > 0).then(|| format!("{} not seen by a pass yet", all.unseen)));
    parts.extend(all.due.filter(|due| *due > 0).map(|due| format!("{due} due")));
    format!("{}: {}", status.collection, parts.join(", "))
}

fn forecast(status: &Status) -> String {
    let age = |made_at: Timestamp| words((status.now - made_at).to_std().unwrap_or_default());
    match (&status.survey, &status.survey_not_made) {
        (Some(survey), None) => survey.total().forecast.sentence(survey.made_at),
        (Some(survey), Some(why)) => {
            let sentence = survey.total().forecast.sentence(survey.made_at);
            format!(
                "{sentence} That was {} ago, and it is not known anew: {}",
                age(survey.made_at),
                why.reason
            )
        }
        (None, Some(why)) => format!("not known: {}", why.reason),
        (None, None) => "not known yet".to_owned(),
    }
}

fn provider(of: &ProviderStatus, now: Timestamp) -> String {
    let mut parts = Vec::new();
    if let Some(running) = &of.running {
        let due = running.due.map_or_else(String::new, |due| format!(" of {due}"));
        parts.push(format!(
            "a pass runs since {}: {}{due} done, {} in flight",
            ago(running.started_at, now),
            running.done,
            of.in_flight
        ));
    }
    if let Some(left) = of.paused_for_seconds {
        let left = std::time::Duration::try_from_secs_f64(left).unwrap_or_default();
        parts.push(match of.state {
            Some(Doing::Outage) => format!("the provider is asked again in {}", words(left)),
            _ => format!("the provider asked for a pause, {} are left", words(left)),
        });
    }
    parts.push(of.last_pass.as_ref().map_or_else(|| "no pass yet".to_owned(), |last| pass(last, now)));
    if let Some(complete) = of.last_complete_pass_at {
        let is_that = of.last_pass.as_ref().is_some_and(|last| last.ended_at == complete);
        parts.extend((!is_that).then(|| format!("the last complete one ended {}", ago(complete, now))));
    }
    parts.join("; ")
}

fn pass(last: &PassRecord, now: Timestamp) -> String {
    let took = (last.ended_at - last.started_at).to_std().unwrap_or_default();
    let outcomes = last.outcomes.iter().filter(|(_, count)| **count > 0);
    let outcomes: Vec<_> = outcomes.map(|(outcome, count)| format!("{outcome} {count}")).collect();
    let outcomes = if outcomes.is_empty() { "nothing was due".to_owned() } else { outcomes.join(", ") };
    format!("last pass ended {} after {}, {}: {outcomes}", ago(last.ended_at, now), words(took), last.result)
}

fn journal(status: &Status) -> String {
    let states = status.journal.entries.iter().filter(|(_, count)| **count > 0);
    let mut parts: Vec<_> = states.map(|(state, count)| format!("{count} {}", state.word())).collect();
    if status.journal.unknown_entries > 0 {
        parts.push(format!("{} of an unknown state", status.journal.unknown_entries));
    }
    if parts.is_empty() { "nothing is on its way".to_owned() } else { parts.join(", ") }
}

fn at(time: Timestamp) -> String {
    time.format("%a %Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-21 03:00 UTC (4d 16h ago)`
fn ago(time: Timestamp, now: Timestamp) -> String {
    let age = words((now - time).to_std().unwrap_or_default());
    format!("{} ({age} ago)", time.format("%Y-%m-%d %H:%M UTC"))
}

//! Live and ready, as Kubernetes asks it: `[+]journal ok`.

use super::{Phase, Shows, Status};
use hyper::StatusCode;

/// What was looked at.
#[derive(Debug)]
pub(super) struct Probe {
    name: &'static str,
    lines: Vec<Line>,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Line {
    what: &'static str,
    /// What is wrong, if something is.
    wrong: Option<String>,
    /// Does it decide?
    counts: bool,
}

impl Probe {
    /// What an orchestrator goes by.
    pub(super) fn status(&self) -> StatusCode {
        let is_wrong = self.lines.iter().any(|line| line.counts && line.wrong.is_some());
        if is_wrong { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    }

    /// What a person reads; without `verbose` only what is wrong.
    pub(super) fn text(&self, verbose: bool) -> String {
        let line = |Line { what, wrong, counts }: &Line| match wrong {
            Some(why) if verbose || *counts => Some(format!("[-]{what} {why}")),
            None if verbose => Some(format!("[+]{what} ok")),
            _ => None,
        };
        let mut lines: Vec<_> = self.lines.iter().filter_map(line).collect();
        let name = self.name;
        match (self.status() == StatusCode::OK, verbose) {
            (true, false) => return "ok\n".to_owned(),
            (true, true) => lines.push(format!("{name} check passed")),
            (false, _) => lines.push(format!("{name} check failed")),
        }
        lines.join("\n") + "\n"
    }
}

/// Does the process work? A store, a provider or a disk that is away is shown and doesn't decide: a restart would not mend it, and
/// cuts off answers.
pub(super) fn live(shows: &dyn Shows) -> Probe {
    let status = shows.status();
    let hangs = status.hangs.as_ref().map(ToString::to_string);
    let process = Line { what: "process", wrong: hangs, counts: true };
    let mut lines = around(&status);
    lines.insert(0, process);
    Probe { name: "livez", lines }
}

/// Is everything open, and does it go on?
pub(super) fn ready(shows: &dyn Shows) -> Probe {
    let status = shows.status();
    let wrong = match status.phase {
        Some(Phase::Starting) => Some("has not opened journal and store yet".to_owned()),
        Some(Phase::Stopping) => Some("is stopping".to_owned()),
        Some(Phase::Sleeping | Phase::Passing) | None => None,
    };
    let mut lines = around(&status);
    lines.insert(0, Line { what: "start", wrong, counts: true });
    Probe { name: "readyz", lines }
}

fn around(status: &Status) -> Vec<Line> {
    let is_short = status.journal.space.is_some_and(|space| space.free_bytes < space.floor_bytes);
    let away = (status.store.up == Some(false)).then(|| "does not answer".to_owned());
    let mut lines = vec![
        Line { what: "journal", wrong: (!status.journal.up).then(|| "has failed".to_owned()), counts: false },
        Line {
            what: "disk",
            wrong: is_short.then(|| "has less room than `free_space_floor`".to_owned()),
            counts: false,
        },
        Line { what: "store", wrong: away, counts: false },
    ];
    let held = status.providers.values().filter(|of| {
        of.state
            .is_some_and(|doing| !matches!(doing, crate::gate::Doing::Open | crate::gate::Doing::Unproven))
    });
    let held = held.count();
    let wrong = (held > 0).then(|| format!("{held} of {} get no requests now", status.providers.len()));
    lines.push(Line { what: "providers", wrong, counts: false });
    lines
}

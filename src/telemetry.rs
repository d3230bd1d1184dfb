//! What the process tells while it works: log lines on stderr, as text or JSON, around the progress bar.

use crate::cli::{Color, Global};
use crate::config::{LogFormat, LogSettings};
use indicatif::{MultiProgress, ProgressDrawTarget};
use std::io::{self, IsTerminal as _, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Libraries that may write what they send into their own log lines: they stay silent, whatever level is set.
const SILENT_LIBRARIES: [&str; 6] =
    ["h2=off", "hyper=off", "hyper_util=off", "reqwest=off", "rustls=off", "mongodb=off"];

/// The place on stderr that log lines and the progress bar share.
#[must_use]
pub fn stderr() -> MultiProgress {
    MultiProgress::with_draw_target(ProgressDrawTarget::stderr())
}

/// Starts logging to `talk`; a second call changes nothing.
pub fn start(global: &Global, log: Option<&LogSettings>, talk: &MultiProgress) {
    let level = match (global.quiet, global.verbose) {
        (0, 0) => log.map_or("info", |log| log.level.as_str()),
        (1, _) => "warn",
        (2.., _) => "error",
        (0, 1) => "warn,evergrant=debug",
        (0, 2..) => "info,evergrant=trace",
    };
    // The configuration has checked the level; these directives are ours.
    let mut filter = EnvFilter::new(level);
    for library in SILENT_LIBRARIES {
        filter = filter.add_directive(library.parse().expect("a directive of ours is well formed"));
    }
    let ansi = match global.color {
        Color::Auto => io::stderr().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BesideTheBar(talk.clone()))
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(ansi);
    let started = match log.map(|log| log.format) {
        Some(LogFormat::Json) => lines.json().flatten_event(true).finish().try_init(),
        Some(LogFormat::Text) | None => lines.finish().try_init(),
    };
    // Somebody else (a test) logs already: theirs is kept.
    drop(started);
}

/// Writes log lines above the progress bar.
#[derive(Debug, Clone)]
struct BesideTheBar(MultiProgress);

impl<'a> MakeWriter<'a> for BesideTheBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for BesideTheBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A reader that has gone away must not stop a pass, nor a stop: what can't be told is not told.
        let _ = self.0.suspend(|| io::stderr().lock().write_all(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

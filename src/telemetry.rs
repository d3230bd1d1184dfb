//! What the process tells while it works: log lines on stderr, as text or JSON, around the progress bar.

mod json;

use crate::cli::{Color, Global};
use crate::config::{LogFormat, LogSettings};
use indicatif::{MultiProgress, ProgressDrawTarget};
use json::JsonLine;
use std::io::{self, IsTerminal as _, Write};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Libraries that may write what they send into their own log lines, or how they come to be: they stay silent, whatever
/// level is set.
const SILENT_LIBRARIES: [&str; 12] = [
    "axum",
    "h2",
    "hyper",
    "hyper_rustls",
    "hyper_util",
    "mongodb",
    "reqwest",
    "rusqlite",
    "rustls",
    "tokio_cron_scheduler",
    "tokio_rustls",
    "tower",
];

/// The most that any other library may say.
const MOST_OF_OTHERS: Level = Level::INFO;

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
    // The configuration has checked its level, and these directives are ours.
    let filter: Targets = level.parse().unwrap_or_else(|_| Targets::new().with_default(Level::INFO));
    let ansi = match global.color {
        Color::Auto => io::stderr().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    let lines = lines(log.map(|log| log.format), ansi, talk);
    // Beside the filter of the settings and not a part of it: there a longer target would win.
    let started =
        tracing_subscriber::registry().with(filter_fn(may_speak)).with(filter).with(lines).try_init();
    // A test logs already: its subscriber is kept.
    drop(started);
}

/// Writes the lines to `talk`.
fn lines<S>(format: Option<LogFormat>, ansi: bool, talk: &MultiProgress) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(BesideTheBar(talk.clone()))
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(ansi);
    match format {
        Some(LogFormat::Json) => lines.fmt_fields(JsonFields::new()).event_format(JsonLine).boxed(),
        // To a person the sentence says whose token it is.
        Some(LogFormat::Text) | None => lines.with_filter(filter_fn(is_event)).boxed(),
    }
}

fn is_event(what: &Metadata<'_>) -> bool {
    what.is_event()
}

/// May this be said at all, whatever level is set?
fn may_speak(what: &Metadata<'_>) -> bool {
    let library = what.target().split("::").next().unwrap_or_default();
    library == env!("CARGO_PKG_NAME")
        || *what.level() <= MOST_OF_OTHERS && !SILENT_LIBRARIES.contains(&library)
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

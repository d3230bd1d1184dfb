//! A pass while it runs: counts, and a bar on a terminal.

use super::Report;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the bar is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);

/// A snapshot of a running pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Documents that reached their end.
    pub done: u64,
    /// Of these: with a new pair.
    pub refreshed: u64,
    /// Of these: users who must log in again.
    pub needs_login: u64,
    /// Answers that asked for a pause.
    pub throttled: u64,
    /// How long a provider still pauses us.
    pub paused_for: Option<Duration>,
    /// Is the store away or full, so that nothing is redeemed?
    pub closed: bool,
}

/// Draws a bar on the terminal of `talk` until `done`; without a terminal it draws nothing. Cancel-safe.
///
/// `total` may come late: until then the bar counts without an end.
pub async fn draw(
    talk: MultiProgress,
    report: Arc<Report>,
    total: impl Future<Output = Option<u64>>,
    done: CancellationToken,
) {
    if talk.is_hidden() {
        return;
    }
    let bar = talk.add(ProgressBar::no_length().with_style(style("{spinner} {pos} {msg} [{elapsed}]")));
    let mut total = std::pin::pin!(total);
    let mut known = false;
    while !done.is_cancelled() {
        tokio::select! {
            () = done.cancelled() => {}
            total = &mut total, if !known => {
                known = true;
                if let Some(total) = total {
                    bar.set_length(total);
                    bar.set_style(style("{bar:30} {pos}/{len} · {rate} · {eta} left · {msg}"));
                }
            }
            () = tokio::time::sleep(REDRAW) => {}
        }
        let progress = report.progress();
        bar.set_position(progress.done);
        bar.set_message(progress.words());
    }
    bar.finish_and_clear();
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, writer: &mut dyn fmt::Write| {
        // A bar that can't be written is drawn again in a moment.
        let _ = write!(writer, "{:.1}/s", state.per_sec());
    })
}

impl Progress {
    fn words(&self) -> String {
        let mut words = format!("{} must log in", self.needs_login);
        if self.throttled > 0 {
            words = format!("{words} · {} pauses", self.throttled);
        }
        if self.closed {
            words = format!("{words} · waiting for the store");
        } else if let Some(pause) = self.paused_for {
            words = format!("{words} · the provider asked to wait {:.0} s", pause.as_secs_f64().ceil());
        }
        words
    }
}

//! A pass while it runs: counts, a bar on a terminal, and a line a minute in a log.

use super::{Outcome, Report, Reports};
use crate::gate::Doing;
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How often the bar is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);

/// A longer estimate is not shown: it comes from a pass that stands still.
const LONGEST_LEFT: Duration = Duration::from_hours(30 * 24);

/// How often a log says how far a pass is.
const TELL: Duration = Duration::from_mins(1);

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
    /// How long nothing is sent, because a provider asked for a pause, or because it is tried again then.
    pub paused_for: Option<Duration>,
    /// Does a provider give no usable answers?
    pub is_outage: bool,
    /// Is the store away or full, so that nothing is redeemed?
    pub closed: bool,
}

/// Draws a bar on the terminal of `talk` until `done`; without a terminal it logs a line a minute. Cancel-safe.
///
/// `total` may come late: until then the bar counts without an end.
pub async fn draw(
    talk: MultiProgress,
    report: Arc<Reports>,
    total: impl Future<Output = Option<u64>>,
    done: CancellationToken,
) {
    if talk.is_hidden() {
        return tell(report, total, done, |line| info!("{line}")).await;
    }
    let bar = talk.add(ProgressBar::no_length().with_style(style("{spinner} {pos} {msg} [{elapsed}]")));
    let mut total = std::pin::pin!(total);
    let mut known = false;
    while !done.is_cancelled() {
        tokio::select! {
            () = done.cancelled() => {}
            total = &mut total, if !known => {
                known = true;
                if let Some(total) = total.filter(|total| *total > 0) {
                    bar.set_length(total);
                    bar.set_style(style("{bar:30} {pos}/{len} · {rate} · {left} left · {msg}"));
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

/// Hands `say` a line a minute until `done`: how far the pass is, how fast it goes, and what it waits for. Cancel-safe.
pub async fn tell(
    report: Arc<Reports>,
    total: impl Future<Output = Option<u64>>,
    done: CancellationToken,
    mut say: impl FnMut(String),
) {
    let mut total = std::pin::pin!(total);
    let (mut known, mut before) = (None, 0);
    let mut next = Instant::now() + TELL;
    loop {
        tokio::select! {
            biased;
            () = done.cancelled() => return,
            total = &mut total, if known.is_none() => known = Some(total),
            () = tokio::time::sleep_until(next) => {
                let progress = report.progress();
                let _about = report.span().entered();
                say(progress.line(known.flatten(), progress.done.saturating_sub(before)));
                before = progress.done;
                next += TELL;
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", |state: &ProgressState, writer: &mut dyn fmt::Write| {
        // A bar that can't be written is drawn again in a moment.
        let _ = write!(writer, "{:.1}/s", state.per_sec());
    });
    style.with_key("left", |state: &ProgressState, writer: &mut dyn fmt::Write| {
        // While nothing goes on, it can't be told; the estimate would be ages.
        let left =
            if state.eta() < LONGEST_LEFT { HumanDuration(state.eta()).to_string() } else { "?".to_owned() };
        let _ = write!(writer, "{left}");
    })
}

impl Progress {
    /// Both together.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            refreshed: self.refreshed + other.refreshed,
            needs_login: self.needs_login + other.needs_login,
            throttled: self.throttled + other.throttled,
            paused_for: self.paused_for.max(other.paused_for),
            is_outage: self.is_outage || other.is_outage,
            closed: self.closed || other.closed,
        }
    }

    /// The line for a log, with what was done since the line before.
    fn line(&self, total: Option<u64>, done_since: u64) -> String {
        // What falls due meanwhile is taken too, and wasn't counted.
        let total = total.filter(|total| *total >= self.done);
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a pace for people")]
        let pace = done_since as f64 / TELL.as_secs_f64();
        let left = total.filter(|_| done_since > 0).map(|total| {
            let minutes = (total - self.done).div_ceil(done_since);
            format!(", about {minutes} min left")
        });
        let left = left.unwrap_or_default();
        format!("the pass goes on: {}{of} due documents done, {pace:.1}/s{left}; {}", self.done, self.words())
    }

    fn words(&self) -> String {
        let mut words = format!("{} must log in", self.needs_login);
        if self.throttled > 0 {
            let pauses = if self.throttled == 1 { "pause" } else { "pauses" };
            words = format!("{words} · {} {pauses}", self.throttled);
        }
        if self.closed {
            words = format!("{words} · waiting for the store");
        } else if let Some(pause) = self.paused_for {
            let seconds = pause.as_secs_f64().ceil();
            let why = if self.is_outage {
                format!("the provider gives no usable answers, and is asked again in {seconds:.0} s")
            } else {
                format!("the provider asked to wait {seconds:.0} s")
            };
            words = format!("{words} · {why}");
        }
        words
    }
}

impl Report {
    /// The counts so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let gate =
            self.gate.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|gate| gate.status());
        let inner = self.lock();
        let count = |outcome| inner.outcomes.get(&outcome).copied().unwrap_or_default();
        Progress {
            done: inner.outcomes.values().sum::<u64>() - inner.known_needs_login - inner.known_malformed,
            refreshed: count(Outcome::Refreshed),
            needs_login: count(Outcome::NeedsLogin) + count(Outcome::LostInFlight),
            throttled: inner.throttled,
            paused_for: gate.and_then(|gate| gate.paused_for),
            is_outage: gate.is_some_and(|gate| gate.doing == Doing::Outage),
            closed: gate.is_some_and(|gate| gate.closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;
    use std::sync::Mutex;

    #[tokio::test(start_paused = true)]
    async fn a_log_says_once_a_minute_how_far_a_pass_is_and_what_it_waits_for() {
        let (reports, done) = (Arc::new(Reports::new()), CancellationToken::new());
        let report = reports.begin(None, Arc::default());
        let said = Arc::new(Mutex::new(Vec::new()));
        let say = {
            let said = said.clone();
            move |line| said.lock().unwrap().push(line)
        };
        let telling = tokio::spawn(tell(reports, async { Some(3000) }, done.clone(), say));
        for _ in 0..400 {
            report.ended(Outcome::Refreshed, None);
        }
        tokio::time::sleep(TELL + Duration::from_secs(1)).await;
        report.throttled();
        tokio::time::sleep(TELL).await;
        done.cancel();
        telling.await.unwrap();
        let said = said.lock().unwrap();
        assert_eq!(
            *said,
            [
                "the pass goes on: 400 of 3000 due documents done, 6.7/s, about 7 min left; 0 must log in",
                "the pass goes on: 400 of 3000 due documents done, 0.0/s; 0 must log in · 1 pause",
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_about_progress_says_of_which_passes_and_providers() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = Mutex::new(log.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().json().with_writer(writer).finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let (reports, done) = (Arc::new(Reports::new()), CancellationToken::new());
        // What belongs to no provider comes first, and has no pass of its own.
        reports.begin(None, Arc::default());
        for (provider, id) in [("quick", "1a"), ("slow", "2b")] {
            reports.begin(Some(provider.into()), Arc::default()).of_pass(id);
        }
        let telling = tokio::spawn(tell(reports, async { None }, done.clone(), |line| info!("{line}")));
        tokio::time::sleep(TELL + Duration::from_secs(1)).await;
        done.cancel();
        telling.await.unwrap();
        let line: serde_json::Value = serde_json::from_reader(&log).unwrap();
        assert_eq!(
            (&line["span"]["pass"], &line["span"]["provider"]),
            (&"1a, 2b".into(), &"quick, slow".into())
        );
    }

    #[test]
    fn a_line_says_that_the_store_or_the_provider_is_waited_for() {
        let paused = Progress { paused_for: Some(Duration::from_millis(11_200)), ..Progress::default() };
        assert!(
            paused.line(None, 0).ends_with("the provider asked to wait 12 s"),
            "{}",
            paused.line(None, 0)
        );
        let away = Progress { is_outage: true, ..paused };
        assert!(
            away.line(None, 0).ends_with("the provider gives no usable answers, and is asked again in 12 s")
        );
        let closed = Progress { closed: true, ..paused };
        assert!(closed.line(Some(5), 0).ends_with("waiting for the store"));
    }
}

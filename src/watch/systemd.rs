//! What is told to systemd: ready, what goes on, alive, stopping (`sd_notify`).

use super::{Phase, ProviderStatus, Shows, Status};
use crate::gate::Doing;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often the state is looked at, where no watchdog asks for more.
const LOOK: Duration = Duration::from_secs(5);

/// A start that waits for the store, and a stop that waits for answers, get so much more time at each look.
const MORE_TIME: Duration = Duration::from_secs(30);

/// Tells systemd how the process stands, until `ended`; does nothing where none listens.
///
/// Alive is said as long as nothing [hangs](Status::hangs), and never for a store or a provider that is away.
pub async fn tell(shows: Arc<dyn Shows>, ended: CancellationToken) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(LOOK, |limit| (limit / 3).min(LOOK));
    let (mut is_ready, mut is_stopping, mut said) = (false, false, String::new());
    loop {
        let status = shows.status();
        let mut states = Vec::new();
        if !is_ready && status.phase != Some(Phase::Starting) {
            is_ready = true;
            states.push(NotifyState::Ready);
        }
        if !is_stopping && status.phase == Some(Phase::Stopping) {
            is_stopping = true;
            states.push(NotifyState::Stopping);
        }
        if matches!(status.phase, Some(Phase::Starting | Phase::Stopping)) {
            states.push(NotifyState::ExtendTimeoutUsec(
                u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX),
            ));
        }
        if watchdog.is_some() && status.hangs.is_none() {
            states.push(NotifyState::Watchdog);
        }
        let text = sentence(&status);
        if text != said {
            states.push(NotifyState::Status(&text));
        }
        if !states.is_empty() {
            let message = states.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            // A socket whose reader is busy must not stop a worker of the runtime.
            let sent =
                tokio::task::spawn_blocking(move || sd_notify::notify(&[NotifyState::Custom(&message)]));
            if let Ok(Err(error)) = sent.await {
                debug!(%error, "systemd can't be told how the process stands");
            }
        }
        said = text;
        if ended.run_until_cancelled(tokio::time::sleep(every)).await.is_none() {
            return;
        }
    }
}

/// What goes on, in one line.
fn sentence(status: &Status) -> String {
    let mut parts = Vec::new();
    let running = status.providers.iter().filter_map(|(name, of)| Some((name, of, of.running.as_ref()?)));
    for (name, of, running) in running.take(3) {
        let due = running.due.map_or_else(String::new, |due| format!(" of {due}"));
        let pauses =
            of.paused_for_seconds.map_or_else(String::new, |left| format!(", {} {left:.0} s", waits(of)));
        parts.push(format!("{name}: {}{due}, {} in flight{pauses}", running.done, of.in_flight));
    }
    if status.phase == Some(Phase::Sleeping)
        && let Some(wake) = status.next_wake_at
    {
        parts.push(format!("next wake {}", wake.format("%a %Y-%m-%d %H:%M UTC")));
    }
    if status.store.up == Some(false) {
        parts.push("the store does not answer".to_owned());
    }
    let phase = status.phase.map_or("", Phase::word);
    if parts.is_empty() { phase.to_owned() } else { format!("{phase}; {}", parts.join("; ")) }
}

/// Why nothing is sent for a while.
const fn waits(of: &ProviderStatus) -> &'static str {
    match of.state {
        Some(Doing::Outage) => "no usable answers, asked again in",
        _ => "paused for",
    }
}

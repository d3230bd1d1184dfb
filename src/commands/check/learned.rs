//! The lives of tokens that a provider's answers told, held against the schedule: the same arithmetic as a service and
//! `run --once` do.

use super::finding::Check;
use crate::clock::Timestamp;
use crate::config::{Config, words};
use crate::journal::Journal;
use crate::provider::Provider;
use crate::provider::keep::Keep;
use crate::provider::learned::Learned;
use std::path::Path;

/// What the journal remembers; nothing where it can't be read, which a check of its own tells.
pub(super) async fn recall(directory: &Path, provider: &Provider) -> Learned {
    let (directory, provider) = (directory.to_owned(), provider.name.clone());
    let read = move || Journal::look_at_standing(&directory, &provider);
    let read = tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok).flatten();
    read.map(|memory| memory.learned).unwrap_or_default()
}

/// `None` where no answer has told a life that matters.
pub(super) fn check(provider: &Provider, learned: Learned, config: &Config, now: Timestamp) -> Option<Check> {
    let profile = &provider.profile;
    let refresh = learned.refresh.map(|life| format!("a refresh token lives {}", words(life)));
    let access = learned.access.filter(|_| profile.keep == Keep::Access);
    let access = access.map(|life| format!("an access token lives {}", words(life)));
    let lives: Vec<_> = refresh.into_iter().chain(access).collect();
    if lives.is_empty() {
        return None;
    }
    let name = format!("{}: token lives", provider.name);
    Some(match learned.too_short(profile, &config.schedule, config.renew_after, now) {
        None => Check::ok(
            name,
            format!("by the provider's answers, {}: the schedule is enough for that", lives.join(" and ")),
        ),
        Some(why) => {
            let text = format!(
                "{why}. A service therefore also begins a pass when a document falls due; `run --once` begins none"
            );
            Check::warning(name, text).hint(why.advice_for_once())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::super::given::{self, now};
    use super::*;
    use crate::clock::Clock;
    use crate::provider::memory::Memory;
    use std::time::Duration;

    const ONE: [(&str, &str); 3] = [("provider", "autodesk"), ("client_id", "i"), ("client_secret", "s")];

    #[tokio::test]
    async fn what_the_journal_remembers_is_held_against_the_schedule() {
        let home = tempfile::tempdir().unwrap();
        let weekly = given::config(&[&ONE[..], &[("schedule", "0 3 * * SUN")]].concat());
        let provider = &weekly.providers[0];
        let recall = async || super::recall(home.path(), provider).await;
        assert_eq!(recall().await, Learned::default(), "no journal");
        let journal = Journal::open(home.path(), &Clock::system()).unwrap();
        assert_eq!(check(provider, recall().await, &weekly, now()), None, "nothing is known");
        let lives = |hours: u64, minutes: u64| Learned {
            refresh: Some(Duration::from_hours(hours)),
            access: Some(Duration::from_mins(minutes)),
        };
        let memory = Memory {
            at: now(),
            paused_until: None,
            factor: 1.0,
            failing_since: None,
            learned: lives(48, 60),
        };
        journal.set_standing_of(&provider.name, Some(memory)).await.unwrap();
        // Beside the process that holds the journal, and after it.
        assert_eq!(recall().await, lives(48, 60));
        journal.close().await;
        let found = check(provider, recall().await, &weekly, now()).unwrap();
        assert_eq!(found.status, Status::Warning);
        assert_eq!(found.name, "autodesk: token lives");
        assert!(found.detail.starts_with("a login can end before the next wake: "), "{found:?}");
        assert_eq!(
            found.hint.as_deref(),
            Some(
                "set `schedule = \"continuous\"`, or let `schedule` wake more often than every 1d 8h; start `run --once` as often as `schedule` says"
            )
        );
        let of = |learned, settings: &[(&str, &str)]| {
            let config = given::config(&[&ONE[..], settings].concat());
            check(&config.providers[0], learned, &config, now()).unwrap()
        };
        let well = of(lives(48, 60), &[("schedule", "0 3 * * *")]);
        assert_eq!(
            (well.status, well.detail.as_str()),
            (
                Status::Ok,
                "by the provider's answers, a refresh token lives 2d: the schedule is enough for that"
            )
        );
        // An access token that is kept good; the settings say that it lives longer.
        let keep = [("keep", "access"), ("access_token_lifetime", "60min"), ("schedule", "every 20min")];
        assert_eq!(of(lives(48, 60), &keep).status, Status::Ok);
        let short = of(lives(48, 10), &keep);
        assert!(
            short.status == Status::Warning && short.detail.contains("an access token can end"),
            "{short:?}"
        );
    }
}

//! Settings by which access tokens are kept good: what was written under others falls due too late, and would not be looked
//! at.

use super::{Line, Pass, PassRequest};
use crate::journal::JournalError;
use crate::provider::{Provider, keep::Keep};
use crate::report::summary::Summary;
use crate::select::LooksFor;
use std::collections::HashMap;
use std::sync::Arc;
use tracing::info;

/// What each provider's lane looks for in the whole collection, by the provider's name.
#[derive(Debug, Default)]
pub(super) struct Looks {
    clock_was_ahead: bool,
    of_provider: HashMap<Arc<str>, LooksFor>,
}

impl Looks {
    /// What the lane of this provider looks for.
    pub(super) fn of(&self, provider: &Provider) -> LooksFor {
        let found = self.of_provider.get(&provider.name).cloned().unwrap_or_default();
        LooksFor { clock: self.clock_was_ahead, ..found }
    }

    /// What is looked for among the documents of no provider.
    pub(super) fn of_none(&self) -> LooksFor {
        LooksFor { clock: self.clock_was_ahead, access: None }
    }
}

/// The settings on which the due time of an access token depends, as one text; `None` where it isn't kept good.
fn keeping(line: &Line, provider: &Provider) -> Option<String> {
    let profile = &provider.profile;
    let wakes = line.policy.wakes.as_ref().filter(|_| profile.keep == Keep::Access)?;
    let life = profile.access_token_lifetime.map_or(0, |life| life.as_secs());
    let timeout = profile.request_timeout.as_secs();
    let rate = profile.rate.map(|rate| rate.to_string()).unwrap_or_default();
    Some(format!("access, {}, {life} s, {timeout} s, {rate}", wakes.schedule()))
}

impl Pass {
    /// Are a provider's access tokens kept good by other settings than those under which its documents were written? Then its
    /// lane looks through the whole collection for what falls due too late, and so do the next ones until one is through.
    /// `known` says by which settings all of them were looked through last.
    pub(super) async fn looks(
        &self,
        line: &Line,
        providers: &[Arc<Provider>],
        request: &PassRequest,
        clock_was_ahead: bool,
        known: &HashMap<Arc<str>, Option<String>>,
    ) -> Result<Looks, JournalError> {
        let mut looks = Looks { clock_was_ahead, of_provider: HashMap::new() };
        for provider in providers {
            let name = &provider.name;
            let known = known.get(name).and_then(Option::as_deref);
            let Some(keeping) = keeping(line, provider) else {
                if known.is_some_and(|known| !known.is_empty()) {
                    self.journal.set_keeping(name, String::new()).await?;
                }
                continue;
            };
            if request.only.is_some() || known == Some(keeping.as_str()) {
                continue;
            }
            info!(
                provider = &**name,
                "the access tokens of `{name}` are kept good by settings that are new here: the whole collection is searched for documents that would fall due too late"
            );
            let access = line.policy.late_access(&provider.profile);
            looks.of_provider.insert(name.clone(), LooksFor { clock: false, access });
        }
        Ok(looks)
    }

    /// Notes the settings of the providers whose lanes have looked through the whole collection, where nothing has kept the
    /// pass from its work.
    pub(super) async fn note_looks(
        &self,
        line: &Line,
        looks: &Looks,
        request: &PassRequest,
        summary: &Summary,
    ) -> Result<(), JournalError> {
        if self.journal.is_broken() || !summary.troubles.is_empty() || request.limit.is_some() {
            return Ok(());
        }
        let looked = self.providers.iter().filter(|provider| looks.of_provider.contains_key(&provider.name));
        for provider in looked {
            if let Some(keeping) = keeping(line, provider) {
                self.journal.set_keeping(&provider.name, keeping).await?;
            }
        }
        Ok(())
    }
}

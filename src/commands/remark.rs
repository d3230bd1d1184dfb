//! What `check` shows and `run` says before its first pass, by the same questions.

use crate::assembly;
use crate::commands::CommandError;
use crate::config::Config;
use crate::failure::with_hint;
use crate::journal::{DocumentSettings, Journal};
use crate::room::Unfit;
use crate::store::{Identity, Mark};
use std::path::Path;
use tracing::warn;

/// Something that doesn't keep a pass from working, and that a person should know before it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remark {
    /// What it is about, as a line of `check` is called.
    pub(super) about: &'static str,
    /// What was found, and what it means.
    pub(super) text: String,
    /// What to do.
    pub(super) hint: String,
}

impl Remark {
    fn new(about: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { about, text: text.into(), hint: hint.into() }
    }

    /// Says it in the log.
    pub(super) fn tell(&self) {
        warn!("{}", with_hint(self.text.clone(), Some(&self.hint)));
    }
}

/// Asks all that can be asked without the store. Nothing is changed.
pub(super) async fn about_state(config: &Config) -> Result<Vec<Remark>, CommandError> {
    let (directory, now) = (config.state_dir.clone(), settings_now(config));
    let is_embedded = assembly::embedded_file(config).is_some();
    let ask = move || {
        let mut remarks: Vec<_> = file_system(&directory).into_iter().collect();
        // A journal that can't be read says so where it is opened.
        if let Ok(Some(before)) = Journal::documents_before(&directory) {
            remarks.extend(changed_settings(&before, &now, is_embedded));
        }
        remarks
    };
    tokio::task::spawn_blocking(ask)
        .await
        .map_err(|source| CommandError::Panicked { what: "looking at the state directory", source })
}

/// The settings of the documents, for the next process to compare with.
pub(super) fn settings_now(config: &Config) -> DocumentSettings {
    let mapping = &config.store.mapping;
    DocumentSettings { bookkeeping: mapping.bookkeeping.to_string(), filter: mapping.filter.clone() }
}

/// Can a copy of the store be told apart from it?
pub(super) fn about_identity(here: &Identity) -> Option<Remark> {
    (here.mark == Mark::Untold).then(|| {
        Remark::new(
            "store",
            "the server doesn't tell the collection's UUID, so a copy of this database can't be told apart from it",
            "the role `readWrite` on the database lets us ask (`listCollections`); where the server has no UUIDs, never point this \
             `state_dir` at a copy",
        )
    })
}

/// Is the state directory where it is kept?
fn file_system(directory: &Path) -> Option<Remark> {
    let unfit = Unfit::of(directory)?;
    let text = format!("the state directory {} {}", directory.display(), unfit.risk());
    Some(Remark::new("state directory", text, unfit.advice()))
}

/// What other settings than before hide. In the embedded store the bookkeeping has a place of its own.
fn changed_settings(before: &DocumentSettings, now: &DocumentSettings, is_embedded: bool) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let (old, new) = (&before.bookkeeping, &now.bookkeeping);
    if old != new && !is_embedded {
        remarks.push(Remark::new(
            "bookkeeping",
            format!(
                "`documents.bookkeeping` is `{new}`, and was `{old}` in the last run: due times, claims and marks in `{old}` are not \
                 read any more. Every document is due now, also of users who must log in. Received pairs are not lost, and redeemed \
                 tokens are not sent again"
            ),
            format!(
                "run no process with the old setting beside it: both would claim the same documents. To keep what stands there, stop \
                 Evergrant everywhere and rename the field: \
                 `updateMany({{ \"{old}\": {{ $exists: true }} }}, {{ $rename: {{ \"{old}\": \"{new}\" }} }})`"
            ),
        ));
    }
    if before.filter != now.filter {
        remarks.push(Remark::new(
            "filter",
            "`documents.filter` is another one than in the last run: documents that it leaves out now are not read any more, and their \
             tokens end. Received pairs are written into them all the same; claims on them stay until they end",
            "`evergrant check` counts what the filter leaves out; set the old one back if these documents are still yours to refresh",
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_a_setting_says_what_it_hides() {
        let settings = |bookkeeping: &str, filter: Option<&str>| DocumentSettings {
            bookkeeping: bookkeeping.into(),
            filter: filter.map(str::to_owned),
        };
        let (one, other) = (settings("evergrant", None), settings("oauth.evergrant", Some("{}")));
        assert_eq!(changed_settings(&one, &one, false), []);
        let embedded = changed_settings(&one, &settings("oauth.evergrant", None), true);
        assert_eq!(embedded, [], "it stands where it stood");
        let told: Vec<_> = changed_settings(&one, &other, false)
            .into_iter()
            .map(|Remark { about, text, hint }| format!("{about}: {text}\nhint: {hint}"))
            .collect();
        insta::assert_snapshot!(told.join("\n\n"));
    }
}

//! What `check` shows and `run` says before its first pass, by the same questions.

use crate::config::Config;
use crate::failure::with_hint;
use crate::room::Unfit;
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
    /// Asks all questions. Blocks on the disk.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        file_system(config).into_iter().collect()
    }

    /// Says them in the log.
    pub(super) fn tell_all(config: &Config) {
        for Self { text, hint, .. } in Self::all(config) {
            warn!("{}", with_hint(text, Some(&hint)));
        }
    }
}

/// Is the state directory where it is kept?
fn file_system(config: &Config) -> Option<Remark> {
    let directory = &config.state_dir;
    let unfit = Unfit::of(directory)?;
    let text = format!("the state directory {} {}", directory.display(), unfit.risk());
    Some(Remark { about: "state directory", text, hint: unfit.advice().to_owned() })
}

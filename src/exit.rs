//! Exit codes: the one table from which the help, the README and the comments of the deployments are made.

use std::fmt::Write as _;

/// How a command ended; the exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All well.
    Well = 0,
    /// An error of ours.
    Internal = 1,
    /// The command line or the configuration.
    Usage = 2,
    /// Users were newly marked in this pass: they must log in again.
    NeedsLogin = 3,
    /// Something is unfinished.
    StillDue = 4,
    /// A provider rejected the client or refused far more tokens than usual, or many users would be marked without a request.
    ClientRejected = 5,
    /// Another process holds the journal.
    JournalHeld = 6,
    /// The store, or the state directory, is not available.
    Unavailable = 7,
    /// The journal failed.
    JournalFailed = 8,
}

impl Exit {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Well,
        Self::Internal,
        Self::Usage,
        Self::NeedsLogin,
        Self::StillDue,
        Self::ClientRejected,
        Self::JournalHeld,
        Self::Unavailable,
        Self::JournalFailed,
    ];

    /// The most urgent first. A pass that has several reasons ends with the first of them.
    pub const BY_URGENCY: [Self; 9] = [
        Self::Internal,
        Self::JournalFailed,
        Self::Unavailable,
        Self::JournalHeld,
        Self::ClientRejected,
        Self::Usage,
        Self::NeedsLogin,
        Self::StillDue,
        Self::Well,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// One word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Internal => "internal_error",
            Self::Usage => "configuration",
            Self::NeedsLogin => "needs_login",
            Self::StillDue => "unfinished",
            Self::ClientRejected => "provider_refuses",
            Self::JournalHeld => "journal_held",
            Self::Unavailable => "unavailable",
            Self::JournalFailed => "journal_failed",
        }
    }

    /// What happened, in one sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Well => "All went well: nothing new needs a person.",
            Self::Internal => {
                "Evergrant itself failed, or it could not read or write something other than the store and the journal."
            }
            Self::Usage => {
                "The command line or a setting is wrong, or none of the documents can be refreshed."
            }
            Self::NeedsLogin => "Users were newly marked in this pass: they must log in again.",
            Self::StillDue => {
                "Something is unfinished: documents are still due (`--limit` alone is no reason), newly wait for another machine, or are \
                 all held by others, a claim was cut, a new pair was parked, a document is newly malformed, or the pass was stopped."
            }
            Self::ClientRejected => {
                "A provider rejected the client, far more tokens than usual were refused, or many users would be marked \
                 without a request; no user is marked for it."
            }
            Self::JournalHeld => "Another process holds the journal.",
            Self::Unavailable => {
                "The store or the state directory can't be used, or a new pair is not in its document yet, or was lost."
            }
            Self::JournalFailed => {
                "The journal failed: an I/O error, a damaged file, or a disk without room ended the work."
            }
        }
    }

    /// Who must do what.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Well => "Nothing to do. Users who are known to need a login do not change this code.",
            Self::Internal => {
                "Read the last error. If it is not about a file or a pipe, report it with the log."
            }
            Self::Usage => {
                "The operator corrects what the message names. A restart without a change ends the same way."
            }
            Self::NeedsLogin => {
                "The application asks the users whom the report names to log in again. No restart is needed."
            }
            Self::StillDue => {
                "Usually nothing to do: the next pass tries again. If the code stays, read the reasons in the report."
            }
            Self::ClientRejected => {
                "The operator checks what the hint names before the next pass. A restart does not help."
            }
            Self::JournalHeld => "Let the other process do the work, or stop it first.",
            Self::Unavailable => {
                "The operator makes the store available again. A later start writes what the journal holds."
            }
            Self::JournalFailed => {
                "The operator repairs the disk of `state_dir`, or frees space on it. A restart alone does not help."
            }
        }
    }

    /// The more urgent of two.
    #[must_use]
    pub fn or_more_urgent(self, other: Self) -> Self {
        Self::BY_URGENCY.into_iter().find(|exit| *exit == self || *exit == other).unwrap_or(self)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table for `evergrant --help`.
#[must_use]
pub fn help() -> String {
    let order: Vec<_> = Exit::BY_URGENCY
        .into_iter()
        .filter(|exit| !matches!(exit, Exit::Well | Exit::JournalHeld))
        .map(|exit| exit.code().to_string())
        .collect();
    let mut text = format!("Exit codes (the most urgent wins, in this order: {}):", order.join(", "));
    for exit in Exit::ALL {
        // Writing into a text can't fail.
        let _ = write!(text, "\n  {}  {}", exit.code(), exit.meaning());
    }
    text.push_str("\n  `evergrant help exit-codes` says who has to act.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_in_the_table_once_and_has_its_place_among_the_urgent() {
        let codes: Vec<_> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, (0..=8).collect::<Vec<_>>());
        let all: BTreeSet<_> = Exit::ALL.into_iter().collect();
        assert_eq!(Exit::BY_URGENCY.into_iter().collect::<BTreeSet<_>>(), all);
        let words: BTreeSet<_> = Exit::ALL.iter().map(|exit| exit.word()).collect();
        assert_eq!(words.len(), Exit::ALL.len());
    }

    #[test]
    fn the_most_urgent_of_two_wins_in_either_order() {
        for (first, second, wins) in [
            (Exit::Internal, Exit::JournalFailed, Exit::Internal),
            (Exit::JournalFailed, Exit::Unavailable, Exit::JournalFailed),
            (Exit::Unavailable, Exit::ClientRejected, Exit::Unavailable),
            (Exit::ClientRejected, Exit::Usage, Exit::ClientRejected),
            (Exit::Usage, Exit::NeedsLogin, Exit::Usage),
            (Exit::NeedsLogin, Exit::StillDue, Exit::NeedsLogin),
            (Exit::StillDue, Exit::Well, Exit::StillDue),
            (Exit::Well, Exit::Well, Exit::Well),
        ] {
            assert_eq!((first.or_more_urgent(second), second.or_more_urgent(first)), (wins, wins));
        }
    }

    #[test]
    fn the_help_explains_each_code() {
        insta::assert_snapshot!(help());
    }
}

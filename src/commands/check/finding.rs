//! What one check found, and how all of them are shown.

use crate::commands::CommandError;
use crate::commands::remark::Remark;
use crate::config::Warning;
use crate::exit::Exit;
use crate::failure::{Advice, error_chain};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A pass has what it needs.
    Ok,
    /// A pass would work, and something isn't as it should be.
    Warning,
    /// A pass wouldn't work.
    Failed,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: `store`, `schedule`, `autodesk: token endpoint`, …
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What was found, in words.
    pub detail: String,
    /// What to do, where there is something to do.
    pub hint: Option<String>,
    /// The code with which the process ends when this check failed and none with a more urgent code did.
    #[serde(skip)]
    exit: Exit,
}

/// What `check --format json` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// All checks, in the order in which a pass would need what they look at.
    pub checks: Vec<Check>,
}

impl Check {
    fn new(name: impl Into<String>, status: Status, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status, detail: detail.into(), hint: None, exit: Exit::Well }
    }

    /// All is well.
    pub(super) fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, detail)
    }

    /// Something isn't as it should be.
    pub(super) fn warning(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Warning, detail)
    }

    /// A pass wouldn't work.
    pub(super) fn failed(name: impl Into<String>, exit: Exit, detail: impl Into<String>) -> Self {
        Self { exit, ..Self::new(name, Status::Failed, detail) }
    }

    /// The same with what to do about it.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Something that a pass would warn of.
    pub(super) fn warned(name: impl Into<String>, warning: &Warning) -> Self {
        Self { hint: warning.hint().map(Cow::into_owned), ..Self::warning(name, warning.to_string()) }
    }

    /// Something that a pass would say before it begins.
    pub(super) fn remark(remark: Remark) -> Self {
        Self::warning(remark.about, remark.text).hint(remark.hint)
    }

    /// An error that a pass would meet.
    pub(super) fn error(name: impl Into<String>, error: impl Into<CommandError>) -> Self {
        let error = error.into();
        Self::failed_by(name, error.exit(), &error)
    }

    /// What a pass would end with.
    pub(super) fn failed_by(name: impl Into<String>, exit: Exit, error: &impl Advice) -> Self {
        Self { hint: error.hint().map(Cow::into_owned), ..Self::failed(name, exit, error_chain(error)) }
    }
}

#[cfg(test)]
impl Check {
    pub(super) const fn exit(&self) -> Exit {
        self.exit
    }
}

impl CheckReport {
    /// The most urgent code of the checks that failed.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let failed = self.checks.iter().filter(|check| check.status == Status::Failed);
        failed.map(|check| check.exit).fold(Exit::Well, Exit::or_more_urgent)
    }

    /// A line for each check, its hint below it, and the sum.
    pub(super) fn text(&self) -> String {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
        let mut text = String::new();
        for check in &self.checks {
            let word = match check.status {
                Status::Ok => "ok",
                Status::Warning => "warning",
                Status::Failed => "FAILED",
            };
            let indent = " ".repeat(9 + width + 2);
            let detail = check.detail.replace('\n', &format!("\n{indent}"));
            // Writing into a text can't fail.
            let _ = writeln!(text, "{word:<9}{:<width$}  {detail}", check.name);
            if let Some(hint) = &check.hint {
                let _ = writeln!(text, "{indent}hint: {}", hint.replace('\n', &format!("\n{indent}      ")));
            }
        }
        let count = |status| self.checks.iter().filter(|check| check.status == status).count() as u64;
        let (warnings, failed) = (count(Status::Warning), count(Status::Failed));
        let warnings = match warnings {
            0 => String::new(),
            1 => ", with 1 warning".to_owned(),
            many => format!(", with {many} warnings"),
        };
        let verdict = match failed {
            0 => "a pass can work".to_owned(),
            1 => "a pass can't work: 1 check failed".to_owned(),
            many => format!("a pass can't work: {many} checks failed"),
        };
        let _ = write!(text, "\n{verdict}{warnings}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::json::assert_documented;

    #[test]
    fn the_most_urgent_failure_decides_the_exit_code_and_warnings_do_not() {
        let mut report = CheckReport { checks: vec![Check::warning("a", "w").hint("h")] };
        assert_eq!(report.exit(), Exit::Well);
        assert_eq!(report.checks[0].hint.as_deref(), Some("h"));
        report.checks.push(Check::failed("b", Exit::ClientRejected, "b"));
        report.checks.push(Check::failed("c", Exit::Unavailable, "c"));
        assert_eq!(report.exit(), Exit::Unavailable);
    }

    #[test]
    fn help_names_each_field_of_the_json() {
        let report = CheckReport { checks: vec![Check::ok("settings", "from evergrant.toml")] };
        assert_documented("check", &report);
        assert_documented("check: checks[]", &report.checks[0]);
    }

    #[test]
    fn a_report_has_a_line_for_each_check_and_the_sum() {
        let report = CheckReport {
            checks: vec![
                Check::ok("settings", "from evergrant.toml"),
                Check::warning("the due index", "it is missing").hint("run:\ndb.createIndex()"),
                Check::failed("store", Exit::Unavailable, "first\nsecond"),
            ],
        };
        insta::assert_snapshot!(report.text());
        insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
    }
}

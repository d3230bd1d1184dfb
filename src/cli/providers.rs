//! The arguments of `evergrant providers test` and `evergrant providers try`.

use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// `evergrant providers test`.
#[derive(Debug, Clone, Args)]
pub struct ProviderTestArgs {
    /// The profile's name, or its file.
    pub name: String,
    /// A token document as JSON: can its refresh token be sent? Its token is not shown. `--config` and `--set documents.…` name its fields.
    #[arg(long, value_name = "DOC.json")]
    pub document: Option<PathBuf>,
    /// A captured answer, as `curl -i` prints it; may be repeated.
    #[arg(long = "answer", value_name = "FILE")]
    pub answers: Vec<PathBuf>,
}

/// `evergrant providers try`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["made_up", "id"]))]
pub struct ProviderTryArgs {
    /// The configured provider [default: the only one].
    pub name: Option<String>,
    /// Send one request with a refresh token that was never issued, and read the answer.
    #[arg(long)]
    pub made_up: bool,
    /// Write the answer into this profile file, as an `[[example]]` at its end (with --made-up).
    #[arg(long, value_name = "FILE", requires = "made_up", conflicts_with = "id")]
    pub save: Option<PathBuf>,
    /// Refresh one document: claim, journal and write-back as in a pass.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Do not ask for confirmation (with --id).
    #[arg(long, requires = "id")]
    pub yes: bool,
}

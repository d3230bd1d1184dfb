//! The command line: clap types only, no logic.

mod journal;
mod providers;
#[cfg(feature = "rehearsal")]
mod rehearsal;
mod run;
mod tokens;

pub use journal::{ForgetArgs, JournalCommand};
pub use providers::{ProviderTestArgs, ProviderTryArgs};
#[cfg(feature = "rehearsal")]
pub use rehearsal::{DemoArgs, RotationArg, SandboxArgs};
pub use run::{RunArgs, SucceedOn};
pub use tokens::{InputFormat, ListArgs, StateArg, TokensCommand};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// The end of the help, where there is a demo.
const TRY_IT: &str =
    if cfg!(feature = "rehearsal") { "\n\nTry it without any configuration:\n  evergrant demo" } else { "" };

/// Certbot for OAuth refresh tokens: refreshes a whole collection of token documents, and loses none.
#[derive(Debug, Parser)]
#[command(
    name = "evergrant",
    version,
    about,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = format!("{}\n\nHelp topics: {}\n\n`evergrant help TOPIC` prints one, and `evergrant help` says what each holds.{TRY_IT}", crate::exit::help(), crate::help::names())
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Settings file [default: `evergrant.toml` here, else `/etc/evergrant/evergrant.toml`].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// One setting, stronger than environment and file: `--set rate=50/s`; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Global options")]
    pub set: Vec<(String, String)>,
    /// What stdout is: text for people, or one JSON object.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Global options")]
    pub format: Format,
    /// Say less: warnings and errors (-q), errors only (-qq).
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: u8,
    /// Say more: each grant (-v), everything of ours (-vv).
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Colours on stderr.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, help_heading = "Global options")]
    pub color: Color,
}

/// What stdout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Wake on the schedule and refresh what is due; with --once, refresh what is due now and end.
    #[command(after_help = "Example:\n  evergrant run --once --limit 10")]
    Run(RunArgs),
    /// Check everything that a pass needs. Changes nothing, but makes the due index if it is missing.
    #[command(after_help = "Example:\n  evergrant check --probe-client")]
    Check(CheckArgs),
    /// Say how the service stands: what needs a look, the last passes, when logins end. Ends with 0, 4 or 7.
    ///
    /// It asks the process at `admin.listen`. Where none answers, it reads the journal in `state_dir`, and asks the store.
    #[command(
        after_help = "Exit codes: 0 nothing needs a look, 4 something is unfinished, 7 something can't be used.\n\n\
                      Examples:\n  evergrant status\n  evergrant status --live\n  evergrant status --format json | jq .concerns"
    )]
    Status(StatusArgs),
    /// List users and their state, show why one is not refreshed, import and export.
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Show and settle what is on its way: answers that are not in a document yet.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// The provider profiles that are built in.
    #[command(subcommand)]
    Providers(ProvidersCommand),
    /// Run a local OAuth provider for rehearsals, with rotation, limits and faults.
    #[cfg(feature = "rehearsal")]
    #[command(
        after_help = "Examples:\n  evergrant sandbox --users 100 --fault '503:2%,drop-after:1%' --rate-limit 50/s\n  \
                      evergrant sandbox --profile ./own.toml --dead 3\n\n\
                      Endpoints beside /token:\n  \
                      GET  /users                  all users as token documents, one a line\n  \
                      POST /users?count=N          make N more users, and print them\n  \
                      POST /control/login/USER     a new login: a new pair, printed\n  \
                      POST /control/revoke/USER    end a login: its tokens are refused from now on\n  \
                      GET  /control/faults         the fault script; POST sets another one\n  \
                      GET  /ledger                 what happened, in numbers\n  \
                      GET  /ledger/users           each user, one a line\n  \
                      GET  /ledger/tokens          each refresh token that was handed out, one a line\n  \
                      POST /ledger/audit           documents in, and how many hold the newest token out"
    )]
    Sandbox(SandboxArgs),
    /// Refresh 1,000 made-up users at a local provider, and check the result against its ledger.
    #[cfg(feature = "rehearsal")]
    #[command(after_help = "Example:\n  evergrant demo --crash")]
    Demo(DemoArgs),
    /// Explain a topic or a command; alone, list the topics.
    #[command(after_help = "Example:\n  evergrant help reasons")]
    Help(HelpArgs),
    /// Print a script with which a shell completes the command line.
    #[command(after_help = "Examples:\n  evergrant completions bash > /etc/bash_completion.d/evergrant\n  \
                      evergrant completions zsh > \"${fpath[1]}/_evergrant\"\n  \
                      evergrant completions fish > ~/.config/fish/completions/evergrant.fish")]
    Completions {
        /// Which one.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one of each command into a folder.
    #[command(
        after_help = "Examples:\n  evergrant man | man -l -\n  evergrant man /usr/local/share/man/man1"
    )]
    Man {
        /// The folder; it is made if it isn't there.
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// `evergrant help`.
#[derive(Debug, Clone, Args)]
pub struct HelpArgs {
    /// A topic, or the words of a command: `settings`, `tokens list`, `runbook EvergrantDown`.
    #[arg(value_name = "TOPIC")]
    pub words: Vec<String>,
}

/// `evergrant check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Ask each provider, with a made-up refresh token, whether it knows the client. No real token is sent.
    #[arg(long)]
    pub probe_client: bool,
    /// Don't fail when the collection, or the store's file, isn't there: it is made later.
    #[arg(long)]
    pub allow_empty: bool,
}

/// `evergrant status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Ask only whether the process works: 0 if it does, 7 if it hangs or doesn't answer. For a probe that runs a command, and for
    /// Docker's HEALTHCHECK.
    #[arg(long)]
    pub live: bool,
}

/// `evergrant providers …`.
#[derive(Debug, Clone, Subcommand)]
pub enum ProvidersCommand {
    /// List the profiles.
    #[command(after_help = "Example:\n  evergrant providers list")]
    List,
    /// Print one profile with its sources.
    #[command(after_help = "Example:\n  evergrant providers show autodesk")]
    Show {
        /// The profile's name, or its file.
        name: String,
    },
    /// Show a profile's request, and read its examples and captured answers as a pass would. Sends nothing.
    #[command(after_help = "Examples:\n  evergrant providers test ./own.toml\n  \
                      curl -i … > answer.http && evergrant providers test ./own.toml --answer answer.http")]
    Test(ProviderTestArgs),
    /// Ask a configured provider once: with a made-up token, or for one document.
    #[command(after_help = "Examples:\n  evergrant providers try --made-up --save own.toml\n  \
                      evergrant providers try own --id 65f0c1d2e3a4b5c6d7e8f901")]
    Try(ProviderTryArgs),
}

/// The arguments with each `--set KEY=VALUE` at their end, in the order in which they were given.
///
/// clap keeps only the values that stand behind the subcommand where some stand before it, too.
pub fn settings_last(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let (mut others, mut settings, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            rest.push(argument);
            rest.extend(arguments.by_ref());
        } else if argument == "--set" {
            settings.push(argument);
            settings.extend(arguments.next());
        } else if argument.to_str().is_some_and(|text| text.starts_with("--set=")) {
            settings.push(argument);
        } else {
            others.push(argument);
        }
    }
    [others, settings, rest].concat()
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, like `rate=50/s`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn a_setting_before_the_command_holds_beside_one_after_it() {
        let line = "evergrant --set store.database=app2 check --set=rate=20/s --set lease=9min";
        let cli = Cli::parse_from(settings_last(line.split(' ').map(OsString::from)));
        let keys: Vec<_> = cli.global.set.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["store.database", "rate", "lease"]);
        let kept = settings_last(["e", "--", "--set", "a=b"].map(OsString::from));
        assert_eq!(kept, ["e", "--", "--set", "a=b"]);
        assert!(Cli::try_parse_from(settings_last(["e", "check", "--set"].map(OsString::from))).is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

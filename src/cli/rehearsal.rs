//! The arguments of `evergrant sandbox` and `evergrant demo`.

use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// `evergrant sandbox`.
#[derive(Debug, Clone, Args)]
pub struct SandboxArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8089", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Users to make at the start.
    #[arg(long, default_value_t = 1000)]
    pub users: usize,
    /// Number of users whose refresh token is dead.
    #[arg(long, default_value_t = 0)]
    pub dead: usize,
    /// Seed of tokens and faults: the same seed and the same requests give the same answers [default: random, printed].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write the users as token documents into this file, one JSON object a line, for `mongoimport` or `tokens import`.
    #[arg(long, value_name = "FILE")]
    pub documents: Option<PathBuf>,
    /// Play this provider profile, by its name or its file: take its request, and answer as its examples do.
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["rotation", "grace"])]
    pub profile: Option<String>,
    /// What happens to a redeemed refresh token.
    #[arg(long, value_enum, default_value_t = RotationArg::Rotate)]
    pub rotation: RotationArg,
    /// How long a redeemed token works again.
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub grace: std::time::Duration,
    /// A redeemed token that comes again ends the whole login, not only the request.
    #[arg(long)]
    pub revoke_family: bool,
    /// Grants allowed in every sliding window; more are answered with 429.
    #[arg(long, value_name = "RATE")]
    pub rate_limit: Option<crate::sandbox::RateLimit>,
    /// How long an answer takes.
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub latency: std::time::Duration,
    /// Random additional time of an answer, at most.
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub latency_jitter: std::time::Duration,
    /// Faults by script: `503:2%,drop-after:1%,429(2)@10..20`.
    #[arg(long, default_value = "", value_name = "SCRIPT")]
    pub fault: crate::sandbox::FaultScript,
    /// The client id that it knows.
    #[arg(long, default_value = "sandbox-client", value_name = "ID")]
    pub client_id: String,
    /// That client's secret; a rehearsal secret, not a real one.
    #[arg(long, default_value = "sandbox-secret", value_name = "SECRET")]
    pub client_secret: String,
}

/// What a sandbox does with a redeemed refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RotationArg {
    /// A new one each time.
    Rotate,
    /// The same one stays good, and is in each answer.
    Keep,
    /// The same one stays good, and is in no answer.
    KeepAndOmit,
}

/// `evergrant demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Kill the process in the middle of the pass with SIGKILL, start it again, and show what recovery found.
    #[arg(long)]
    pub crash: bool,
    /// Give the provider no grace period: an answer that the crash cut off is then a login lost in flight.
    #[arg(long)]
    pub strict: bool,
    /// Made-up users.
    #[arg(long, default_value = "1000")]
    pub users: NonZeroUsize,
    /// Grants a window.
    #[arg(long, default_value = "120/s", value_name = "RATE")]
    pub rate: crate::provider::rate::Rate,
}

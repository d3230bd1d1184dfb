//! A local OAuth provider: what a rehearsal, a demo, a test and a benchmark refresh tokens at.
//!
//! It rotates refresh tokens, refuses what a strict provider refuses, keeps an exact rate limit, loses answers on
//! purpose ([`FaultScript`]), and remembers what became of every token it ever handed out. Because it knows which
//! answers it delivered, its [`Audit`] can tell a token that was lost on the way from one that was received and lost.
//!
//! It shares no code of requests and answers with the client, so that one misreading cannot hide another. A profile that
//! it plays ([`Role`]) is data to both. Its tokens open nothing:
//! unlike everywhere else in this crate they are shown freely, by the ledger above all.
//!
//! # What it decides where RFC 6749 leaves the choice
//! - Grace is Okta's: within [`SandboxConfig::grace`] of its first redemption a rotated token may be redeemed again.
//!   Each redemption hands out a *new* pair; the newest one is current, and earlier ones that were not redeemed stay
//!   valid as well.
//! - With [`Reuse::RevokeFamily`], a reuse after the grace ends the whole login, the current token included.
//! - A new login starts a new family and leaves the old one alive, like a second browser; only
//!   [`Sandbox::revoke`] ends all of a user's logins.
//! - The lifetime of a refresh token counts from the last answer that contained it: a rotated token starts anew,
//!   [`Rotation::Keep`] slides, [`Rotation::KeepAndOmit`] is fixed from the login on.
//! - The rate limit counts every request to the token endpoint, from any client, except those it refuses itself.
//!
//! # What it knows of a client that dies
//! An answer counts as received once the client took all of it off its socket. One that the client died on, or hung
//! up on, before that is [`Outcome::Untaken`], and its user `lost_in_flight`. What it can't see is a client that is
//! killed after it took the answer and before it wrote anything down: that user is `lost_received`, and
//! [`LostUser::redeemed_at`] tells how long before the kill it was.

use ledger::Ledger;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

mod answer;
mod audit;
mod config;
mod connection;
mod fault;
mod ledger;
mod opaque;
mod profile;
mod record;
mod reply;
mod request;
mod routes;
mod server;
mod token_endpoint;
mod window;

#[cfg(test)]
mod tests;

pub use audit::{Audit, LostUser};
pub use config::{Reuse, Rotation, SandboxConfig};
pub use fault::{FaultScript, FaultScriptError};
pub use profile::{Role, RoleError};
pub use record::{LedgerSummary, Outcome, Presentation, Replay, TokenRecord, UserRecord};
pub use server::Serving;
pub use window::{RateLimit, RateLimitError};

/// A user of the sandbox with the newest pair that was handed out for them, received or not.
///
/// `Debug` leaves the tokens out: also rehearsal output should look as real output must.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeededUser {
    /// `user-000000`
    pub user: String,
    /// `user-000000@example.com`
    pub email: String,
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
}

impl fmt::Debug for SeededUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SeededUser").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A running sandbox; clones are handles to the same one.
///
/// One that was [started](Sandbox::start) is served until [`Sandbox::stop`], or until its last handle is dropped.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
    /// Stops the serving task together with the last handle.
    owner: Option<Arc<DropGuard>>,
}

/// What the handles, the serving task and the connections have in common.
struct Shared {
    config: SandboxConfig,
    address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
    in_flight: AtomicU64,
    /// Asks the serving task to end.
    stop: CancellationToken,
    /// Says that it has.
    stopped: CancellationToken,
}

impl Sandbox {
    /// Binds a sandbox to `listen`, port 0 for any free one; it answers once the [`Serving`] runs.
    ///
    /// Must run to completion.
    ///
    /// # Errors
    /// The address could not be bound.
    pub async fn bind(config: SandboxConfig, listen: SocketAddr) -> io::Result<(Self, Serving)> {
        let ledger = Ledger::new(&config, config.clock.now().timestamp_millis());
        Self::bind_with(config, Arc::new(Mutex::new(ledger)), listen).await
    }

    async fn bind_with(
        config: SandboxConfig,
        ledger: Arc<Mutex<Ledger>>,
        listen: SocketAddr,
    ) -> io::Result<(Self, Serving)> {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            ledger,
            config,
            in_flight: AtomicU64::new(0),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
        });
        let serving = Serving::new(listener, Arc::clone(&shared));
        Ok((Self { shared, owner: None }, serving))
    }

    /// Binds a sandbox to `listen` and serves it on a task of its own.
    ///
    /// Must run to completion.
    ///
    /// # Errors
    /// The address could not be bound.
    pub async fn start(config: SandboxConfig, listen: SocketAddr) -> io::Result<Self> {
        Ok(Self::spawn(Self::bind(config, listen).await?))
    }

    /// Serves a [stopped](Sandbox::stop) sandbox again, at the same address and with the same ledger: the end of an
    /// outage during which connections were refused.
    ///
    /// Must run to completion. Use the handle that it returns; older ones show the same ledger, and stop nothing.
    ///
    /// # Errors
    /// The address could not be bound: another process has it, or the sandbox still runs.
    pub async fn start_again(&self) -> io::Result<Self> {
        let (config, ledger) = (self.shared.config.clone(), Arc::clone(&self.shared.ledger));
        Ok(Self::spawn(Self::bind_with(config, ledger, self.shared.address).await?))
    }

    fn spawn((mut sandbox, serving): (Self, Serving)) -> Self {
        sandbox.owner = Some(Arc::new(sandbox.shared.stop.clone().drop_guard()));
        drop(tokio::spawn(serving.run(std::future::pending())));
        sandbox
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// `http://127.0.0.1:PORT`; the loopback address also when it listens on all of them.
    #[must_use]
    pub fn base_url(&self) -> String {
        let mut address = self.shared.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("http://{address}")
    }

    /// The token endpoint: `http://127.0.0.1:PORT/token`, or where the profile has it that is played, with its variables.
    #[must_use]
    pub fn token_url(&self) -> String {
        let path = self.shared.config.role.as_ref().map_or("/token", |role| role.path());
        format!("{}{path}", self.base_url())
    }

    /// What this sandbox was started with; the faults may have changed since.
    #[must_use]
    pub fn config(&self) -> &SandboxConfig {
        &self.shared.config
    }

    /// Every user, with their newest pair.
    #[must_use]
    pub fn users(&self) -> Vec<SeededUser> {
        let ledger = self.shared.ledger();
        (0..ledger.user_count()).filter_map(|position| ledger.seeded_user(position)).collect()
    }

    /// Writes every user as a token document, a line each, as `GET /users` does.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_documents(&self, out: &mut impl io::Write) -> io::Result<()> {
        let seed = self.shared.config.seed;
        for (position, user) in self.users().into_iter().enumerate() {
            serde_json::to_writer(&mut *out, &routes::Document::new(seed, position, user))?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Adds `count` users, numbered on, each with a first login.
    #[expect(clippy::must_use_candidate, reason = "called for its effect as often as for its result")]
    pub fn add_users(&self, count: usize) -> Vec<SeededUser> {
        let now = self.shared.now();
        let mut ledger = self.shared.ledger();
        let first = ledger.user_count();
        ledger.add_users(count, now);
        (first..first + count).filter_map(|position| ledger.seeded_user(position)).collect()
    }

    /// What happened so far, in numbers.
    #[must_use]
    pub fn ledger(&self) -> LedgerSummary {
        let now = self.shared.now();
        self.shared.ledger().summary(now)
    }

    /// Judges the refresh tokens that a client holds, as `(user or email, refresh token)`, one for each document.
    ///
    /// Exact while no request is in flight: an answer that is on its way counts as delivered.
    pub fn audit<U: AsRef<str>, T: AsRef<str>>(&self, held: impl IntoIterator<Item = (U, T)>) -> Audit {
        let now = self.shared.now();
        audit::audit(&self.shared.ledger(), held, now)
    }

    /// Every presentation of a rotating refresh token for which an answer had gone out in full before, oldest first.
    ///
    /// Exact while no request is in flight, as [`Sandbox::audit`] is.
    #[must_use]
    pub fn replays(&self) -> Vec<Replay> {
        self.shared.ledger().replays()
    }

    /// Token requests that are being answered now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Replaces the fault script; `times` counts from anew, request numbers go on.
    pub fn set_faults(&self, faults: FaultScript) {
        self.shared.ledger().set_faults(faults);
    }

    /// Logs `user` (name or email) in again: a new family, whose token is current. The old family stays as it is.
    #[expect(clippy::must_use_candidate, reason = "called for its effect as often as for its result")]
    pub fn login(&self, user: &str) -> Option<SeededUser> {
        let now = self.shared.now();
        let mut ledger = self.shared.ledger();
        let position = ledger.find_user(user)?;
        ledger.login(position, now);
        ledger.seeded_user(position)
    }

    /// Ends every login of `user` (name or email); false if there is no such user.
    #[expect(clippy::must_use_candidate, reason = "called for its effect as often as for its result")]
    pub fn revoke(&self, user: &str) -> bool {
        let mut ledger = self.shared.ledger();
        ledger.find_user(user).map(|position| ledger.revoke(position)).is_some()
    }

    /// What became of one refresh token; none if it was never handed out.
    #[must_use]
    pub fn token_history(&self, refresh_token: &str) -> Option<TokenRecord> {
        let ledger = self.shared.ledger();
        let index = ledger.find_token(&opaque::decode(refresh_token)?)?;
        ledger.token_record_at(index.position())
    }

    /// How one user stands; none if there is no such user.
    #[must_use]
    pub fn user(&self, user: &str) -> Option<UserRecord> {
        let now = self.shared.now();
        let ledger = self.shared.ledger();
        ledger.user_record(ledger.find_user(user)?, now)
    }

    /// Stops listening, closes every connection and waits for that; a clone still shows the ledger.
    ///
    /// Open requests get a moment to finish; an answer that is cut off counts as not taken. Safe to cancel.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.stopped.cancelled().await;
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sandbox").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.config.clock.now().timestamp_millis()
    }
}

/// A duration in the ledger's unit.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

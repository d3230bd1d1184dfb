//! The line breaks, everywhere and in every way: between us and the provider, and between us and MongoDB.

mod connect;
mod every_byte;
mod provider;
mod store;

use crate::support::proxy::{Proxy, Wire};
use crate::support::rehearsal::{Rehearsal, provider_of};
use evergrant::sandbox::{Sandbox, SandboxConfig};
use evergrant::testing::clock::Clock;
use evergrant::testing::grant::answer::{Reading, read};
use evergrant::testing::grant::http::TokenEndpoint;
use evergrant::testing::grant::{self, Wire as _};
use evergrant::testing::provider::{Profile, Provider, profile};
use evergrant::testing::token::RefreshToken;
use futures::{FutureExt as _, StreamExt as _};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Late, and yet in time.
const LATE: Duration = Duration::from_millis(300);

/// Later than anybody waits.
const TOO_LATE: Duration = Duration::from_mins(1);

/// A provider behind the proxy, and a client that does nothing but grants.
struct Peer {
    sandbox: Sandbox,
    proxy: Proxy,
    endpoint: Endpoint,
    next: AtomicUsize,
}

/// A client of one token endpoint.
struct Endpoint {
    provider: Provider,
    wire: TokenEndpoint,
}

impl Peer {
    async fn start(users: usize) -> Self {
        let config = SandboxConfig { users, ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config, ([127, 0, 0, 1], 0).into()).await.unwrap();
        let proxy = Proxy::start(Wire::Http, sandbox.address());
        let endpoint = endpoint(&sandbox, &format!("http://{}/token", proxy.address()));
        Self { sandbox, proxy, endpoint, next: AtomicUsize::new(0) }
    }

    /// Redeems the token of a user who wasn't asked for before.
    async fn redeem_next(&self) -> (String, Reading) {
        let user = format!("user-{:06}", self.next.fetch_add(1, Ordering::Relaxed));
        let token = self.sandbox.user(&user).unwrap().current_refresh_token;
        let reading = self.redeem_at(&self.endpoint, &token).await;
        (user, reading)
    }

    async fn redeem_at(&self, endpoint: &Endpoint, token: &str) -> Reading {
        let Endpoint { provider, wire } = endpoint;
        let request = grant::request(provider, &RefreshToken::new(token.to_owned())).unwrap();
        read(&wire.post(&request).await, &provider.profile, Clock::system().now())
    }

    /// Bytes of one whole request.
    async fn request_length(&self) -> usize {
        self.redeem_next().await;
        self.proxy.last_lengths().0
    }

    /// Bytes of one whole answer.
    async fn answer_length(&self) -> usize {
        self.redeem_next().await;
        self.proxy.last_lengths().1
    }
}

fn generic() -> Profile {
    profile::load("generic").unwrap()
}

fn endpoint(sandbox: &Sandbox, url: &str) -> Endpoint {
    let mut provider = provider_of(sandbox, "sandbox", generic());
    provider.token_url = url.parse().unwrap();
    let wire = TokenEndpoint::new(&provider, Clock::system()).unwrap();
    Endpoint { provider, wire }
}

/// Leads a rehearsal's line to its provider through a proxy.
fn through_proxy(rehearsal: &mut Rehearsal) -> Proxy {
    let proxy = Proxy::start(Wire::Http, rehearsal.sandbox.address());
    let url = format!("http://{}/token", proxy.address());
    rehearsal.change_provider(|provider| provider.token_url = url.parse().unwrap());
    proxy
}

/// Checks each of these cells to its end, so many at once, so that a run names every cell that fails.
async fn each<F: Future<Output = ()>>(at_once: usize, cells: impl IntoIterator<Item = (String, F)>) {
    let running = futures::stream::iter(cells).map(|(name, check)| async move {
        let checked = AssertUnwindSafe(check).catch_unwind().await;
        checked.err().map(|_| name)
    });
    let failed: Vec<_> = running.buffer_unordered(at_once).filter_map(std::future::ready).collect().await;
    assert!(failed.is_empty(), "these cells fail, for the reasons above: {failed:#?}");
}

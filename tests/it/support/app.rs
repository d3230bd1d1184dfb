//! The user's own application beside us: it reads a document, redeems the refresh token in it, and writes both tokens
//! by `_id`, as applications do. It has never heard of us, and asks nobody.

use bson::{Document, doc};
use evergrant::sandbox::{Sandbox, SeededUser};
use evergrant::testing::token::RefreshToken;
use futures::TryStreamExt as _;
use mongodb::Collection;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One in so many grants is the application's.
const OWN_SHARE: u64 = 20;

/// For one in so many grants somebody logs in anew.
const LOGIN_SHARE: u64 = 400;

/// How often it looks whether there is something to do.
const TICK: Duration = Duration::from_millis(5);

/// An application server.
pub(crate) struct App {
    collection: Collection<Document>,
    sandbox: Sandbox,
    client: reqwest::Client,
    random: StdRng,
    done: Done,
}

/// Somebody whom a document names as dead or lost, with the refresh token that it held then.
#[derive(Debug)]
pub(crate) struct Marked {
    pub(crate) email: String,
    pub(crate) refresh_token: String,
    pub(crate) state: String,
}

/// What an application did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The tokens that it redeemed.
    pub(crate) redeemed: HashSet<String>,
    /// The tokens with which it came too late, and how often: a document keeps its old token while a process is paused.
    pub(crate) refused: HashMap<String, usize>,
    /// Logins of people who just did.
    pub(crate) logins: u64,
    /// People who had to log in again, and did.
    pub(crate) marked: Vec<Marked>,
}

/// What an application is granted.
pub(crate) struct Pair {
    pub(crate) refresh_token: String,
    pub(crate) access_token: String,
}

/// How an application reaches its provider.
pub(crate) fn client() -> reqwest::Client {
    // An error says that it is set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Redeems a refresh token as an application does; `None` when the provider doesn't grant it.
pub(crate) async fn redeem(client: &reqwest::Client, sandbox: &Sandbox, token: &str) -> Option<Pair> {
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_id", &sandbox.config().client_id),
        ("client_secret", &sandbox.config().client_secret),
    ];
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = client.post(sandbox.token_url()).body(form);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.send().await.unwrap();
    if !answer.status().is_success() {
        return None;
    }
    let pair: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let [refresh_token, access_token] =
        ["refresh_token", "access_token"].map(|name| pair[name].as_str().unwrap().to_owned());
    Some(Pair { refresh_token, access_token })
}

impl App {
    pub(crate) fn new(collection: Collection<Document>, sandbox: Sandbox) -> Self {
        Self {
            collection,
            sandbox,
            client: client(),
            random: StdRng::seed_from_u64(7),
            done: Done::default(),
        }
    }

    /// Serves its users until `stop`; finishes what it has begun.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Done {
        let users = self.sandbox.config().users;
        while !stop.is_cancelled() {
            let granted = self.sandbox.ledger().granted;
            let user = self.random.random_range(0..users);
            let email = format!("user-{user:06}@example.com");
            if (self.done.redeemed.len() as u64) * OWN_SHARE < granted {
                self.refresh(&email).await;
            } else if self.done.logins * LOGIN_SHARE < granted {
                self.done.logins += 1;
                self.log_in(&email).await;
            } else {
                self.log_in_whoever_must().await;
                let _ = stop.run_until_cancelled(tokio::time::sleep(TICK)).await;
            }
        }
        self.done
    }

    async fn refresh(&mut self, email: &str) {
        let document = self.collection.find_one(doc! { "email": email }).await.unwrap().unwrap();
        let token = document.get_str("refresh_token").unwrap();
        let Some(pair) = redeem(&self.client, &self.sandbox, token).await else {
            *self.done.refused.entry(token.to_owned()).or_default() += 1;
            return;
        };
        self.done.redeemed.insert(token.to_owned());
        self.write(&document, &pair.refresh_token, &pair.access_token).await;
    }

    async fn log_in(&self, email: &str) {
        let document = self.collection.find_one(doc! { "email": email }).await.unwrap().unwrap();
        let SeededUser { refresh_token, access_token, .. } = self.sandbox.login(email).unwrap();
        self.write(&document, &refresh_token, &access_token).await;
    }

    async fn log_in_whoever_must(&mut self) {
        let must = doc! { "evergrant.state": { "$in": ["needs_login", "lost_in_flight"] } };
        let documents: Vec<_> = self.collection.find(must).await.unwrap().try_collect().await.unwrap();
        for document in documents {
            let text = |name: &str| document.get_str(name).unwrap().to_owned();
            let bookkeeping = document.get_document("evergrant").unwrap();
            let marked = Marked {
                email: text("email"),
                refresh_token: text("refresh_token"),
                state: bookkeeping.get_str("state").unwrap().to_owned(),
            };
            // One who has logged in since then stays marked until the next pass finds the new token.
            let fingerprint = RefreshToken::new(marked.refresh_token.clone()).fingerprint().to_string();
            if bookkeeping.get_str("fingerprint").ok() != Some(fingerprint.as_str()) {
                continue;
            }
            self.log_in(&marked.email).await;
            self.done.marked.push(marked);
        }
    }

    async fn write(&self, document: &Document, refresh_token: &str, access_token: &str) {
        let by_id = doc! { "_id": document.get("_id").unwrap() };
        let pair = doc! { "$set": { "refresh_token": refresh_token, "access_token": access_token } };
        assert_eq!(self.collection.update_one(by_id, pair).await.unwrap().matched_count, 1);
    }
}

//! The built binary against a sandbox and a store of a test's own.

use super::{canaries, mongod};
use evergrant::sandbox::{Sandbox, SandboxConfig, SeededUser};
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::{self, Change, Fence, PairChange, Replaces, Store, StoreSettings};
use evergrant::testing::token::{AccessToken, RefreshToken, TokenDocument};
use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Longest that a process of a test may run: far beyond what any needs, so that a hang is a failure and not a wait.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(2);

/// One pass, whose summary is read by a machine.
pub(crate) const ONCE: [&str; 4] = ["run", "--once", "--format", "json"];

/// Which store a scene plays in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Mongo,
}

/// A provider, a store full of its users, and the settings that lead the binary to both.
pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Scene {
    /// `None` where no mongod is to be had; that was said loudly.
    pub(crate) async fn new(name: &str, kind: Kind, mut config: SandboxConfig) -> Option<Self> {
        if config.client_secret == SandboxConfig::default().client_secret {
            canaries::CLIENT_SECRET.clone_into(&mut config.client_secret);
        }
        let folder = tempfile::tempdir().unwrap();
        let (url, database) = match kind {
            Kind::Sqlite => (format!("sqlite:{}", folder.path().join("tokens.db").display()), None),
            Kind::Mongo => (mongod::uri()?.to_owned(), Some(mongod::database_name(name))),
        };
        let sandbox = Sandbox::start(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let settings = StoreSettings {
            url: url.clone().into(),
            database: database.clone(),
            collection: "tokens".to_owned(),
            mapping: Mapping::default(),
        };
        fill(kind, &settings, &sandbox.users()).await;
        let store = store::connect(&settings, 4).await.unwrap();
        let mut scene = Self { sandbox, store, folder, settings: Vec::new() };
        scene.set("store.url", &url);
        if let Some(database) = database {
            scene.set("store.database", &database);
        }
        let token_url = scene.sandbox.token_url();
        let client_secret = scene.sandbox.config().client_secret.clone();
        for (key, value) in [
            ("provider", "generic"),
            ("token_url", &token_url),
            ("client_id", "sandbox-client"),
            ("client_secret", &client_secret),
            ("refresh_token_lifetime", "14d"),
            ("state_dir", scene.folder.path().join("state").to_str().unwrap()),
        ] {
            scene.set(key, value);
        }
        Some(scene)
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        match key {
            "client_secret" => canaries::plant(value),
            "store.url" => canaries::plant_password(value),
            _ => {}
        }
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Puts the store, with the documents as they were seeded, to another place of its kind.
    pub(crate) async fn put_store_at(&mut self, url: &str) {
        let kind = if url.starts_with("sqlite:") { Kind::Sqlite } else { Kind::Mongo };
        let settings = StoreSettings {
            url: url.to_owned().into(),
            database: (kind == Kind::Mongo).then(|| self.setting("store.database").to_owned()),
            collection: "tokens".to_owned(),
            mapping: Mapping::default(),
        };
        fill(kind, &settings, &self.sandbox.users()).await;
        self.store = store::connect(&settings, 4).await.unwrap();
        self.set("store.url", url);
    }

    fn setting(&self, key: &str) -> &str {
        let (_, value) = self.settings.iter().find(|(known, _)| known == key).expect("a MongoDB");
        value
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(self.folder.path(), &self.settings, arguments)
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.start(arguments)).await
    }

    pub(crate) async fn documents(&self) -> Vec<TokenDocument> {
        let (mut documents, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(after.as_ref(), 500).await.unwrap();
            documents.extend(page.documents);
            after = page.next;
            if after.is_none() {
                return documents;
            }
        }
    }

    /// What the ledger says of what we hold.
    pub(crate) async fn audit(&self) -> evergrant::sandbox::Audit {
        let documents = self.documents().await;
        let held = documents.iter().filter_map(|document| {
            let token = document.refresh_token.as_ref().ok()?;
            Some((document.subject.as_str(), token.expose()))
        });
        self.sandbox.audit(held)
    }

    /// The collection as the application sees it, through a connection of its own.
    pub(crate) async fn collection(&self) -> mongodb::Collection<bson::Document> {
        let client = mongodb::Client::with_uri_str(self.setting("store.url")).await.unwrap();
        client.database(self.setting("store.database")).collection("tokens")
    }

    pub(crate) fn state_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    /// Waits until the ledger is as `wanted`, or the process has ended.
    pub(crate) async fn until(&self, child: &mut Child, wanted: impl Fn(&Sandbox) -> bool) {
        let mut tick = tokio::time::interval(TICK);
        let look = async {
            while !wanted(&self.sandbox) && child.try_wait().unwrap().is_none() {
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("the ledger gets there");
    }

    /// The user of a document logs in again; its bookkeeping stays.
    pub(crate) async fn log_in(&self, document: &TokenDocument) {
        let login = self.sandbox.login(document.subject.as_str()).unwrap();
        let change = Change {
            id: document.id.clone(),
            expect_refresh_token: None,
            expect_lease: Fence::None,
            pair: Some(PairChange {
                refresh_token: RefreshToken::new(login.refresh_token),
                access_token: Some(AccessToken::new(login.access_token)),
                also: Vec::new(),
                replaces: Replaces::Any,
            }),
            bookkeeping: document.bookkeeping.clone(),
        };
        self.store.apply(&[change]).await.unwrap();
    }
}

/// The binary in a folder, with these settings in the environment and nothing else there.
pub(crate) fn command(folder: &Path, settings: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evergrant"));
    command.env_clear().current_dir(folder).args(arguments).stdin(Stdio::null());
    // Services of several tests run at the same time, and there is one default port.
    command.env("EVERGRANT_ADMIN_LISTEN", "off");
    for (key, value) in settings {
        command.env(format!("EVERGRANT_{}", key.replace('.', "_").to_uppercase()), value);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Waits for its end; what it said is searched for secrets.
    pub(crate) async fn of(child: Child) -> Self {
        Self::within(PATIENCE, child).await
    }

    /// The same for a process whose job is to print tokens.
    pub(crate) async fn of_export(child: Child) -> Self {
        Self::unsearched(PATIENCE, child).await
    }

    /// For one that has much to do.
    pub(crate) async fn within(patience: Duration, child: Child) -> Self {
        let ended = Self::unsearched(patience, child).await;
        canaries::search("stdout", &ended.stdout);
        canaries::search("stderr", &ended.stderr);
        ended
    }

    async fn unsearched(patience: Duration, child: Child) -> Self {
        let Output { status, stdout, stderr } = tokio::time::timeout(patience, child.wait_with_output())
            .await
            .expect("it ends by itself")
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Writes documents as a team that never heard of us has them.
async fn fill(kind: Kind, settings: &StoreSettings, users: &[SeededUser]) {
    let document = |index: usize, user: &SeededUser| {
        json!({
            "_id": { "$oid": format!("{index:024x}") },
            "userId": user.user,
            "email": user.email,
            "access_token": user.access_token,
            "refresh_token": user.refresh_token,
        })
    };
    let documents: Vec<Value> = users.iter().enumerate().map(|(index, user)| document(index, user)).collect();
    match kind {
        Kind::Sqlite => {
            use secrecy::ExposeSecret as _;
            let path = store::sqlite_path(settings.url.expose_secret()).unwrap().to_owned();
            let store = store::sqlite::SqliteStore::open(path.as_ref(), Mapping::default()).await.unwrap();
            let fields = |value: Value| if let Value::Object(fields) = value { fields } else { Map::new() };
            store.import(documents.into_iter().map(fields).collect()).await.unwrap();
        }
        Kind::Mongo => {
            use secrecy::ExposeSecret as _;
            let client = mongodb::Client::with_uri_str(settings.url.expose_secret()).await.unwrap();
            let database = client.database(settings.database.as_deref().unwrap());
            let documents = documents.into_iter().map(|value| {
                let bson::Bson::Document(document) = bson::Bson::try_from(value).unwrap() else {
                    panic!("a document")
                };
                document
            });
            database.collection::<bson::Document>("tokens").insert_many(documents).await.unwrap();
        }
    }
}

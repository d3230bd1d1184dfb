//! Authorization servers that nobody here wrote, each a process of its own, and an installation that is their client.
//!
//! What they run on is pinned by version and hash and fetched once into `target/`. A server listens on a port that the
//! system chose, is told what to do through its standard input, and ends when that closes: with this process, however it
//! ends.

use super::mongod::{runs_within_three_tries, say_skipped, scratch};
use super::process::{Ended, ONCE, command};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use tempfile::TempDir;

/// Where requirements and glue stand.
const GLUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign");

/// An implementation of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// Authlib on Flask and Werkzeug, in Python; where there is Python.
    Authlib,
    /// oidc-provider, in JavaScript; where there is Node.js.
    OidcProvider,
    /// A team's own server on Express with JSON Web Tokens: no OAuth. Where there is Node.js.
    Express,
}

/// The implementations that are to be had here; what isn't was said loudly.
pub(crate) fn servers() -> impl Iterator<Item = &'static Server> {
    static AUTHLIB: OnceLock<Option<Server>> = OnceLock::new();
    static OIDC_PROVIDER: OnceLock<Option<Server>> = OnceLock::new();
    let authlib = AUTHLIB.get_or_init(|| {
        let server = Server::start(Make::Authlib);
        if server.is_none() {
            say_skipped("Authlib as provider", "no `python3 -m pip` (3.10 or newer) that fetches it");
        }
        server
    });
    let oidc_provider = OIDC_PROVIDER.get_or_init(|| {
        let server = Server::start(Make::OidcProvider);
        if server.is_none() {
            say_skipped("oidc-provider as provider", "no `node` and `npm` that fetch it");
        }
        server
    });
    authlib.iter().chain(oidc_provider)
}

/// The server that speaks no OAuth; `None` where it isn't to be had, which was said loudly.
pub(crate) fn express() -> Option<&'static Server> {
    static EXPRESS: OnceLock<Option<Server>> = OnceLock::new();
    let start = || {
        let server = Server::start(Make::Express);
        if server.is_none() {
            say_skipped("a server on Express", "no `node` and `npm` that fetch it");
        }
        server
    };
    EXPRESS.get_or_init(start).as_ref()
}

/// A client registration.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// `basic` or `body`; the server takes no other.
    pub(crate) auth: &'static str,
    /// Does a refresh token work only once?
    pub(crate) rotates: bool,
}

impl Client {
    /// A client whose refresh tokens work once.
    pub(crate) fn new(id: &str, secret: &str, auth: &'static str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), auth, rotates: true }
    }
}

/// A server of one of the five kinds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Kind<'a> {
    #[serde(rename = "kind")]
    pub(crate) name: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) database: String,
    pub(crate) users: usize,
    /// Do its pages hide what went wrong?
    pub(crate) production: bool,
}

/// What a server's store, or ours, holds for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) access_token: String,
    /// `None` when the server would take none.
    #[serde(default)]
    pub(crate) refresh_token: Option<String>,
}

/// Logins by user.
pub(crate) type Logins = BTreeMap<String, Login>;

/// A running server, shared by the tests of this process; each test has a client of its own.
pub(crate) struct Server {
    pub(crate) make: Make,
    port: u16,
    line: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

impl Server {
    /// `None` where what it runs on can't be had, or can't run here.
    fn start(make: Make) -> Option<Self> {
        let packages = make.packages()?;
        let mut process = match make {
            Make::Authlib => {
                let mut python = Command::new("python3");
                python.env("PYTHONPATH", packages).arg(Path::new(GLUE).join("authlib_server.py"));
                python
            }
            Make::OidcProvider => {
                let mut node = Command::new("node");
                node.arg("oidc_provider.mjs").current_dir(packages);
                node
            }
            Make::Express => {
                let mut node = Command::new("node");
                node.arg("server.mjs").current_dir(packages);
                node
            }
        };
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let stdin = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // None comes from an interpreter that is too old; it has said so on stderr.
        let Some(first) = lines.next() else {
            process.wait().unwrap();
            return None;
        };
        let first: Value = serde_json::from_str(&first.unwrap()).unwrap();
        let port = first["port"].as_u64().unwrap().try_into().unwrap();
        Some(Self { make, port, line: Mutex::new((stdin, lines)) })
    }

    fn ask<T: DeserializeOwned>(&self, command: &str, arguments: &Value) -> T {
        let mut line = self.line.lock().unwrap();
        writeln!(line.0, "{}", json!([command, arguments])).unwrap();
        let answer = line.1.next().expect("it answers").unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// Starts a server of one of the five kinds in the same process, over a new database with so many living users and
    /// some others. Its port.
    pub(crate) fn open_kind(&self, kind: &Kind<'_>) -> u16 {
        let opened: Value = self.ask("open", &serde_json::to_value(kind).unwrap());
        opened["port"].as_u64().unwrap().try_into().unwrap()
    }

    /// What a server of a kind says of itself.
    pub(crate) fn ledger(&self, kind: &Kind<'_>) -> Value {
        self.ask("ledger", &json!({ "database": kind.database }))
    }

    /// Ends it, with its database.
    pub(crate) fn close_kind(&self, kind: &Kind<'_>) {
        self.ask::<()>("close", &json!({ "database": kind.database }));
    }

    /// Registers a client, to which so many users have given a login.
    pub(crate) fn register(&self, client: &Client, users: usize) -> Logins {
        let users: Vec<_> = (0..users).map(|index| format!("user-{index}@example.com")).collect();
        let mut arguments = serde_json::to_value(client).unwrap();
        arguments["users"] = json!(users);
        self.ask::<()>("register", &arguments);
        self.logins(client)
    }

    /// Ends the logins of these users, as an administrator would.
    pub(crate) fn revoke(&self, client: &Client, users: &[&str]) {
        self.ask::<()>("revoke", &json!({ "id": client.id, "users": users }));
    }

    /// The URL of one of its paths.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The users of whom a token was presented that had been redeemed, of all clients.
    pub(crate) fn reused(&self) -> Vec<String> {
        self.ask("reused", &Value::Null)
    }

    /// What the server's store holds.
    pub(crate) fn logins(&self, client: &Client) -> Logins {
        self.ask("logins", &json!({ "id": client.id }))
    }
}

impl Make {
    /// The folder with what it runs on, fetched if it isn't there. Another process may do the same: the last step is a
    /// rename. `None` where it can't be had.
    fn packages(self) -> Option<PathBuf> {
        let (name, glue, files): (_, _, &[_]) = match self {
            Self::Authlib => ("authlib", "", &["requirements.txt"]),
            Self::OidcProvider => {
                ("oidc-provider", "", &["package.json", "package-lock.json", "oidc_provider.mjs"])
            }
            Self::Express => {
                ("express", "express", &["package.json", "package-lock.json", "server.mjs", "kinds.mjs"])
            }
        };
        let glue = Path::new(GLUE).join(glue);
        let mut pinned = Sha256::new();
        for file in files {
            pinned.update(fs::read(glue.join(file)).unwrap());
        }
        let folder = pinned.finalize().iter().take(6).fold(format!("{name}-"), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        let folder = scratch().join(folder);
        if folder.is_dir() {
            return Some(folder);
        }
        let work = tempfile::Builder::new().prefix("fetch.").tempdir_in(scratch()).unwrap();
        for file in files {
            fs::copy(glue.join(file), work.path().join(file)).unwrap();
        }
        let mut fetch = match self {
            Self::Authlib => {
                let mut pip = Command::new("python3");
                pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                    .args(["--no-deps", "--require-hashes", "--only-binary=:all:", "--target=."])
                    .arg("--requirement=requirements.txt")
                    .env("PIP_ROOT_USER_ACTION", "ignore"); // an option that older ones don't know
                pip
            }
            Self::OidcProvider | Self::Express => {
                let mut npm = Command::new("npm");
                npm.args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]);
                npm
            }
        };
        if !runs_within_three_tries(fetch.current_dir(work.path())) {
            return None;
        }
        let fetched = work.keep();
        if fs::rename(&fetched, &folder).is_err() {
            assert!(folder.is_dir(), "another process was faster");
            fs::remove_dir_all(&fetched).unwrap();
        }
        Some(folder)
    }
}

/// Evergrant as one installs it: settings, an embedded store filled with `tokens import`, a state directory.
pub(crate) struct Installation {
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Installation {
    /// A new one, for a client of `server` that holds these logins.
    pub(crate) async fn new(server: &Server, client: &Client, logins: &Logins) -> Self {
        let settings = [
            ("provider", "generic"),
            ("token_url", &server.url("/token")),
            ("client_id", &client.id),
            ("client_secret", &client.secret),
            ("client_auth", client.auth),
            ("rotation", if client.rotates { "single_use" } else { "none" }),
            ("refresh_token_lifetime", "14d"),
        ];
        Self::over(&settings, None, logins).await
    }

    /// A new one with a profile of its own.
    pub(crate) async fn with_profile(profile: &str, logins: &Logins) -> Self {
        Self::over(&[("provider", "./own.toml")], Some(profile), logins).await
    }

    async fn over(settings: &[(&str, &str)], profile: Option<&str>, logins: &Logins) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        let state_dir = ("state_dir", state_dir.to_str().unwrap());
        let settings = settings.iter().chain([&state_dir]);
        let settings = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        if let Some(profile) = profile {
            fs::write(folder.path().join("own.toml"), profile).unwrap();
        }
        let installation = Self { folder, settings };
        let mut lines = String::new();
        for (user, Login { access_token, refresh_token }) in logins {
            let document = json!({ "_id": user, "email": user, "access_token": access_token, "refresh_token": refresh_token });
            writeln!(lines, "{document}").unwrap();
        }
        fs::write(installation.folder.path().join("tokens.json"), lines).unwrap();
        let ended = installation.run(&["tokens", "import", "tokens.json"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        installation
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        let child = command(self.folder.path(), &self.settings, arguments).spawn().unwrap();
        if arguments.starts_with(&["tokens", "export"]) {
            Ended::of_export(child).await
        } else {
            Ended::of(child).await
        }
    }

    /// One pass over what is due, or over everything.
    pub(crate) async fn pass(&self, arguments: &[&str]) -> Ended {
        self.run(&[&ONCE[..], arguments].concat()).await
    }

    /// Every document as `tokens export` gives it, by user.
    pub(crate) async fn documents(&self) -> BTreeMap<String, Value> {
        let ended = self.run(&["tokens", "export"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let document = |line| {
            let document: Value = serde_json::from_str(line).unwrap();
            (document["email"].as_str().unwrap().to_owned(), document)
        };
        ended.stdout.lines().map(document).collect()
    }

    /// The logins in our documents.
    pub(crate) async fn logins(&self) -> Logins {
        let login = |(user, document)| (user, serde_json::from_value(document).unwrap());
        self.documents().await.into_iter().map(login).collect()
    }
}

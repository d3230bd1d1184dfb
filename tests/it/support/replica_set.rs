//! A real replica set of three members, whose primary can be stepped down, killed and started again.

use super::mongod::{ABSENT, Left, Watchdog, data_folder, end, launch, mongod, skip};
use bson::{Bson, Document, doc};
use mongodb::Client;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

const NAME: &str = "three";
const MEMBERS: usize = 3;

/// Longest wait for the set to be as it should; it starts in about 4 s and fails over in 2 s on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Pause between two looks.
const TICK: Duration = Duration::from_millis(50);

/// Times that three free ports are tried: another process may take one before its server does.
const ATTEMPTS: usize = 5;

/// The set; its servers end when this is dropped, and with this process.
pub(crate) struct ReplicaSet {
    members: Vec<Member>,
}

struct Member {
    host: String,
    port: u16,
    folder: PathBuf,
    running: Option<(Child, Watchdog)>,
    /// To this member alone.
    client: Client,
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some((mut process, mut watchdog)) = self.running.take() {
            end(&mut process, &mut watchdog, Left::Nothing);
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Member {
    fn start(&mut self) {
        let mongod = mongod().expect("it started before");
        self.running = Some(launch(mongod, self.port, &self.folder, &["--replSet", NAME], &[]));
    }

    /// Ends it as SIGKILL does; its data stay.
    fn kill(&mut self) {
        if let Some((mut process, mut watchdog)) = self.running.take() {
            end(&mut process, &mut watchdog, Left::Folder);
        }
    }

    fn has_ended(&mut self) -> bool {
        self.running.as_mut().is_some_and(|(process, _)| process.try_wait().unwrap().is_some())
    }

    async fn admin(&self, command: Document) -> mongodb::error::Result<Document> {
        self.client.database("admin").run_command(command).await
    }

    async fn is_primary(&self) -> bool {
        let hello = self.admin(doc! { "hello": 1 }).await;
        hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or_default())
    }
}

impl ReplicaSet {
    /// Starts three servers and makes them a set; `None`, said loudly, where there is no MongoDB.
    pub(crate) async fn start() -> Option<Self> {
        if mongod().is_none() {
            skip("the failovers", ABSENT);
            return None;
        }
        for _ in 0..ATTEMPTS {
            if let Some(set) = Self::start_once().await {
                return Some(set);
            }
        }
        panic!("three servers that start; is the disk full?");
    }

    async fn start_once() -> Option<Self> {
        let ports: Vec<_> = (0..MEMBERS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> = ports.into_iter().map(|port| port.local_addr().unwrap().port()).collect();
        let mut members = Vec::new();
        for port in ports {
            let host = format!("127.0.0.1:{port}");
            let uri = format!("mongodb://{host}/?directConnection=true&serverSelectionTimeoutMS=1000");
            let client = Client::with_uri_str(uri).await.unwrap();
            let mut member = Member { host, port, folder: data_folder(), running: None, client };
            member.start();
            members.push(member);
        }
        let mut set = Self { members };
        let began = Instant::now();
        loop {
            let hosts = set
                .members
                .iter()
                .zip(0..)
                .map(|(member, id): (_, i32)| Bson::from(doc! { "_id": id, "host": &member.host }));
            let settings = doc! { "electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200 };
            let config = doc! { "_id": NAME, "members": hosts.collect::<Vec<_>>(), "settings": settings };
            if set.members[0].admin(doc! { "replSetInitiate": config }).await.is_ok() {
                break;
            }
            if set.members.iter_mut().any(Member::has_ended) {
                return None;
            }
            assert!(began.elapsed() < PATIENCE, "the servers don't make a set");
            tokio::time::sleep(TICK).await;
        }
        set.until_well().await;
        Some(set)
    }

    /// The URI of the set, for a client of this name.
    pub(crate) fn uri_as(&self, application: &str) -> String {
        let hosts: Vec<_> = self.members.iter().map(|member| member.host.as_str()).collect();
        let hosts = hosts.join(",");
        format!("mongodb://{hosts}/?replicaSet={NAME}&heartbeatFrequencyMS=500&appName={application}")
    }

    /// Which member is the primary, once there is one.
    pub(crate) async fn primary(&self) -> usize {
        let began = Instant::now();
        loop {
            for (index, member) in self.members.iter().enumerate() {
                if member.running.is_some() && member.is_primary().await {
                    return index;
                }
            }
            assert!(began.elapsed() < PATIENCE, "nobody is elected");
            tokio::time::sleep(TICK).await;
        }
    }

    /// Waits for one primary with two secondaries, all of which reach each other.
    pub(crate) async fn until_well(&self) {
        let began = Instant::now();
        loop {
            let primary = self.primary().await;
            let status = self.members[primary].admin(doc! { "replSetGetStatus": 1 }).await;
            let states: Vec<_> =
                status.iter().flat_map(|status| status.get_array("members").unwrap()).collect();
            let in_state = |wanted: i32| {
                let is = |member: &&&Bson| {
                    member.as_document().unwrap().get_i32("state").is_ok_and(|state| state == wanted)
                };
                states.iter().filter(is).count()
            };
            if (in_state(1), in_state(2)) == (1, MEMBERS - 1) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the set doesn't get well: {states:?}");
            tokio::time::sleep(TICK).await;
        }
    }

    /// Has the primary step down, and waits until somebody else is.
    pub(crate) async fn step_down(&self) {
        let began = Instant::now();
        let before = self.primary().await;
        while self.primary().await == before {
            // It refuses while no secondary has caught up.
            let command = doc! { "replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 2 };
            let _ = self.members[before].admin(command).await;
            assert!(began.elapsed() < PATIENCE, "the primary doesn't step down");
        }
    }

    /// Kills the primary with SIGKILL; returns which member that was.
    pub(crate) async fn kill_primary(&mut self) -> usize {
        let primary = self.primary().await;
        self.members[primary].kill();
        primary
    }

    /// Starts a member that was killed, with the data that it had.
    pub(crate) fn restart(&mut self, member: usize) {
        self.members[member].start();
    }

    /// Runs a command on each member that wasn't killed.
    pub(crate) async fn on_running(&self, command: &Document) {
        for member in self.members.iter().filter(|member| member.running.is_some()) {
            member.admin(command.clone()).await.unwrap();
        }
    }

    /// Runs a command on each member but the primary.
    pub(crate) async fn on_secondaries(&self, command: &Document) {
        let primary = self.primary().await;
        for (index, member) in self.members.iter().enumerate() {
            if index != primary && member.running.is_some() {
                member.admin(command.clone()).await.unwrap();
            }
        }
    }

    /// Is each of them still running?
    pub(crate) fn all_run(&mut self) -> bool {
        self.members.iter_mut().all(|member| member.running.is_some() && !member.has_ended())
    }

    /// Clients of each member, each of which talks to that one alone.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.members.iter().map(|member| &member.client)
    }

    /// A client that talks to this member alone.
    pub(crate) fn client_of(&self, member: usize) -> &Client {
        &self.members[member].client
    }
}

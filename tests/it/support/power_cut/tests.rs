//! The layer's own: it loses what isn't synced, keeps what is, and knows the rest by name.

use super::{PowerCut, Taken};
use crate::support::compiled::Compiled;
use nix::sys::signal::Signal;
use rand::{SeedableRng as _, rngs::StdRng};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

static STEPS: Compiled = Compiled::program("power_cut_steps", "the power cuts");

struct Disk {
    _folder: tempfile::TempDir,
    power: PowerCut,
}

impl Disk {
    /// With these files, all of them on the disk.
    fn with(files: &[(&str, &str)]) -> Option<Self> {
        STEPS.path()?;
        let folder = tempfile::tempdir().unwrap();
        let power = PowerCut::new(folder.path())?;
        for (name, content) in files {
            fs::write(power.root().join(name), content).unwrap();
        }
        Some(Self { _folder: folder, power })
    }

    fn run(&self, steps: &[&str]) -> Output {
        let mut command = Command::new(STEPS.path().unwrap());
        command.args(steps).current_dir(self.power.root()).env_clear().envs(self.power.environment());
        command.output().unwrap()
    }

    /// Takes these steps, then dies.
    fn after(self, steps: &[&str]) -> Self {
        let output = self.run(steps);
        assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32), "{steps:?}: {output:?}");
        self
    }

    fn cut(&self, survival: f64, seed: u64) -> Taken {
        self.power.cut(survival, &mut StdRng::seed_from_u64(seed))
    }

    fn holds(&self) -> BTreeMap<String, String> {
        fn collect(folder: &Path, below: &str, found: &mut BTreeMap<String, String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{below}{}", entry.file_name().to_str().unwrap());
                if entry.path().is_dir() {
                    found.insert(format!("{name}/"), String::new());
                    collect(&entry.path(), &format!("{name}/"), found);
                } else {
                    found.insert(name, fs::read_to_string(entry.path()).unwrap());
                }
            }
        }
        let mut found = BTreeMap::new();
        collect(self.power.root(), "", &mut found);
        found
    }
}

fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

/// After these steps a cut that takes all it may leaves this, and one that takes nothing leaves that.
fn leaves(before: &[(&str, &str)], steps: &[&str], at_least: &[(&str, &str)], at_most: &[(&str, &str)]) {
    for (survival, expected) in [(0.0, at_least), (1.0, at_most)] {
        let Some(disk) = Disk::with(before) else { return };
        let disk = disk.after(steps);
        assert_eq!(disk.holds(), files(at_most), "{steps:?}: as it was left");
        disk.cut(survival, 1);
        assert_eq!(disk.holds(), files(expected), "{steps:?}, {survival}");
    }
}

#[test]
fn what_is_written_is_lost_until_its_file_is_synced() {
    let before = [("f", "0123456789")];
    leaves(&before, &["write", "f", "2", "ab"], &before, &[("f", "01ab456789")]);
    leaves(&before, &["append", "f", "abc"], &before, &[("f", "0123456789abc")]);
    leaves(&before, &["write", "f", "12", "ab"], &before, &[("f", "0123456789\0\0ab")]);
    leaves(&before, &["size", "f", "3"], &before, &[("f", "012")]);
    leaves(&before, &["size", "f", "12"], &before, &[("f", "0123456789\0\0")]);
    leaves(&before, &["create", "f", "append", "f", "ab"], &before, &[("f", "ab")]);
    let twice = ["write", "f", "0", "ab", "size", "f", "1", "append", "f", "xyz"];
    leaves(&before, &twice, &before, &[("f", "axyz")]);
    let synced = ["write", "f", "2", "ab", "sync", "f"];
    leaves(&before, &synced, &[("f", "01ab456789")], &[("f", "01ab456789")]);
    let between = [&synced[..], &["append", "f", "c", "write", "f", "0", "x"]].concat();
    leaves(&before, &between, &[("f", "01ab456789")], &[("f", "x1ab456789c")]);
}

#[test]
fn a_sync_is_of_one_file_alone() {
    let before = [("f", "1"), ("g", "1")];
    let steps = ["write", "f", "0", "2", "write", "g", "0", "2", "sync", "g", "sync", "."];
    leaves(&before, &steps, &[("f", "1"), ("g", "2")], &[("f", "2"), ("g", "2")]);
}

#[test]
fn a_name_is_lost_until_its_folder_is_synced() {
    let made = ["create", "f", "append", "f", "1", "sync", "f"];
    leaves(&[], &made, &[], &[("f", "1")]);
    leaves(&[], &[&made[..], &["sync", "."]].concat(), &[("f", "1")], &[("f", "1")]);
    let before = [("f", "1"), ("g", "2")];
    leaves(&before, &["unlink", "f"], &before, &[("g", "2")]);
    leaves(&before, &["unlink", "f", "sync", "."], &[("g", "2")], &[("g", "2")]);
    leaves(&before, &["rename", "f", "g"], &before, &[("g", "1")]);
    leaves(&before, &["rename", "f", "h"], &before, &[("g", "2"), ("h", "1")]);
    leaves(&before, &["rename", "f", "g", "sync", "."], &[("g", "1")], &[("g", "1")]);
    let again = ["unlink", "f", "create", "f", "append", "f", "3", "rename", "f", "g"];
    leaves(&before, &again, &before, &[("g", "3")]);
    // What a removed file held is as little synced as that of any other.
    leaves(&before, &["append", "f", "x", "unlink", "f"], &before, &[("g", "2")]);
}

#[test]
fn a_folder_is_lost_with_all_that_is_in_it_until_the_one_above_is_synced() {
    let made = ["mkdir", "d", "create", "d/f", "append", "d/f", "1", "sync", "d/f", "sync", "d"];
    leaves(&[], &made, &[], &[("d/", ""), ("d/f", "1")]);
    let synced = [&made[..], &["sync", "."]].concat();
    leaves(&[], &synced, &[("d/", ""), ("d/f", "1")], &[("d/", ""), ("d/f", "1")]);
    let its_own = ["mkdir", "d", "sync", ".", "create", "d/f", "sync", "d/f"];
    leaves(&[], &its_own, &[("d/", "")], &[("d/", ""), ("d/f", "")]);
}

#[test]
fn of_what_is_not_synced_any_sectors_survive_and_the_same_seed_leaves_the_same() {
    let old = "o".repeat(4096);
    let steps = ["write", "f", "0", &"n".repeat(4096), "write", "f", "0", &"m".repeat(4096)];
    let mut seen = Vec::new();
    for seed in [1, 2, 1] {
        let Some(disk) = Disk::with(&[("f", &old)]) else { return };
        let disk = disk.after(&steps);
        let taken = disk.cut(0.5, seed);
        let content = disk.holds().remove("f").unwrap();
        let sectors: Vec<_> = content.as_bytes().chunks(512).map(|sector| sector[0]).collect();
        for (sector, bytes) in sectors.iter().zip(content.as_bytes().chunks(512)) {
            assert!(bytes.iter().all(|byte| byte == sector), "seed {seed}: a sector is written as a whole");
        }
        let undone = sectors.iter().filter(|sector| **sector != b'm').count() as u64;
        assert_eq!(taken, Taken { unsynced: 2, sectors: undone, names: 0 });
        seen.push(sectors);
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    for version in *b"onm" {
        assert!(seen.concat().contains(&version), "{seen:?}");
    }
}

#[test]
fn a_process_that_ended_by_itself_has_synced_nothing_by_that() {
    let Some(disk) = Disk::with(&[("f", "1")]) else { return };
    assert!(disk.run(&["write", "f", "0", "2", "end"]).status.success());
    disk.cut(0.0, 1);
    assert_eq!(disk.holds(), files(&[("f", "1")]));
    // The next process finds it on the disk.
    let disk = disk.after(&["append", "f", "3"]);
    disk.cut(0.0, 1);
    assert_eq!(disk.holds(), files(&[("f", "1")]));
}

#[test]
fn a_deaf_disk_says_that_it_has_synced_and_has_not() {
    let steps = [
        "write", "f", "0", "2", "sync", "f", "write", "g", "0", "2", "sync", "g", "create", "h", "sync", ".",
    ];
    for (deaf, expected) in
        [("f", [("f", "1"), ("g", "2"), ("h", "")].as_slice()), ("/", &[("f", "2"), ("g", "2")])]
    {
        let Some(mut disk) = Disk::with(&[("f", "1"), ("g", "1")]) else { return };
        disk.power = disk.power.deaf_to(deaf);
        let disk = disk.after(&steps);
        disk.cut(0.0, 1);
        assert_eq!(disk.holds(), files(expected), "{deaf}");
    }
}

#[test]
fn what_can_not_be_put_back_stops_the_program() {
    let Some(disk) = Disk::with(&[("f", "1")]) else { return };
    let output = disk.run(&["map", "f"]);
    assert_eq!(output.status.signal(), Some(Signal::SIGABRT as i32), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("a shared mapping"), "{output:?}");
}

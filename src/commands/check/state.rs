//! The state directory and the journal in it, looked at and left as they are.

use super::finding::Check;
use crate::clock::Timestamp;
use crate::commands::{journal, shown};
use crate::journal::{EntryState, Journal, JournalError, KeptPairs, check_free_space};
use nix::unistd::{AccessFlags, access};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Can the journal be made and kept here, and what does it hold?
pub(super) async fn checks(directory: &Path, floor_bytes: u64, now: Timestamp) -> Vec<Check> {
    let mut checks = match check_directory(directory, floor_bytes) {
        Ok(checks) => checks,
        Err(error) => return vec![Check::error("state directory", error)],
    };
    match journal::list(directory.to_owned(), now).await {
        Ok(list) => {
            checks.push(check_journal(&list));
            checks.extend(check_kept(&list.kept));
        }
        Err(error) => checks.push(Check::error("journal", error)),
    }
    checks
}

fn check_directory(directory: &Path, floor_bytes: u64) -> Result<Vec<Check>, JournalError> {
    let name = "state directory";
    let shown = directory.display();
    // What will be made needs its place only.
    Journal::may_be_in(directory)?;
    let place = directory.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
    let refused =
        |action, source| JournalError::Directory { directory: directory.to_owned(), action, source };
    let action = if place == directory { "write to it" } else { "create it" };
    let metadata = place.metadata().map_err(|source| refused("look at it", source))?;
    if !metadata.is_dir() {
        return Err(refused(action, io::Error::from(io::ErrorKind::NotADirectory)));
    }
    access(place, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|errno| refused(action, io::Error::from(errno)))?;
    check_free_space(place, floor_bytes)?;
    let mut checks = vec![if place == directory {
        Check::ok(name, format!("{shown}, writable, more than {} MiB free", floor_bytes >> 20))
    } else {
        Check::ok(name, format!("{shown} isn't there yet; the first start makes it"))
    }];
    if place == directory && metadata.permissions().mode() & 0o077 != 0 {
        checks.push(
            Check::warning(
                name,
                format!("other users of this machine can read {shown}, which holds pairs until they are written back"),
            )
            .hint(format!("chmod 700 {shown}")),
        );
    }
    Ok(checks)
}

fn check_journal(list: &journal::JournalList) -> Check {
    let held = list.held_by.as_ref().map_or_else(String::new, |holder| format!("in use by {holder}; "));
    let open = list.entries.len() as u64;
    if !list.damaged.is_empty() {
        let text = format!(
            "{held}{} and {} that can't be read",
            shown::entries(open),
            shown::entries(list.damaged.len() as u64)
        );
        return Check::warning("journal", text)
            .hint("they do not disturb the other entries; `evergrant journal list` names them");
    }
    if open == 0 {
        return Check::ok("journal", format!("{held}nothing is on its way"));
    }
    let states = journal::by_state(list.entries.iter().map(|entry| entry.state));
    let words: Vec<_> = states.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
    let text = format!("{held}{} ({})", shown::entries(open), words.join(", "));
    let left_behind = states.keys().any(|state| state.is_open());
    let is_parked = [EntryState::Orphan, EntryState::SetAside].iter().any(|state| states.contains_key(state));
    if list.held_by.is_none() && left_behind {
        let hint = "the next start settles what an earlier process left, before anything else; \
                    `evergrant journal list` shows it";
        Check::warning("journal", text).hint(hint)
    } else if is_parked {
        Check::warning("journal", text).hint("`evergrant journal list --orphans` says what to do with them")
    } else {
        Check::ok("journal", text)
    }
}

/// Pairs that stay after they were written are worth as much as those in the collection.
fn check_kept(kept: &KeptPairs) -> Option<Check> {
    let KeptPairs { pairs, in_the_clear, bytes, since } = kept;
    if *pairs == 0 {
        return None;
    }
    let since =
        since.map_or_else(String::new, |since| format!(", the oldest of {}", shown::instant(Some(since))));
    let text = format!(
        "{pairs} received pairs, should their documents lose them ({} KiB{since})",
        bytes.div_ceil(1024)
    );
    Some(if *in_the_clear == 0 {
        Check::ok("kept pairs", text)
    } else {
        Check::warning("kept pairs", format!("{text}; {in_the_clear} of them are not encrypted"))
            .hint("set `journal_key` (`openssl rand -hex 32` makes one); or keep none: `keep_pairs = \"0\"`")
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;
    use crate::clock::Clock;
    use crate::exit::Exit;
    use std::fs::Permissions;

    async fn look(directory: &Path) -> Vec<Check> {
        checks(directory, crate::room::FREE_SPACE_FLOOR_BYTES, Clock::system().now()).await
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_not_made() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("a/b");
        let found = look(&directory).await;
        assert!(found.iter().all(|check| check.status == Status::Ok), "{found:?}");
        assert!(found[0].detail.ends_with("isn't there yet; the first start makes it"), "{found:?}");
        assert!(!home.path().join("a").exists());
    }

    #[tokio::test]
    async fn a_file_in_the_place_of_the_directory_fails() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("file");
        std::fs::write(&directory, "").unwrap();
        for directory in [directory.clone(), directory.join("below")] {
            let found = look(&directory).await;
            assert_eq!((found.len(), found[0].status), (1, Status::Failed), "{found:?}");
            assert!(found[0].hint.as_deref().unwrap().contains("EVERGRANT_STATE_DIR"));
        }
    }

    #[tokio::test]
    async fn a_held_journal_is_named_and_is_no_failure() {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), Permissions::from_mode(0o750)).unwrap();
        let journal = Journal::open(home.path(), &Clock::system()).unwrap();
        let found = look(home.path()).await;
        let statuses: Vec<_> = found.iter().map(|check| check.status).collect();
        assert_eq!(statuses, [Status::Ok, Status::Warning, Status::Ok], "{found:?}");
        assert!(found[1].hint.as_deref().unwrap().starts_with("chmod 700 "), "{found:?}");
        assert!(found[2].detail.starts_with("in use by process "), "{found:?}");
        journal.close().await;
        let free = look(home.path()).await;
        assert_eq!(free[2].detail, "nothing is on its way");
        assert_eq!(Check::error("j", JournalError::Stopped).exit(), Exit::JournalFailed);
    }
}

//! The id inside the file, and the place at which it was last opened.
//!
//! A file that was moved keeps its id; a copy gets one of its own when it is opened, because the file that it was copied
//! from is still at its place. So a journal finds its store again, and takes no copy for it.

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Versions that don't know the table leave it alone.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS store (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT";

/// The absolute path, links followed.
pub(super) fn of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().unwrap_or(path)
}

/// The file's id.
pub(super) fn id(connection: &Connection) -> rusqlite::Result<String> {
    let id = "SELECT value FROM store WHERE key = 'id'";
    connection.query_row(id, [], |row| row.get(0))
}

/// Gives the file an id where it has none, or where it is a copy, and notes where it is.
pub(super) fn note(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let here = of(path);
    connection.execute_batch(TABLE)?;
    let value = |key: &str| {
        let sql = "SELECT value FROM store WHERE key = ?1";
        connection.query_row(sql, [key], |row| row.get::<_, String>(0)).optional()
    };
    let set = |key: &str, value: &str| {
        let sql = "INSERT OR REPLACE INTO store (key, value) VALUES (?1, ?2)";
        connection.execute(sql, params![key, value]).map(drop)
    };
    let (id, place) = (value("id")?, value("place")?);
    let is_copy = match (&id, &place) {
        (Some(id), Some(place)) => is_still_there(Path::new(place), id, &here),
        (Some(_) | None, _) => false,
    };
    if id.is_none() || is_copy {
        set("id", &format!("{:032x}", rand::random::<u128>()))?;
    }
    let here = here.to_string_lossy();
    if place.as_deref() != Some(&*here) {
        set("place", &here)?;
    }
    Ok(())
}

/// Is the file with this id at its place, beside the one that is `here`?
fn is_still_there(place: &Path, known: &str, here: &Path) -> bool {
    let inode = |path: &Path| path.metadata().ok().map(|data| (data.dev(), data.ino()));
    if place == here || inode(place).is_none() || inode(place) == inode(here) {
        return false;
    }
    let read = || id(&Connection::open_with_flags(place, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
    read().is_ok_and(|id| id == known)
}

#[cfg(test)]
mod tests {
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Relation, Store as _, mapping::Mapping};
    use std::path::Path;

    async fn identity(path: &Path) -> crate::store::Identity {
        SqliteStore::open(path, Mapping::default()).await.unwrap().identity().await.unwrap()
    }

    #[tokio::test]
    async fn a_moved_file_is_the_same_store_and_a_copy_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let [first, moved, copy] = ["a/t.db", "b/t.db", "copy.db"].map(|name| folder.path().join(name));
        let before = identity(&first).await;
        assert_eq!(identity(&first).await, before);
        std::fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        let after = identity(&moved).await;
        assert_ne!(after.name, before.name);
        assert_eq!(after.relation_to(&before), Relation::Same);
        std::fs::copy(&moved, &copy).unwrap();
        assert_eq!(identity(&copy).await.relation_to(&after), Relation::Other);
        assert_eq!(identity(&moved).await, after);
        std::fs::remove_file(&moved).unwrap();
        assert_eq!(identity(&moved).await.relation_to(&after), Relation::Replaced);
    }
}

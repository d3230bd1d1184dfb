//! The journal's target: a file of any bytes, or rows of any values.

use super::{now, read_answer, shape, split};
use evergrant::testing::clock::Clock;
use evergrant::testing::journal::{Event, Intent, Journal, Permission};
use evergrant::testing::store::Identity;
use evergrant::testing::token::{RefreshToken, Subject, TokenId};
use std::path::Path;
use std::sync::LazyLock;

/// Looks at a journal, opens it, and works with it: no row is lost, and none forges a line.
pub(super) fn look(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let (directory, file) = (folder.path(), folder.path().join("journal.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let rows = if data.starts_with(b"SQLite format 3\0") {
        std::fs::write(&file, data).expect("the file");
        0
    } else {
        std::fs::write(&file, &TEMPLATE.0).expect("the file");
        put_rows(&file, &TEMPLATE.1, data)
    };
    if let Ok(listed) = Journal::look(directory) {
        assert!(listed.entries.len() + listed.damaged.len() >= rows, "every row is read, or named");
        for entry in &listed.entries {
            assert!(!format!("{entry:?}").contains('\u{1b}'), "a row forges no terminal line");
            if let Some(answer) = &entry.answer {
                let _ = read_answer(answer.get(), &shape("generic"), now());
            }
        }
    }
    let Ok(journal) = open(directory) else { return };
    runtime.block_on(async {
        if let Ok(listed) = Journal::look(directory) {
            let found = listed.entries.len() + listed.damaged.len();
            assert!(found >= rows, "no row goes because a process starts");
        }
        let _ = journal.entries().await;
        let _ = journal.remembered(evergrant::testing::journal::Moment::LastWake("generic".into())).await;
        let _ = journal.begin_pass("lease", &Identity::named("store"), "generic".into(), now()).await;
        let token = RefreshToken::new("a".into());
        let fingerprint = token.fingerprint();
        let _ = journal.successor(fingerprint).await;
        let intent = Intent {
            provider: "generic".into(),
            document: TokenId::from_extended_json("1"),
            subject: Subject::new("a@example.com"),
            fingerprint,
            sent_at: now(),
            access: None,
            is_refreshed_elsewhere: false,
        };
        if let Ok(Permission::Send { entry, .. }) = journal.intent(intent, token).await {
            let _ =
                journal.end(vec![(entry, Event::Lost { cause: "timeout".into(), peer: None })], now()).await;
        }
        journal.close().await;
    });
}

fn open(directory: &Path) -> Result<Journal, evergrant::testing::journal::JournalError> {
    Journal::open(directory, &Clock::system())
}

/// An empty journal whose table takes any type, and the names of its columns.
static TEMPLATE: LazyLock<(Vec<u8>, Vec<String>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("journal.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(open(folder.path()).expect("a new journal").close());
    let connection = rusqlite::Connection::open(&file).expect("it opens");
    let columns = connection
        .prepare("SELECT name FROM pragma_table_info('entries')")
        .and_then(|mut found| found.query_map([], |row| row.get(0))?.collect())
        .expect("the columns");
    let table: String = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'entries'", [], |row| row.get(0))
        .expect("the table");
    let any_type = table.replace(") STRICT", ")");
    connection.execute_batch(&format!("DROP TABLE entries; {any_type};")).expect("a table without types");
    connection.close().expect("it closes");
    (std::fs::read(&file).expect("the file"), columns)
});

/// Puts rows into the journal's table; how many got in.
fn put_rows(file: &Path, columns: &[String], data: &[u8]) -> usize {
    use rusqlite::types::Value;
    let connection = rusqlite::Connection::open(file).expect("it opens");
    connection.execute_batch("PRAGMA synchronous = OFF").expect("it may be lost");
    let value = |line: &[u8]| match line.split_first() {
        Some((b'i', number)) => std::str::from_utf8(number)
            .ok()
            .and_then(|text| text.parse().ok())
            .map_or(Value::Null, Value::Integer),
        Some((b'r', number)) => std::str::from_utf8(number)
            .ok()
            .and_then(|text| text.parse().ok())
            .map_or(Value::Null, Value::Real),
        Some((b't', text)) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        Some((b'b', bytes)) => Value::Blob(bytes.to_vec()),
        _ => Value::Null,
    };
    let mut rows = 0;
    for row in split(data, b"\n\n").take(16) {
        let mut values: Vec<Value> = row.split(|byte| *byte == b'\n').map(value).collect();
        values.resize(columns.len(), Value::Null);
        let places: Vec<_> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
        let sql = format!("INSERT INTO entries ({}) VALUES ({})", columns.join(", "), places.join(", "));
        rows += connection.execute(&sql, rusqlite::params_from_iter(values)).unwrap_or(0);
    }
    rows
}

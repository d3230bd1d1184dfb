//! The house's rules that the compiler doesn't know.

use std::path::{Path, PathBuf};

/// Which files may name which library; everybody else goes through them.
const OWNERS: [(&str, &[&str]); 6] = [
    ("mongodb::", &["src/store/mongo"]),
    ("reqwest::", &["src/grant/http.rs"]),
    ("rusqlite::", &["src/journal/sqlite", "src/store/sqlite"]),
    ("axum::", &["src/sandbox"]),
    ("governor::", &["src/gate/pace.rs"]),
    ("tokio_cron_scheduler::", &["src/daemon.rs"]),
];

/// A file that grows beyond this has two jobs.
const LONGEST_FILE_LINES: usize = 500;

/// Every source file below a folder of the project, with its text.
fn sources(below: &str) -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join(below), &mut found);
    assert!(found.len() > 30, "the sources are where they were");
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn each_library_is_named_only_where_it_is_owned() {
    let sources = sources("src");
    for (library, owners) in OWNERS {
        let crate_name = library.trim_end_matches("::");
        let names = |text: &str| {
            text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains(library) || code.trim_start().starts_with(&format!("use {crate_name}"))
            })
        };
        let users: Vec<_> =
            sources.iter().filter(|(_, text)| names(text)).map(|(name, _)| name.as_str()).collect();
        assert!(!users.is_empty(), "nobody uses {library}: is this rule still about something?");
        for user in users {
            assert!(owners.iter().any(|owner| user.starts_with(owner)), "{user} names {library}");
        }
    }
}

#[test]
fn the_sandbox_shares_no_code_with_the_client_that_it_judges() {
    for (name, text) in sources("src").iter().filter(|(name, _)| name.starts_with("src/sandbox")) {
        for module in ["grant", "provider", "token", "journal", "store", "pass"] {
            assert!(!text.contains(&format!("crate::{module}")), "{name} uses crate::{module}");
        }
    }
}

#[test]
fn no_file_has_grown_two_jobs() {
    for (name, text) in sources("src").into_iter().chain(sources("tests/it")) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE_LINES, "{name} has {lines} lines: split it by step");
    }
}

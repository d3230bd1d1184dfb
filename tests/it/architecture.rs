//! The house's rules that the compiler doesn't know.

use std::path::{Path, PathBuf};

/// Which files may name which library; all others go through them.
const OWNERS: [(&str, &[&str]); 6] = [
    ("mongodb::", &["src/store/mongo"]),
    ("reqwest::", &["src/grant/http.rs", "src/watch/outbound.rs"]),
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
        assert!(!users.is_empty(), "no file uses {library}: is this rule still about something?");
        for user in users {
            assert!(owners.iter().any(|owner| user.starts_with(owner)), "{user} names {library}");
        }
    }
}

/// The rooms of the house from the ground up: each names only rooms that stand before it, so there is no circle.
///
/// With it hold the rules that matter most: the journal knows neither gate nor pass, the judge knows no pass, a store knows no
/// grant, and tokens know nothing of those who handle them.
const FLOORS: [&str; 35] = [
    "clock",
    "exit",
    "failure",
    "nearest",
    "duration",
    "survey",
    "chance",
    "kill_point",
    "room",
    "silence",
    "schedule",
    "token",
    "provider",
    "sandbox",
    "store",
    "grant",
    "journal",
    "gate",
    "report",
    "watch",
    "select",
    "verdict",
    "pass",
    "engine",
    "daemon",
    "config",
    "assembly",
    "library",
    "help",
    "cli",
    "telemetry",
    "commands",
    "testing",
    "lib",
    "main",
];

/// The rooms that a file names in its code, tests left out.
fn rooms_named(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines()
        .flat_map(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.split("crate::").skip(1).map(|rest| {
                rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect::<String>()
            })
        })
        .filter(|room| !room.is_empty())
        .collect()
}

#[test]
fn each_room_stands_on_those_below_it() {
    let floor = |room: &str| FLOORS.iter().position(|known| *known == room);
    for (name, text) in sources("src") {
        let path = name.trim_start_matches("src/").trim_end_matches(".rs");
        let room = path.split('/').next().unwrap_or_default();
        let is_test = path.split('/').any(|part| part == "tests");
        let here = floor(room).unwrap_or_else(|| panic!("{name}: on which floor is the room `{room}`?"));
        for named in rooms_named(&text).into_iter().filter(|named| named != room && !is_test) {
            // Macros, and words in macros, aren't rooms.
            let Some(there) = floor(&named) else { continue };
            assert!(there < here, "{name} names `{named}`, which stands above `{room}`");
        }
    }
}

#[test]
fn the_sandbox_shares_no_code_with_the_client_that_it_judges() {
    // What stands in a profile, as data: no code that writes a request or reads an answer.
    let data =
        ["{", "example::", "lifetime::{", "place::", "request::", "variable::{", "Profile;", "profile;"];
    for (name, text) in sources("src").iter().filter(|(name, _)| name.starts_with("src/sandbox")) {
        for module in ["grant", "token", "journal", "store", "pass"] {
            assert!(!text.contains(&format!("crate::{module}")), "{name} uses crate::{module}");
        }
        let code = if name.ends_with("/tests.rs") { "" } else { text };
        for named in code.split("crate::provider::").skip(1) {
            let is_data = data.iter().any(|known| named.starts_with(known));
            assert!(
                is_data && name.starts_with("src/sandbox/profile"),
                "{name} uses crate::provider::{named:.20}"
            );
        }
        for call in [".takes(", ".takes_access(", ".url_for(", ".believed(", "are_all_in_the_head"] {
            assert!(!text.contains(call), "{name} calls {call}");
        }
    }
}

/// Hints are data: an error's `Display` states a fact, [`evergrant::testing::failure::Advice`] says what to do.
#[test]
fn no_error_has_a_hint_in_its_text_and_none_is_cut_out_of_one() {
    for (name, text) in sources("src").into_iter().filter(|(name, _)| !name.contains("tests")) {
        for message in text.split("#[error(").skip(1) {
            let message = message.split(")]").next().unwrap_or_default();
            assert!(!message.contains("hint: "), "{name}: #[error({message})]");
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        // Fact and hint are put together in one place.
        assert!(!code.contains("\\nhint") || name == "src/failure.rs", "{name} puts a hint into its text");
        for cut in ["split_once(\"\\nhint", "find(\"\\nhint", "contains(\"\\nhint", "contains(\"hint"] {
            assert!(!code.contains(cut), "{name}: {cut}");
        }
    }
}

/// A log line of a pass says which pass it is of, also from another task.
#[test]
fn each_task_of_a_pass_stays_in_its_span() {
    let rooms = ["src/pass", "src/select", "src/store", "src/gate", "src/grant"];
    let mut tasks = 0;
    let is_of_a_pass =
        |name: &str| rooms.iter().any(|room| name.starts_with(room)) && !name.ends_with("tests.rs");
    for (name, text) in sources("src").into_iter().filter(|(name, _)| is_of_a_pass(name)) {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for spawned in code.split("spawn(").skip(1) {
            let statement = spawned.split(";\n").next().unwrap_or_default();
            let is_in_a_span =
                [".in_current_span()", ".instrument("].iter().any(|span| statement.contains(span));
            assert!(is_in_a_span, "{name}: spawn({statement}");
            tasks += 1;
        }
    }
    assert!(tasks > 5, "tasks are spawned as they were: {tasks}");
}

#[test]
fn no_file_has_grown_two_jobs() {
    for (name, text) in sources("src").into_iter().chain(sources("tests/it")) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE_LINES, "{name} has {lines} lines: split it by step");
    }
}

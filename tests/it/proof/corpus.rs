//! The fuzz targets over the corpus that is kept: what was found once is looked at by every `cargo test`.

#[path = "../../fuzz/fuzz_targets/targets.rs"]
mod targets;

use std::path::Path;

fn replay(target: &str, run: fn(&[u8]), at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let ran = std::panic::catch_unwind(|| run(&data));
        assert!(ran.is_ok(), "{} breaks a promise", path.display());
        inputs += 1;
    }
    assert!(inputs >= at_least, "{target} has {inputs} inputs");
}

#[test]
fn every_kept_answer_is_read() {
    replay("answer", targets::answer, 20);
}

#[test]
fn every_kept_retry_after_is_read() {
    replay("retry_after", targets::retry_after, 9);
}

#[test]
fn every_kept_setting_is_read() {
    replay("settings", targets::settings, 7);
}

#[test]
fn every_kept_journal_is_read() {
    replay("journal", targets::journal, 8);
}

#[test]
fn every_kept_import_is_read() {
    replay("import", targets::import, 10);
}

#[test]
fn every_kept_profile_is_read_and_no_rule_unmakes_a_pair() {
    replay("own_profile", targets::own_profile, 5);
}

#[test]
fn every_kept_cookie_is_read() {
    replay("cookies", targets::cookies, 5);
}

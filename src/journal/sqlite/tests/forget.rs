//! How redeemed tokens are forgotten: bounded steps while a process runs, and nothing of it at the start.

use super::super::forget::{FORGET_OLD, WHERE_LIFE_IS_UNKNOWN};
use super::super::open::SCHEMA;
use super::*;
use std::time::{Duration, Instant};

/// A journal over a clock that a test moves, and what is asked of it.
struct Memory {
    directory: tempfile::TempDir,
    clock: Clock,
    journal: Journal,
}

impl Memory {
    fn new() -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::steppable());
        let journal = Journal::open(directory.path(), &clock).unwrap();
        Self { directory, clock, journal }
    }

    /// Another process.
    async fn restarted(self) -> Self {
        let Self { directory, clock, journal } = self;
        journal.close().await;
        let journal = Journal::open(directory.path(), &clock).unwrap();
        Self { directory, clock, journal }
    }

    /// Redeems a token whose successor lives so long.
    async fn redeem(&self, token: &str, life: Option<TimeDelta>) {
        let now = self.clock.now();
        let intent = Intent { sent_at: now, ..intent(token) };
        let asked = self.journal.intent(intent, RefreshToken::new(token.into())).await.unwrap();
        let Permission::Send { entry, .. } = asked else { panic!("{asked:?}") };
        let life = life.map(|life| life.to_std().unwrap());
        let event = Event::Redeemed { successor: fingerprint("next"), life };
        self.journal.end(vec![(entry, event)], now).await.unwrap();
    }

    async fn knows(&self, token: &str) -> bool {
        self.journal.redeemed_at(fingerprint(token)).await.unwrap().is_some()
    }

    fn remembered(&self) -> i64 {
        let raw = Connection::open(self.directory.path().join("journal.db")).unwrap();
        raw.query_row("SELECT count(*) FROM redeemed", [], |row| row.get(0)).unwrap()
    }
}

const SHORT: Option<TimeDelta> = Some(TimeDelta::hours(1));

#[tokio::test]
async fn a_token_is_remembered_for_two_lives_or_for_400_days_where_its_life_is_unknown() {
    let memory = Memory::new();
    memory.redeem("14 days", Some(TimeDelta::days(14))).await;
    memory.redeem("an hour", SHORT).await;
    memory.redeem("unknown", None).await;
    let mut last_known = [0; 3];
    for day in 1..=403 {
        memory.clock.step(TimeDelta::days(1));
        // Each token that is redeemed makes room for what is over; this one is the same each day.
        memory.redeem(&format!("day {day}"), SHORT).await;
        for (last, token) in last_known.iter_mut().zip(["14 days", "an hour", "unknown"]) {
            if memory.knows(token).await {
                *last = day;
            }
        }
    }
    // A day or two more do no harm: the clock of the memory never runs ahead.
    for (last, least) in last_known.into_iter().zip([28, 7, 400]) {
        assert!((least..=least + 2).contains(&last), "{last_known:?}");
    }
}

#[tokio::test]
async fn at_short_intervals_the_table_stays_as_large_as_what_is_remembered() {
    let memory = Memory::new();
    let (mut largest, per_day) = (0, 48);
    for pass in 0..per_day * 30 {
        memory.clock.step(TimeDelta::minutes(30));
        memory.redeem(&pass.to_string(), SHORT).await;
        if pass % per_day == 0 {
            largest = largest.max(memory.remembered());
        }
    }
    assert!((per_day * 7..per_day * 8).contains(&largest), "{largest} after 30 days, in a memory of 7");
}

#[tokio::test]
async fn a_step_forgets_no_more_than_its_bound_and_the_oldest_first() {
    let memory = Memory::new();
    for token in 0..20 {
        memory.redeem(&token.to_string(), SHORT).await;
        memory.clock.step(TimeDelta::minutes(2));
    }
    for day in 0..8 {
        memory.clock.step(TimeDelta::days(1));
        memory.journal.end(vec![], memory.clock.now()).await.unwrap();
        assert_eq!(memory.remembered(), 20, "nothing ended on day {day}, so nothing is forgotten");
    }
    memory.redeem("within the minute", SHORT).await;
    assert_eq!(memory.remembered(), 20 + 1, "it is forgotten together with others");
    memory.clock.step(TimeDelta::minutes(2));
    memory.redeem("later", SHORT).await;
    assert_eq!(memory.remembered(), 20 + 2 - 4);
    assert!(!memory.knows("0").await && !memory.knows("3").await && memory.knows("4").await);
}

#[tokio::test]
async fn a_clock_that_is_years_ahead_forgets_no_redeemed_token() {
    let mut memory = Memory::new();
    memory.redeem("old", SHORT).await;
    // A jump ahead, passes and starts under that clock, and a jump back: three times.
    for _ in 0..3 {
        memory.clock.step(TimeDelta::days(2000));
        for token in ["a", "b", "c"] {
            memory.redeem(token, SHORT).await;
            memory = memory.restarted().await;
            memory.journal.forget(vec![fingerprint(token)]).await.unwrap();
            assert!(memory.knows("old").await, "{token}");
        }
        memory.clock.step(TimeDelta::days(-2000));
        memory.redeem("d", SHORT).await;
        memory.journal.forget(vec![fingerprint("d")]).await.unwrap();
    }
    assert!(memory.knows("old").await);
}

#[tokio::test]
async fn what_an_earlier_version_remembers_stays_for_400_days_and_is_forgotten_then() {
    let memory = Memory::new();
    memory.redeem("old", SHORT).await;
    let Memory { directory, clock, journal } = memory;
    journal.close().await;
    as_before(directory.path());
    let journal = Journal::open(directory.path(), &clock).unwrap();
    let memory = Memory { directory, clock, journal };
    let mut days = 0;
    while memory.knows("old").await {
        memory.clock.step(TimeDelta::days(1));
        memory.redeem(&format!("day {days}"), SHORT).await;
        days += 1;
        assert!(days < 410, "it is never forgotten");
    }
    assert!(days >= 400, "forgotten after {days} days");
    let raw = Connection::open(memory.directory.path().join("journal.db")).unwrap();
    let before: i64 =
        raw.query_row("SELECT count(*) FROM meta WHERE key = 'forgets_by'", [], |row| row.get(0)).unwrap();
    assert_eq!(before, 0);
}

#[tokio::test]
async fn a_person_makes_it_forget_what_has_no_row_and_nothing_else_goes() {
    let memory = Memory::new();
    let journal = &memory.journal;
    for token in ["one", "two"] {
        memory.redeem(token, None).await;
    }
    // A pair without a place, of a token that is spent; and one on its way.
    let parked = sent(journal, "parked").await;
    journal.answer(parked, answer()).await.unwrap();
    journal.end(vec![(parked, Event::NoPlace(ParkedWhy::Gone))], memory.clock.now()).await.unwrap();
    sent(journal, "on its way").await;
    let tokens: Vec<_> = ["one", "never seen", "parked", "on its way", "two"].map(fingerprint).into();
    let spent = journal.spent(tokens.clone()).await.unwrap();
    let known: Vec<_> = spent.iter().map(|spent| (spent.token, spent.row)).collect();
    let [one, two] = ["one", "two"].map(|token| (fingerprint(token), None));
    assert_eq!(known, [one, (fingerprint("parked"), Some(parked)), two]);
    assert_eq!(journal.forget(tokens.clone()).await.unwrap(), 2);
    assert_eq!(journal.forget(tokens).await.unwrap(), 0);
    assert!(!memory.knows("one").await && memory.knows("parked").await);
    assert_eq!(journal.entries().await.unwrap().len(), 2);
    assert!(matches!(
        journal.intent(intent("two"), RefreshToken::new("two".into())).await.unwrap(),
        Permission::Send { .. }
    ));
}

/// Writes this number of redeemed tokens into the file of a journal that no process holds.
fn remember(directory: &Path, tokens: i64) {
    let raw = Connection::open(directory.join("journal.db")).unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO redeemed (fingerprint, document, successor, at)
                SELECT lower(hex(randomblob(16))), '{\"$oid\":\"' || printf('%024x', i) || '\"}',
                  lower(hex(randomblob(16))), ?2 + i FROM n";
    raw.execute(many, rusqlite::params![tokens, Clock::system().now().timestamp_millis()]).unwrap();
}

/// The shortest of some openings.
async fn opens_in(directory: &Path) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        let journal = open(directory, JournalSettings::default()).unwrap();
        shortest = shortest.min(began.elapsed());
        journal.close().await;
    }
    shortest
}

/// Makes the table of redeemed tokens that of an earlier version.
fn as_before(directory: &Path) {
    let raw = Connection::open(directory.join("journal.db")).unwrap();
    raw.execute_batch(
        "DROP INDEX forgotten; ALTER TABLE redeemed DROP COLUMN forget_at;
         DELETE FROM meta WHERE key LIKE 'memory_clock%'; INSERT INTO meta VALUES ('forgets_by', 0);",
    )
    .unwrap();
}

/// How long a hundred tokens take, one by one, in a journal whose oldest tokens are forgotten meanwhile.
async fn redeems_in(directory: &Path) -> Duration {
    let clock = Clock::steppable();
    clock.step(TimeDelta::days(1));
    let journal = Journal::open(directory, &clock).unwrap();
    let began = Instant::now();
    for token in 0..100 {
        clock.step(TimeDelta::days(1));
        let entry = sent(&journal, &format!("{token} {}", clock.now())).await;
        let event = Event::Redeemed { successor: fingerprint("next"), life: None };
        journal.end(vec![(entry, event)], clock.now()).await.unwrap();
    }
    let took = began.elapsed();
    journal.close().await;
    took
}

#[tokio::test]
#[ignore = "proof: 1,000,000 redeemed tokens take seconds to write"]
#[expect(clippy::print_stdout, reason = "the figures of a proof")]
async fn a_start_takes_no_longer_after_a_million_redeemed_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, redeems_empty) = (opens_in(directory.path()).await, redeems_in(directory.path()).await);
    remember(directory.path(), 1_000_000);
    let (full, redeems_full) = (opens_in(directory.path()).await, redeems_in(directory.path()).await);
    as_before(directory.path());
    let began = Instant::now();
    open(directory.path(), JournalSettings::default()).unwrap().close().await;
    println!(
        "the journal opens in {empty:?} with no redeemed token and in {full:?} with 1,000,000 (once, after an earlier version: \
         {:?}); a hundred are redeemed in {redeems_empty:?} and in {redeems_full:?}",
        began.elapsed()
    );
    assert!(full < empty * 3 + Duration::from_millis(10), "{empty:?}, {full:?}");
    assert!(redeems_full < redeems_empty * 5, "{redeems_empty:?}, {redeems_full:?}");
}

#[test]
fn the_oldest_tokens_are_found_by_an_index_and_its_number_is_the_one_that_we_say() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    drop(Journal::open(directory.path(), &clock).unwrap());
    let raw = Connection::open(directory.path().join("journal.db")).unwrap();
    let mut plan = raw.prepare(&format!("EXPLAIN QUERY PLAN {FORGET_OLD}")).unwrap();
    let lines = plan.query_map([0, 1], |row| row.get::<_, String>(3)).unwrap();
    let lines: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(lines.iter().any(|line| line.contains("INDEX forgotten")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("SCAN redeemed")), "{lines:?}");
    let number = WHERE_LIFE_IS_UNKNOWN.num_milliseconds().to_string();
    assert!(SCHEMA.contains(&number) && FORGET_OLD.contains(&number), "{number}");
}

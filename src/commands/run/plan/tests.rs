use super::*;
use crate::help::json::assert_documented;
use chrono::TimeDelta;

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::hours(hours)
}

fn plan() -> Plan {
    let asked = |number: &str, due_at| PlannedDocument {
        id: TokenId::from_extended_json(number),
        subject: Subject::new(&format!("user-{number}@example.com")),
        due_at,
    };
    let ways = [
        (Way::Asked, 298),
        (Way::AskedOnceMore, 2),
        (Way::Marked, 7),
        (Way::Malformed, 1),
        (Way::InJournal, 3),
        (Way::Redeemed, 1),
        (Way::Waits, 2),
        (Way::TooLate, 1),
        (Way::BeyondLimit, 40),
    ];
    let crm = PlannedPass {
        provider: Some("crm".into()),
        asked: vec![asked("1", None), asked("2", Some(at(5)))],
        documents: ways.into(),
        takes_seconds: Some(45.2),
        paused_until: Some(at(9)),
    };
    let others = PlannedPass {
        provider: None,
        asked: Vec::new(),
        documents: [(Way::Malformed, 4)].into(),
        takes_seconds: None,
        paused_until: None,
    };
    Plan {
        collection: "logins.tokens at db1:27017".into(),
        at: at(0),
        held_by: Some("process 4711 on db-1".into()),
        claimed: 12,
        passes: vec![crm, others],
    }
}

#[test]
fn a_person_reads_whom_a_pass_would_ask_and_what_becomes_of_the_others() {
    insta::assert_snapshot!(plan().to_string());
}

#[test]
fn help_names_every_field_and_every_way() {
    let plan = plan();
    assert_documented("run --once --dry-run", &plan);
    assert_documented("run --once --dry-run: passes[]", &plan.passes[0]);
    let object = crate::help::json::objects().find(|object| object.place == "run --once --dry-run: passes[]");
    let (_, documented) = object.unwrap().fields.iter().find(|(name, _)| *name == "documents").unwrap();
    for way in plan.passes[0].documents.keys() {
        let word = serde_json::to_value(way).unwrap();
        assert!(documented.contains(&format!("`{}`", word.as_str().unwrap())), "{way:?}");
    }
}

#[test]
fn the_time_follows_the_rate_that_is_left_or_the_last_pass() {
    let memory = |factor| Memory {
        at: at(0),
        paused_until: None,
        factor,
        failing_since: None,
        learned: crate::provider::learned::Learned::default(),
    };
    let last = PassRecord {
        pass: "p".into(),
        started_at: at(0),
        ended_at: at(1),
        result: "well".into(),
        complete: true,
        due: Some(100),
        remaining_due: Some(0),
        outcomes: BTreeMap::new(),
        newly_marked: BTreeMap::new(),
        still_due_reasons: BTreeMap::new(),
        grants: 100,
        troubles: Vec::new(),
    };
    let took = |rate: &str, factor, last| takes(400, rate.parse().ok(), Some(&memory(factor)), last);
    assert_eq!(took("400/min", 1.0, Some(&last)), Some(Duration::from_mins(1)));
    assert_eq!(took("400/min", 0.5, None), Some(Duration::from_mins(2)));
    assert_eq!(took("none", 0.5, Some(&last)), Some(Duration::from_hours(4)));
    assert_eq!(took("none", 0.5, None), None, "nothing tells how fast it answers");
}

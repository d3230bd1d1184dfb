//! Kept pairs and the store that they belong to.

use super::super::super::look_for_other_store;
use super::*;
use crate::journal::Begun;
use crate::store::{Identity, Relation};

fn stand_on(kept: &mut Kept, store: &Identity) -> Begun {
    kept.rows.begin(false).unwrap();
    let begun = kept.rows.begin_process(store).unwrap();
    kept.rows.commit().unwrap();
    begun
}

#[test]
fn a_kept_pair_refuses_another_store_until_a_person_adopts_it() {
    let mut kept = Kept::new();
    let [here, copy] = ["here", "a copy"].map(Identity::named);
    stand_on(&mut kept, &here);
    kept.redeem("a0", "a1");
    for _ in 0..2 {
        let Begun::OtherStore(other) = stand_on(&mut kept, &copy) else {
            panic!("its pairs are another store's")
        };
        assert_eq!((other.open, other.kept), (0, 1));
    }
    let file = kept.directory.path().join("journal.db");
    assert_eq!(look_for_other_store(&file, &copy).unwrap().unwrap().kept, 1);
    assert_eq!(kept.pair_of("a0").as_deref(), Some("a1"), "it is still that of its own store");
    kept.rows.begin(true).unwrap();
    assert_eq!(kept.rows.adopt(&copy).unwrap().kept, 1);
    kept.rows.commit().unwrap();
    assert!(matches!(stand_on(&mut kept, &copy), Begun::Alone { .. }));
    assert_eq!(kept.pair_of("a0").as_deref(), Some("a1"));
    assert!(matches!(stand_on(&mut kept, &here), Begun::OtherStore(_)));
}

/// What these steps cost must not grow with what is kept.
#[test]
fn a_pass_begins_without_a_look_at_kept_pairs_and_an_adoption_writes_none_of_them() {
    let mut kept = Kept::new();
    let [here, copy] = ["here", "a copy"].map(Identity::named);
    stand_on(&mut kept, &here);
    for pair in 0..200 {
        kept.redeem(&format!("{pair}"), &format!("{pair} next"));
    }
    let rename = |kept: &Kept, from, to| {
        kept.rows.connection.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    };
    rename(&kept, "kept", "out_of_reach");
    assert!(matches!(stand_on(&mut kept, &here), Begun::Alone { .. }));
    rename(&kept, "out_of_reach", "kept");

    kept.rows.begin(true).unwrap();
    let before = kept.rows.connection.total_changes();
    assert_eq!(kept.rows.adopt(&copy).unwrap().kept, 200);
    assert_eq!(kept.rows.connection.total_changes() - before, 1, "the row of the store");
    kept.rows.commit().unwrap();
    assert_eq!(kept.pair_of("7").as_deref(), Some("7 next"));
}

/// As the version before `stores` left it.
const FORMAT_4: &str = "
    DROP INDEX kept_in_store; DROP TABLE stores;
    ALTER TABLE entries DROP COLUMN after_another;
    ALTER TABLE entries DROP COLUMN store; ALTER TABLE entries ADD COLUMN elsewhere TEXT;
    ALTER TABLE kept DROP COLUMN store; ALTER TABLE kept ADD COLUMN elsewhere TEXT;
    INSERT INTO meta VALUES ('store', 'here'), ('store_identity', '{\"name\":\"here\"}');
    UPDATE kept SET elsewhere = '{\"name\":\"there\"}' WHERE id = 2;
    PRAGMA user_version = 4;";

#[test]
fn pairs_of_two_stores_in_a_journal_of_format_4_stay_apart() {
    let mut kept = Kept::new();
    kept.redeem("a0", "a1");
    kept.redeem("b0", "b1");
    kept.rows.connection.execute_batch(FORMAT_4).unwrap();
    let file = kept.directory.path().join("journal.db");
    let there = Identity::named("there");
    assert_eq!(look_for_other_store(&file, &there).unwrap().unwrap().store, "here", "only looked at");
    kept.rows = Rows::open(&file, Seal::default(), now()).unwrap();
    assert_eq!((kept.pair_of("a0").as_deref(), kept.pair_of("b0")), (Some("a1"), None));
    assert!(matches!(stand_on(&mut kept, &there), Begun::OtherStore(_)));
    kept.rows.begin(true).unwrap();
    let adoption = kept.rows.adopt(&Identity::named("here")).unwrap();
    kept.rows.commit().unwrap();
    assert_eq!((adoption.kept, adoption.from), (1, vec![(Relation::Other, "there".into())]));
    assert_eq!(kept.pair_of("b0").as_deref(), Some("b1"));
}

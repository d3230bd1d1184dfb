//! Populations: how many logins are dead or refused for a while, and where they stand; and what a person wrote about who is
//! refreshed, who is marked, how the pass ends and how many requests it takes.

use crate::store::backend::sqlite;
use crate::support::rehearsal::{FORCED, Plan, Rehearsal};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use futures::{StreamExt as _, stream};
use std::ops::RangeInclusive;
use std::time::Duration;

const USERS: usize = 200;

/// Where the refused logins stand.
#[derive(Debug, Clone, Copy)]
enum Placed {
    First,
    Last,
    Spread,
}

/// Why they are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// They are dead.
    Dead,
    /// They are of another client registration, until a person mends that.
    Registration,
    /// The provider errs, once for each of them.
    Stray,
}

/// What a person wrote of a pass.
#[derive(Debug)]
struct Told {
    refreshed: usize,
    marked: u64,
    exit: Exit,
    requests: RangeInclusive<u64>,
}

const fn told(refreshed: usize, marked: u64, exit: Exit, requests: RangeInclusive<u64>) -> Told {
    Told { refreshed, marked, exit, requests }
}

fn refused(percent: usize, placed: Placed) -> Vec<usize> {
    let number = USERS * percent / 100;
    match placed {
        Placed::First => (0..number).collect(),
        Placed::Last => (USERS - number..USERS).collect(),
        Placed::Spread => (0..number).map(|nth| nth * USERS / number).collect(),
    }
}

async fn population(percent: usize, placed: Placed, why: Why, known: bool) -> Rehearsal {
    let mut plan = Plan::users(USERS);
    plan.profile.settle_after = Duration::from_millis(1);
    let backend = sqlite(plan.mapping.clone()).await;
    let rehearsal = Rehearsal::over(backend, &plan).await;
    if known {
        // Nine passes in which all were granted weigh as much as this many logins.
        for _ in 0..3 {
            let before = rehearsal.run_with(&FORCED, &Stop::default()).await;
            assert_eq!(before.count(Outcome::Refreshed), USERS as u64, "{before}");
        }
    }
    let names = refused(percent, placed).into_iter().map(|user| format!("user-{user:06}"));
    match why {
        Why::Dead => names.for_each(|user| assert!(rehearsal.sandbox.revoke(&user))),
        Why::Registration | Why::Stray => {
            let times = if why == Why::Stray { " times=1" } else { "" };
            let rules: Vec<_> = names.map(|user| format!("refuse user={user}{times}")).collect();
            rehearsal.sandbox.set_faults(rules.join(", ").parse().unwrap());
        }
    }
    rehearsal
}

async fn pass(rehearsal: &Rehearsal, known: bool) -> (Summary, u64) {
    let before = rehearsal.sandbox.ledger().requests;
    let request = if known { FORCED } else { PassRequest::default() };
    let summary = rehearsal.run_with(&request, &Stop::default()).await;
    (summary, rehearsal.sandbox.ledger().requests - before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_population_is_told_as_a_person_would() {
    use Placed::{First, Last, Spread};
    use Why::{Dead, Registration, Stray};
    let (well, login, fault) = (Exit::Well, Exit::NeedsLogin, Exit::ClientRejected);
    // Percent that is refused, where it stands, why, and with a history in which all were granted; who is refreshed, who is
    // newly marked, the exit code, and the requests.
    let table = [
        (0, Spread, Dead, false, told(200, 0, well, 200..=200)),
        // A few: asked twice, named at once, wherever they stand.
        (1, First, Dead, false, told(198, 2, login, 202..=202)),
        (1, Last, Dead, false, told(198, 2, login, 202..=202)),
        (1, Spread, Dead, false, told(198, 2, login, 202..=202)),
        (3, First, Dead, false, told(194, 6, login, 206..=206)),
        (3, Last, Dead, false, told(194, 6, login, 206..=206)),
        (3, Spread, Dead, false, told(194, 6, login, 206..=206)),
        // Far more than usual: a question for a person, and all others are refreshed.
        (10, First, Dead, false, told(180, 0, fault, 200..=220)),
        (10, Last, Dead, false, told(180, 0, fault, 200..=220)),
        (10, Spread, Dead, false, told(180, 0, fault, 200..=220)),
        (30, First, Dead, false, told(140, 0, fault, 200..=260)),
        (30, Last, Dead, false, told(140, 0, fault, 200..=260)),
        (30, Spread, Dead, false, told(140, 0, fault, 200..=260)),
        (60, First, Dead, false, told(80, 0, fault, 200..=320)),
        (60, Last, Dead, false, told(80, 0, fault, 200..=320)),
        (60, Spread, Dead, false, told(80, 0, fault, 200..=320)),
        // Not one is granted: five in order, perhaps one that was at the gate already, and twenty from all over.
        (100, Spread, Dead, false, told(0, 0, fault, 25..=26)),
        // Where more is known of the collection, less is believed.
        (3, First, Dead, true, told(194, 6, login, 206..=206)),
        (10, Spread, Dead, true, told(180, 0, fault, 200..=220)),
        (60, First, Dead, true, told(80, 0, fault, 200..=320)),
        (100, Spread, Dead, true, told(0, 0, fault, 25..=26)),
        // A registration that is wrong for some looks like dead logins, and is mended without a mark.
        (10, First, Registration, false, told(180, 0, fault, 200..=220)),
        (60, Spread, Registration, false, told(80, 0, fault, 200..=320)),
        (60, Last, Registration, true, told(80, 0, fault, 200..=320)),
        (100, Spread, Registration, false, told(0, 0, fault, 25..=26)),
        // One wrong answer marks no user, however many of them there are.
        (1, First, Stray, false, told(200, 0, well, 202..=202)),
        (3, Spread, Stray, false, told(200, 0, well, 206..=206)),
        (10, Spread, Stray, false, told(200, 0, fault, 220..=220)),
        (30, First, Stray, false, told(200, 0, fault, 260..=260)),
        (60, Spread, Stray, true, told(200, 0, fault, 320..=320)),
    ];
    let wrong: Vec<_> = stream::iter(table)
        .map(|(percent, placed, why, known, told)| async move {
            let rehearsal = population(percent, placed, why, known).await;
            let (summary, requests) = pass(&rehearsal, known).await;
            assert!(summary.adds_up(), "{summary}");
            let found = (summary.count(Outcome::Refreshed), summary.newly_marked, summary.exit());
            let is_as_told =
                found == (told.refreshed as u64, told.marked, told.exit) && told.requests.contains(&requests);
            let wrong = (!is_as_told).then(|| {
                format!(
                    "{percent} % {placed:?} {why:?} {known}: {found:?} {requests}, not {told:?}\n{summary}"
                )
            });
            if told.exit == fault {
                all_are_refreshed_once_the_provider_is_well(&rehearsal, why).await;
            }
            wrong
        })
        .buffer_unordered(4)
        .filter_map(async |wrong| wrong)
        .collect()
        .await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Within three passes, without a person's help.
async fn all_are_refreshed_once_the_provider_is_well(rehearsal: &Rehearsal, why: Why) {
    if why == Why::Dead {
        return;
    }
    rehearsal.sandbox.set_faults("".parse().unwrap());
    for _ in 0..3 {
        rehearsal.run().await;
    }
    let audit = rehearsal.audit().await;
    assert_eq!((audit.kept, rehearsal.sandbox.ledger().reuses), (USERS as u64, 0), "{audit:?}");
    for user in 0..USERS {
        let books = rehearsal.bookkeeping(user).await;
        assert!(books.refreshed_at.is_some() && books.last_error.is_none(), "{user} {books:?}");
    }
}

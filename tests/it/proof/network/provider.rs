//! The line to the provider: a cell for each stage of a grant and each way to break.

mod cells;

use super::{TOO_LATE, each, through_proxy};
use crate::store::backend::sqlite;
use crate::support::proxy::{Fault, Proxy, Strike};
use crate::support::rehearsal::{Plan, Rehearsal};
use cells::{Cell, GRANTED, TABLE, WHOLE};
use evergrant::sandbox::{self, Sandbox};
use evergrant::testing::exit::Exit;
use evergrant::testing::report::Outcome;
use evergrant::testing::token::State;
use std::time::Duration;

/// How long a grant waits for an answer that never comes; long enough that on an overloaded machine all others come.
const SHORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Cells that run at once: each has a sandbox, a store and a journal of its own.
const CELLS_AT_ONCE: usize = 20;

/// Users of a cell whose line is broken for a whole pass.
const USERS_OF_A_BROKEN_PASS: usize = 2;

/// Users of a cell whose line breaks once.
const USERS_OF_ONE_BREAK: usize = 5;

/// Whose grant meets the one break.
const HIT: usize = 2;

/// A rehearsal whose line to the provider leads through the proxy.
struct Scene {
    rehearsal: Rehearsal,
    proxy: Proxy,
}

impl Scene {
    async fn new(cell: &Cell, users: usize) -> Self {
        let mut plan = Plan::users(users);
        plan.profile.concurrency = 3.try_into().unwrap();
        plan.profile.settle_after = Duration::from_millis(300);
        if matches!(cell.fault, Fault::BlackHole | Fault::Delay(TOO_LATE)) {
            plan.profile.request_timeout = SHORT_TIMEOUT;
        }
        let mut rehearsal = Rehearsal::over(sqlite(plan.mapping.clone()).await, &plan).await;
        rehearsal.settings.attempts = 2;
        let proxy = through_proxy(&mut rehearsal);
        Self { rehearsal, proxy }
    }

    fn strike(&self, cell: &Cell, needle: Option<&str>, times: u64) {
        let needle = needle.map(|needle| needle.as_bytes().to_vec());
        self.proxy.strike(Strike { stage: cell.stage, fault: cell.fault, needle, times });
    }

    /// What must hold whatever happened: `lost` were rotated and their answers kept from us.
    async fn judge(&self, cell: &Cell, lost: u64) {
        let (rehearsal, name) = (&self.rehearsal, cell.name);
        let users = rehearsal.users.len() as u64;
        let audit = rehearsal.audit().await;
        assert_eq!((audit.lost_received, audit.held_crossed, audit.unknown), (0, 0, 0), "{name}: {audit:#?}");
        assert_eq!((audit.lost_in_flight, audit.kept), (lost, users - lost), "{name}: {audit:#?}");
        rehearsal.assert_whole().await;
        rehearsal.assert_nothing_claimed().await;
        let states = rehearsal.states().await;
        let count = |state| states.iter().filter(|is| **is == state).count() as u64;
        assert_eq!(
            (count(State::LostInFlight), count(State::Live)),
            (lost, users - lost),
            "{name}: {states:?}"
        );
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!(ledger.requests, self.proxy.passed(), "{name}: a request was made twice on the way");
        for user in &rehearsal.users {
            let after = again_after_delivery(&rehearsal.sandbox, &user.refresh_token);
            assert_eq!(after, 0, "{name}: a token of {user:?} was sent again after its answer was delivered");
        }
        let kept = if cell.cuts_a_body() { lost } else { 0 };
        let entries = rehearsal.entries().await;
        assert_eq!(entries.len() as u64, kept, "{name}: only what may hold a pair is kept for a person");
    }

    /// The one who was lost has it in the document: when, where to, and how much came.
    async fn assert_evidence(&self, cell: &Cell) {
        let lost = self.rehearsal.bookkeeping(HIT).await.last_error.unwrap().lost.unwrap();
        let silent = matches!(cell.fault, Fault::BlackHole | Fault::Delay(_));
        let causes: &[&str] = match (cell.cuts_a_body(), silent) {
            (true, _) => &["cut_body"],
            (false, true) => &["timeout"],
            (false, false) => &["reset"],
        };
        assert!(causes.contains(&&*lost.cause), "{}: {lost:?}", cell.name);
        assert_eq!(lost.peer, Some(self.proxy.address().to_string()), "{}", cell.name);
        assert_eq!(lost.received_bytes > 0, cell.cuts_a_body(), "{}: {lost:?}", cell.name);
        assert!(lost.sent_at.is_some(), "{}: {lost:?}", cell.name);
    }
}

/// How often a token of this login was presented after a success for it had been delivered.
fn again_after_delivery(sandbox: &Sandbox, first: &str) -> usize {
    let (mut again, mut next) = (0, Some(first.to_owned()));
    while let Some(record) = next.as_deref().and_then(|token| sandbox.token_history(token)) {
        let delivered = |one: &sandbox::Presentation| one.outcome == sandbox::Outcome::Delivered;
        let first = record.presentations.iter().position(delivered);
        again += first.map_or(0, |first| record.presentations.len() - first - 1);
        next = record.successor;
    }
    again
}

#[tokio::test]
async fn a_line_to_the_provider_that_is_broken_for_a_whole_pass_has_one_class_and_costs_nobody_else() {
    // After a whole answer the next grant on that connection is the one that is broken: that is another cell.
    let is_of_the_next =
        |cell: &Cell| cell.stage == WHOLE && matches!(cell.fault, Fault::BlackHole | Fault::Delay(TOO_LATE));
    let cells = TABLE.into_iter().filter(|cell| !is_of_the_next(cell));
    each(CELLS_AT_ONCE, cells.map(|cell| (cell.name.to_owned(), broken_pass(cell)))).await;
}

async fn broken_pass(cell: Cell) {
    let Cell { name, class, committed, .. } = cell;
    let scene = Scene::new(&cell, USERS_OF_A_BROKEN_PASS).await;
    let (rehearsal, users) = (&scene.rehearsal, USERS_OF_A_BROKEN_PASS as u64);
    scene.strike(&cell, None, u64::MAX);
    let summary = rehearsal.run().await;
    assert!(scene.proxy.struck() >= 1, "{name}");
    let granted = if committed { users } else { 0 };
    assert_eq!(rehearsal.sandbox.ledger().granted, granted, "{name}");
    if class == GRANTED {
        assert_eq!(
            (summary.exit(), summary.count(Outcome::Refreshed)),
            (Exit::Well, users),
            "{name}: {summary:?}"
        );
        return scene.judge(&cell, 0).await;
    }
    assert_eq!(
        (summary.exit(), summary.count(Outcome::StillDue)),
        (Exit::StillDue, users),
        "{name}: {summary:?}"
    );
    for position in 0..USERS_OF_A_BROKEN_PASS {
        let bookkeeping = rehearsal.bookkeeping(position).await;
        let evidence = bookkeeping.last_error.unwrap();
        // Asked for once more it is refused, and that answer is cut as well: a 400 that isn't the provider's JSON.
        let class = if cell.cuts_a_body() { &["ambiguous"] } else { class };
        assert!(class.contains(&&*evidence.class), "{name}: {evidence:?}");
        assert_eq!(bookkeeping.state, State::Live, "{name}: nobody is marked by a line");
    }

    scene.proxy.heal();
    let lost = if committed { users } else { 0 };
    let mut next = rehearsal.run().await;
    if lost > 0 {
        // Nobody is granted anything, so one occasion marks nobody.
        assert_eq!(next.still_due_reasons.get("refused_once"), Some(&lost), "{name}: {next:?}");
        next = rehearsal.run().await;
    }
    assert_eq!(next.count(Outcome::LostInFlight), lost, "{name}: {next:?}");
    assert_eq!(next.count(Outcome::Refreshed), users - lost, "{name}: {next:?}");
    scene.judge(&cell, lost).await;
}

#[tokio::test]
async fn a_line_to_the_provider_that_breaks_once_is_settled_in_the_same_pass() {
    each(CELLS_AT_ONCE, TABLE.into_iter().map(|cell| (cell.name.to_owned(), one_break(cell)))).await;
}

async fn one_break(cell: Cell) {
    let Cell { name, class, committed, .. } = cell;
    let scene = Scene::new(&cell, USERS_OF_ONE_BREAK).await;
    let (rehearsal, users) = (&scene.rehearsal, USERS_OF_ONE_BREAK as u64);
    scene.strike(&cell, Some(&rehearsal.users[HIT].refresh_token), 1);
    let summary = rehearsal.run().await;
    assert_eq!(scene.proxy.struck(), 1, "{name}");
    let lost = u64::from(committed && class != GRANTED);
    let exit = if lost == 0 { Exit::Well } else { Exit::NeedsLogin };
    assert_eq!(
        (summary.exit(), summary.count(Outcome::Refreshed), summary.count(Outcome::LostInFlight)),
        (exit, users - lost, lost),
        "{name}: {summary:?}"
    );
    let ledger = rehearsal.sandbox.ledger();
    assert_eq!((ledger.granted, ledger.reuses), (users, lost), "{name}: shown once more, to find out");
    scene.judge(&cell, lost).await;
    if lost > 0 {
        scene.assert_evidence(&cell).await;
    }
    let next = rehearsal.run().await;
    assert_eq!((next.grants, next.touched), (0, lost), "{name}: known, and not asked for again");
}

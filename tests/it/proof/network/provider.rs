//! The line to the provider: a cell for each stage of a grant and each way to break.

use crate::store::backend::sqlite;
use crate::support::proxy::{Cut, Fault, Proxy, Stage, Strike, Wire};
use crate::support::rehearsal::{Plan, Rehearsal};
use evergrant::report::{Outcome, summary::Exit};
use evergrant::sandbox::{self, Sandbox};
use evergrant::token::State;
use futures::{FutureExt as _, StreamExt as _};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// How long a grant waits for an answer that never comes.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Later than anybody waits.
const TOO_LATE: Duration = Duration::from_secs(3);

/// Late, and yet in time.
const LATE: Duration = Duration::from_millis(300);

/// Cells that run at once: each has a sandbox, a store and a journal of its own.
const CELLS_AT_ONCE: usize = 24;

/// Users of a cell whose line is broken for a whole pass.
const USERS_OF_A_BROKEN_PASS: usize = 3;

/// Users of a cell whose line breaks once.
const USERS_OF_ONE_BREAK: usize = 5;

/// Whose grant meets the one break.
const HIT: usize = 2;

/// A stage and a fault, and what must come of it.
#[derive(Debug, Clone, Copy)]
struct Cell {
    name: &'static str,
    stage: Stage,
    fault: Fault,
    /// The class that it must get; one of several where the kernel decides which of us sees the reset.
    class: &'static [&'static str],
    /// Has the provider rotated the token?
    committed: bool,
}

const AMBIGUOUS: &[&str] = &["ambiguous"];
const GRANTED: &[&str] = &["granted"];

const fn cell(
    name: &'static str,
    stage: Stage,
    fault: Fault,
    class: &'static [&'static str],
    committed: bool,
) -> Cell {
    Cell { name, stage, fault, class, committed }
}

impl Cell {
    /// Does a part of a body come, which is kept because it may hold a pair?
    fn cuts_a_body(&self) -> bool {
        matches!(self.stage, Stage::Answer(Cut::HalfBody | Cut::AllBut(_))) && self.class != GRANTED
    }
}

/// After the request, before any byte of the answer.
const UNANSWERED: Stage = Stage::Answer(Cut::Nothing);
const HALF_REQUEST_HEAD: Stage = Stage::Request(Cut::HalfHead);
const HALF_REQUEST_BODY: Stage = Stage::Request(Cut::HalfBody);
const HALF_HEAD: Stage = Stage::Answer(Cut::HalfHead);
const HALF_BODY: Stage = Stage::Answer(Cut::HalfBody);
/// Both tokens are there; only the end of the object is missing.
const NEARLY_ALL: Stage = Stage::Answer(Cut::AllBut(1));
const WHOLE: Stage = Stage::Answer(Cut::Whole);

/// Every stage and every fault. A provider that nobody reaches, or that goes down at that moment, is in `connect`.
const TABLE: [Cell; 42] = [
    // Before anything is sent. A reset can come before or after we know that we are connected.
    cell("accepted, reset", Stage::Accept, Fault::Reset, &["transient", "ambiguous"], false),
    cell("accepted, closed", Stage::Accept, Fault::Close, AMBIGUOUS, false),
    cell("accepted, black hole", Stage::Accept, Fault::BlackHole, AMBIGUOUS, false),
    cell("accepted, late", Stage::Accept, Fault::Delay(LATE), GRANTED, true),
    cell("accepted, too late", Stage::Accept, Fault::Delay(TOO_LATE), AMBIGUOUS, false),
    // While the request is being sent.
    cell("half the request's head, reset", HALF_REQUEST_HEAD, Fault::Reset, AMBIGUOUS, false),
    cell("half the request's head, closed", HALF_REQUEST_HEAD, Fault::Close, AMBIGUOUS, false),
    cell("half the request's head, black hole", HALF_REQUEST_HEAD, Fault::BlackHole, AMBIGUOUS, false),
    cell("half the request's head, late", HALF_REQUEST_HEAD, Fault::Delay(LATE), GRANTED, true),
    cell("half the request's head, too late", HALF_REQUEST_HEAD, Fault::Delay(TOO_LATE), AMBIGUOUS, false),
    cell("half the request's body, reset", HALF_REQUEST_BODY, Fault::Reset, AMBIGUOUS, false),
    cell("half the request's body, closed", HALF_REQUEST_BODY, Fault::Close, AMBIGUOUS, false),
    cell("half the request's body, black hole", HALF_REQUEST_BODY, Fault::BlackHole, AMBIGUOUS, false),
    cell("half the request's body, late", HALF_REQUEST_BODY, Fault::Delay(LATE), GRANTED, true),
    cell("half the request's body, too late", HALF_REQUEST_BODY, Fault::Delay(TOO_LATE), AMBIGUOUS, false),
    cell(
        "all but a byte of the request, reset",
        Stage::Request(Cut::AllBut(1)),
        Fault::Reset,
        AMBIGUOUS,
        false,
    ),
    cell(
        "all but a byte of the request, closed",
        Stage::Request(Cut::AllBut(1)),
        Fault::Close,
        AMBIGUOUS,
        false,
    ),
    // After the request and before any byte of the answer.
    cell("no answer, reset", UNANSWERED, Fault::Reset, AMBIGUOUS, true),
    cell("no answer, closed", UNANSWERED, Fault::Close, AMBIGUOUS, true),
    cell("no answer, black hole", UNANSWERED, Fault::BlackHole, AMBIGUOUS, true),
    cell("no answer, late", UNANSWERED, Fault::Delay(LATE), GRANTED, true),
    cell("no answer, too late", UNANSWERED, Fault::Delay(TOO_LATE), AMBIGUOUS, true),
    // In the middle of the headers.
    cell("half the head, reset", HALF_HEAD, Fault::Reset, AMBIGUOUS, true),
    cell("half the head, closed", HALF_HEAD, Fault::Close, AMBIGUOUS, true),
    cell("half the head, black hole", HALF_HEAD, Fault::BlackHole, AMBIGUOUS, true),
    cell("half the head, late", HALF_HEAD, Fault::Delay(LATE), GRANTED, true),
    cell("half the head, too late", HALF_HEAD, Fault::Delay(TOO_LATE), AMBIGUOUS, true),
    // In the middle of the body.
    cell("half the body, reset", HALF_BODY, Fault::Reset, AMBIGUOUS, true),
    cell("half the body, closed", HALF_BODY, Fault::Close, AMBIGUOUS, true),
    cell("half the body, black hole", HALF_BODY, Fault::BlackHole, AMBIGUOUS, true),
    cell("half the body, late", HALF_BODY, Fault::Delay(LATE), GRANTED, true),
    cell("half the body, too late", HALF_BODY, Fault::Delay(TOO_LATE), AMBIGUOUS, true),
    cell("all but a byte of the body, reset", NEARLY_ALL, Fault::Reset, AMBIGUOUS, true),
    cell("all but a byte of the body, closed", NEARLY_ALL, Fault::Close, AMBIGUOUS, true),
    cell("all but a byte of the body, black hole", NEARLY_ALL, Fault::BlackHole, AMBIGUOUS, true),
    cell("all but a byte of the body, late", NEARLY_ALL, Fault::Delay(LATE), GRANTED, true),
    cell("all but a byte of the body, too late", NEARLY_ALL, Fault::Delay(TOO_LATE), AMBIGUOUS, true),
    // After the whole body, which nobody needs a close to know.
    cell("the whole body, reset", WHOLE, Fault::Reset, GRANTED, true),
    cell("the whole body, closed", WHOLE, Fault::Close, GRANTED, true),
    cell("the whole body, black hole", WHOLE, Fault::BlackHole, GRANTED, true),
    cell("the whole body, late", WHOLE, Fault::Delay(LATE), GRANTED, true),
    cell("the whole body, too late", WHOLE, Fault::Delay(TOO_LATE), GRANTED, true),
];

/// A rehearsal whose line to the provider leads through the proxy.
struct Scene {
    rehearsal: Rehearsal,
    proxy: Proxy,
}

impl Scene {
    async fn new(cell: &Cell, users: usize) -> Self {
        let mut plan = Plan::users(users);
        plan.profile.concurrency = 3.try_into().unwrap();
        if matches!(cell.fault, Fault::BlackHole | Fault::Delay(TOO_LATE)) {
            plan.profile.request_timeout = SHORT_TIMEOUT;
        }
        let mut rehearsal = Rehearsal::over(sqlite(plan.mapping.clone()).await, &plan).await;
        rehearsal.settings.attempts = 2;
        let proxy = Proxy::start(Wire::Http, rehearsal.sandbox.address());
        let url = format!("http://{}/token", proxy.address());
        rehearsal.change_provider(|provider| provider.token_url = url.parse().unwrap());
        Self { rehearsal, proxy }
    }

    fn strike(&self, cell: &Cell, needle: Option<&str>, times: u64) {
        let needle = needle.map(|needle| needle.as_bytes().to_vec());
        self.proxy.strike(Strike { stage: cell.stage, fault: cell.fault, needle, times });
    }

    /// What must hold whatever happened: `lost` were rotated and their answers kept from us.
    async fn judge(&self, name: &str, lost: usize) {
        let rehearsal = &self.rehearsal;
        let users = rehearsal.users.len();
        let audit = rehearsal.audit().await;
        assert_eq!((audit.lost_received, audit.held_crossed, audit.unknown), (0, 0, 0), "{name}: {audit:#?}");
        assert_eq!(
            (audit.lost_in_flight, audit.kept),
            (lost as u64, (users - lost) as u64),
            "{name}: {audit:#?}"
        );
        rehearsal.assert_whole().await;
        rehearsal.assert_nothing_claimed().await;
        let mut states = Vec::new();
        for position in 0..users {
            states.push(rehearsal.bookkeeping(position).await.state);
        }
        let count = |state| states.iter().filter(|is| **is == state).count();
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

/// Checks each cell to its end, so that a run names every cell that fails.
async fn each(cells: impl IntoIterator<Item = Cell>, check: impl AsyncFn(Cell)) {
    let check = &check;
    let running = futures::stream::iter(cells).map(|cell| async move {
        let checked = AssertUnwindSafe(check(cell)).catch_unwind().await;
        checked.err().map(|_| cell.name)
    });
    let failed: Vec<_> =
        running.buffer_unordered(CELLS_AT_ONCE).filter_map(std::future::ready).collect().await;
    assert!(failed.is_empty(), "these cells fail, for the reasons above: {failed:#?}");
}

#[tokio::test]
async fn a_line_to_the_provider_that_is_broken_for_a_whole_pass_has_one_class_and_costs_nobody_else() {
    // After a whole answer the next grant on that connection is the one that is broken: that is another cell.
    let cells = TABLE.into_iter().filter(|cell| (cell.stage, cell.fault) != (WHOLE, Fault::BlackHole));
    each(cells, broken_pass).await;
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
        return scene.judge(name, 0).await;
    }
    assert_eq!(
        (summary.exit(), summary.count(Outcome::StillDue)),
        (Exit::StillDue, users),
        "{name}: {summary:?}"
    );
    for position in 0..USERS_OF_A_BROKEN_PASS {
        let bookkeeping = rehearsal.bookkeeping(position).await;
        let evidence = bookkeeping.last_error.unwrap();
        // Asked for once more it is refused, and that answer is cut as well.
        let class = if cell.cuts_a_body() { &["unlisted"] } else { class };
        assert!(class.contains(&&*evidence.class), "{name}: {evidence:?}");
        assert_eq!(bookkeeping.state, State::Live, "{name}: nobody is marked by a line");
    }

    scene.proxy.heal();
    let next = rehearsal.run().await;
    let lost = if committed { users } else { 0 };
    assert_eq!(next.count(Outcome::LostInFlight), lost, "{name}: {next:?}");
    assert_eq!(next.count(Outcome::Refreshed), users - lost, "{name}: {next:?}");
    scene.judge(name, usize::try_from(lost).unwrap()).await;
    let kept = if cell.cuts_a_body() { usize::try_from(lost).unwrap() } else { 0 };
    assert_eq!(
        rehearsal.entries().await.len(),
        kept,
        "{name}: only what may hold a pair is kept for a person"
    );
}

#[tokio::test]
async fn a_line_to_the_provider_that_breaks_once_is_settled_in_the_same_pass() {
    each(TABLE, one_break).await;
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
    scene.judge(name, usize::try_from(lost).unwrap()).await;
    let kept = if cell.cuts_a_body() { usize::try_from(lost).unwrap() } else { 0 };
    assert_eq!(
        rehearsal.entries().await.len(),
        kept,
        "{name}: only what may hold a pair is kept for a person"
    );
    let next = rehearsal.run().await;
    assert_eq!((next.grants, next.touched), (0, lost), "{name}: known, and not asked for again");
}

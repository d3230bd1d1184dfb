//! A machine of a simulation: processes are started on it, run passes, and end, one way or another.

use super::bugs::Bug;
use super::collection::Collection;
use super::provider::{Line, provider};
use super::weather::LEASE;
use super::world::{Life, World};
use evergrant::chance::Chance;
use evergrant::engine::Engine;
use evergrant::journal::Journal;
use evergrant::journal::simulated::{Commit, Desk};
use evergrant::pass::{Base, PassRequest, PassSettings, Stop};
use evergrant::report::Reports;
use evergrant::schedule::RenewAfter;
use rand::Rng as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// No pass takes so long, whatever happens: longer is a pass that doesn't end.
const PATIENCE: Duration = Duration::from_hours(6);

/// Longest wait for a retry; what is left after the faults ended is due by then.
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_hours(1);

/// Runs processes on a machine until it is calm and the last one has ended by itself.
pub(super) async fn run(world: Arc<World>, machine: usize) {
    loop {
        let died = world.with(|world| world.machines[machine].died.clone());
        let life = Life::start(&world, machine);
        let ended_by_itself = tokio::select! {
            biased;
            () = died.notified() => false,
            () = live(&life) => true,
        };
        world.with(|world| {
            if ended_by_itself {
                life.end(world);
            }
            after_the_end(world, machine);
        });
        if world.with(|world| world.calm) {
            return;
        }
        let wait = world.with(|world| Duration::from_secs(world.random.random_range(1..120)));
        tokio::time::sleep(wait).await;
    }
}

/// One process that refreshes everything that is due, once, in calm weather.
pub(super) async fn calm_pass(world: &Arc<World>, machine: usize) {
    let life = Life::start(world, machine);
    let (pass, journal) = start(&life);
    pass_once(&life, &pass, &Stop::default()).await;
    drop(pass);
    journal.close().await;
}

/// What happens to the disk when a process has ended: nothing, or the power failed.
fn after_the_end(world: &mut super::world::Inner, machine: usize) {
    let power = world.weather.power;
    let early = world.bug == Some(Bug::AcknowledgesBeforeWrite);
    if world.happens(power) || early {
        let kept = world.machines[machine].disk.unsynced();
        let kept = if early { 1 } else { 1 + world.random.random_range(0..=kept) };
        world.note(|| format!("the power of machine {machine} failed"));
        let lost = kept <= world.machines[machine].disk.unsynced();
        world.machines[machine].disk.power_cut(kept);
        if lost && !early {
            world.forget_intents(machine);
        }
    }
    world.doubt_what_is_open(machine);
    let bug = world.bug;
    let disk = &mut world.machines[machine].disk;
    match bug {
        Some(Bug::DropsOldEntries) => disk.empty("entries"),
        Some(Bug::ForgetsRedeemed) => disk.empty("redeemed"),
        _ => {}
    }
    world.check_kept();
}

/// Passes until something ends the process.
async fn live(life: &Life) {
    let (pass, journal) = start(life);
    loop {
        let stop = Stop::default();
        let stopper = stop_sometime(life, &stop);
        pass_once(life, &pass, &stop).await;
        stopper.abort();
        let (calm, ends) = life.world.with(|world| (world.calm, world.random.random_bool(0.2)));
        if calm || ends || journal.is_broken() || stop.take_no_more.is_cancelled() {
            break;
        }
        let wait = life.world.with(|world| Duration::from_secs(world.random.random_range(1..120)));
        tokio::time::sleep(wait).await;
        life.go_on().await;
    }
    drop(pass);
    journal.close().await;
}

fn start(life: &Life) -> (Engine, Journal) {
    let (journal, clock, chance) = life.world.with(|world| {
        let seed = world.random.random();
        let machine = &mut world.machines[life.machine];
        let (journal, desk) = machine.disk.open(Path::new("/tmp"), machine.clock.now()).unwrap();
        tokio::spawn(keep(life.clone(), desk));
        world.note(|| format!("{life:?} starts"));
        (journal, world.machines[life.machine].clock.clone(), Chance::seeded(seed))
    });
    let attempts = life.world.with(|world| world.weather.attempts);
    let base = Base::new(
        Arc::new(Collection(life.clone())),
        journal.clone(),
        vec![Arc::new(provider(&life.world))],
        PassSettings {
            lease: LEASE,
            renew_after: RenewAfter::THIRD,
            first_backoff: Duration::from_secs(30),
            longest_backoff: LONGEST_BACKOFF,
            attempts,
            wakes: None,
            documents_name_provider: false,
            ending_within: evergrant::report::ENDING_SOON,
        },
        clock,
        chance,
    );
    (Engine::new(base, &Line(life.clone())).unwrap(), journal)
}

async fn pass_once(life: &Life, pass: &Engine, stop: &Stop) {
    let report = Arc::new(Reports::new());
    let request = PassRequest::default();
    let run = pass.run(&request, stop, report);
    let ended = tokio::time::timeout(PATIENCE, run).await;
    life.world.with(|world| {
        world.passes += 1;
        match ended {
            Err(_) => world.violated(format!("GOES ON: a pass of {life:?} doesn't end")),
            Ok(Err(error)) => world.note(|| format!("{life:?} can't begin: {error}")),
            Ok(Ok(summary)) => {
                let ends: u64 = summary.outcomes.values().sum();
                world.note(|| format!("{life:?} ended a pass: {:?}", summary.outcomes));
                if ends != summary.touched && !stop.give_up.is_cancelled() {
                    let (touched, outcomes) = (summary.touched, summary.outcomes);
                    world.violated(format!("ACCOUNTED: {touched} touched, {ends} ended: {outcomes:?}"));
                }
            }
        }
    });
}

fn stop_sometime(life: &Life, stop: &Stop) -> tokio::task::JoinHandle<()> {
    let (take_no_more, give_up) = life.world.with(|world| {
        let chance = world.weather.stop;
        let wait = |world: &mut super::world::Inner| {
            let happens = world.happens(chance);
            happens.then(|| Duration::from_millis(world.random.random_range(0..20_000)))
        };
        (wait(world), wait(world))
    });
    let stop = stop.clone();
    tokio::spawn(async move {
        let Some(wait) = take_no_more else { return };
        tokio::time::sleep(wait).await;
        stop.take_no_more.cancel();
        let Some(wait) = give_up else { return };
        tokio::time::sleep(wait).await;
        stop.give_up.cancel();
    })
}

/// Writes the journal of one process.
async fn keep(life: Life, mut desk: Desk) {
    while desk.wait().await {
        life.turn("a commit").await;
        let intact = life.world.with(|world| {
            let disk = world.weather.disk;
            let becomes = if world.happens(disk) {
                if world.random.random() { Commit::Failed } else { Commit::FailedButWritten }
            } else if matches!(world.bug, Some(Bug::AcknowledgesBeforeFsync | Bug::AcknowledgesBeforeWrite)) {
                Commit::Pretended
            } else {
                Commit::Done
            };
            let intact = desk.commit(&mut world.machines[life.machine].disk, becomes);
            world.note(|| format!("the journal of {life:?} commits: {becomes:?}"));
            life.committed(world, becomes);
            intact
        });
        life.strike("what follows a commit");
        if !intact {
            return;
        }
    }
}

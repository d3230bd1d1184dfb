//! A machine of a simulation: processes are started on it, run passes, and end, one way or another.

use super::bugs::Bug;
use super::by_hand;
use super::collection::Collection;
use super::life::Life;
use super::loops;
use super::provider::{Line, provider};
use super::weather::LEASE;
use super::world::{Away, Inner, World};
use evergrant::testing::chance::Chance;
use evergrant::testing::engine::Engine;
use evergrant::testing::journal::Journal;
use evergrant::testing::journal::simulated::{Commit, Desk, Mistake};
use evergrant::testing::pass::{Base, LOOKS_AGAIN_EVERY, PassError, PassRequest, PassSettings, Stop};
use evergrant::testing::provider::Profile;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Reports, Trouble};
use evergrant::testing::schedule::RenewAfter;
use evergrant::testing::store::Store;
use rand::Rng as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// No pass takes so long, whatever happens: longer is a pass that doesn't end.
const PATIENCE: Duration = Duration::from_hours(6);

/// Longest wait for a retry; what is left after the faults ended is due by then.
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_hours(1);

/// Longest time until a stop of a pass over everything is asked for.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// The longest that a machine is away that comes back.
const LONGEST_AWAY: Duration = Duration::from_hours(20);

/// Share of the processes that run a loop for each provider, where there are several.
const LOOPS: f64 = 0.8;

/// Runs processes on a machine until it is calm and the last one has ended by itself.
pub(super) async fn run(world: Arc<World>, machine: usize) {
    loop {
        let died = world.with(|world| world.machines[machine].died.clone());
        let life = Life::start(&world, machine);
        let ended_by_itself = tokio::select! {
            biased;
            () = died.notified() => false,
            () = one_process(&life) => true,
        };
        world.with(|world| {
            if ended_by_itself {
                life.end(world);
            }
            after_the_end(world, machine);
            die(world, machine);
        });
        if world.with(|world| world.calm || world.machines[machine].away != Away::No) {
            return;
        }
        let wait = world.with(|world| Duration::from_secs(world.random.random_range(1..120)));
        tokio::time::sleep(wait).await;
    }
}

/// Passes, or a command of a person.
async fn one_process(life: &Life) {
    let (is_by_hand, adopts) = life.world.with(|world| {
        let (by_hand, renames) = (world.rare.by_hand, world.rare.renames);
        (by_hand > 0.0 && world.random.random_bool(0.5), renames > 0.0 && world.random.random_bool(0.3))
    });
    if is_by_hand {
        by_hand::command(life).await;
    } else if adopts {
        by_hand::adopt(life).await;
    } else {
        live(life).await;
    }
}

/// Perhaps the machine is gone for good, or for hours. The last one stays.
fn die(world: &mut Inner, machine: usize) {
    let dies = world.weather.dies;
    let is_last = world.machines.iter().filter(|machine| machine.away == Away::No).count() == 1;
    if is_last || !world.happens(dies) {
        return;
    }
    let is_for_good = world.random.random();
    let away = if is_for_good {
        Away::ForGood
    } else {
        Away::Until(
            Instant::now() + Duration::from_secs(world.random.random_range(600..LONGEST_AWAY.as_secs())),
        )
    };
    world.note(|| format!("machine {machine} is away{}", if is_for_good { " for good" } else { "" }));
    world.machines[machine].away = away;
}

/// One process that refreshes everything that is due, once, in calm weather.
pub(super) async fn calm_pass(world: &Arc<World>, machine: usize) {
    if !world.with(|world| world.machines[machine].away.is_there()) {
        return;
    }
    if world.with(|world| world.rare.renames > 0.0) {
        by_hand::adopt(&Life::start(world, machine)).await;
    }
    once(&Life::start(world, machine)).await;
}

/// One process that refreshes everything that is due, once.
pub(super) async fn once(life: &Life) {
    let world = &life.world;
    let (engine, journal) = start(life);
    let (stop, request) =
        (Stop::default(), PassRequest { take_over: given_up(world), ..PassRequest::default() });
    let loops = world.with(|world| world.weather.several() && world.random.random_bool(LOOPS));
    if loops {
        loops::run(life, &engine).await;
    } else {
        pass(life, "everything", &stop, |reports| engine.run(&request, &stop, reports)).await;
    }
    drop(engine);
    journal.close().await;
}

/// The journals of machines that are gone for good, where nothing is sent that they may have sent until a person says so.
fn given_up(world: &World) -> Vec<String> {
    world.with(|world| {
        let gone =
            world.machines.iter().filter(|machine| machine.away == Away::ForGood && machine.copied.is_none());
        let asks = world.calm && world.weather.peers.iter().any(|peer| peer.never);
        gone.filter(|_| asks).map(|machine| machine.journal.clone()).collect()
    })
}

/// What happens to the disk when a process has ended: nothing, or the power failed.
pub(super) fn after_the_end(world: &mut Inner, machine: usize) {
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
        Some(Bug::ForgetsMarks) => disk.empty("marks"),
        Some(Bug::ForgetsKeptPairs) => disk.empty("kept"),
        _ => {}
    }
    world.check_kept();
}

/// Passes until something ends the process: a loop of them over everything, or one for each provider.
async fn live(life: &Life) {
    let (engine, journal) = start(life);
    let loops = life.world.with(|world| world.weather.several() && world.random.random_bool(LOOPS));
    if loops {
        loops::run(life, &engine).await;
    } else {
        over_everything(life, &engine).await;
    }
    drop(engine);
    journal.close().await;
}

/// As `run --once`, again and again.
async fn over_everything(life: &Life, engine: &Engine) {
    loop {
        let stop = Stop::default();
        let stopper = stop_sometime(life, &stop, STOPPED_WITHIN);
        let request = PassRequest::default();
        pass(life, "everything", &stop, |reports| engine.run(&request, &stop, reports)).await;
        stopper.abort();
        let (calm, ends) = life.world.with(|world| (world.calm, world.random.random_bool(0.2)));
        if calm || ends || engine.base.journal.is_broken() || stop.take_no_more.is_cancelled() {
            return;
        }
        let wait = life.world.with(|world| Duration::from_secs(world.random.random_range(1..120)));
        tokio::time::sleep(wait).await;
        life.go_on().await;
    }
}

pub(super) fn start(life: &Life) -> (Engine, Journal) {
    start_as(life, Arc::new(Collection(life.clone())), |_, _| {})
}

/// The same over another store, with other settings.
pub(super) fn start_as(
    life: &Life,
    store: Arc<dyn Store>,
    change: impl Fn(&mut PassSettings, &mut Profile),
) -> (Engine, Journal) {
    let (journal, clock, chance) = life.world.with(|world| {
        let seed = world.random.random();
        let sets_clocks = world.rare.clocks > 0.0;
        let machine = &mut world.machines[life.machine];
        if sets_clocks && !life.elsewhere {
            machine.clock = machine.clock.restarted();
        }
        let (journal, desk) = machine.disk.open(Path::new("/tmp"), machine.clock.now()).unwrap();
        journal.id().clone_into(&mut machine.journal);
        tokio::spawn(keep(life.clone(), desk));
        world.note(|| format!("{life:?} starts"));
        (journal, world.machines[life.machine].clock.clone(), Chance::seeded(seed))
    });
    let (attempts, first_backoff, peers, several) = life.world.with(|world| {
        let weather = &world.weather;
        (weather.attempts, weather.first_backoff, weather.peers.len(), weather.several())
    });
    let mut settings = PassSettings {
        lease: LEASE,
        renew_after: RenewAfter::THIRD,
        first_backoff,
        longest_backoff: LONGEST_BACKOFF,
        attempts,
        looks_again_every: LOOKS_AGAIN_EVERY,
        wakes: None,
        documents_name_provider: several,
        assumed_life: None,
        ending_within: evergrant::testing::report::ENDING_SOON,
    };
    let changed = |number| {
        let mut provider = provider(&life.world, number);
        change(&mut settings, &mut provider.profile);
        Arc::new(provider)
    };
    let providers = (0..peers).map(changed).collect();
    let base = Base::new(store, journal.clone(), providers, settings, clock, chance);
    (Engine::new(base, &Line(life.clone())).unwrap(), journal)
}

/// One pass, and what must be so of its end.
pub(super) async fn pass<Run>(life: &Life, whose: &str, stop: &Stop, run: impl FnOnce(Arc<Reports>) -> Run)
where
    Run: Future<Output = Result<Summary, PassError>>,
{
    let (began, due_by) = life.world.with(|world| {
        let is_apart = world.rare.clocks > 0.0;
        let now = if is_apart { world.now() } else { world.machines[life.machine].clock.now() };
        (Instant::now(), now)
    });
    let ended = tokio::time::timeout(PATIENCE, run(Arc::new(Reports::new()))).await;
    life.world.with(|world| {
        world.passes += 1;
        match ended {
            Err(_) => world.violated(format!("GOES ON: a pass of {life:?} over {whose} doesn't end")),
            Ok(Err(error)) => world.note(|| format!("{life:?} can't begin a pass over {whose}: {error}")),
            Ok(Ok(summary)) => {
                if world.calm {
                    let doubted: Vec<_> = summary.troubles.iter().filter_map(doubted).collect();
                    for provider in &doubted {
                        world.judge_left_alone(provider, began, due_by);
                    }
                    world.doubted.extend(doubted);
                }
                let ends: u64 = summary.outcomes.values().sum();
                world.note(|| format!("{life:?} ended a pass over {whose}: {:?}", summary.outcomes));
                if ends != summary.touched && !stop.give_up.is_cancelled() {
                    let (touched, outcomes) = (summary.touched, summary.outcomes);
                    world.violated(format!("ACCOUNTED: {touched} touched, {ends} ended: {outcomes:?}"));
                }
            }
        }
    });
}

/// The provider whose refusals aren't believed, says a pass.
fn doubted(trouble: &Trouble) -> Option<String> {
    match trouble {
        Trouble::Refusals { provider, .. } => Some(provider.clone()),
        _ => None,
    }
}

/// Asks for both stages of a stop, perhaps, each `within` that time after what came before.
pub(super) fn stop_sometime(life: &Life, stop: &Stop, within: Duration) -> AbortOnDropHandle<()> {
    let (take_no_more, give_up) = life.world.with(|world| {
        let chance = world.weather.stop;
        let wait = |world: &mut Inner| {
            let happens = world.happens(chance);
            happens.then(|| world.random.random_range(Duration::ZERO..within))
        };
        (wait(world), wait(world))
    });
    let stop = stop.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let Some(wait) = take_no_more else { return };
        tokio::time::sleep(wait).await;
        stop.take_no_more.cancel();
        let Some(wait) = give_up else { return };
        tokio::time::sleep(wait).await;
        stop.give_up.cancel();
    }))
}

/// Writes the journal of one process.
async fn keep(life: Life, mut desk: Desk) {
    desk.make(match life.world.with(|world| world.bug) {
        Some(Bug::RecoversRowsOfOthers) => Some(Mistake::RowsOfOthers),
        Some(Bug::ReleasesClaimsOfOthers) => Some(Mistake::ClaimsOfOthers),
        Some(Bug::ForgetsRedeemedTooEarly) => Some(Mistake::RedeemedAtOnce),
        _ => None,
    });
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

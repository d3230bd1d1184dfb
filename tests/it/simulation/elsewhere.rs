//! The collection as processes find it: under a name that it had before, or as a copy in another place.

use super::bugs::Bug;
use super::by_hand;
use super::ledger::{Reached, Rotation, Who};
use super::life::Life;
use super::machine;
use super::world::{Away, Document, Inner, Machine, World};
use evergrant::testing::clock::Clock;
use evergrant::testing::journal::simulated::Disk;
use evergrant::testing::store::{Change, Deployment, Existence, Identity, Mark};
use rand::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Most processes of one copy.
const MOST_PROCESSES: u32 = 4;

/// Where the collection is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// How often it was given another name.
    pub(super) moves: u64,
    /// How often it was restored, which makes another collection of it.
    restored: u64,
}

/// A copy of the collection, on a machine with a copy of another one's disk.
#[derive(Debug, Clone)]
pub(super) struct Copied {
    documents: BTreeMap<usize, Document>,
    place: Place,
    /// Tokens of which the copied journal knows that they are spent.
    spent: BTreeSet<usize>,
    is_adopted: bool,
}

fn identity(Place { moves, restored }: Place, server: &str) -> Identity {
    Identity {
        name: format!("mongodb app.tokens-{moves}"),
        mark: Mark::Told(format!("collection-{restored}")),
        deployment: Some(Deployment { set: None, members: [server.to_owned()].into() }),
    }
}

impl Inner {
    /// What a process finds under the name that it was started with.
    pub(super) fn identity_for(&self, life: &Life) -> Identity {
        let here = identity(self.place, "here:1");
        match &self.machines[life.machine].copied {
            Some(_) if self.bug == Some(Bug::TakesACopyForItself) => here,
            Some(copied) => identity(copied.place, "elsewhere:1"),
            None if self.has_moved_for(life) => Identity {
                mark: Mark::Absent,
                ..identity(Place { moves: life.moves, ..self.place }, "here:1")
            },
            None => here,
        }
    }

    pub(super) fn existence_for(&self, life: &Life) -> Existence {
        if !self.has_moved_for(life) {
            return Existence::There;
        }
        let (collection, others) =
            (format!("tokens-{}", life.moves), vec![format!("tokens-{}", self.place.moves)]);
        Existence::Absent { collection, database: "app".into(), others }
    }

    fn has_moved_for(&self, life: &Life) -> bool {
        life.moves < self.place.moves && !life.elsewhere
    }

    /// Does something with the documents that this process finds: those of a copy, or none under a name of before.
    pub(super) fn as_found_by<T>(&mut self, life: &Life, work: impl FnOnce(&mut Self) -> T) -> T {
        if !life.elsewhere && !self.has_moved_for(life) {
            return work(self);
        }
        let theirs = self.machines[life.machine].copied.as_mut();
        let theirs = theirs.map_or_else(BTreeMap::new, |copied| std::mem::take(&mut copied.documents));
        let ours = std::mem::replace(&mut self.documents, theirs);
        let value = work(self);
        let theirs = std::mem::replace(&mut self.documents, ours);
        if let Some(copied) = &mut self.machines[life.machine].copied {
            copied.documents = theirs;
        }
        value
    }

    /// The collection gets another name, or is restored under one: then it is another collection with the same documents.
    pub(super) fn rename(&mut self) {
        self.place.moves += 1;
        if self.random.random() {
            self.place.restored += 1;
        }
        let place = self.place;
        self.note(|| format!("the collection is {place:?} now"));
    }

    /// A machine elsewhere, with a copy of the documents and of a disk that belongs to them; none where no disk does: nothing
    /// there would say that it is a copy.
    fn copy(&mut self) -> Option<usize> {
        let is_ours = |machine: &Machine| machine.copied.is_none() && machine.away.is_there();
        let of = (0..self.machines.len())
            .find(|machine| is_ours(&self.machines[*machine]) && self.machines[*machine].disk.binds())?;
        let disk: Disk = self.machines[of].disk.clone();
        let is_spent = |token: &usize| {
            let known = &self.ledger.tokens[*token];
            let is_kept =
                |by: Who, reached| matches!(by, Who::Process(by, _) if by == of) && reached == Reached::Kept;
            // Within a grace it may be asked for once more. Where the journal's disk had failed, it may not know.
            self.ledger.rotation_of(*token) == Rotation::Strict
                && !known.memory_lost
                && self.weather.disk == 0.0
                && known.redemptions.iter().any(|success| is_kept(success.by, success.reached))
        };
        let spent = (0..self.ledger.tokens.len()).filter(is_spent).collect();
        let (documents, place) = (self.documents.clone(), self.place);
        let copied = Some(Copied { documents, place, spent, is_adopted: false });
        let clock = Clock::simulated(self.store_clock.now());
        self.machines.push(Machine { copied, away: Away::ForGood, ..Machine::new(clock, disk) });
        let machine = self.machines.len() - 1;
        self.note(|| format!("machine {machine} is a copy of machine {of}, with a copy of the documents"));
        Some(machine)
    }

    /// A process over a copy sends a token: has a person adopted it, and doesn't its journal know better?
    pub(super) fn judge_sending_of_a_copy(&mut self, life: &Life, token: usize) {
        let Some(copied) = self.machines[life.machine].copied.clone() else { return };
        if !copied.is_adopted {
            self.violated(format!(
                "COPY: {life:?} sends rt-{token}, and is over a copy that was not adopted"
            ));
        }
        if copied.spent.contains(&token) {
            self.violated(format!(
                "ONCE: {life:?} sends rt-{token}, and the journal that was copied held a success for it"
            ));
        }
    }

    /// Writes into a document of a copy: it is no place in which a pair is kept, and its marks are no marks.
    pub(super) fn write_into_a_copy(&mut self, life: &Life, place: usize, old: Document, change: &Change) {
        self.judge_write_of_a_copy(life);
        let refresh = change.pair.as_ref().and_then(|pair| self.ledger.by_text(pair.refresh_token.expose()));
        let refresh = refresh.unwrap_or(old.refresh);
        let bookkeeping = change.bookkeeping.clone();
        self.documents.insert(place, Document { refresh, access: refresh, bookkeeping, ..old });
    }

    /// The same for a write.
    pub(super) fn judge_write_of_a_copy(&mut self, life: &Life) {
        if self.machines[life.machine].copied.as_ref().is_some_and(|copied| !copied.is_adopted) {
            self.violated(format!("COPY: {life:?} writes, and is over a copy that was not adopted"));
        }
    }
}

/// A copy is tried out: some processes run over it, one after the other, and perhaps a person adopts it meanwhile.
pub(super) async fn try_out(world: Arc<World>) {
    let Some(machine) = world.with(Inner::copy) else { return };
    let processes = world.with(|world| world.random.random_range(1..=MOST_PROCESSES));
    for _ in 0..processes {
        if world.with(|world| world.calm) {
            return;
        }
        let died = world.with(|world| world.machines[machine].died.clone());
        let life = Life::start(&world, machine);
        let adopts = world.with(|world| world.random.random_bool(0.2));
        let process = async {
            if adopts {
                by_hand::adopt(&life).await;
            } else {
                machine::once(&life).await;
            }
        };
        tokio::select! {
            biased;
            () = died.notified() => {}
            () = process => {}
        }
        world.with(|world| {
            life.end(world);
            if adopts && let Some(copied) = &mut world.machines[machine].copied {
                copied.is_adopted = true;
            }
        });
        let wait = world.with(|world| Duration::from_secs(world.random.random_range(1..120)));
        tokio::time::sleep(wait).await;
    }
}

//! The journal's room: looked at while a pass runs, and what happens when it runs out.

use super::JournalError;
use crate::room::{Ballast, Shortage, free_bytes, shortage};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The ballast's file in the state directory.
pub(super) const BALLAST_NAME: &str = "journal.ballast";

/// How often the free space is looked at while intents come: often enough that what can be redeemed in between fits
/// into the floor, seldom enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the owner of the journal knows of its disk.
#[derive(Debug)]
pub(super) struct Room {
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    floor_bytes: u64,
    ballast: Ballast,
    looked: Option<Instant>,
    short: Option<Shortage>,
    /// SQLite found the disk full: whatever is free now, nothing is redeemed until the next pass begins.
    ran_out: bool,
}

impl Room {
    /// The room in a state directory; makes the ballast if there is room for it.
    pub(super) fn in_directory(directory: &Path, floor_bytes: u64) -> Self {
        let place = Place {
            directory: directory.to_owned(),
            floor_bytes,
            ballast: Ballast::in_file(directory.join(BALLAST_NAME)),
            looked: None,
            short: None,
            ran_out: false,
        };
        let mut room = Self { place: Some(place) };
        room.refill();
        room
    }

    /// Room without end, for a simulation.
    #[cfg(any(test, feature = "testing"))]
    pub(super) const fn endless() -> Self {
        Self { place: None }
    }

    /// Looks anew, and makes the ballast again when it was given up.
    pub(super) fn refill(&mut self) {
        let Some(place) = &mut self.place else { return };
        (place.ran_out, place.short) = (false, None);
        match place.ballast.make() {
            // A ballast that there is no room for would have been room below any floor.
            Ok(made) => place.ran_out = !made,
            Err(error) => {
                tracing::warn!(%error, "the journal's ballast can't be made in {}", place.directory.display());
            }
        }
        place.look();
    }

    /// What is known of a shortage, without looking.
    pub(super) fn known(&self) -> Option<Shortage> {
        self.place.as_ref().and_then(|place| place.short.clone())
    }

    /// An error of a full disk, with what was measured here.
    pub(super) fn measured(&self, error: JournalError) -> JournalError {
        match (error, self.known()) {
            (JournalError::Full(_), Some(shortage)) => JournalError::Full(shortage),
            (error, _) => error,
        }
    }

    /// Why nothing more may be asked for, if so; looks about once a second.
    pub(super) fn shortage(&mut self) -> Option<JournalError> {
        let place = self.place.as_mut()?;
        if place.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            place.look();
        }
        place.short.clone().map(JournalError::Full)
    }

    /// SQLite found the disk full. Gives up the ballast; `true` when that made room.
    pub(super) fn ran_out(&mut self) -> bool {
        let Some(place) = &mut self.place else { return false };
        place.ran_out = true;
        let made_room = place.ballast.give_up().unwrap_or(false);
        place.look();
        made_room
    }
}

impl Place {
    fn look(&mut self) {
        self.looked = Some(Instant::now());
        let short = if self.ran_out {
            let free_bytes = free_bytes(&self.directory).unwrap_or_default();
            let (directory, floor_bytes) = (self.directory.clone(), self.floor_bytes);
            Some(Shortage { directory, free_bytes, floor_bytes })
        } else {
            // A file system that doesn't say what is free is full when SQLite says so.
            shortage(&self.directory, self.floor_bytes).unwrap_or_default()
        };
        if let (None, Some(short)) = (&self.short, &short) {
            tracing::error!("{short}; nothing more is redeemed, and answers that are on their way are kept");
        }
        self.short = short;
    }
}

/// Refuses when the file system has less than `floor_bytes` for us.
pub fn check_free_space(directory: &Path, floor_bytes: u64) -> Result<(), JournalError> {
    match shortage(directory, floor_bytes) {
        Ok(None) => Ok(()),
        Ok(Some(shortage)) => Err(JournalError::Full(shortage)),
        Err(source) => Err(JournalError::Directory {
            directory: directory.to_owned(),
            action: "ask for its free space",
            source,
        }),
    }
}

//! The only source of randomness in a pass; a simulation gives it a seed, so that every run of it is the same.

use rand::{Rng as _, rngs::StdRng};
use std::sync::{Arc, Mutex, PoisonError};

/// Randomness for lease ids and jitter: the system's, or a seeded one.
#[derive(Debug, Clone, Default)]
pub struct Chance {
    seeded: Option<Arc<Mutex<StdRng>>>,
}

impl Chance {
    /// The system's randomness.
    #[must_use]
    pub const fn system() -> Self {
        Self { seeded: None }
    }

    /// The same numbers for the same seed.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let random = <StdRng as rand::SeedableRng>::seed_from_u64(seed);
        Self { seeded: Some(Arc::new(Mutex::new(random))) }
    }

    /// A number that is given out once: the fence of a lease.
    #[must_use]
    pub fn unique(&self) -> u128 {
        self.draw(rand::random, StdRng::random)
    }

    /// A number in `[0, 1)`: jitter.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.draw(rand::random, StdRng::random)
    }

    fn draw<T>(&self, system: impl FnOnce() -> T, seeded: impl FnOnce(&mut StdRng) -> T) -> T {
        match &self.seeded {
            None => system(),
            // A generator is whole after every call: a panic elsewhere leaves nothing half done.
            Some(random) => seeded(&mut random.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

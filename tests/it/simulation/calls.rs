//! The calls of the simulated store: they don't arrive, aren't answered, or take effect when their caller has given them up.

use super::bugs::Bug;
use super::collection::Collection;
use super::life::Life;
use super::world::Inner;
use evergrant::testing::store::StoreError;
use rand::Rng as _;
use std::time::Duration;
use tokio::time::Instant;

impl Collection {
    /// One call: it may not arrive, and its answer may not.
    pub(super) async fn call<T>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut Inner) -> T,
    ) -> Result<T, StoreError> {
        self.arrives(what).await?;
        self.0.world.with(|world| {
            if world.bug == Some(Bug::IgnoresALeap) {
                world.machines[self.0.machine].clock.forget_leap();
            }
        });
        let value = self.0.world.with(|world| {
            world.note(|| format!("{:?} does {what}", self.0));
            world.as_found_by(&self.0, effect)
        });
        self.answered(what).await?;
        Ok(value)
    }

    /// A call that writes: it may also be given up by its caller before the store does what it says.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&Self, &mut Inner) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let late = self.0.world.with(|world| {
            let chance = world.weather.store_late;
            world.happens(chance).then(|| Duration::from_secs(world.random.random_range(1..90)))
        });
        let Some(late) = late else {
            return self.call(what, |world| effect(self, world)).await;
        };
        self.arrives(what).await?;
        // No process sees what comes of it.
        let of = Self(Life { number: 0, ..self.0.clone() });
        let caller = format!("{:?}", self.0);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            of.0.world.with(|world| {
                world.note(|| format!("what {caller} had given up happens now: {what}"));
                world.as_found_by(&of.0, |world| effect(&of, world));
            });
        });
        Err(unavailable(what))
    }

    /// The request of a call goes to the store, which may be away.
    async fn arrives(&self, what: &'static str) -> Result<(), StoreError> {
        self.0.turn(what).await;
        let away = self.0.world.with(|world| {
            let (away, outage) = (world.weather.store_away, world.weather.store_outage);
            if world.happens(outage) {
                let lasts = Duration::from_secs(world.random.random_range(1..900));
                world.note(|| format!("the store goes away for {lasts:?}"));
                world.store_down_until = Some(Instant::now() + lasts);
            }
            let down = world.store_down_until.is_some_and(|until| until > Instant::now());
            down || world.happens(away)
        });
        if away { Err(unavailable(what)) } else { Ok(()) }
    }

    /// The store's answer comes back, or doesn't.
    async fn answered(&self, what: &'static str) -> Result<(), StoreError> {
        self.0.strike(what);
        self.0.go_on().await;
        let silent = self.0.world.with(|world| {
            let chance = world.weather.store_forgets_to_answer;
            world.happens(chance)
        });
        if silent { Err(unavailable(what)) } else { Ok(()) }
    }
}

pub(super) fn unavailable(action: &'static str) -> StoreError {
    StoreError::Unavailable { at: "the simulation".into(), action, source: "it is simulated".into() }
}

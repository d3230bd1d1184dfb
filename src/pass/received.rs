//! The pair that was received for a token which a document holds again.

use super::Line;
use super::recover::provider_of;
use crate::grant::answer::{Class, Reading, read_answer};
use crate::journal::{KeptPair, Received, StaleDocument};
use crate::provider::Provider;
use crate::token::DueToken;
use crate::verdict::ReceivedPair;

impl Line {
    /// The pair that belongs in a document which holds a redeemed token again, as the profile reads it today; `None` where the
    /// journal has none, or one of another provider.
    pub(super) async fn received_for(&self, token: &DueToken, provider: &Provider) -> Option<ReceivedPair> {
        let found = match self.base.journal.pair_for(StaleDocument::of(token, self.base.journal.id())).await {
            Ok(found) => found?,
            Err(error) => {
                self.journal_failed(&error);
                return None;
            }
        };
        let KeptPair { entry, is_parked } = found;
        // A name that isn't configured any more was that of the provider which the document names now.
        if provider_of(&entry, &self.base.providers).is_some_and(|of| of.name != provider.name) {
            return None;
        }
        let answer = entry.answer?;
        let (received_at, now) = (answer.get().received_at, self.base.clock.now());
        let reading = answer.map(|raw| read_answer(&raw, &provider.profile, now));
        let Reading { class: Class::Granted(granted), .. } = reading.get() else { return None };
        // A pair that kept the refresh token holds none to put back.
        granted.refresh_token.as_ref()?;
        let granted = granted.clone();
        let (pair, sent) = (Received::Kept(reading.map(|_| granted)), entry.intent.fingerprint);
        Some(ReceivedPair { pair, sent, received_at, is_parked })
    }
}

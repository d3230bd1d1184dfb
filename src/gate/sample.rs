//! A sample: where some in a row bring no grant, the next tokens are drawn from all over what is due. Bad luck at the front
//! must not keep all others from being asked; only when the sample brings no grant either is the provider left alone.

use tokio::time::Instant;

#[cfg(any(test, feature = "testing"))]
thread_local! {
    static SKIPPED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A deliberate bug for a simulation: from now on no pass on this thread waits for a sample, or it does so again.
#[cfg(any(test, feature = "testing"))]
pub fn skip_samples(skipped: bool) {
    SKIPPED.set(skipped);
}

/// The sample of a pass.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Sample {
    /// None is needed.
    #[default]
    None,
    /// This number of tokens is to be drawn.
    Wanted(usize),
    /// The drawn tokens are being asked.
    UnderWay {
        /// What was sent earlier is none of it.
        since: Instant,
        /// How many more have to fail.
        left: usize,
    },
}

impl Sample {
    /// Asks for a sample, unless there is one.
    pub(super) fn want(&mut self, size: usize) {
        if let Self::None = self {
            *self = Self::Wanted(size);
        }
    }

    /// Is it still to be found out whether the provider grants anything?
    pub(super) const fn is_wanted(self) -> bool {
        !matches!(self, Self::None)
    }

    /// How many tokens are to be drawn.
    pub(super) const fn wanted(self) -> Option<usize> {
        match self {
            Self::Wanted(size) => Some(size),
            Self::None | Self::UnderWay { .. } => None,
        }
    }

    /// The tokens are drawn, or there are no others: from now on each that fails counts.
    pub(super) fn begin(&mut self, drawn: usize, now: Instant) {
        if let Self::Wanted(size) = *self {
            let left = if drawn == 0 { size } else { drawn };
            *self = Self::UnderWay { since: now, left };
        }
    }

    /// One more in a row was not granted, sent at this time, which asks for a sample of this size. Was it the last of the
    /// sample?
    pub(super) fn failed(&mut self, size: usize, sent: Instant) -> bool {
        #[cfg(any(test, feature = "testing"))]
        if SKIPPED.get() {
            return true;
        }
        self.want(size);
        let Self::UnderWay { since, left } = self else { return false };
        if sent < *since {
            return false;
        }
        *left = left.saturating_sub(1);
        *left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn only_what_is_sent_once_the_sample_is_drawn_counts() {
        let mut sample = Sample::default();
        let before = Instant::now();
        assert!(!sample.failed(3, before));
        assert_eq!(sample.wanted(), Some(3));
        assert!(!sample.failed(3, before), "nothing is drawn yet");
        tokio::time::advance(Duration::from_secs(1)).await;
        sample.begin(2, Instant::now());
        assert_eq!(sample.wanted(), None);
        assert!(!sample.failed(3, before), "it was on its way already");
        assert!(!sample.failed(3, Instant::now()));
        assert!(sample.failed(3, Instant::now()), "two were there to be drawn");
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_can_be_drawn_as_many_of_the_next_ones_count() {
        let mut sample = Sample::default();
        sample.want(3);
        sample.begin(0, Instant::now());
        let failed = (1..=3).map(|_| sample.failed(3, Instant::now()));
        assert_eq!(failed.collect::<Vec<_>>(), [false, false, true]);
    }
}

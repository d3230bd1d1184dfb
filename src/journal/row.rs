//! A row as a state machine: what each event makes of it. Pure; the file only does what comes out.
//!
//! | event | may follow | the row becomes |
//! |---|---|---|
//! | answered (SQL guards it, where the answer is written) | intent, unsettled | answer |
//! | the process is gone | intent | unsettled |
//! | sent again | unsettled | it goes; the new row inherits its doubts |
//! | | ask again | set aside |
//! | redeemed | any | it goes, with what was set aside for the token; the token is remembered |
//! | renewed | any | it goes, with what was set aside for the token |
//! | settled | any | it goes |
//! | not processed | intent, answer, in doubt | it goes; where the token was in doubt before: in doubt |
//! | | set aside | it stays |
//! | turned away, lost | intent, answer | in doubt |
//! | turned away | unsettled | it stays: an outage, as it turned out |
//! | can't read | answer with a success, ask again | unread |
//! | ask again | unread | in doubt |
//! | no place | any with a success | orphan; the token is remembered |
//! | given up | any, but intent | it goes; the token of a success that wasn't freed is remembered |
//!
//! A row in doubt is *ask again* where it holds a success, otherwise *unsettled*.

use super::{Doubts, EntryState, Event};
use crate::clock::Timestamp;
use crate::token::{Code, Fingerprint, ParkedWhy};

/// What the events of a row depend on, and change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What it waits for.
    pub(super) state: EntryState,
    /// When its token was sent.
    pub(super) sent_at: Timestamp,
    /// Since when its token is in doubt.
    pub(super) doubts: Doubts,
    /// Why it is in this state.
    pub(super) why: Option<String>,
    /// The address that it was sent to, where its answer was lost.
    pub(super) peer: Option<String>,
    /// Does it hold a 2xx?
    pub(super) is_success: bool,
}

/// What an event makes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    /// The row, as it is from now on; `None`: it goes.
    pub(super) row: Option<Row>,
    /// What is remembered of its token.
    pub(super) remember: Option<Remember>,
    /// Does a pair of the token have its place, so that what was set aside for it goes too?
    pub(super) has_a_pair: bool,
}

/// What is remembered of a token, so that it is never sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remember {
    /// It was redeemed; the token that came for it, where a document has that.
    Redeemed(Option<Fingerprint>),
    /// A person has given it up; what is known of it already stays.
    GivenUp,
}

/// An event that can't follow the state of its row: a fault of ours. The row stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Illegal {
    pub(super) state: EntryState,
    pub(super) event: &'static str,
}

impl Row {
    /// What an event makes of it.
    pub(super) fn on(self, event: &Event) -> Result<Next, Illegal> {
        use EntryState::{Answer, AskAgain, Intent, Orphan, SetAside, Unread, Unsettled};
        let goes = Next { row: None, remember: None, has_a_pair: false };
        let (state, is_success) = (self.state, self.is_success);
        let illegal = Err(Illegal { state, event: event.word() });
        Ok(match (event, state) {
            (Event::Redeemed { successor, .. }, _) => {
                Next { remember: Some(Remember::Redeemed(Some(*successor))), has_a_pair: true, ..goes }
            }
            (Event::Renewed, _) => Next { has_a_pair: true, ..goes },
            (Event::Settled, Intent | Answer | Unsettled | AskAgain | Unread | SetAside | Orphan)
            | (Event::GivenUp, Unsettled | AskAgain | SetAside | Orphan) => goes,
            (Event::NotProcessed, Intent | Answer) if self.doubts == Doubts::default() => goes,
            (Event::NotProcessed, Intent | Answer | Unsettled | AskAgain) => self.in_doubt().stays(),
            (Event::NotProcessed, SetAside) => self.stays(),
            (Event::TurnedAway { cause, peer }, Intent | Answer) => {
                let since = self.doubts.turned_away_since.or(Some(self.sent_at));
                let doubts = Doubts { turned_away_since: since, ..self.doubts };
                self.because(cause.as_str()).to(peer.as_ref()).with(doubts).in_doubt().stays()
            }
            // An outage, as it turned out later: this request only, and none before it.
            (Event::TurnedAway { .. }, Unsettled) => {
                let Doubts { unsettled_since, turned_away_since } = self.doubts;
                let is_other = unsettled_since.is_some_and(|since| since < self.sent_at);
                let turned_away_since = turned_away_since.or(Some(self.sent_at));
                let doubts =
                    Doubts { unsettled_since: unsettled_since.filter(|_| is_other), turned_away_since };
                self.with(doubts).stays()
            }
            (Event::Lost { cause, peer }, Intent | Answer) => {
                self.because(cause.as_str()).to(peer.as_ref()).unsettled().in_doubt().stays()
            }
            (Event::CannotRead(why), Answer | AskAgain) if is_success => {
                self.because(why.as_str()).becomes(Unread).stays()
            }
            (Event::AskAgain(why), Unread) => self.because(why.as_str()).unsettled().in_doubt().stays(),
            (Event::NoPlace(why), Answer | AskAgain | Unread | SetAside | Orphan) if is_success => Next {
                remember: Some(Remember::Redeemed(None)),
                ..self.because(why.word()).becomes(Orphan).stays()
            },
            (Event::GivenUp, Unread | Answer) => {
                let may_be_spent = state == Unread || is_success;
                Next { remember: may_be_spent.then_some(Remember::GivenUp), ..goes }
            }
            (Event::GivenUp, Intent)
            | (
                Event::NotProcessed
                | Event::TurnedAway { .. }
                | Event::Lost { .. }
                | Event::CannotRead(_)
                | Event::AskAgain(_)
                | Event::NoPlace(_),
                _,
            ) => return illegal,
        })
    }

    /// The process that waited for its answer is gone.
    pub(super) fn process_gone(self) -> Self {
        if self.state != EntryState::Intent {
            return self;
        }
        let why = self.why.clone().unwrap_or_else(|| Code::Stopped.word().to_owned());
        self.because(&why).unsettled().in_doubt()
    }

    /// Its token is sent again, in a row of its own. `None`: this one goes.
    pub(super) fn sent_again(self) -> Result<Option<Self>, Illegal> {
        match self.state {
            EntryState::Unsettled => Ok(None),
            EntryState::AskAgain => {
                Ok(Some(self.because(ParkedWhy::Unreadable.word()).becomes(EntryState::SetAside)))
            }
            state => Err(Illegal { state, event: "sent again" }),
        }
    }

    fn becomes(self, state: EntryState) -> Self {
        Self { state, ..self }
    }

    fn because(self, why: &str) -> Self {
        Self { why: Some(why.to_owned()), ..self }
    }

    fn to(self, peer: Option<&String>) -> Self {
        Self { peer: peer.cloned().or(self.peer), ..self }
    }

    fn with(self, doubts: Doubts) -> Self {
        Self { doubts, ..self }
    }

    /// The first sending that no answer settled counts.
    fn unsettled(self) -> Self {
        let since = self.doubts.unsettled_since.or(Some(self.sent_at));
        let doubts = Doubts { unsettled_since: since, ..self.doubts };
        self.with(doubts)
    }

    fn in_doubt(self) -> Self {
        let state = if self.is_success { EntryState::AskAgain } else { EntryState::Unsettled };
        self.becomes(state)
    }

    fn stays(self) -> Next {
        Next { row: Some(self), remember: None, has_a_pair: false }
    }
}

#[cfg(test)]
mod tests;

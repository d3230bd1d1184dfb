//! The groups of the survey as conditions, pure.

use super::super::expression::field_of;
use super::super::{MongoStore, query};
use super::Asking;
use crate::clock::Timestamp;
use crate::store::document::date;
use crate::store::{Mapping, ProviderFilter};
use crate::survey::{Group, span};
use crate::token::{State, Vocabulary as _};
use bson::{Document, doc};

impl MongoStore {
    /// The documents of a group, as conditions that the index answers alone; with arrays, as expressions beside them.
    pub(super) fn group_conditions(
        &self,
        asking: &Asking<'_>,
        of: &ProviderFilter,
        group: Group,
    ) -> Vec<Document> {
        let state = |state: State| self.conditions(asking, of, state_is(&self.mapping, state));
        match group {
            Group::NeedsLogin => state(State::NeedsLogin),
            Group::LostInFlight => state(State::LostInFlight),
            Group::Malformed => state(State::Malformed),
            Group::Unseen => self.conditions(asking, of, no_state(&self.mapping)),
            Group::Unknown => self.live_and(asking, of, without_end(&self.mapping)),
            Group::TooFar => self.live_and(asking, of, too_far(&self.mapping)),
            Group::Ends(number) => {
                let (from, to) = span(number, asking.now);
                self.ends_between(asking, of, from, to)
            }
        }
    }

    /// Live logins that end after the first moment, and up to the second one.
    pub(super) fn ends_between(
        &self,
        asking: &Asking<'_>,
        of: &ProviderFilter,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Document> {
        self.live_and(asking, of, end_between(&self.mapping, from, to))
    }

    fn live_and(&self, asking: &Asking<'_>, of: &ProviderFilter, more: Both) -> Vec<Document> {
        let mut conditions = self.conditions(asking, of, state_is(&self.mapping, State::Live));
        conditions.extend(pick(asking, more));
        conditions
    }

    fn conditions(&self, asking: &Asking<'_>, of: &ProviderFilter, state: Both) -> Vec<Document> {
        let mut conditions: Vec<Document> = self.filter.iter().cloned().collect();
        if asking.is_exact {
            let path = self.mapping.provider.as_ref();
            conditions.extend(path.and_then(|path| match of {
                ProviderFilter::Any => None,
                ProviderFilter::Named(name) => Some(doc! { path.as_str(): name }),
                ProviderFilter::NoneOf(names) => Some(doc! { path.as_str(): { "$nin": names } }),
            }));
        } else {
            conditions.extend(query::of_providers(&self.mapping, of));
        }
        conditions.extend(pick(asking, state));
        conditions
    }
}

/// A condition that an index answers where there are no arrays, and an expression that is always right.
struct Both {
    by_index: Document,
    expression: Document,
    /// Does every document that meets the expression meet the condition, too? Not where something is negated.
    narrows: bool,
}

fn pick(asking: &Asking<'_>, both: Both) -> Vec<Document> {
    let Both { by_index, expression, narrows } = both;
    if asking.is_exact {
        return vec![by_index];
    }
    Some(by_index).filter(|_| narrows).into_iter().chain([doc! { "$expr": expression }]).collect()
}

fn state_is(mapping: &Mapping, state: State) -> Both {
    let path = &mapping.bookkeeping;
    Both {
        by_index: doc! { format!("{path}.state"): state.word() },
        expression: doc! { "$eq": [field_of(path, "state"), { "$literal": state.word() }] },
        narrows: true,
    }
}

fn no_state(mapping: &Mapping) -> Both {
    let (path, words) =
        (&mapping.bookkeeping, State::ALL.iter().map(|state| state.word()).collect::<Vec<_>>());
    Both {
        by_index: doc! { format!("{path}.state"): { "$nin": &words } },
        expression: doc! { "$not": [{ "$in": [field_of(path, "state"), { "$literal": words }] }] },
        narrows: false,
    }
}

/// Neither a date that can be read nor a later one: one condition, because the server serves no two negated ones by an index.
fn without_end(mapping: &Mapping) -> Both {
    let (path, first) = (&mapping.bookkeeping, date(Timestamp::MIN_UTC));
    let end = field_of(path, "refresh_expires_at");
    let is_later =
        doc! { "$and": [{ "$eq": [{ "$type": &end }, "date"] }, { "$gte": [&end, first.clone()] }] };
    Both {
        by_index: doc! { format!("{path}.refresh_expires_at"): { "$not": { "$gte": first } } },
        expression: doc! { "$not": [is_later] },
        narrows: false,
    }
}

fn too_far(mapping: &Mapping) -> Both {
    let (path, last) = (&mapping.bookkeeping, date(Timestamp::MAX_UTC));
    let end = field_of(path, "refresh_expires_at");
    let is_later = doc! { "$and": [{ "$eq": [{ "$type": &end }, "date"] }, { "$gt": [&end, last.clone()] }] };
    Both {
        by_index: doc! { format!("{path}.refresh_expires_at"): { "$gt": last } },
        expression: is_later,
        narrows: true,
    }
}

fn end_between(mapping: &Mapping, from: Timestamp, to: Timestamp) -> Both {
    let path = &mapping.bookkeeping;
    let end = field_of(path, "refresh_expires_at");
    // The first of all spans has no moment before it.
    let after = if from == Timestamp::MIN_UTC { "$gte" } else { "$gt" };
    let (from, to) = (date(from), date(to));
    Both {
        by_index: doc! { format!("{path}.refresh_expires_at"): { after: from.clone(), "$lte": to.clone() } },
        expression: doc! { "$and": [{ after: [&end, from] }, { "$lte": [&end, to] }] },
        narrows: true,
    }
}

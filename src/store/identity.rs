//! Identity of a store: which documents the rows of a journal belong to.
//!
//! Names can be the same at two servers, and a collection can be renamed. So a collection is known by its UUID, and a copy
//! of it by its deployment; a SQLite file is known by an id inside it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What a store is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Kind and names: `mongodb app.tokens`, `sqlite /var/lib/evergrant/tokens.db`. Earlier versions knew nothing else.
    pub name: String,
    /// What tells the documents apart from others under the same name.
    #[serde(default)]
    pub mark: Mark,
    /// Where the server runs; `None` for a file, and where it isn't known.
    #[serde(default)]
    pub deployment: Option<Deployment>,
}

/// The collection's UUID, or the id inside a SQLite file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// This one.
    Told(String),
    /// There is no such collection.
    Absent,
    /// The server doesn't tell it: the right to list collections is missing, or it has none.
    #[default]
    Untold,
}

/// The servers of one database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Deployment {
    /// The replica set's name; `None` for a standalone server and for a sharded cluster.
    pub set: Option<String>,
    /// `host:port` of each member; of the routers of a sharded cluster.
    pub members: BTreeSet<String>,
}

/// How a store stands to the one that a journal's rows belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The same, under whatever name and at whichever member.
    Same,
    /// The same collection UUID at other servers: a copy of the disk.
    Copy,
    /// Another collection or file under the same name: dropped and made again, or restored.
    Replaced,
    /// Another name in the same deployment, and no UUID that says more: it was renamed, or it is another one.
    Renamed,
    /// Another one.
    Other,
}

impl Identity {
    /// A store of which only the name is known.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), mark: Mark::Untold, deployment: None }
    }

    /// How this store stands to the `known` one.
    #[must_use]
    pub fn relation_to(&self, known: &Self) -> Relation {
        let deployments = self.deployment.as_ref().zip(known.deployment.as_ref());
        let apart = deployments.is_some_and(|(here, there)| !here.is(there));
        let same_name = self.name == known.name && !apart;
        match (&self.mark, &known.mark) {
            (Mark::Told(here), Mark::Told(there)) if here == there => {
                if apart {
                    Relation::Copy
                } else {
                    Relation::Same
                }
            }
            (Mark::Told(_) | Mark::Absent, Mark::Told(_)) if same_name => Relation::Replaced,
            (Mark::Told(_) | Mark::Absent, Mark::Told(_)) => Relation::Other,
            // One of them isn't told: by deployment and names, as far as they are known.
            (Mark::Untold, _) | (_, Mark::Untold | Mark::Absent) => {
                if same_name {
                    Relation::Same
                } else if deployments.is_some() && !apart {
                    Relation::Renamed
                } else {
                    Relation::Other
                }
            }
        }
    }

    /// How this store stands to the one that is `known`, for people; `relation` as [`Identity::relation_to`] says.
    #[must_use]
    pub fn how(&self, relation: Relation) -> String {
        let file = self.name.strip_prefix("sqlite ");
        match relation {
            Relation::Same => format!("{self} is the same store"),
            Relation::Copy => {
                format!("{self} is a copy of it: it has the same collection UUID, and none of these servers")
            }
            Relation::Replaced if file.is_some() => {
                format!("under that path stands another file now: it was replaced, or restored ({self})")
            }
            Relation::Replaced => {
                format!(
                    "under that name stands another one now: it was dropped and made again, or restored ({self})"
                )
            }
            Relation::Renamed => format!(
                "this store is another collection there, or the same one renamed (the server doesn't tell the UUID that \
                 would say so): {self}"
            ),
            Relation::Other => format!("this store is another one: {self}"),
        }
    }

    /// What is known of the store now: what it doesn't tell this time is as it was.
    #[must_use]
    pub fn with_what_was_known(mut self, known: &Self) -> Self {
        if self.mark == Mark::Untold {
            self.mark = known.mark.clone();
        }
        self.deployment = self.deployment.or_else(|| known.deployment.clone());
        self
    }
}

impl Deployment {
    /// Is it the same one? A member in common says so, unless the sets have other names: a standalone server may have
    /// become a set.
    fn is(&self, other: &Self) -> bool {
        let other_set = self.set.is_some() && other.set.is_some() && self.set != other.set;
        !other_set && !self.members.is_disjoint(&other.members)
    }
}

/// For people: the name without its kind, and the servers.
impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.strip_prefix("mongodb ").unwrap_or(&self.name);
        formatter.write_str(name)?;
        let Some(Deployment { set, members }) = &self.deployment else { return Ok(()) };
        let members: Vec<_> = members.iter().map(String::as_str).collect();
        write!(formatter, " at {}", members.join(","))?;
        set.as_ref().map_or(Ok(()), |set| write!(formatter, " (replica set {set})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(name: &str, uuid: Option<&str>, set: Option<&str>, members: &[&str]) -> Identity {
        Identity {
            name: format!("mongodb {name}"),
            mark: uuid.map_or(Mark::Untold, |uuid| Mark::Told(uuid.to_owned())),
            deployment: (!members.is_empty()).then(|| Deployment {
                set: set.map(str::to_owned),
                members: members.iter().map(|&member| member.to_owned()).collect(),
            }),
        }
    }

    #[test]
    fn a_store_is_known_by_itself_and_not_by_its_name() {
        use Relation::{Copy, Other, Renamed, Replaced, Same};
        let known = store("app.tokens", Some("u"), Some("rs"), &["a:1", "b:1"]);
        let old = Identity::named("mongodb app.tokens");
        let absent = Identity { mark: Mark::Absent, ..known.clone() };
        let cases = [
            ("itself", known.clone(), &known, Same),
            ("renamed", store("app.logins", Some("u"), Some("rs"), &["a:1", "b:1"]), &known, Same),
            (
                "a member was replaced",
                store("app.tokens", Some("u"), Some("rs"), &["b:1", "c:1"]),
                &known,
                Same,
            ),
            (
                "one member of a set, found alone",
                store("app.tokens", Some("u"), None, &["a:1"]),
                &known,
                Same,
            ),
            ("a copy of the disk", store("app.tokens", Some("u"), Some("rs"), &["x:1"]), &known, Copy),
            (
                "a copy in a set of another name",
                store("app.tokens", Some("u"), Some("t"), &["a:1"]),
                &known,
                Copy,
            ),
            (
                "dropped and made again",
                store("app.tokens", Some("v"), Some("rs"), &["a:1"]),
                &known,
                Replaced,
            ),
            ("gone", absent, &known, Replaced),
            ("another collection", store("app.logins", Some("v"), Some("rs"), &["a:1"]), &known, Other),
            ("the same names elsewhere", store("app.tokens", Some("v"), Some("rs"), &["x:1"]), &known, Other),
            ("no UUID any more", store("app.tokens", None, Some("rs"), &["a:1"]), &known, Same),
            ("no UUID, elsewhere", store("app.tokens", None, Some("rs"), &["x:1"]), &known, Other),
            ("no UUID, another name", store("app.logins", None, Some("rs"), &["a:1"]), &known, Renamed),
            ("noted by an earlier version", known.clone(), &old, Same),
            (
                "noted by an earlier version, renamed since",
                store("app.logins", Some("u"), None, &[]),
                &old,
                Other,
            ),
        ];
        for (what, here, known, relation) in cases {
            assert_eq!(here.relation_to(known), relation, "{what}");
        }
    }

    #[test]
    fn what_a_store_does_not_tell_this_time_stays_known() {
        let known = store("app.tokens", Some("u"), Some("rs"), &["a:1"]);
        let now = Identity::named("mongodb app.tokens").with_what_was_known(&known);
        assert_eq!(now, known);
        assert_eq!(known.to_string(), "app.tokens at a:1 (replica set rs)");
    }
}

//! `journal adopt`: what the journal holds of another store becomes this store's.

use crate::assembly;
use crate::commands::{CommandError, Surroundings, shown};
use crate::config::Need;
use crate::exit::Exit;
use crate::journal::Adoption;
use crate::pass::Base;
use crate::store::{Identity, Relation};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// What a person types to adopt.
const YES: &str = "adopt";

/// What `journal adopt --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Adopted {
    /// The store that everything in the journal belongs to now.
    store: String,
    /// The stores that what was adopted belonged to; empty where all was this store's already.
    from: Vec<From>,
    /// Open entries that were adopted.
    open: u64,
    /// How many of them hold a successful answer, whose pair the next pass writes.
    answers: u64,
    /// Pairs that are kept, should their documents lose them.
    kept: u64,
    /// Parked pairs.
    parked: u64,
}

/// A store that rows belonged to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct From {
    /// Which.
    store: String,
    /// How the store of today stands to it.
    relation: Relation,
}

/// Says what there is of another store, asks, and makes it this store's.
pub(super) async fn adopt(yes: bool, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Provider)?;
    let base = assembly::base_over_what_is_there(&config, &surroundings.clock).await?;
    let adopted = adopt_over(&base, yes, surroundings).await;
    base.journal.close().await;
    let adopted = adopted?;
    surroundings.print(&adopted.text(), &adopted)?;
    Ok(Exit::Well)
}

async fn adopt_over(base: &Base, yes: bool, surroundings: &Surroundings) -> Result<Adopted, CommandError> {
    let (here, found) = base.adoptable().await?;
    if found.from.is_empty() {
        return Ok(Adopted::of(&here, found));
    }
    if !yes {
        confirm(&found_text(&found, &here), surroundings)?;
    }
    Ok(Adopted::of(&here, base.journal.adopt_store(&here).await?))
}

/// Shows what was found, and asks the person at the terminal to type a word.
fn confirm(found: &str, surroundings: &Surroundings) -> Result<(), CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage(found, "confirm with `--yes`, or run it at a terminal"));
    }
    let ask = || {
        let mut talk = io::stderr().lock();
        write!(talk, "{found}\nType {YES} to make them this store's: ")?;
        talk.flush()?;
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed)?;
        Ok(typed)
    };
    let typed: io::Result<String> = surroundings.talk.suspend(ask);
    if typed.map_err(CommandError::io("ask"))?.trim() == YES {
        return Ok(());
    }
    Err(CommandError::usage(
        format!("that isn't `{YES}`: nothing was changed"),
        "`evergrant journal list` shows the entries",
    ))
}

/// What is another store's, whose, and what becomes of it here.
fn found_text(found: &Adoption, here: &Identity) -> String {
    let mut text = "the journal holds, of another store:\n".to_owned();
    for (count, what) in [
        (
            found.open,
            format!(
                "open entries, {} of them with a received answer: the next pass settles them",
                found.answers
            ),
        ),
        (
            found.kept,
            "kept pairs: one goes into a document of this store only where that holds the token it came for"
                .to_owned(),
        ),
        (
            found.parked,
            "parked pairs: they stay parked, and `evergrant journal apply` writes them".to_owned(),
        ),
    ] {
        if count > 0 {
            // Writing into a text can't fail.
            let _ = writeln!(text, "  {count:>8}  {what}");
        }
    }
    for (relation, there) in &found.from {
        let _ = writeln!(text, "They belong to {there}; {}", here.how(*relation));
    }
    text.push_str(
        "Adopt them only if these tokens live in this store now. If it is a copy, and the other store is in use: set \
         `state_dir` to a directory of its own instead.",
    );
    text
}

/// What was adopted, in a line.
pub(in crate::commands) fn adopted_text(adoption: &Adoption, here: &str) -> String {
    let from: Vec<_> = adoption.from.iter().map(|(_, store)| store.as_str()).collect();
    format!(
        "of the journal, {}, {} and {} belong to {here} from now on; they were of {}",
        shown::entries(adoption.open),
        shown::count(adoption.kept, "kept pair"),
        shown::count(adoption.parked, "parked pair"),
        from.join(" and of ")
    )
}

impl Adopted {
    fn of(here: &Identity, adoption: Adoption) -> Self {
        let Adoption { from, open, answers, kept, parked } = adoption;
        let from = from.into_iter().map(|(relation, store)| From { store, relation }).collect();
        Self { store: here.to_string(), from, open, answers, kept, parked }
    }

    fn text(&self) -> String {
        let Self { store, from, open, answers, kept, parked } = self;
        if from.is_empty() {
            return format!("nothing to adopt: all that the journal holds belongs to {store} already");
        }
        let from = from.iter().map(|from| (from.relation, from.store.clone())).collect();
        let adoption = Adoption { from, open: *open, answers: *answers, kept: *kept, parked: *parked };
        let next = "`evergrant run --once` settles the open entries first, and then redeems what is due";
        format!("{}\n  next: {next}", adopted_text(&adoption, store))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::json::assert_documented;
    use crate::store::{Deployment, Mark};

    fn store(name: &str, uuid: Option<&str>, members: &[&str]) -> Identity {
        Identity {
            name: name.into(),
            mark: uuid.map_or(Mark::Untold, |uuid| Mark::Told(uuid.into())),
            deployment: (!members.is_empty()).then(|| Deployment {
                set: Some("rs".into()),
                members: members.iter().map(|&member| member.to_owned()).collect(),
            }),
        }
    }

    #[test]
    fn each_relation_is_named_with_what_would_be_adopted() {
        let known = store("mongodb app.tokens", Some("u"), &["db1:27017"]);
        let file = store("sqlite /var/lib/evergrant/tokens.db", Some("u"), &[]);
        let cases = [
            (store("mongodb app.tokens", Some("v"), &["db1:27017"]), &known),
            (store("mongodb app.logins", None, &["db1:27017"]), &known),
            (store("mongodb app.tokens", Some("u"), &["copy:27017"]), &known),
            (store("mongodb app.tokens", Some("v"), &["db9:27017"]), &known),
            (Identity { mark: Mark::Told("v".into()), ..file.clone() }, &file),
        ];
        let texts = cases.map(|(here, known)| {
            let from = vec![(here.relation_to(known), known.to_string())];
            found_text(&Adoption { from, open: 3, answers: 2, kept: 120, parked: 1 }, &here)
        });
        insta::assert_snapshot!(texts.join("\n\n"));
    }

    #[test]
    fn what_was_adopted_is_said_and_help_names_each_field() {
        let here = store("mongodb app.tokens", Some("v"), &["db1:27017"]);
        let from = vec![(Relation::Replaced, "app.tokens at db1:27017".to_owned())];
        let adopted = Adopted::of(&here, Adoption { from, open: 1, answers: 1, kept: 2, parked: 0 });
        let nothing = Adopted::of(&here, Adoption::default());
        insta::assert_snapshot!(format!("{}\n\n{}", adopted.text(), nothing.text()));
        assert_documented("journal adopt", &adopted);
        assert_documented("journal adopt: from[]", &adopted.from[0]);
    }
}

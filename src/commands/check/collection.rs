//! The store, and a sample of the documents in it.

use super::finding::Check;
use super::{ending, foreign};
use crate::assembly;
use crate::clock::{Clock, Timestamp};
use crate::commands::remark::about_identity;
use crate::commands::tokens::state::{Providers, state_now};
use crate::commands::{CommandError, forecast, shown};
use crate::config::Config;
use crate::exit::Exit;
use crate::journal::Journal;
use crate::pass::{PassError, must_exist};
use crate::room::shortage;
use crate::store::mapping::Mapping;
use crate::store::{Existence, Identity, IndexState, Readiness, StoreError, Trial, TrialPart, TrialRefusal};
use crate::token::{Malformed, State, Subject, TokenDocument};
use std::collections::BTreeMap;
use std::path::Path;

/// Documents that are looked into: enough to see a wrong field name, few enough for any server.
const SAMPLE: usize = 100;

/// What is known of the store after its checks.
pub(super) struct Looked {
    pub(super) checks: Vec<Check>,
    /// Documents in the collection, where it could be asked.
    pub(super) documents: Option<u64>,
}

/// Connects, prepares (which may make the due index and nothing else), and reads a sample.
pub(super) async fn checks(config: &Config, allow_empty: bool, clock: &Clock) -> Looked {
    let mut looked = Looked { checks: Vec::new(), documents: None };
    if let Err(error) = look(config, allow_empty, clock, &mut looked).await {
        looked.checks.push(Check::error("store", error));
    }
    looked
}

async fn look(
    config: &Config,
    allow_empty: bool,
    clock: &Clock,
    looked: &mut Looked,
) -> Result<(), CommandError> {
    if let Some(file) = assembly::embedded_file(config)
        && !file.exists()
    {
        let text = format!("there is no store at `sqlite:{}` yet", file.display());
        let check = if allow_empty {
            Check::warning("store", text)
        } else {
            Check::failed("store", Exit::Usage, text)
        };
        looked.checks.push(check.hint(
            "`evergrant tokens import FILE` makes and fills it; for a MongoDB set `store.url` (`EVERGRANT_STORE_URL`)",
        ));
        return Ok(());
    }
    let store = assembly::store(config).await?;
    let readiness = store.prepare().await?;
    looked.checks.extend(super::clock::check(&*store, clock).await?);
    let now = clock.now();
    looked.documents = Some(readiness.documents);
    looked.checks.push(match must_exist(&readiness.existence) {
        Err(error) if !allow_empty => Check::error("store", error),
        Ok(()) | Err(_) => check_readiness(&store.describe(), &readiness),
    });
    looked.checks.extend(check_index(&readiness.index));
    looked.checks.extend(check_claims_index(&readiness.claims));
    looked.checks.extend(check_identity(config, &store.identity().await?));
    if let Some(file) = assembly::embedded_file(config) {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A file system that doesn't say what is free is full when SQLite says so.
        if let Ok(Some(shortage)) = shortage(folder, config.journal.free_space_floor_bytes) {
            let check = Check::failed("store", Exit::Unavailable, shortage.to_string());
            looked.checks.push(check.hint("free some space there; until then a pass claims nothing"));
        }
    }
    if readiness.documents > 0 {
        match store.trial(now).await {
            Ok(trial) => looked.checks.extend(check_trial(&trial, &config.store.mapping)),
            Err(error) => looked.checks.push(Check::error("validator", error)),
        }
        let read = store.list(None, SAMPLE).await;
        match read {
            Ok(page) => {
                let (providers, all) = (Providers::of(config), page.next.is_none());
                let sample = Sample::of(&page.documents, &providers, now);
                looked.checks.extend(sample.checks(&config.store.mapping, all));
                looked.checks.extend(ending::check(&page.documents, all, &providers, now));
                let ids: Vec<_> = page.documents.iter().map(|document| document.id.clone()).collect();
                looked.checks.extend(check_filter(ids.len(), store.left_out(&ids).await?.len()));
            }
            Err(error @ StoreError::Settings(_)) => return Err(error.into()),
            Err(
                error @ (StoreError::Unavailable { .. }
                | StoreError::Denied { .. }
                | StoreError::Full { .. }
                | StoreError::Failed { .. }),
            ) => {
                looked.checks.push(Check::error("documents", error));
            }
        }
        looked.checks.push(ending::forecast(forecast::ask(&*store, config, now).await));
        looked.checks.extend(foreign::checks(&*store, config, readiness.documents).await);
    }
    Ok(())
}

/// Does `documents.filter` let anything through?
fn check_filter(sample: usize, left_out: usize) -> Option<Check> {
    let (documents, out) = (shown::count(sample as u64, "document"), left_out);
    match (sample, left_out) {
        (_, 0) => None,
        (sample, out) if sample == out => Some(
            Check::warning(
                "filter",
                format!("`documents.filter` leaves out all of the first {documents}: no pass reads them"),
            )
            .hint("is the filter right?"),
        ),
        _ => {
            Some(Check::ok("filter", format!("`documents.filter` leaves out {out} of the first {documents}")))
        }
    }
}

fn check_readiness(at: &str, readiness: &Readiness) -> Check {
    let Readiness { existence, documents, server, .. } = readiness;
    match existence {
        Existence::There => {}
        Existence::Absent { .. } => {
            let text = format!("{at} doesn't exist, on {server}, which is allowed (`--allow-empty`)");
            return Check::warning("store", text);
        }
        Existence::Unknown(reason) => {
            let text = format!(
                "{} in {at}, writable, {server}; the store doesn't let us list the collections ({reason})",
                shown::count(*documents, "document")
            );
            return Check::warning("store", text);
        }
    }
    let text = format!("{} in {at}, writable, {server}", shown::count(*documents, "document"));
    if *documents == 0 {
        let hint = "a pass finds nothing to do: is this the collection that you meant?";
        return Check::warning("store", text).hint(hint);
    }
    Check::ok("store", text)
}

/// What the collection's validator would refuse.
fn check_trial(trial: &Trial, mapping: &Mapping) -> Vec<Check> {
    if trial.documents == 0 {
        return Vec::new();
    }
    let tried = trial.documents;
    if trial.refused.is_empty() {
        let text =
            format!("it lets us write what a pass writes, tried on {}", shown::count(tried, "document"));
        return vec![Check::ok("validator", text)];
    }
    let check = |TrialRefusal { part, documents }: &TrialRefusal| {
        let (what, hint) = match part {
            TrialPart::AsItIs => (
                "the documents as they are, so nothing may be written into them, and nothing is redeemed"
                    .to_owned(),
                "correct the documents, or set the collection's `validationLevel` to `moderate`".to_owned(),
            ),
            TrialPart::Bookkeeping => {
                let field = &mapping.bookkeeping;
                let what = format!("`{field}`, where we keep our bookkeeping, so nothing is redeemed");
                (what, "allow that field, or set `documents.bookkeeping` to one that it allows".to_owned())
            }
            TrialPart::Pair => {
                let fields = [&mapping.refresh_token].into_iter().chain(&mapping.access_token);
                let fields: Vec<_> = fields.map(|path| format!("`{path}`")).collect();
                let what = format!("texts in {}, so new pairs stay in the journal", fields.join(" and "));
                (what, "allow texts in these fields".to_owned())
            }
            TrialPart::Further(field) => (
                format!("a text in `{field}` (`documents.also`), so new pairs are written without it"),
                "allow texts in that field, if the answer holds one for it, or take it out of `documents.also`".to_owned(),
            ),
            TrialPart::Expiry(field) => (
                format!("`{field}` as we write it, so new pairs stay in the journal"),
                "let it take that type, or set `documents.expires_format` to one that it takes".to_owned(),
            ),
        };
        let text = format!(
            "the collection's validator refuses {what}: tried on {}, refused in {documents}",
            shown::count(tried, "document")
        );
        // A pass works without them.
        let is_further = matches!(part, TrialPart::Further(_));
        let check = if *documents == tried && !is_further {
            Check::failed("validator", Exit::Usage, text)
        } else {
            Check::warning("validator", text)
        };
        check.hint(hint)
    };
    trial.refused.iter().map(check).collect()
}

/// Do open rows of the journal belong to another store?
fn check_identity(config: &Config, here: &Identity) -> Option<Check> {
    // A journal that can't be read has a check of its own.
    if let Ok(Some(other)) = Journal::look_for_other_store(&config.state_dir, here) {
        return Some(Check::error("store", PassError::other_store(&config.state_dir, other, here)));
    }
    about_identity(here).map(Check::remark)
}

fn check_index(index: &IndexState) -> Option<Check> {
    match index {
        IndexState::Ready => None,
        IndexState::Older { index, reason, command } => Some(
            Check::warning(
                "due index",
                format!(
                    "`{index}` is of an earlier version, and this user may not create the one that begins with the provider \
                     ({reason}): what is due is read over all providers"
                ),
            )
            .hint(format!("ask a person who may create indexes to run in `mongosh`: {command}")),
        ),
        IndexState::Missing { reason, command } => Some(
            Check::warning(
                "due index",
                format!("missing, and this user may not create it ({reason}): every pass reads the whole collection"),
            )
            .hint(format!("ask a person who may create indexes to run in `mongosh`: {command}")),
        ),
    }
}

fn check_claims_index(index: &IndexState) -> Option<Check> {
    let (IndexState::Missing { reason, command } | IndexState::Older { reason, command, .. }) = index else {
        return None;
    };
    let text =
        format!("missing, and this user may not create it ({reason}): what is claimed is found by a scan");
    let hint = format!("ask a person who may create indexes to run in `mongosh`: {command}");
    Some(Check::warning("index of claims", text).hint(hint))
}

/// What is in some documents.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sample {
    documents: u64,
    due: u64,
    usable: u64,
    with_access_token: u64,
    with_subject: u64,
    malformed: BTreeMap<&'static str, u64>,
    states: BTreeMap<&'static str, u64>,
}

impl Sample {
    fn of(documents: &[TokenDocument], providers: &Providers, now: Timestamp) -> Self {
        let mut sample = Self::default();
        for document in documents {
            sample.documents += 1;
            sample.due += u64::from(document.bookkeeping.due_at.is_none_or(|due_at| due_at <= now));
            sample.with_access_token += u64::from(document.access_token.is_some());
            sample.with_subject += u64::from(document.subject != Subject::from_id(&document.id));
            match &document.refresh_token {
                Ok(_) => sample.usable += 1,
                Err(malformed) => *sample.malformed.entry(malformed.code()).or_default() += 1,
            }
            *sample.states.entry(state_now(document, providers).as_str()).or_default() += 1;
        }
        sample
    }

    fn checks(&self, mapping: &Mapping, all: bool) -> Vec<Check> {
        let name = "documents";
        let of = if all { "all" } else { "the first" };
        let text = format!(
            "of {of} {}: {} with a refresh token that can be sent, {} with an access token, {} with a subject; {} due \
             now; {}",
            self.documents,
            self.usable,
            self.with_access_token,
            self.with_subject,
            self.due,
            listed(&self.states)
        );
        let mut checks = vec![Check::ok(name, text)];
        let missing = self.malformed.get(Malformed::Missing.code()).copied().unwrap_or_default();
        if missing == self.documents {
            let text = format!("none of them has the field `{}`", mapping.refresh_token);
            checks.push(Check::failed(name, Exit::Usage, text).hint(
                "`documents.refresh_token` names the field that holds the refresh token; dots lead into sub-documents",
            ));
        } else if !self.malformed.is_empty() {
            let text = format!(
                "{} of them hold no refresh token that can be sent ({}); a pass marks them `malformed`, and sends nothing",
                self.malformed.values().sum::<u64>(),
                listed(&self.malformed)
            );
            let list = format!("`evergrant tokens list --state {}` names them", State::Malformed.word());
            checks.push(Check::warning(name, text).hint(list));
        }
        if let Some(field) =
            mapping.access_token.as_ref().filter(|_| self.usable > 0 && self.with_access_token == 0)
        {
            let text = format!("none of them has the field `{field}`; a pass would make it");
            checks.push(Check::warning(name, text).hint(
                "is that where your application reads the access token? `documents.access_token` names the field; dots \
                 lead into sub-documents",
            ));
        }
        if self.with_subject == 0 {
            let fields: Vec<_> = mapping.subject.iter().map(|path| format!("`{path}`")).collect();
            let text = format!("none of them has {}, so users are named by `_id`", fields.join(" or "));
            checks.push(
                Check::warning(name, text).hint("set `documents.subject` to a field that names the user"),
            );
        }
        checks
    }
}

/// `live 95, needs_login 3`.
fn listed(counts: &BTreeMap<impl std::fmt::Display, u64>) -> String {
    let parts: Vec<_> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::finding::{CheckReport, Status};
    use super::*;
    use crate::token::{Bookkeeping, RefreshToken, TokenId};

    fn document(
        token: Result<&str, Malformed>,
        subject: Option<&str>,
        provider: Option<&str>,
    ) -> TokenDocument {
        let id = TokenId::from_extended_json("1");
        TokenDocument {
            subject: subject.map_or_else(|| Subject::from_id(&id), Subject::new),
            provider: provider.map(str::to_owned),
            refresh_token: token.map(|token| RefreshToken::new(token.to_owned())),
            access_token: None,
            facts: crate::token::Facts::default(),
            bookkeeping: Bookkeeping::default(),
            id,
        }
    }

    fn mapping() -> Mapping {
        Mapping { provider: Some("provider".parse().unwrap()), ..Mapping::default() }
    }

    #[test]
    fn a_sample_says_what_a_pass_would_meet() {
        let documents = [
            document(Ok("a"), Some("ann@example.com"), Some("box")),
            document(Err(Malformed::Null), None, Some("acme")),
            document(Err(Malformed::Missing), None, None),
        ];
        let sample = Sample::of(&documents, &Providers::named(&["box"]), Timestamp::UNIX_EPOCH);
        insta::assert_snapshot!(CheckReport { checks: sample.checks(&mapping(), true) }.text());
    }

    #[test]
    fn a_field_that_nobody_has_fails_before_everybody_is_marked_as_malformed() {
        let documents = [document(Err(Malformed::Missing), Some("ann@example.com"), None)];
        let checks =
            Sample::of(&documents, &Providers::named(&[]), Timestamp::UNIX_EPOCH).checks(&mapping(), false);
        assert_eq!(checks.len(), 2, "{checks:?}");
        assert_eq!((checks[1].status, checks[1].exit()), (Status::Failed, Exit::Usage));
        assert!(checks[1].detail.contains("`refresh_token`"), "{checks:?}");
    }

    #[test]
    fn a_wrong_name_gives_a_warning_and_a_missing_index_its_command() {
        let mut readiness = Readiness {
            existence: Existence::Unknown("Unauthorized (13)".to_owned()),
            documents: 0,
            server: "MongoDB 6.0.5 (standalone)".to_owned(),
            index: IndexState::Missing { reason: "not authorized".to_owned(), command: "db.x()".to_owned() },
            claims: IndexState::Ready,
            expiry: IndexState::Ready,
        };
        assert_eq!(check_readiness("a.b at db1", &readiness).status, Status::Warning);
        readiness.existence = Existence::There;
        assert_eq!(check_readiness("a.b at db1", &readiness).status, Status::Warning);
        readiness.documents = 1;
        let check = check_readiness("a.b at db1", &readiness);
        assert_eq!(check.detail, "1 document in a.b at db1, writable, MongoDB 6.0.5 (standalone)");
        let index = check_index(&readiness.index).unwrap();
        assert!(index.hint.unwrap().ends_with("`mongosh`: db.x()"));
        assert_eq!(check_index(&IndexState::Ready), None);
        let (reason, command) = ("not authorized".to_owned(), "db.x()".to_owned());
        let older = check_index(&IndexState::Older { index: "evergrant_due".to_owned(), reason, command });
        assert!(older.unwrap().hint.unwrap().ends_with("`mongosh`: db.x()"));
    }
}

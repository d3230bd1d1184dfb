//! What else there is in the collection: documents of providers that aren't configured, and indexes that delete.

use super::finding::Check;
use crate::commands::shown;
use crate::config::{Config, words};
use crate::exit::Exit;
use crate::provider::stranger::Stranger;
use crate::store::mapping::{FieldPath, Mapping};
use crate::store::{Store, Strangers, TtlIndex};
use serde_json::json;
use std::time::Duration;

const NAME: &str = "documents";

/// Asks the store, over the whole collection: a sample would miss the one document with a slip in it.
pub(super) async fn checks(store: &dyn Store, config: &Config, documents: u64) -> Vec<Check> {
    let mapping = &config.store.mapping;
    let shell = store.in_mongosh();
    let mut checks = Vec::new();
    match store.strangers(&config.provider_names).await {
        Ok(strangers) => {
            let names = &config.provider_names;
            checks.extend(check_without(&strangers, documents, mapping, names, shell.as_deref()));
            checks.extend(check_other(&strangers, mapping, &config.provider_names, shell.as_deref()));
        }
        Err(error) => checks.push(Check::error(NAME, error)),
    }
    match store.ttl_indexes().await {
        Ok(indexes) => {
            checks.extend(indexes.iter().map(|index| check_ttl(index, mapping, shell.as_deref())));
        }
        Err(error) => checks.push(Check::error("indexes", error)),
    }
    checks
}

fn field(mapping: &Mapping) -> &str {
    mapping.provider.as_ref().map_or("", FieldPath::as_str)
}

/// A line for `mongosh` that sets the provider of documents which hold `old` (`null`: none) now.
fn set_provider(shell: &str, field: &str, old: Option<&str>, new: &str) -> String {
    format!("{shell}.updateMany({}, {})", json!({ field: old }), json!({ "$set": { field: new } }))
}

/// A collection in which no document names a provider fails: the name of the field is wrong, more likely than all documents.
fn check_without(
    strangers: &Strangers,
    documents: u64,
    mapping: &Mapping,
    configured: &[String],
    shell: Option<&str>,
) -> Option<Check> {
    let (count, field) = (strangers.without, field(mapping));
    if count == 0 {
        return None;
    }
    let hint = match (shell, configured) {
        (Some(shell), [first, others @ ..]) => {
            let choice = if others.is_empty() {
                String::new()
            } else {
                format!(" (with the right one of {})", quoted(configured))
            };
            format!(
                "if all of them belong to one provider, run this in `mongosh`{choice}: {}",
                set_provider(shell, field, None, first)
            )
        }
        _ => format!("write a configured provider's name into that field (one of {})", quoted(configured)),
    };
    if count >= documents {
        let text = format!("no document has the field `{field}`, so a pass sends nothing");
        return Some(Check::failed(NAME, Exit::Usage, text).hint(format!(
            "is the name in `documents.provider` right? With one provider only, remove that setting. Or, {hint}"
        )));
    }
    let have = if count == 1 { "has" } else { "have" };
    let text = format!(
        "{} {have} no provider in `{field}`; a pass sends nothing for them",
        shown::count(count, "document")
    );
    Some(Check::warning(NAME, text).hint(hint))
}

fn check_other(
    strangers: &Strangers,
    mapping: &Mapping,
    configured: &[String],
    shell: Option<&str>,
) -> Option<Check> {
    let field = field(mapping);
    if strangers.other == 0 {
        return None;
    }
    let named = |(name, count): &(String, u64)| {
        let Stranger { meant, .. } = Stranger::named(name, configured);
        let meant = meant.map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)"));
        format!("`{}` {count}{meant}", shown::plain(name))
    };
    let names: Vec<_> = strangers.names.iter().map(named).collect();
    let counted: u64 = strangers.names.iter().map(|(_, count)| count).sum();
    let more = if counted < strangers.other { ", …" } else { "" };
    let slip =
        strangers.names.iter().find_map(|(name, _)| Some((name, Stranger::named(name, configured).meant?)));
    let slip = shell.zip(slip).map(|(shell, (name, meant))| {
        format!(
            "; to correct `{}`, run this in `mongosh`: {}",
            shown::plain(name),
            set_provider(shell, field, Some(name), &meant)
        )
    });
    let text = format!(
        "{} not configured in `{field}`: {}{more}; a pass sends nothing for them",
        if strangers.other == 1 {
            "1 document names a provider that is".to_owned()
        } else {
            format!("{} documents name providers that are", strangers.other)
        },
        names.join(", ")
    );
    Some(Check::warning(NAME, text).hint(format!(
        "configure each as `[providers.NAME]`, or correct the field{}",
        slip.unwrap_or_default()
    )))
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn check_ttl(index: &TtlIndex, mapping: &Mapping, shell: Option<&str>) -> Check {
    let TtlIndex { name, field, after_seconds } = index;
    let ours = field.parse::<FieldPath>().ok();
    let ours = ours.is_some_and(|field| mapping.written().any(|path| path.overlaps(&field)));
    let when = match u64::try_from(*after_seconds).unwrap_or_default() {
        0 => format!("at the date in `{field}`"),
        after => format!("{} after the date in `{field}`", words(Duration::from_secs(after))),
    };
    let by_us = if ours { ", a field that Evergrant writes" } else { "" };
    let command = shell.map_or_else(String::new, |shell| format!(": {shell}.dropIndex({})", json!(name)));
    let text = format!(
        "the TTL index `{name}` deletes a document {when}{by_us}; its refresh token goes with it, and the login is \
         lost"
    );
    Check::warning("TTL index", text)
        .hint(format!("if the documents should stay, drop the index in `mongosh`{command}"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::CheckReport;
    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            provider: Some("provider".parse().unwrap()),
            access_expires_at: Some("accessTokenExpiresAt".parse().unwrap()),
            ..Mapping::default()
        }
    }

    #[test]
    fn what_does_not_belong_here_is_told_with_the_line_that_mends_it() {
        let strangers = Strangers {
            without: 40,
            other: 103,
            names: vec![("acme".to_owned(), 100), ("Xero".to_owned(), 1)],
        };
        let shell = Some("db.getSiblingDB(\"app\").getCollection(\"tokens\")");
        let configured = ["autodesk".to_owned(), "xero".to_owned()];
        let ttl = |name: &str, field: &str, after_seconds| {
            let index = TtlIndex { name: name.to_owned(), field: field.to_owned(), after_seconds };
            check_ttl(&index, &mapping(), shell)
        };
        let checks = check_without(&strangers, 200, &mapping(), &configured, shell)
            .into_iter()
            .chain(check_other(&strangers, &mapping(), &configured, shell))
            .chain([
                ttl("a", "accessTokenExpiresAt", 0),
                ttl("b", "createdAt", 86_400),
                ttl("c", "evergrant.since", 5),
            ]);
        insta::assert_snapshot!(CheckReport { checks: checks.collect() }.text());
    }

    #[test]
    fn where_every_document_has_a_configured_provider_nothing_is_told() {
        let none = Strangers::default();
        assert_eq!(check_without(&none, 5, &mapping(), &[], None), None);
        assert_eq!(check_other(&none, &mapping(), &[], None), None);
    }

    #[test]
    fn a_field_that_no_document_has_fails_the_check() {
        let strangers = Strangers { without: 5, ..Strangers::default() };
        let check = check_without(&strangers, 5, &mapping(), &[], None).unwrap();
        assert_eq!(check.exit(), Exit::Usage);
        assert!(check.hint.unwrap().contains("`documents.provider`"));
        let some = check_without(&strangers, 6, &mapping(), &[], None).unwrap();
        assert_eq!(some.exit(), Exit::Well, "one has it");
    }
}

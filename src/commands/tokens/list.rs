//! `evergrant tokens list`: who is in which state; never a token.

mod ending;

use super::connect_existing;
use super::state::{ListedDocument, Providers, StateNow};
use crate::cli::{Format, ListArgs};
use crate::clock::Timestamp;
use crate::commands::shown::{self, Reader};
use crate::commands::{CommandError, Surroundings};
use crate::config::Config;
use crate::exit::Exit;
use crate::token::Reason;
use ending::Ending;
use serde::Serialize;
use std::collections::BTreeMap;

/// Documents read at once.
const PAGE: usize = 500;

/// The columns, each with its width; the last one holds the subject.
const COLUMNS: [(&str, usize); 9] = [
    ("STATE", 14),
    ("SINCE (UTC)", 16),
    ("DUE", 16),
    ("REFRESHED", 16),
    ("LOGIN ENDS", 16),
    ("FAILURES", 8),
    ("LAST ERROR", 27),
    ("PROVIDER", 10),
    ("SUBJECT", 0),
];

/// All documents that were read, also those that `--state` leaves out of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Documents in the collection; with `--provider`, those of that provider.
    pub documents: u64,
    /// How many are in each state.
    pub states: BTreeMap<StateNow, u64>,
    /// Live ones whose token the provider has refused once; they are asked again.
    pub refused_once: u64,
    /// With `--ending-within`: how many logins end in that time, also those that `--limit` leaves out of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<u64>,
}

/// Lists the documents, as they are read; only a page of them is in memory.
pub(super) async fn run(
    args: &ListArgs,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    check_provider(args, config)?;
    let store = connect_existing(config, &surroundings.clock).await?;
    let providers = Providers::of(config);
    let shows_provider = config.store.mapping.provider.is_some();
    let now = surroundings.clock.now();
    let mut writer = Writer::new(surroundings.global.format, shows_provider, now);
    let wanted: Vec<_> = args.state.iter().copied().map(StateNow::from).collect();
    let mut left = args.limit.map_or(u64::MAX, std::num::NonZeroU64::get);
    let mut ending = args.ending_within.map(|within| Ending::new(now, within, args.limit));
    let mut after = None;
    loop {
        let page = store.list(after.as_ref(), PAGE).await?;
        after = page.next;
        let mut chosen = Vec::new();
        for document in page.documents {
            if args.provider.as_ref().is_some_and(|name| document.provider.as_ref() != Some(name)) {
                continue;
            }
            let document = ListedDocument::new(document, &providers);
            writer.count(&document);
            if wanted.is_empty() || wanted.contains(&document.state) {
                chosen.push(document);
            }
        }
        if let Some(ending) = &mut ending {
            for document in chosen {
                ending.take(document);
            }
            if after.is_none() {
                break;
            }
            continue;
        }
        let cut = chosen.len() as u64 > left || (after.is_some() && chosen.len() as u64 == left);
        chosen.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= chosen.len() as u64;
        let last = after.is_none() || left == 0;
        let mut text = writer.page(&chosen)?;
        if last {
            text.push_str(&writer.end(cut)?);
        }
        if shown::write(&text)? == Reader::Gone || last {
            break;
        }
    }
    if let Some(ending) = ending {
        ending.write(&mut writer)?;
    }
    if writer.listed == 0 {
        tracing::info!("no such documents in {}", store.describe());
    }
    Ok(Exit::Well)
}

/// Refuses `--provider` where no document can name one.
fn check_provider(args: &ListArgs, config: &Config) -> Result<(), CommandError> {
    if args.provider.is_none() || config.store.mapping.provider.is_some() {
        return Ok(());
    }
    Err(CommandError::usage(
        "`--provider` chooses by the documents' provider field, and no field is mapped",
        "leave `--provider` out, or set `documents.provider`",
    ))
}

/// Puts pages into text, or into the parts of one JSON object.
struct Writer {
    format: Format,
    shows_provider: bool,
    now: Timestamp,
    listed: u64,
    totals: Totals,
}

impl Writer {
    fn new(format: Format, shows_provider: bool, now: Timestamp) -> Self {
        Self { format, shows_provider, now, listed: 0, totals: Totals::default() }
    }

    fn count(&mut self, document: &ListedDocument) {
        self.totals.documents += 1;
        *self.totals.states.entry(document.state).or_default() += 1;
        self.totals.refused_once += u64::from(document.refused_once);
    }

    fn page(&mut self, page: &[ListedDocument]) -> Result<String, CommandError> {
        let mut text = String::new();
        for document in page {
            match self.format {
                Format::Text => {
                    if self.listed == 0 {
                        text.push_str(&self.line(COLUMNS.map(|(header, _)| header.to_owned())));
                    }
                    text.push_str(&self.line(document.cells(self.now)));
                }
                Format::Json => {
                    text.push_str(if self.listed == 0 { "{\"documents\":[\n" } else { ",\n" });
                    text.push_str(&json(document)?);
                }
            }
            self.listed += 1;
        }
        Ok(text)
    }

    /// What stands below the list; `cut` when `--limit` ended it.
    fn end(&self, cut: bool) -> Result<String, CommandError> {
        let totals = (!cut).then_some(&self.totals);
        Ok(match self.format {
            Format::Text => match totals {
                Some(totals) => {
                    let ending = self.ending_text().unwrap_or_default();
                    format!("{}{ending}{}\n", if self.listed == 0 { "" } else { "\n" }, totals.text())
                }
                None => format!("\nthe list ends at `--limit {}`; the rest is not counted\n", self.listed),
            },
            Format::Json => {
                let start = if self.listed == 0 { "{\"documents\":[" } else { "\n" };
                format!("{start}],\"totals\":{}}}\n", json(&totals)?)
            }
        })
    }

    fn line(&self, cells: [String; 9]) -> String {
        let is_shown = |header: &str| match header {
            "PROVIDER" => self.shows_provider,
            "LOGIN ENDS" => self.totals.ending.is_some(),
            _ => true,
        };
        let columns = COLUMNS.iter().zip(cells).filter(|((header, _), _)| is_shown(header));
        let (widths, cells): (Vec<_>, Vec<_>) = columns.map(|((_, width), cell)| (*width, cell)).unzip();
        shown::line(&widths, &cells)
    }
}

fn json(value: &impl Serialize) -> Result<String, CommandError> {
    serde_json::to_string(value).map_err(|source| CommandError::NoJson { what: "a document", source })
}

impl Totals {
    /// `300 documents: live 294 (2 refused_once), needs_login 6`
    fn text(&self) -> String {
        let state = |(state, count): (&StateNow, &u64)| {
            let refused = match (state, self.refused_once) {
                (StateNow::Live, 1..) => {
                    format!(" ({} of them {})", self.refused_once, Reason::RefusedOnce.word())
                }
                _ => String::new(),
            };
            format!("{} {count}{refused}", state.as_str())
        };
        let states: Vec<_> = self.states.iter().map(state).collect();
        let documents = shown::count(self.documents, "document");
        if states.is_empty() { documents } else { format!("{documents}: {}", states.join(", ")) }
    }
}

impl ListedDocument {
    fn cells(&self, now: Timestamp) -> [String; 9] {
        let due = match self.due_at {
            // No pass asks for it, whatever its date says.
            _ if !self.state.is_asked() => shown::NOTHING.to_owned(),
            _ if self.is_claimed(now) => "claimed".to_owned(),
            None => "now".to_owned(),
            Some(at) if at <= now => "now".to_owned(),
            at => shown::instant(at),
        };
        [
            self.state.as_str().to_owned(),
            shown::instant(self.since),
            due,
            shown::instant(self.refreshed_at),
            shown::instant(self.login_ends_at),
            self.failures.to_string(),
            self.trouble(now),
            self.provider.as_deref().map_or_else(|| shown::NOTHING.to_owned(), shown::plain),
            self.subject.to_string(),
        ]
    }

    /// Why it isn't refreshed, in a few words.
    fn trouble(&self, now: Timestamp) -> String {
        let code = self.last_error.as_ref().map(|error| error.code.as_str());
        if let Some(malformed) = self.malformed {
            let meant = self.provider_meant.as_ref().map(|meant| format!(" (`{meant}`?)"));
            return format!("{malformed}{}", meant.unwrap_or_default());
        }
        match code {
            None => shown::NOTHING.to_owned(),
            Some(code) if self.refused_once => format!("{}: {code}", Reason::RefusedOnce.word()),
            Some(code) if self.state.is_asked() && self.due_at.is_some_and(|at| at > now) => {
                format!("put off: {code}")
            }
            Some(code) => code.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{at, document, listed, marked};
    use super::*;
    use crate::help::json::assert_documented;
    use crate::token::{Bookkeeping, Evidence, Malformed, State};

    fn now() -> Timestamp {
        at("2026-11-21T03:00:00Z")
    }

    #[test]
    fn a_page_behind_another_has_no_second_header_and_all_are_counted_at_the_end() {
        let due_at = Some(at("2026-11-21T03:15:00Z"));
        let refused = Bookkeeping { due_at, ..marked(State::Live, "invalid_grant", Some("a")) };
        let mut away = Bookkeeping { due_at, ..marked(State::Live, "http_503", Some("a")) };
        if let Some(error) = &mut away.last_error {
            error.class = Evidence::Transient.into();
        }
        let page = [
            listed(document(Ok("a"), marked(State::NeedsLogin, "invalid_grant", Some("a")))),
            listed(document(Ok("a"), refused)),
            listed(document(Ok("a"), away)),
            listed(document(Ok("a"), Bookkeeping::default())),
            listed(document(Err(Malformed::Null), Bookkeeping::default())),
        ];
        let mut writer = Writer::new(Format::Text, false, now());
        for document in &page {
            writer.count(document);
        }
        let pages =
            [writer.page(&page).unwrap(), writer.page(&page[4..]).unwrap(), writer.end(false).unwrap()];
        insta::assert_snapshot!(pages.concat());
    }

    #[test]
    fn a_provider_that_is_not_configured_is_shown_with_the_one_that_was_meant() {
        let slip = ListedDocument {
            provider: Some("Xero".to_owned()),
            provider_meant: Some("xero".to_owned()),
            malformed: Some("unknown_provider"),
            state: StateNow::Malformed,
            ..listed(document(Ok("a"), Bookkeeping::default()))
        };
        let mut writer = Writer::new(Format::Text, true, now());
        let text = writer.page(&[slip]).unwrap();
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..4], ["malformed", "-", "-", "-"]);
        assert_eq!(row[5..], ["unknown_provider", "(`xero`?)", "Xero", "ann@example.com"]);
    }

    /// What `tokens list --format json` prints. It is written a page at a time, so a large one is for a streaming reader.
    #[derive(Debug, Clone, Serialize)]
    struct TokenList {
        /// The documents, in the order of their `_id`; with `--ending-within` the soonest end first.
        documents: Vec<ListedDocument>,
        /// How many there are of each state; `null` where `--limit` ended the list before all were read.
        totals: Option<Totals>,
    }

    #[test]
    fn help_names_each_field_of_the_json() {
        assert_documented("tokens list", &TokenList { documents: vec![], totals: None });
        let document = listed(document(Ok("a"), Bookkeeping::default()));
        assert_documented("tokens list: documents[]", &document);
    }

    #[test]
    fn pages_make_one_json_object_with_the_totals() {
        let page = [listed(document(Ok("a"), Bookkeeping::default()))];
        for (pages, documents) in [(&[&page[..], &page[..]][..], 2), (&[&[][..]], 0), (&[&page[..], &[]], 1)]
        {
            let mut writer = Writer::new(Format::Json, false, now());
            let mut text = String::new();
            for page in pages {
                for document in *page {
                    writer.count(document);
                }
                text.push_str(&writer.page(page).unwrap());
            }
            text.push_str(&writer.end(false).unwrap());
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["documents"].as_array().unwrap().len(), documents, "{text}");
            assert_eq!(json["totals"]["documents"], documents);
        }
    }

    #[test]
    fn a_list_that_a_limit_has_cut_counts_nothing() {
        let page = [listed(document(Ok("a"), Bookkeeping::default()))];
        let mut writer = Writer::new(Format::Json, false, now());
        let text = [writer.page(&page).unwrap(), writer.end(true).unwrap()].concat();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(json["totals"].is_null(), "{text}");
    }
}

//! `evergrant help outcomes`, `reasons` and `exit-codes`: the closed lists of words, each with its meaning and advice.

use super::page::Page;
use crate::exit::Exit;
use crate::provider::PERSON_MUST_COME;
use crate::report::{Outcome, WhyLiveAgain};
use crate::token::{Code, Evidence, ParkedWhy, Reason, State, Vocabulary};
use serde_json::{Value, json};

/// A list of words with its heading and the name that it has in JSON.
struct List {
    name: &'static str,
    heading: &'static str,
    words: Vec<[&'static str; 3]>,
}

fn list<V: Vocabulary>(name: &'static str, heading: &'static str) -> List {
    let words = V::ALL.iter().map(|known| [known.word(), known.meaning(), known.advice()]).collect();
    List { name, heading, words }
}

fn outcomes() -> [List; 3] {
    [
        list::<Outcome>("outcomes", "OUTCOMES: where a document ends in a pass; the counts of the report"),
        list::<State>(
            "states",
            "STATES: `evergrant.state` in a document, and `evergrant tokens list --state`",
        ),
        list::<WhyLiveAgain>(
            "live_again",
            "LIVE AGAIN: why a marked user is live again with the same refresh token (`live_again` in the report)",
        ),
    ]
}

fn reasons() -> [List; 4] {
    [
        list::<Reason>("still_due", "STILL DUE: the reasons beside `still_due` in the report"),
        list::<Code>(
            "codes",
            "CODES: `last_error.code` and `last_error.lost.cause` in a document, WHY in `evergrant journal list`",
        ),
        list::<ParkedWhy>("parked", "PARKED: why a pair has no place (`evergrant journal list --orphans`)"),
        list::<Evidence>("classes", "CLASSES: `last_error.class` in a document"),
    ]
}

pub(super) fn outcomes_text() -> String {
    let mut page = Page::new("Outcomes");
    page.paragraph("Every document that a pass takes ends in exactly one outcome, and the counts add up.");
    entries(&mut page, &outcomes());
    page.end()
}

pub(super) fn reasons_text() -> String {
    let mut page = Page::new("Reasons");
    page.paragraph(
        "A word that is not listed here is the provider's own code (`invalid_grant`), or `http_` and a status.",
    );
    page.paragraph(&format!(
        "OpenID Connect's codes {} say that a person must log in: they are refusals at every provider.",
        PERSON_MUST_COME.map(|code| format!("`{code}`")).join(", ")
    ));
    entries(&mut page, &reasons());
    page.end()
}

pub(super) fn outcomes_data() -> Value {
    data(&outcomes())
}

pub(super) fn reasons_data() -> Value {
    data(&reasons())
}

pub(super) fn exit_codes_text() -> String {
    let mut page = Page::new("Exit codes");
    page.paragraph(
        "A code is about this run: problems that an earlier pass has reported do not change it again. Where several apply, \
         the most urgent is given, in this order: 1, 8, 7, 5, 2, 3, 4.",
    );
    for exit in Exit::ALL {
        page.entry(&format!("{}  {}", exit.code(), exit.word()), &[exit.meaning(), exit.advice()]);
    }
    page.paragraph(
        "`evergrant run` without `--once` logs what a pass ends with, and goes on. It ends with 0 when it is stopped. When it is \
         stopped twice, it ends with the code of the pass that it gave up. It ends with 2 or 6 at its start, and with 7 or 8 \
         when store or journal fail.",
    );
    page.end()
}

pub(super) fn exit_codes_data() -> Value {
    let codes: Vec<_> = Exit::ALL
        .iter()
        .map(|exit| {
            json!({
                "code": exit.code(), "word": exit.word(), "meaning": exit.meaning(), "advice": exit.advice(),
            })
        })
        .collect();
    json!({ "exit_codes": codes })
}

fn entries(page: &mut Page, lists: &[List]) {
    for list in lists {
        page.heading(list.heading);
        for [word, meaning, advice] in &list.words {
            page.entry(word, &[meaning, advice]);
        }
    }
}

fn data(lists: &[List]) -> Value {
    let object =
        |[word, meaning, advice]: &[&str; 3]| json!({ "word": word, "meaning": meaning, "advice": advice });
    lists
        .iter()
        .map(|list| (list.name.to_owned(), list.words.iter().map(object).collect::<Value>()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

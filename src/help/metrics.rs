//! `evergrant help metrics`: every metric, from the one table of metrics.

use super::page::Page;
use crate::watch::metrics::{Family, Kind, families};
use serde_json::{Value, json};

pub(super) fn text() -> String {
    let mut page = Page::new("Metrics");
    page.paragraph(
        "The page is in Prometheus' text format 0.0.4. Every series of a closed list of labels is there from the first page on, with 0. \
         Times are seconds since 1970, and a time that has not come yet is absent. No label holds a user, a document, or a word that a \
         provider made up.",
    );
    page.paragraph(
        "They reach Prometheus in one of three ways. A service is scraped at `/metrics` (`admin.listen`). `metrics.file` is for the \
         textfile collector of node_exporter, and `metrics.push_url` for a Pushgateway: both receive the page after each pass, also of \
         `run --once`. `deploy/monitoring/prometheus.yml` has the three jobs.",
    );
    page.paragraph(
        "Counters and histograms stand only on a page that is scraped: those of a process that lives for one pass would be a lie. \
         `deploy/monitoring` has alerts and a dashboard, and `evergrant help runbook` says what to do about each alert.",
    );
    for family in families() {
        page.entry(&heading(family), &[family.help]);
    }
    page.end()
}

pub(super) fn data() -> Value {
    let metrics: Vec<_> = families()
        .map(|family| {
            json!({
                "name": family.name,
                "type": kind(family.kind),
                "labels": family.labels,
                "meaning": family.help,
            })
        })
        .collect();
    json!({ "metrics": metrics })
}

fn heading(family: &Family) -> String {
    let labels =
        if family.labels.is_empty() { String::new() } else { format!("{{{}}}", family.labels.join(", ")) };
    format!("{}{labels}  ({})", family.name, kind(family.kind))
}

/// As the page says it after `# TYPE`.
const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

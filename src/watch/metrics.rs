//! The status as metrics, in Prometheus' text format 0.0.4: for a scrape, a file, and a Pushgateway.
//!
//! Every series of a closed list is there from the first page on, with 0: an alert on a series that is absent says nothing. A label
//! value comes from a closed list, or is a configured name; never one that a provider or a document made up.

mod families;
mod process;

use super::Status;
use crate::report::Durations;
use families::FAMILIES;
use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use std::borrow::Cow;

/// The media type of a page.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// Metrics of one name.
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// What kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
    /// Its series.
    series: fn(&Status) -> Vec<Series<'_>>,
}

/// One series: the values of its labels, in their order, and what it stands at.
type Series<'a> = (Vec<Cow<'a, str>>, Value);

/// What a series stands at.
enum Value {
    Number(f64),
    Durations(Durations),
}

/// All metrics, in the order of the page.
pub fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().flat_map(|room| room.iter())
}

/// Which metrics a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them: for a scrape.
    All,
    /// Without counters and histograms: those of a process that lives for one pass would be a lie. And without what the system
    /// says of the process: a collector that reads them has such metrics of its own.
    Gauges,
}

impl Which {
    fn has(self, family: &Family) -> bool {
        self == Self::All || family.kind == Kind::Gauge && !family.name.starts_with("process_")
    }
}

/// The page; `labels` are added to each series.
#[must_use]
pub fn page(status: &Status, which: Which, labels: &[(String, String)]) -> String {
    let mut page = String::new();
    for family in families().filter(|family| which.has(family)) {
        let metrics: Vec<_> =
            (family.series)(status).into_iter().map(|series| metric(family, series, labels)).collect();
        if metrics.is_empty() {
            continue;
        }
        let mut encoded = MetricFamily::default();
        encoded.set_name(family.name.to_owned());
        encoded.set_help(family.help.to_owned());
        encoded.set_field_type(match family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        encoded.set_metric(metrics);
        // One family after the other: with a thousand providers they would fill the memory together.
        let written = TextEncoder::new().encode_utf8(&[encoded], &mut page);
        written.expect("a family with a name and metrics can be written into a string");
    }
    page
}

fn metric(family: &Family, (values, value): Series<'_>, labels: &[(String, String)]) -> Metric {
    let mut metric = Metric::default();
    let own = family.labels.iter().zip(&values).map(|(name, value)| pair(name, value));
    metric.set_label(own.chain(labels.iter().map(|(name, value)| pair(name, value))).collect());
    match (family.kind, value) {
        (Kind::Counter, Value::Number(number)) => {
            let mut counter = Counter::default();
            counter.set_value(number);
            metric.set_counter(counter);
        }
        (_, Value::Number(number)) => {
            let mut gauge = Gauge::default();
            gauge.set_value(number);
            metric.set_gauge(gauge);
        }
        (_, Value::Durations(durations)) => metric.set_histogram(histogram(&durations)),
    }
    metric
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn histogram(durations: &Durations) -> Histogram {
    let mut count = 0;
    let mut buckets = Vec::with_capacity(Durations::BOUNDS.len());
    for (bound, ended) in Durations::BOUNDS.iter().zip(durations.buckets) {
        count += ended;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(count);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(durations.buckets.iter().sum());
    histogram.set_sample_sum(durations.sum.as_secs_f64());
    histogram
}

#[cfg(test)]
pub(super) mod tests;

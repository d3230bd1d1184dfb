//! Keys of what a process shows of itself, and to whom it tells it.

use super::super::DefaultValue::{Follows, Is};
use super::{Key, Kind, top};

/// `admin.*`, `metrics.*`, `ping_url`
pub(super) const KEYS: &[Key] = &[
    top(
        "admin.listen",
        Kind::Text,
        Is("127.0.0.1:9877"),
        "Address of /livez, /readyz, /metrics and /status.json, for `run` without `--once`: IP:PORT, or off.",
    ),
    top(
        "admin.token",
        Kind::Secret,
        Follows("none"),
        "Token for /status.json (Bearer, or as a password). Without one it is shown only where `admin.listen` is loopback.",
    ),
    top(
        "admin.token_file",
        Kind::Path,
        Follows("none"),
        "File that holds that token, in place of `admin.token`.",
    ),
    top(
        "admin.hosts",
        Kind::Texts,
        Follows("none"),
        "Host names under which a browser may ask for /status.json, beside IP addresses and localhost.",
    ),
    top(
        "metrics.file",
        Kind::Path,
        Follows("none"),
        "File that receives the metrics after each pass, for node_exporter's textfile collector: a name that ends in .prom.",
    ),
    top(
        "metrics.push_url",
        Kind::Secret,
        Follows("none"),
        "Pushgateway that receives the metrics after each pass: http://HOST:9091/metrics/job/evergrant/instance/NAME.",
    ),
    top(
        "metrics.push_url_file",
        Kind::Path,
        Follows("none"),
        "File that holds that URL, in place of `metrics.push_url`.",
    ),
    top(
        "metrics.labels",
        Kind::Parameters,
        Follows("none"),
        "Labels that are added to each metric, such as app=crm.",
    ),
    top(
        "ping_url",
        Kind::Secret,
        Follows("none"),
        "URL that is told when a pass begins (/start) and how it ended (/fail), as a check of healthchecks.io takes it.",
    ),
    top("ping_url_file", Kind::Path, Follows("none"), "File that holds that URL, in place of `ping_url`."),
];

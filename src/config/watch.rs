//! What a process shows of itself, and to whom it tells it.

use super::error::ConfigError;
use super::layers::Layers;
use super::secret::{self, Places, Secret};
use super::warning::Warning;
use crate::watch::{Listen, SecretUrl, WatchSettings};
use std::collections::BTreeMap;
use std::path::Path;
use url::Url;

/// The word that keeps the process from listening.
const OFF: &str = "off";

/// The settings; `credentials` is systemd's directory.
pub(super) fn build(
    layers: &Layers,
    credentials: Option<&Path>,
    warnings: &mut Vec<Warning>,
) -> Result<WatchSettings, ConfigError> {
    let mut find = |key, file_key, credential: &str| {
        warnings.extend(secret::command_line_warning(layers, key));
        let credential = credentials.map(|directory| directory.join(credential));
        secret::find(layers, &Places { key, file_key, credential })
    };
    let token = find("admin.token", "admin.token_file", "admin_token")?;
    let push = find("metrics.push_url", "metrics.push_url_file", "metrics_push_url")?;
    let ping = find("ping_url", "ping_url_file", "ping_url")?;
    Ok(WatchSettings {
        listen: listen(layers)?,
        token: token.map(|token| token.text.into()),
        hosts: layers.read("admin.hosts").unwrap_or_default(),
        metrics_file: layers.path("metrics.file"),
        push_url: push
            .map(|push| {
                url(&push, "metrics.push_url", "http://pushgateway:9091/metrics/job/evergrant/instance/crm")
            })
            .transpose()?,
        labels: labels(layers)?,
        ping_url: ping.map(|ping| url(&ping, "ping_url", "https://hc-ping.com/your-uuid")).transpose()?,
    })
}

fn url(secret: &Secret, key: &str, example: &str) -> Result<SecretUrl, ConfigError> {
    let url = Url::parse(&secret.text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(SecretUrl).ok_or_else(|| ConfigError::Value {
        at: secret.at.clone(),
        key: key.to_owned(),
        found: "no URL of HTTP".to_owned(),
        expected: "a URL of HTTP".to_owned(),
        hint: Some(format!("such as `{example}`")),
    })
}

fn listen(layers: &Layers) -> Result<Option<Listen>, ConfigError> {
    let (key, is_set) = ("admin.listen", layers.is_set("admin.listen"));
    let text: String = layers.defaulted(key);
    if text == OFF {
        return Ok(None);
    }
    let address = text.parse().map_err(|_| ConfigError::Value {
        at: layers.at(key),
        key: key.to_owned(),
        found: format!("the text `{text}`"),
        expected: format!("an IP address with a port, or `{OFF}`"),
        hint: Some(
            "`127.0.0.1:9877` is seen from this machine only, `0.0.0.0:9877` from everywhere".to_owned(),
        ),
    })?;
    Ok(Some(Listen { address, is_set }))
}

/// The labels: names of Prometheus' form that no metric of ours has.
fn labels(layers: &Layers) -> Result<Vec<(String, String)>, ConfigError> {
    let key = "metrics.labels";
    let labels: BTreeMap<String, String> = layers.read(key).unwrap_or_default();
    let ours = || crate::watch::metrics::families().flat_map(|family| family.labels);
    for name in labels.keys() {
        let mut letters = name.chars();
        let is_name = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let is_taken = ours().any(|label| label == name) || ["le", "job", "instance"].contains(&&**name);
        if !is_name || is_taken {
            return Err(ConfigError::Value {
                at: layers.at(&format!("{key}.{name}")),
                key: key.to_owned(),
                found: format!("the label `{name}`"),
                expected: "a name of letters, digits and `_`".to_owned(),
                hint: is_taken
                    .then(|| "that name has a meaning already: choose another one, like `app`".to_owned()),
            });
        }
    }
    Ok(labels.into_iter().collect())
}

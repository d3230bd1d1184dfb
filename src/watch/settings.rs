//! What the settings say of metrics and health.

use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// What a process shows of itself, and to whom it tells it.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// Where it listens; none where that is off.
    pub listen: Option<Listen>,
    /// What opens what isn't open to all.
    pub token: Option<SecretString>,
    /// Names under which a browser may ask.
    pub hosts: Vec<String>,
    /// The file that receives the metrics.
    pub metrics_file: Option<PathBuf>,
    /// The Pushgateway that receives them.
    pub push_url: Option<SecretUrl>,
    /// Labels that are added to each metric.
    pub labels: Vec<(String, String)>,
    /// What is told when a pass begins and how it ended.
    pub ping_url: Option<SecretUrl>,
}

/// An address to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Which.
    pub address: SocketAddr,
    /// Did a person choose it? Then a port that is taken is an error.
    pub is_set: bool,
}

/// A URL that may hold a password, or is one. Its `Debug` shows the host alone.
#[derive(Clone)]
pub struct SecretUrl(pub Url);

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("SecretUrl").field(&self.0.host_str()).finish()
    }
}

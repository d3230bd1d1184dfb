//! From the settings to the driver's options; nothing of the URL but the hosts ever leaves this file.

use super::failure;
use crate::store::{StoreError, StoreSettings, hosts_and_path};
use bson::Document;
use mongodb::{
    error::ErrorKind,
    options::{ClientOptions, ConnectionString},
};
use secrecy::ExposeSecret;
use std::time::Duration;
use tracing::Instrument as _;

/// How long a call waits for a usable server, unless the URL says `serverSelectionTimeoutMS`.
///
/// An election takes a few seconds; a call that waits much longer only delays the message that says what is wrong.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take to be made, unless the URL says `connectTimeoutMS`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that a pool may have, unless the URL says `maxPoolSize`.
///
/// The least is the driver's default; the most keeps one process well below what a small Atlas cluster allows (500).
const POOL_SIZES: std::ops::RangeInclusive<u32> = 10..=100;

/// How `store.url` must look; a driver's own message about it may quote a piece of the password.
const EXPECTED_URL: &str = "the store's URL is not a MongoDB URL that can be used; expected \
     `mongodb://user:password@host1:27017,host2/database?option=value` or `mongodb+srv://…`, with each of \
     `: / ? # [ ] @ %` in the user name and the password percent-encoded";

/// What a URL says.
pub(super) struct Options {
    /// The driver's part.
    pub(super) driver: ClientOptions,
    /// The hosts, for people.
    pub(super) hosts: String,
    /// `socketTimeoutMS`: the longest wait for any answer.
    pub(super) longest_wait: Option<Duration>,
}

/// Reads the URL (and the DNS, for `mongodb+srv`).
pub(super) async fn options(settings: &StoreSettings, concurrency: usize) -> Result<Options, StoreError> {
    let url = settings.url.expose_secret();
    let hosts = hosts_and_path(url).0.to_owned();
    let Ok(mut url) = ConnectionString::parse(url) else {
        return Err(StoreError::Settings(EXPECTED_URL.to_owned()));
    };
    // Other drivers know it, so it stands in many URLs; this one refuses them. We keep the time of every call anyway.
    #[expect(deprecated, reason = "the driver can't honour it, and so takes it for an error")]
    let longest_wait = url.socket_timeout.take().filter(|wait| !wait.is_zero());
    let parsed = tokio::spawn(async move { ClientOptions::parse(url).await }.in_current_span()).await;
    let mut options = match parsed {
        Ok(Ok(options)) => options,
        Ok(Err(error)) if matches!(*error.kind, ErrorKind::DnsResolve { .. } | ErrorKind::Io(_)) => {
            return Err(failure::sort(&hosts, "look up its hosts", &error, None));
        }
        Ok(Err(_)) | Err(_) => return Err(StoreError::Settings(EXPECTED_URL.to_owned())),
    };
    let pool = u32::try_from(concurrency).unwrap_or(u32::MAX).clamp(*POOL_SIZES.start(), *POOL_SIZES.end());
    options.max_pool_size.get_or_insert(pool);
    options.app_name.get_or_insert_with(|| "evergrant".to_owned());
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    Ok(Options { driver: options, hosts, longest_wait })
}

/// Reads the extra filter.
pub(super) fn extra_filter(json: &str) -> Result<Document, StoreError> {
    let parsed = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json);
    parsed
        .map_err(|error| error.to_string())
        .and_then(|map| Document::try_from(map).map_err(|error| error.to_string()))
        .map_err(|error| {
            StoreError::Settings(format!(
                "`documents.filter` is not a condition in extended JSON ({error}); \
                 expected an object like `{{\"kind\": \"oauth\"}}`"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_of_a_url_are_shown() {
        for (url, shown) in [
            ("mongodb://user:s3cret@db1:27017,db2/logins?replicaSet=rs", "db1:27017,db2"),
            ("mongodb+srv://user:s3cret@cluster.example.net/", "cluster.example.net"),
            ("mongodb://localhost?x=1", "localhost"),
            ("mongodb://user:s3@cret@db1", "db1"),
            ("mongodb://user:s3/cret@db1/x", "db1"),
            ("mongodb://127.0.0.1:1/?replicaSet=rs&retrywrites=false&appName=@myaccount@", "127.0.0.1:1"),
            ("mongodb://user:s3@cret@db1/logins?appName=@myaccount@", "db1"),
            ("nonsense", ""),
        ] {
            assert_eq!(hosts_and_path(url).0, shown);
        }
    }

    #[test]
    fn a_filter_is_an_object_in_extended_json() {
        assert!(extra_filter(r#"{"_id": {"$gt": {"$oid": "507f1f77bcf86cd799439011"}}}"#).is_ok());
        for bad in ["", "[]", "{", r#"{"at": {"$date": "soon"}}"#] {
            assert!(extra_filter(bad).is_err(), "{bad}");
        }
    }
}

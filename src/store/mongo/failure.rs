//! Errors of the server and the driver, sorted by what the caller does next, and stripped of every value.
//!
//! A server's message may quote the command it refuses, tokens in it, and the driver's error carries the whole reply:
//! of what the server says only the code is passed on.

use super::unreachable;
use super::update::Reply;
use crate::store::{StoreError, Unwritable};
use bson::{Bson, Document};
use mongodb::error::{Error, ErrorKind};
use std::time::Duration;
use tracing::debug;

/// What we tell of an error, and what a person may do about it.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Cause {
    text: String,
    hint: Option<&'static str>,
    /// The server's code, where one is the cause.
    code: Option<i32>,
}

impl Cause {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None, code: None }
    }

    pub(super) fn hinted(text: impl Into<String>, hint: &'static str) -> Self {
        Self { text: text.into(), hint: Some(hint), code: None }
    }

    fn of_code(code: i32) -> Self {
        let hint = (code == NOT_PRIMARY_OR_SECONDARY).then_some(unreachable::NO_PRIMARY_HINT);
        Self { text: code_name(code), hint, code: Some(code) }
    }

    pub(super) const fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

/// What a person may do about a store that is not available and doesn't say why.
const UNAVAILABLE_HINT: &str =
    "does the server run, and may this machine reach it? `store.url` (`EVERGRANT_STORE_URL`) says where";

/// What a person may do about a store that is not available, when its error is one of ours.
pub(in crate::store) fn hint_of(
    error: &(dyn std::error::Error + Send + Sync + 'static),
) -> Option<&'static str> {
    error.downcast_ref::<Cause>().map(|cause| cause.hint().unwrap_or(UNAVAILABLE_HINT))
}

/// The codes (`error_codes.yml` of the server) that we meet: number, name, and whether the same call may go well later.
const CODES: [(i32, &str, bool); 46] = [
    (2, "BadValue", false),
    (6, "HostUnreachable", true),
    (7, "HostNotFound", true),
    (8, "UnknownError", false),
    (9, "FailedToParse", false),
    (11, "UserNotFound", false),
    (13, "Unauthorized", false),
    (18, "AuthenticationFailed", false),
    (24, "LockTimeout", true),
    (26, "NamespaceNotFound", false),
    (28, "PathNotViable", false),
    (43, "CursorNotFound", true),
    (46, "LockBusy", true),
    (50, "MaxTimeMSExpired", true),
    (59, "CommandNotFound", false),
    (64, "WriteConcernFailed", true),
    (79, "UnknownReplWriteConcern", false),
    (85, "IndexOptionsConflict", false),
    (86, "IndexKeySpecsConflict", false),
    (89, "NetworkTimeout", true),
    (91, "ShutdownInProgress", true),
    (100, "UnsatisfiableWriteConcern", true),
    (112, "WriteConflict", true),
    (121, "DocumentValidationFailure", false),
    (133, "FailedToSatisfyReadPreference", true),
    (134, "ReadConcernMajorityNotAvailableYet", true),
    (166, "CommandNotSupportedOnView", false),
    (175, "QueryPlanKilled", true),
    (189, "PrimarySteppedDown", true),
    (262, "ExceededTimeLimit", true),
    (314, "ObjectIsBusy", true),
    (317, "ConnectionPoolExpired", true),
    (334, "MigrationConflict", true),
    (391, "ReauthenticationRequired", true),
    (8000, "AtlasError", false),
    (9001, "SocketException", true),
    (10058, "NotWritablePrimary", true),
    (10107, "NotWritablePrimary", true),
    (10334, "BSONObjectTooLarge", false),
    (11000, "DuplicateKey", false),
    (11600, "InterruptedAtShutdown", true),
    (11601, "Interrupted", true),
    (11602, "InterruptedDueToReplStateChange", true),
    (13388, "StaleConfig", true),
    (13435, "NotPrimaryNoSecondaryOk", true),
    (NOT_PRIMARY_OR_SECONDARY, "NotPrimaryOrSecondary", true),
];

/// All that a member of a replica set says that was never initiated, where it is asked directly.
const NOT_PRIMARY_OR_SECONDARY: i32 = 13436;

/// Codes that aren't in [`CODES`] by name but mean that the resulting document would be too large.
const TOO_LARGE: [i32; 2] = [17419, 17420];

/// The collection's validator refuses.
const VALIDATION_FAILURE: i32 = 121;

/// A hint that names no index fails with it.
pub(super) const BAD_VALUE: i32 = 2;

/// Out of disk space: it may be made again, so the call may be repeated.
const OUT_OF_DISK_SPACE: i32 = 14031;

/// A code as a person can look it up: `DocumentValidationFailure (121)`.
pub(super) fn code_name(code: i32) -> String {
    match CODES.iter().find(|(known, ..)| *known == code) {
        Some((_, name, _)) => format!("{name} ({code})"),
        None if TOO_LARGE.contains(&code) => format!("BSONObjectTooLarge ({code})"),
        None if code == OUT_OF_DISK_SPACE => format!("OutOfDiskSpace ({code})"),
        None => format!("server error {code}"),
    }
}

/// Why a document can't be written that the server refuses with this code.
pub(super) fn unwritable(code: i32) -> Unwritable {
    if code == VALIDATION_FAILURE { Unwritable::Validator } else { Unwritable::Refused(code_name(code)) }
}

fn may_go_well_later(code: i32) -> bool {
    code == OUT_OF_DISK_SPACE || CODES.iter().any(|(known, _, later)| *known == code && *later)
}

/// Sorts a driver's error, with how long the call took.
///
/// What the driver says of servers is a dump of several lines; only the debug log shows it.
pub(super) fn sort(at: &str, action: &'static str, error: &Error, took: Option<Duration>) -> StoreError {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => {
            let labelled =
                error.contains_label("RetryableWriteError") || error.contains_label("RetryableError");
            from_code(at, action, command.code, labelled)
        }
        ErrorKind::Authentication { message, .. } => {
            debug!(at, action, "the driver says: {message}");
            denied(at, action, AUTHENTICATION_HINT, NOT_ACCEPTED.to_owned())
        }
        ErrorKind::Io(source) => {
            debug!(at, action, "the driver says: {source}");
            away(at, action, unreachable::connection(source))
        }
        ErrorKind::ServerSelection { message, .. } => {
            debug!(at, action, "the driver says: {message}");
            away(at, action, unreachable::selection(message, took))
        }
        ErrorKind::DnsResolve { message, .. } => {
            debug!(at, action, "the driver says: {message}");
            away(at, action, unreachable::unresolved())
        }
        ErrorKind::ConnectionPoolCleared { .. } => {
            unavailable(at, action, "another call found the server gone".to_owned())
        }
        ErrorKind::InvalidTlsConfig { message, .. } => {
            denied(at, action, "look at the TLS options of the store's URL", message.clone())
        }
        ErrorKind::IncompatibleServer { message, .. } => {
            denied(at, action, "use a MongoDB server 4.4 or newer", message.clone())
        }
        ErrorKind::InvalidResponse { .. } => unavailable(at, action, "the reply can't be read".to_owned()),
        ErrorKind::InvalidArgument { .. } => denied(
            at,
            action,
            "look at `store.url`, `store.database` and the mapping",
            "the driver refuses the call".to_owned(),
        ),
        _ => denied(
            at,
            action,
            UNKNOWN_HINT,
            "the driver gave an error of a kind that was not expected".to_owned(),
        ),
    }
}

const NOT_ACCEPTED: &str = "the server does not accept the user name or the password";
const AUTHENTICATION_HINT: &str = "look at the user name, the password and `authSource` in the store's URL";
const UNKNOWN_HINT: &str = "look up the code in the MongoDB manual, under \"Error Codes\"";

fn from_code(at: &str, action: &'static str, code: i32, labelled: bool) -> StoreError {
    let cause = Cause::of_code(code);
    if labelled || may_go_well_later(code) {
        return away(at, action, cause);
    }
    let hint = match code {
        13 => "give the database user the role `readWrite` on the database of the collection",
        11 | 18 => AUTHENTICATION_HINT,
        8000 => "look at the user's roles and at the cluster in Atlas",
        166 => "name a collection: a view can't be written",
        _ => UNKNOWN_HINT,
    };
    refused(at, action, hint, cause)
}

fn unavailable(at: &str, action: &'static str, cause: String) -> StoreError {
    away(at, action, Cause::new(cause))
}

fn away(at: &str, action: &'static str, cause: Cause) -> StoreError {
    StoreError::Unavailable { at: at.to_owned(), action, source: Box::new(cause) }
}

pub(super) fn denied(at: &str, action: &'static str, hint: &str, cause: String) -> StoreError {
    refused(at, action, hint, Cause::new(cause))
}

fn refused(at: &str, action: &'static str, hint: &str, cause: Cause) -> StoreError {
    StoreError::Denied { at: at.to_owned(), action, hint: hint.to_owned(), source: Box::new(cause) }
}

/// The server's code behind an error that [`sort`] made of a command that failed with it.
pub(super) fn is_code(error: &StoreError, code: i32) -> bool {
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Cause>());
    cause.is_some_and(|cause| cause.code == Some(code))
}

/// Reads the reply to an `update` command: what matched, and what the server refuses for good.
///
/// # Errors
/// An acknowledgement that says "maybe", and a statement that may go well when it is repeated: all are, then.
pub(super) fn read_update(at: &str, action: &'static str, reply: &Document) -> Result<Reply, StoreError> {
    let mut refused = Vec::new();
    for error in reply.get_array("writeErrors").map(Vec::as_slice).unwrap_or_default() {
        let Bson::Document(error) = error else { continue };
        let code = number(error, "code");
        if code == 13 || may_go_well_later(code) {
            return Err(from_code(at, action, code, false));
        }
        refused.push((usize::try_from(number(error, "index")).unwrap_or_default(), code));
    }
    if let Ok(error) = reply.get_document("writeConcernError") {
        let cause = format!(
            "the write is not yet on a majority of the members: {}",
            code_name(number(error, "code"))
        );
        return Err(unavailable(at, action, cause));
    }
    Ok(Reply { matched: usize::try_from(number(reply, "n")).unwrap_or_default(), refused })
}

#[expect(clippy::cast_possible_truncation, reason = "codes, indices and counts of one command are small")]
fn number(document: &Document, name: &str) -> i32 {
    match document.get(name) {
        Some(Bson::Int32(number)) => *number,
        Some(Bson::Int64(number)) => *number as i32,
        Some(Bson::Double(number)) => *number as i32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn a_reply_that_says_maybe_is_no_success() {
        let reply = doc! { "ok": 1, "n": 2, "writeConcernError": { "code": 64, "errmsg": "secret" } };
        let error = read_update("a", "b", &reply).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }));
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn refusals_are_told_apart_from_what_may_go_well_later() {
        let errors = |code: i32| doc! { "ok": 1, "n": 0, "writeErrors": [{ "index": 1, "code": code, "errmsg": "s" }] };
        for code in [121, 28, 17419, 11000, 10334] {
            assert_eq!(read_update("a", "b", &errors(code)).unwrap().refused, [(1, code)]);
        }
        for code in [112, 189, 91, 13388, 14031] {
            let error = read_update("a", "b", &errors(code)).unwrap_err();
            assert!(matches!(error, StoreError::Unavailable { .. }), "{code}");
        }
        assert!(matches!(read_update("a", "b", &errors(13)), Err(StoreError::Denied { .. })));
        assert_eq!(code_name(121), "DocumentValidationFailure (121)");
        let hint = |code| Cause::of_code(code).hint().unwrap_or_default();
        assert!(hint(13436).contains("`rs.initiate()`") && hint(112).is_empty());
    }
}

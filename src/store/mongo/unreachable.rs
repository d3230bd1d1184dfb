//! Why a server can't be used, in plain words: what the driver says of it is a dump of all that it knows.

use super::failure::Cause;
use std::time::Duration;

/// Why a server gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Refused,
    Unresolved,
    Untrusted,
    NoTls,
    NoRoute,
    Silent,
    Closed,
    NotPrimary,
    Unknown,
}

/// What a person may do where servers answer, and none is the primary.
pub(super) const NO_PRIMARY_HINT: &str = "an election takes some seconds; if it lasts, too few members are up: `rs.status()` shows them. \
     A replica set that was never set up needs `rs.initiate()` once";

/// Words of the driver, of rustls and of the operating system, in lower case; the first that is found counts.
const WORDS: [(&str, Why); 22] = [
    ("connection refused", Why::Refused),
    ("failed to lookup address", Why::Unresolved),
    ("name or service not known", Why::Unresolved),
    ("nodename nor servname", Why::Unresolved),
    ("name resolution", Why::Unresolved),
    ("no such host", Why::Unresolved),
    ("no record found", Why::Unresolved),
    ("invalid peer certificate", Why::Untrusted),
    ("certificate", Why::Untrusted),
    ("handshake", Why::NoTls),
    ("tls", Why::NoTls),
    ("corrupt message", Why::NoTls),
    ("no route to host", Why::NoRoute),
    ("unreachable", Why::NoRoute),
    ("timed out", Why::Silent),
    ("timeout", Why::Silent),
    ("deadline", Why::Silent),
    ("connection reset", Why::Closed),
    ("connection closed", Why::Closed),
    ("broken pipe", Why::Closed),
    ("unexpected end of file", Why::Closed),
    ("eof", Why::Closed),
];

impl Why {
    fn of(text: &str) -> Self {
        let text = text.to_lowercase();
        WORDS.iter().find(|(words, _)| text.contains(words)).map_or(Self::Unknown, |(_, why)| *why)
    }

    /// What follows the names of the servers.
    const fn words(self) -> &'static str {
        match self {
            Self::Refused => "refused the connection",
            Self::Unresolved => "could not be found in DNS",
            Self::Untrusted => "showed a TLS certificate that is not accepted",
            Self::NoTls => "could not agree on TLS",
            Self::NoRoute => "could not be reached over the network",
            Self::Silent => "did not answer in time",
            Self::Closed => "closed the connection",
            Self::NotPrimary => "answered, but no server is the primary",
            Self::Unknown => "could not be used",
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Refused => {
                "does MongoDB run there, on that port? `store.url` (`EVERGRANT_STORE_URL`) says where"
            }
            Self::Unresolved => {
                "check the host names in `store.url` (`EVERGRANT_STORE_URL`), and the DNS of this machine"
            }
            Self::Untrusted => {
                "check `tlsCAFile` in `store.url`, the date of the certificate, and the host name in it"
            }
            Self::NoTls => "check `tls` in `store.url`: is it on at the server, too?",
            Self::NoRoute | Self::Silent => {
                "does a firewall, or the IP access list of Atlas, keep this machine out? `store.url` (`EVERGRANT_STORE_URL`) says where it connects to"
            }
            Self::Closed => {
                "does the server expect TLS (`tls=true` in `store.url`)? At Atlas: is this machine in the IP access list?"
            }
            Self::NotPrimary => NO_PRIMARY_HINT,
            Self::Unknown => {
                "does the server run, and may this machine reach it? `store.url` (`EVERGRANT_STORE_URL`) says where; `-v` shows what the driver says"
            }
        }
    }
}

/// What a failed server selection means, by the driver's description of the topology.
pub(super) fn selection(message: &str, tried: Option<Duration>) -> Cause {
    let mut reasons: Vec<(Why, Vec<&str>)> = Vec::new();
    for server in message.split("{ Address: ").skip(1) {
        let (address, rest) = server.split_once(", Type: ").unwrap_or((server, ""));
        let why = match rest.split_once("Error: ") {
            Some((_, error)) => Why::of(error),
            // The driver has asked it, and waits for its first answer.
            None if rest.starts_with("Unknown") => Why::Silent,
            None => Why::NotPrimary,
        };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, addresses)) => addresses.push(address),
            None => reasons.push((why, vec![address])),
        }
    }
    let Some(hint) = reasons.iter().map(|(why, _)| why.hint()).next() else {
        return Cause::hinted("no server could be used", Why::Unknown.hint());
    };
    // A member that answers says that the network is well: then it is the primary that is missing.
    let no_primary = reasons.iter().any(|(why, _)| *why == Why::NotPrimary);
    let hint = if no_primary { Why::NotPrimary.hint() } else { hint };
    let parts = reasons.iter().map(|(why, addresses)| format!("{} {}", listed(addresses), why.words()));
    let tried = tried.map(|tried| format!(" (tried for {} s)", tried.as_secs_f64().round()));
    let text = parts.collect::<Vec<_>>().join("; ");
    Cause::hinted(format!("{text}{}", tried.unwrap_or_default()), hint)
}

/// What an error on a connection means.
pub(super) fn connection(error: &std::io::Error) -> Cause {
    let why = Why::of(&error.to_string());
    match why {
        Why::Unknown => Cause::hinted(format!("the connection failed: {error}"), why.hint()),
        Why::Refused
        | Why::Unresolved
        | Why::Untrusted
        | Why::NoTls
        | Why::NoRoute
        | Why::Silent
        | Why::Closed
        | Why::NotPrimary => Cause::hinted(format!("the server {}", why.words()), why.hint()),
    }
}

/// What a failed look-up of a `mongodb+srv` URL means.
pub(super) fn unresolved() -> Cause {
    let why = Why::Unresolved;
    Cause::hinted(format!("the servers of the cluster {}", why.words()), why.hint())
}

fn listed(addresses: &[&str]) -> String {
    match addresses {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As driver 3.9 says it.
    fn dump(servers: &[(&str, &str)]) -> String {
        let servers: Vec<_> =
            servers.iter().map(|(address, rest)| format!("{{ Address: {address}, Type: {rest} }}")).collect();
        format!(
            "Server selection timeout: No available servers. Topology: {{ Type: Unknown, Servers: [ {} ] }}",
            servers.join(", ")
        )
    }

    #[test]
    fn a_server_that_is_away_is_told_in_one_plain_sentence_with_a_hint() {
        let refused = "Unknown, Error: Kind: I/O error: Connection refused (os error 111), labels: {\"SystemOverloadedError\", \"RetryableError\"}, source: None";
        let unresolved = "Unknown, Error: Kind: I/O error: failed to lookup address information: Name or service not known, labels: {}";
        for (servers, said, hint) in [
            (
                &[("127.0.0.1:27417", refused)][..],
                "127.0.0.1:27417 refused the connection",
                "does MongoDB run",
            ),
            (&[("a:1", refused), ("b:2", refused)], "a:1 and b:2 refused the connection", "on that port"),
            (
                &[("a:1", refused), ("b:2", unresolved)],
                "a:1 refused the connection; b:2 could not be found in DNS",
                "does MongoDB run",
            ),
            (
                &[("a:1", "Unknown, Error: Kind: I/O error: timed out")],
                "a:1 did not answer in time",
                "firewall",
            ),
            (&[("a:1", "Unknown")], "a:1 did not answer in time", "firewall"),
            (
                &[("a:1", "Unknown, Error: Kind: I/O error: invalid peer certificate: UnknownIssuer")],
                "a:1 showed a TLS certificate that is not accepted",
                "`tlsCAFile`",
            ),
            (
                &[(
                    "a:1",
                    "Unknown, Error: Kind: I/O error: received corrupt message of type InvalidContentType",
                )],
                "a:1 could not agree on TLS",
                "`tls`",
            ),
            (
                &[("a:1", "Unknown, Error: Kind: I/O error: unexpected end of file")],
                "a:1 closed the connection",
                "IP access list",
            ),
            (
                &[("a:1", refused), ("b:2", "RsSecondary, Replica Set Name: rs")],
                "a:1 refused the connection; b:2 answered, but no server is the primary",
                "`rs.status()`",
            ),
            (&[("a:1", "RsGhost")], "a:1 answered, but no server is the primary", "`rs.initiate()`"),
            (&[("a:1", "Unknown, Error: Kind: odd")], "a:1 could not be used", "`-v`"),
        ] {
            let cause = selection(&dump(servers), Some(Duration::from_millis(10_012)));
            assert_eq!(cause.to_string(), format!("{said} (tried for 10 s)"));
            assert!(cause.hint().is_some_and(|text| text.contains(hint)), "{said}: {cause:?}");
        }
        assert_eq!(selection("Server selection timeout", None).to_string(), "no server could be used");
    }
}

//! What kept a pass from a part of its work, and what to do about it.

use crate::clock::Timestamp;
use crate::duration::words;
use crate::exit::Exit;
use crate::failure::{Advice, error_chain};
use crate::gate::{Suspicion, TooMany};
use crate::provider::ClientAuth;
use crate::store::Unwritable;
use crate::token::{Code, Vocabulary as _, is_status_alone};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What kept a pass from a part of its work.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Trouble {
    /// A provider rejected the client.
    ClientRejected {
        /// Which.
        provider: String,
        /// Its code.
        code: String,
        /// Its status.
        http_status: Option<u16>,
        /// How the client says who it is: the hint names the keys of that.
        #[serde(skip)]
        client_auth: ClientAuth,
    },
    /// A provider refused more tokens than ended logins explain: a mistake, for example a wrong client, is more likely.
    Refusals {
        /// Which.
        provider: String,
        /// The evidence.
        #[serde(flatten)]
        suspicion: Suspicion,
    },
    /// So many documents hold tokens which were redeemed before that a restored backup, or an old state directory, is
    /// more likely than stale copies.
    RedeemedBefore {
        /// The provider of these tokens.
        provider: String,
        /// The evidence.
        #[serde(flatten)]
        found: TooMany,
        /// The state directory that remembers them.
        state_dir: String,
    },
    /// Lost answers at a provider that must not be asked twice: many more than a process that is killed leaves.
    NotAskedAgain {
        /// The provider of these tokens.
        provider: String,
        /// The evidence.
        #[serde(flatten)]
        found: TooMany,
    },
    /// A provider gave no usable answer for longer than a pass waits.
    Outage {
        /// Which.
        provider: String,
    },
    /// A provider asked for a pause that is longer than a pass waits.
    Paused {
        /// Which.
        provider: String,
        /// How long that is from now on, in seconds.
        seconds: u64,
        /// Until when.
        until: Timestamp,
    },
    /// The pass took more tokens than there were documents when it began: the collection grows by each refresh.
    Overrun {
        /// The provider of these tokens.
        provider: String,
        /// Documents when the pass began.
        documents: u64,
        /// Tokens that the pass has taken.
        taken: u64,
    },
    /// The store couldn't be used for longer than a pass waits.
    Store {
        /// What happened, with the chain of causes.
        message: String,
        /// What to do about it, where the error says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The journal failed.
    Journal {
        /// What happened, with the chain of causes.
        message: String,
        /// What to do about it, where the error says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The pass was stopped before it had taken everything that was due.
    Interrupted {
        /// Requests that were sent, and whose answers the pass did not wait for.
        given_up: u64,
    },
}

impl Trouble {
    /// The store couldn't be used for longer than a pass waits.
    #[must_use]
    pub fn store(error: &impl Advice) -> Self {
        Self::Store { message: error_chain(error), hint: error.hint().map(Cow::into_owned) }
    }

    /// The store refuses the new pairs of all documents that were tried.
    #[must_use]
    pub fn refused_pairs(reason: &Unwritable) -> Self {
        let message = format!(
            "the store refuses the new pairs of all documents that were tried: {reason}. The rest was not sent"
        );
        let hint = match reason {
            Unwritable::Validator => Some(
                "the collection's validator takes the claim and refuses what comes with a new pair: compare its rules for the \
                 fields that `documents` names, such as types and lengths, with the log and `evergrant check`, and change the \
                 rule or the setting. Then run again"
                    .to_owned(),
            ),
            reason => reason.hint().map(Cow::into_owned),
        };
        Self::Store { message, hint }
    }

    /// The journal failed.
    #[must_use]
    pub fn journal(error: &impl Advice) -> Self {
        Self::Journal { message: error_chain(error), hint: error.hint().map(Cow::into_owned) }
    }

    /// One word for it: the `kind` in JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::ClientRejected { .. } => "client_rejected",
            Self::Refusals { .. } => "refusals",
            Self::RedeemedBefore { .. } => "redeemed_before",
            Self::NotAskedAgain { .. } => "not_asked_again",
            Self::Outage { .. } => "outage",
            Self::Paused { .. } => "paused",
            Self::Overrun { .. } => "overrun",
            Self::Store { .. } => "store",
            Self::Journal { .. } => "journal",
            Self::Interrupted { .. } => "interrupted",
        }
    }

    /// The exit code of a pass that had this trouble and none that is more urgent.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Journal { .. } => Exit::JournalFailed,
            Self::Store { .. } => Exit::Unavailable,
            Self::ClientRejected { .. }
            | Self::Refusals { .. }
            | Self::RedeemedBefore { .. }
            | Self::NotAskedAgain { .. } => Exit::ClientRejected,
            Self::Outage { .. } | Self::Paused { .. } | Self::Overrun { .. } | Self::Interrupted { .. } => {
                Exit::StillDue
            }
        }
    }
}

/// Does the code say that a success can't be read? Then the provider takes the client, and the trouble is its answers.
fn is_unreadable(code: &str) -> bool {
    use Code::{
        ContentCodingBr, ContentCodingCompress, ContentCodingDeflate, ContentCodingGzip,
        ContentCodingUnknown, ContentCodingZstd, DecodedTooLong, NoTokens, NotJson, NotUtf8,
    };
    matches!(
        Code::from_word(code),
        Some(
            NoTokens
                | NotJson
                | NotUtf8
                | DecodedTooLong
                | ContentCodingGzip
                | ContentCodingDeflate
                | ContentCodingBr
                | ContentCodingZstd
                | ContentCodingCompress
                | ContentCodingUnknown
        )
    )
}

/// Code of a request that asks for more scope than the user granted (RFC 6749 §5.2).
const INVALID_SCOPE: &str = "invalid_scope";

/// Codes that can't be about one user's login (RFC 6749 §5.2).
const OF_THE_CLIENT: [&str; 3] = ["invalid_client", "unauthorized_client", "unsupported_grant_type"];

/// What is shown in the place of a code that isn't shown.
const UNLISTED: &str = "unlisted_code";

/// What to do about a client that a provider rejected.
fn client_hint(code: &str, http_status: Option<u16>, client_auth: ClientAuth) -> Cow<'static, str> {
    let keys = client_keys(client_auth);
    let ended =
        || if_these_logins_ended(code, http_status).map_or_else(String::new, |text| format!(". {text}"));
    match (Code::from_word(code), http_status) {
        (_, Some(300..400)) => "the token URL answers with a redirect: set `token_url` to the final address".into(),
        (_, Some(404 | 410)) => "there is no token endpoint at the token URL: check `token_url`".into(),
        (_, Some(405)) => "the token URL does not take requests of this method: check `token_url` and `request.method`".into(),
        (_, Some(415)) => "the server refuses how the request is written (HTTP 415), and not the client: where it takes JSON and no form, set `request.encoding = \"json\"` (`evergrant help own-server`)".into(),
        (_, Some(403)) if is_status_alone(code, http_status) => format!(
            "a firewall or proxy may block the request: open the token URL with `curl` from this machine. If that works, check {keys}{}",
            ended()
        )
        .into(),
        (Some(Code::NoTokens), _) => "the provider answers with a success in which the profile finds no tokens: set `answer.access_token` and `answer.refresh_token`. The answers are in the journal, and the next start reads them again".into(),
        (Some(ours), _) if is_unreadable(code) => {
            let advice = ours.advice();
            format!("{advice} The answers are in the journal, and the next start reads them again").into()
        }
        _ if code == INVALID_SCOPE => "check `scope`: it must not ask for more than the user granted".into(),
        _ => format!("check {keys}, then run `evergrant check --probe-client`{}", ended()).into(),
    }
}

/// The other explanation of a client that seems to be rejected: these logins have ended, and the profile doesn't know how
/// the provider says that. `None` for a code that can't be about one user's login.
#[must_use]
pub fn if_these_logins_ended(code: &str, http_status: Option<u16>) -> Option<String> {
    if OF_THE_CLIENT.contains(&code) {
        return None;
    }
    let ended = "If it is these logins that have ended, and not the client that is wrong:";
    Some(if is_status_alone(code, http_status) || code == UNLISTED {
        format!("{ended} a rule in `answer.rules` can say so (`evergrant help own-server`)")
    } else {
        format!(
            "{ended} list `{code}` in `answer.refused`, and in `answer.error_code` the place where it stands"
        )
    })
}

/// The keys by which a request says who asks.
const fn client_keys(client_auth: ClientAuth) -> &'static str {
    match client_auth {
        ClientAuth::Basic | ClientAuth::BasicRaw | ClientAuth::Body => {
            "`client_id`, `client_secret` and `client_auth`"
        }
        ClientAuth::SecretAsUser => "`client_secret` and `client_auth`",
        ClientAuth::None => "`client_id` and `client_auth`",
        ClientAuth::NoClient => {
            "`request.headers`, `extra_parameters`, the `values` in them, and `request.refresh_token`: the profile sends no \
             client (`client_auth = \"no_client\"`)"
        }
    }
}

impl std::error::Error for Trouble {}

impl Advice for Trouble {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::ClientRejected { code, http_status, client_auth, .. } => {
                client_hint(code, *http_status, *client_auth)
            }
            Self::Refusals { .. } => "check that these tokens were issued to this client, and that `token_url` is right. What this pass had marked before is taken back. If these logins have really ended, `evergrant run --once --accept-refusals` marks them".into(),
            Self::RedeemedBefore { state_dir, .. } => format!(
                "after a restored backup, restore a newer one; for a rehearsal, set `state_dir` to a new directory, because {state_dir} remembers these tokens; if these logins have really ended, `evergrant run --once --accept-refusals` marks them"
            )
            .into(),
            Self::NotAskedAgain { .. } => "if these requests never reached the provider, set `ask_again = \"once\"` for one pass; if an old `state_dir` or backup speaks of them, use the newest one; if these logins have really ended, `evergrant run --once --accept-refusals` marks them".into(),
            Self::Outage { .. } => "nothing to do now: the next pass tries again. The reasons after `still_due` say what was seen".into(),
            Self::Paused { .. } => "nothing to do: a service asks again when the pause is over. `run --once` asks this provider nothing before that".into(),
            Self::Overrun { .. } => "let the server replace its document, or let `documents.filter` choose one document for each login (`evergrant help own-server`)".into(),
            Self::Store { hint: Some(hint), .. } | Self::Journal { hint: Some(hint), .. } => hint.into(),
            Self::Store { hint: None, .. } => "check `store.url` and the server, then run again".into(),
            Self::Journal { hint: None, .. } => "check the disk of `state_dir`, then run again. Without a journal no token is sent".into(),
            Self::Interrupted { given_up: 0 } => return None,
            Self::Interrupted { .. } => "nothing to do: the journal remembers these requests, and the next start asks for their tokens first".into(),
        })
    }
}

/// What happened.
impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientRejected { provider, code, http_status, client_auth: _ } => {
                let status = http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
                let did = if is_unreadable(code) {
                    "sends answers that can't be read"
                } else {
                    "rejected the client"
                };
                write!(
                    formatter,
                    "the provider `{provider}` {did} ({code}{status}); no user was marked for it"
                )
            }
            Self::Refusals { provider, suspicion } => {
                let Suspicion { code, http_status, refused, asked, usual_share } = suspicion;
                let status = http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
                let usual = usual_share * 100.0;
                write!(
                    formatter,
                    "the provider `{provider}` refused {refused} of {asked} tokens ({code}{status}; {usual:.1} % are usual); no user is marked for it"
                )
            }
            Self::RedeemedBefore { provider, found: TooMany { tokens, first_at }, .. } => {
                let first = first_at
                    .map_or_else(String::new, |first| format!(", the first on {}", first.format("%Y-%m-%d")));
                write!(
                    formatter,
                    "{tokens} tokens of `{provider}` were redeemed by this machine before{first}; no user is marked for it. Was a backup restored, or is this a rehearsal with an old state directory?"
                )
            }
            Self::NotAskedAgain { provider, found: TooMany { tokens, first_at } } => {
                let first = first_at
                    .map_or_else(String::new, |first| format!(", the first on {}", first.format("%Y-%m-%d")));
                write!(
                    formatter,
                    "the answers for {tokens} tokens of `{provider}` were lost{first}, and `ask_again = \"never\"` forbids a second request; no user is marked for it"
                )
            }
            Self::Outage { provider } => write!(
                formatter,
                "the provider `{provider}` gave no usable answer for minutes; what is due stays due"
            ),
            Self::Paused { provider, seconds, until } => write!(
                formatter,
                "the provider `{provider}` asks us to wait {}, until {}; what is due stays due",
                words(Duration::from_secs(*seconds)),
                until.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            Self::Overrun { provider, documents, taken } => write!(
                formatter,
                "the pass took {taken} tokens of `{provider}`, and there were {documents} documents when it began: probably the server writes a new document for each refresh. The rest remains due"
            ),
            Self::Store { message, .. } => write!(
                formatter,
                "{message}. New pairs that were received are in the journal, and the next pass writes them"
            ),
            Self::Journal { message, .. } => formatter.write_str(message),
            Self::Interrupted { given_up: 0 } => {
                formatter.write_str("the pass was stopped; no answer was lost")
            }
            Self::Interrupted { given_up } => {
                write!(formatter, "the pass was stopped before {given_up} requests were answered")
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What `evergrant help TOPIC` prints: reference made from the code's own tables, and texts that stand in `src/help/*.md`.
//!
//! A generated topic can't say anything else than the code does. A written one is shown here, too: see the constants.

mod document;
pub(crate) mod json;
mod metrics;
mod page;
mod providers;
pub(crate) mod runbook;
mod settings;
mod words;

use serde_json::{Value, json};

#[doc = include_str!("help/own-server.md")]
pub const OWN_SERVER: &str = include_str!("help/own-server.md");

#[doc = include_str!("help/autodesk.md")]
pub const AUTODESK: &str = include_str!("help/autodesk.md");

#[doc = include_str!("help/express-jwt.md")]
pub const EXPRESS_JWT: &str = include_str!("help/express-jwt.md");

#[doc = include_str!("help/bearer-session.md")]
pub const BEARER_SESSION: &str = include_str!("help/bearer-session.md");

#[doc = include_str!("help/jwt-pair.md")]
pub const JWT_PAIR: &str = include_str!("help/jwt-pair.md");

#[doc = include_str!("help/cookie-session.md")]
pub const COOKIE_SESSION: &str = include_str!("help/cookie-session.md");

#[doc = include_str!("help/promises.md")]
pub const PROMISES: &str = include_str!("help/promises.md");

#[doc = include_str!("help/limits.md")]
pub const LIMITS: &str = include_str!("help/limits.md");

#[doc = include_str!("help/lost-answers.md")]
pub const LOST_ANSWERS: &str = include_str!("help/lost-answers.md");

#[doc = include_str!("help/operating.md")]
pub const OPERATING: &str = include_str!("help/operating.md");

#[doc = include_str!("help/runbook.md")]
#[allow(clippy::doc_markdown, reason = "alerts are headings, and named as Prometheus names them")]
pub const RUNBOOK: &str = include_str!("help/runbook.md");

#[doc = include_str!("help/kubernetes.md")]
pub const KUBERNETES: &str = include_str!("help/kubernetes.md");

#[doc = include_str!("help/proofs.md")]
pub const PROOFS: &str = include_str!("help/proofs.md");

#[doc = include_str!("help/architecture.md")]
pub const ARCHITECTURE: &str = include_str!("help/architecture.md");

/// A topic of `evergrant help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Every setting.
    Settings,
    /// Where a document can end in a pass.
    Outcomes,
    /// Why a document is still due, marked or parked.
    Reasons,
    /// The exit codes.
    ExitCodes,
    /// What Evergrant writes into a document, and how an application works beside it.
    Document,
    /// The built-in provider profiles.
    Providers,
    /// The JSON that the commands print, and the fields of log lines.
    Json,
    /// Every metric.
    Metrics,
    /// A profile for a server of one's own.
    OwnServer,
    /// A settings file for Autodesk.
    Autodesk,
    /// One for a server with a collection of refresh tokens.
    ExpressJwt,
    /// One for a server of sessions.
    BearerSession,
    /// One for a server that wants both tokens.
    JwtPair,
    /// One for a server of cookies.
    CookieSession,
    /// What is promised.
    Promises,
    /// What no client can guarantee.
    Limits,
    /// What happens when the answer to a request is lost.
    LostAnswers,
    /// Installing, upgrading, backups, removal.
    Operating,
    /// What to do about each alert.
    Runbook,
    /// The CronJob.
    Kubernetes,
    /// How the promises are tested.
    Proofs,
    /// The map of the code.
    Architecture,
}

impl Topic {
    /// All topics, in the order in which they are listed: generated ones first.
    pub const ALL: [Self; 22] = [
        Self::Settings,
        Self::Outcomes,
        Self::Reasons,
        Self::ExitCodes,
        Self::Document,
        Self::Providers,
        Self::Json,
        Self::Metrics,
        Self::OwnServer,
        Self::Autodesk,
        Self::ExpressJwt,
        Self::BearerSession,
        Self::JwtPair,
        Self::CookieSession,
        Self::Promises,
        Self::Limits,
        Self::LostAnswers,
        Self::Operating,
        Self::Runbook,
        Self::Kubernetes,
        Self::Proofs,
        Self::Architecture,
    ];

    /// What a person types.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Outcomes => "outcomes",
            Self::Reasons => "reasons",
            Self::ExitCodes => "exit-codes",
            Self::Document => "document",
            Self::Providers => "providers",
            Self::Json => "json",
            Self::Metrics => "metrics",
            Self::OwnServer => "own-server",
            Self::Autodesk => "autodesk",
            Self::ExpressJwt => "express-jwt",
            Self::BearerSession => "bearer-session",
            Self::JwtPair => "jwt-pair",
            Self::CookieSession => "cookie-session",
            Self::Promises => "promises",
            Self::Limits => "limits",
            Self::LostAnswers => "lost-answers",
            Self::Operating => "operating",
            Self::Runbook => "runbook",
            Self::Kubernetes => "kubernetes",
            Self::Proofs => "proofs",
            Self::Architecture => "architecture",
        }
    }

    /// What it holds, in one line.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Settings => "every setting with its environment variable and its default",
            Self::Outcomes => "where a document can end in a pass",
            Self::Reasons => "why a document is still due, marked or parked, and what to do",
            Self::ExitCodes => "what each exit code means and who has to act",
            Self::Document => "what is written into a document, and how your application works beside it",
            Self::Providers => "the built-in provider profiles, and how to add a provider",
            Self::Json => "the JSON of each command, and the fields of log lines",
            Self::Metrics => "every metric with its type, its labels and its meaning",
            Self::OwnServer => "a profile for a server of your own, in eight lines",
            Self::Autodesk => "Autodesk Platform Services: documents, settings, answers",
            Self::ExpressJwt => {
                "your own server: Express and JWT, refresh tokens in a collection with a fixed end"
            }
            Self::BearerSession => "your own server: the refresh token as bearer, an empty body",
            Self::JwtPair => "your own server: the old access token beside the refresh token",
            Self::CookieSession => "your own server: cookies and an envelope, over the users' own documents",
            Self::Promises => "what Evergrant promises",
            Self::Limits => "what no client can guarantee, and what this version cannot do",
            Self::LostAnswers => "what happens when the answer to a token request is lost",
            Self::Operating => "systemd, backups, upgrades, removal, the journal",
            Self::Runbook => "what each alert means, where to look and what to do",
            Self::Kubernetes => "the CronJob, its volume and its secrets",
            Self::Proofs => "how the promises are tested, and what the tests printed last",
            Self::Architecture => "the map of the code, for contributors",
        }
    }

    /// The topic of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The page, for people.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Settings => settings::text(),
            Self::Outcomes => words::outcomes_text(),
            Self::Reasons => words::reasons_text(),
            Self::ExitCodes => words::exit_codes_text(),
            Self::Document => document::text(),
            Self::Providers => providers::text(),
            Self::Json => json::text(),
            Self::Metrics => metrics::text(),
            Self::OwnServer => OWN_SERVER.to_owned(),
            Self::Autodesk => AUTODESK.to_owned(),
            Self::ExpressJwt => EXPRESS_JWT.to_owned(),
            Self::BearerSession => BEARER_SESSION.to_owned(),
            Self::JwtPair => JWT_PAIR.to_owned(),
            Self::CookieSession => COOKIE_SESSION.to_owned(),
            Self::Promises => PROMISES.to_owned(),
            Self::Limits => LIMITS.to_owned(),
            Self::LostAnswers => LOST_ANSWERS.to_owned(),
            Self::Operating => OPERATING.to_owned(),
            Self::Runbook => RUNBOOK.to_owned(),
            Self::Kubernetes => KUBERNETES.to_owned(),
            Self::Proofs => PROOFS.to_owned(),
            Self::Architecture => ARCHITECTURE.to_owned(),
        }
    }

    /// The page, for programs: a generated topic as data, a written one as its text.
    #[must_use]
    pub fn data(self) -> Value {
        match self {
            Self::Settings => settings::data(),
            Self::Outcomes => words::outcomes_data(),
            Self::Reasons => words::reasons_data(),
            Self::ExitCodes => words::exit_codes_data(),
            Self::Document => document::data(),
            Self::Providers => providers::data(),
            Self::Json => json::data(),
            Self::Metrics => metrics::data(),
            Self::OwnServer
            | Self::Autodesk
            | Self::ExpressJwt
            | Self::BearerSession
            | Self::JwtPair
            | Self::CookieSession
            | Self::Promises
            | Self::Limits
            | Self::LostAnswers
            | Self::Operating
            | Self::Runbook
            | Self::Kubernetes
            | Self::Proofs
            | Self::Architecture => json!({ "topic": self.name(), "text": self.text() }),
        }
    }
}

/// The list of topics, a line each.
#[must_use]
pub fn list() -> String {
    let line = |topic: Topic| format!("  {:<14} {}", topic.name(), topic.summary());
    Topic::ALL.map(line).join("\n")
}

/// The names of the topics, in one line.
#[must_use]
pub fn names() -> String {
    Topic::ALL.map(Topic::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_a_page_and_fits_a_terminal() {
        for topic in Topic::ALL {
            assert_eq!(Topic::from_name(topic.name()), Some(topic));
            let text = topic.text();
            assert!(text.lines().count() >= 10, "{topic:?}");
            for line in text.lines().filter(|line| !line.starts_with('|')) {
                assert!(line.chars().count() <= 120, "{topic:?}: {line}");
            }
        }
        assert_eq!(Topic::from_name("setting"), None);
    }
}

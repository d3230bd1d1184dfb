//! OAuth providers as data: how to ask, how to read the answer, how long things live.
//!
//! A [`Profile`] is a TOML file; every value of it can be overridden in the configuration. What is specific to one
//! provider stands in its profile and nowhere in the code.

mod answer;
pub mod conflict;
pub mod example;
pub mod file;
pub mod history;
pub mod keep;
pub mod learned;
pub mod lifetime;
pub mod memory;
mod one_or_many;
pub mod place;
pub mod profile;
pub mod rate;
pub mod request;
pub mod rules;
pub mod stranger;
pub mod template;
pub mod token_url;
pub mod variable;

use crate::clock::Timestamp;
use crate::survey::NextPass;
use crate::token::{AccessToken, Facts, Malformed, RefreshToken};
use chrono::NaiveDate;
use example::Example;
use keep::Keep;
use rate::Rate;
use request::{Parameter, RequestShape};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};
use token_url::{TokenUrl, Variables};
use url::Url;

pub use answer::{AnswerFormat, AnswerShape, PERSON_MUST_COME, PastEnd};
pub use request::ClientAuth;

/// What the provider does with a refresh token that was redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// A new one each time; the old one is dead at once.
    SingleUse,
    /// A new one each time; the old one works again for [`Profile::grace`], made for lost answers.
    Grace,
    /// The same refresh token stays good.
    None,
}

impl Rotation {
    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::SingleUse => "single use",
            Self::Grace => "new each time, the old one works for a while",
            Self::None => "stays the same",
        }
    }
}

/// Is a token whose answer was lost asked for again, where the old one doesn't work again by design?
///
/// After a lost answer only the provider knows whether it rotated the token. If it did, the login is lost in any
/// case: the new token exists nowhere else, and the old one is dead. If it didn't, because the request never arrived,
/// asking again saves the login; so [`AskAgain::Once`] is the default. What it costs is at a provider that watches for
/// reuse (RFC 9700 §4.14.2): it takes the old token for a stolen one and ends the whole login, with the access token
/// that would have been good until it ends, and it may raise an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskAgain {
    /// Once more, after [`Profile::settle_after`]: granted means that it had not been processed, refused that it had.
    #[default]
    Once,
    /// Never, not even after a restart or by force: the person is named as lost in flight, unless another program
    /// has written a newer token into the document.
    Never,
}

/// Is the token of a marked login sent again by itself, in case the provider grants it again?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondLooks {
    /// 7 days after the mark; where the refresh token stays the same, after 1, 7 and 30 days.
    #[default]
    Usual,
    /// Never.
    None,
}

impl SecondLooks {
    fn is_usual(&self) -> bool {
        *self == Self::Usual
    }
}

/// How to ask one provider, how to read its answers, and how long its tokens live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// One line for people.
    pub title: String,
    /// Where the facts below come from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What a person should know before using it.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The day on which the facts were last looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<NaiveDate>,
    /// The token endpoint (RFC 6749 §3.2); `None` in a profile that leaves it to the configuration.
    #[serde(default)]
    pub token_url: Option<String>,
    /// How the client authenticates.
    pub client_auth: ClientAuth,
    /// The name of the field that holds the client id.
    #[serde(default = "profile::client_id_name")]
    pub client_id_name: String,
    /// The name of the field that holds the client secret.
    #[serde(default = "profile::client_secret_name")]
    pub client_secret_name: String,
    /// Does the URL hold tokens or secrets? Only a profile that says so may put one there.
    #[serde(default)]
    pub url_holds_secrets: bool,
    /// How the request is written.
    #[serde(default)]
    pub request: RequestShape,
    /// `scope` to send (RFC 6749 §6); absent asks for what was granted before.
    #[serde(default)]
    pub scope: Option<String>,
    /// More fields to send with each grant: texts, and in JSON numbers and flags too.
    #[serde(default)]
    pub extra_parameters: BTreeMap<String, Parameter>,
    /// What differs from document to document or from installation to installation, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: Variables,
    /// Grants allowed in every sliding window; `none` for no limit.
    #[serde(with = "rate::text")]
    pub rate: Option<Rate>,
    /// Grants in flight at once, at most.
    pub concurrency: NonZeroUsize,
    /// Longest wait for a whole answer; short ones make ambiguity.
    #[serde(with = "profile::duration")]
    pub request_timeout: Duration,
    /// How long an access token lives when the answer doesn't say.
    #[serde(default, with = "profile::optional_duration", skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime: Option<Duration>,
    /// How long a refresh token lives; each success extends it. Unknown means that every wake finds it due.
    #[serde(default, with = "profile::optional_duration", skip_serializing_if = "Option::is_none")]
    pub refresh_token_lifetime: Option<Duration>,
    /// How long a login lives, from the login on; no success extends it.
    #[serde(default, with = "profile::optional_duration", skip_serializing_if = "Option::is_none")]
    pub login_lifetime: Option<Duration>,
    /// A token isn't asked for sooner than this after its issue.
    #[serde(default, with = "profile::duration", skip_serializing_if = "Duration::is_zero")]
    pub min_age: Duration,
    /// Which token's end makes a document due.
    #[serde(default, skip_serializing_if = "Keep::is_usual")]
    pub keep: Keep,
    /// What happens to a redeemed refresh token.
    pub rotation: Rotation,
    /// With `rotation = "grace"`: how long the old one works again.
    #[serde(default, with = "profile::duration", skip_serializing_if = "Duration::is_zero")]
    pub grace: Duration,
    /// How long a token whose answer was lost rests before it is asked for again: time for the provider to finish what
    /// it may be doing, and for an application of the user's to write what it got.
    #[serde(default = "profile::settle_after", with = "profile::duration")]
    pub settle_after: Duration,
    /// Is it asked for again at all?
    #[serde(default)]
    pub ask_again: AskAgain,
    /// Is a token that was refused sent again long after its mark?
    #[serde(default, skip_serializing_if = "SecondLooks::is_usual")]
    pub second_looks: SecondLooks,
    /// How to read an answer.
    pub answer: AnswerShape,
    /// Answers with what they mean: the profile's own tests.
    #[serde(default, rename = "example", skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

impl Profile {
    /// Do its requests go by HTTP/1.1, each at a time on a connection of its own?
    ///
    /// HTTP/2 puts all requests on one connection, and one reset loses the answers of all of them. Where a lost answer may be
    /// a lost login, that is one too many. A rate per second takes more connections than a server likes to open.
    #[must_use]
    pub fn is_sent_by_http1(&self) -> bool {
        let is_per_second = self.rate.is_some_and(|rate| rate.window <= Duration::from_secs(1));
        self.rotation == Rotation::SingleUse && !is_per_second
    }

    /// The life of a refresh token that each success extends; `None` where that isn't known, and where the login ends no
    /// later, so that nothing is extended.
    #[must_use]
    pub fn sliding_life(&self) -> Option<Duration> {
        self.refresh_token_lifetime.filter(|life| self.login_lifetime.is_none_or(|login| *life < login))
    }
}

/// A client secret (RFC 6749 §2.3.1).
#[derive(Clone)]
pub struct ClientSecret(SecretString);

impl ClientSecret {
    /// Wraps a secret; the memory is zeroised when it is dropped.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the wire only.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ClientSecret(redacted)")
    }
}

/// Values of variables, from the settings. One of them may be a secret: `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Values(pub BTreeMap<String, String>);

impl std::fmt::Debug for Values {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// One provider with one client registration, ready to be asked: a checked profile and its credentials.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The name in the configuration and in the documents' provider field.
    pub name: Arc<str>,
    /// The profile's name: `autodesk`, `generic`.
    pub profile_name: String,
    /// The profile with the configuration's overrides in it.
    pub profile: Profile,
    /// The token endpoint, always there once the configuration is checked; https, or loopback.
    pub token_url: TokenUrl,
    /// Values of the profile's variables, from the settings; those of the documents go before them.
    pub values: Values,
    /// The client id (RFC 6749 §2.2); empty where [`ClientAuth::takes_id`] says no.
    pub client_id: String,
    /// The client secret; there where [`ClientAuth::takes_secret`] says yes.
    pub client_secret: Option<ClientSecret>,
}

impl Provider {
    /// A pass that begins then, as the forecast reckons with it: each token takes the even distance of the rate.
    #[must_use]
    pub fn next_pass(&self, begins_at: Timestamp) -> NextPass {
        let per_token = self.profile.rate.map(Rate::period).unwrap_or_default();
        NextPass { provider: self.name.to_string(), begins_at, per_token }
    }

    /// The value of a variable for one document, as it is put into a request; `None` where the profile has no such variable.
    ///
    /// # Errors
    /// [`Malformed::NoValue`], [`Malformed::BadValue`]
    #[must_use]
    pub fn value<'a>(&'a self, name: &str, facts: &'a Facts) -> Option<Result<Cow<'a, str>, Malformed>> {
        let variable = self.profile.variables.get(name)?;
        let from_settings = || self.values.0.get(name).or(variable.default.as_ref()).map(String::as_str);
        let text = match variable.kind {
            variable::Kind::Secret => from_settings(),
            _ => facts.value(name).or_else(from_settings),
        };
        Some(match text {
            None => Err(Malformed::NoValue(name.to_owned())),
            Some(text) => variable.accept(text).ok_or_else(|| Malformed::BadValue(name.to_owned())),
        })
    }

    /// The token endpoint for one document.
    ///
    /// # Errors
    /// [`Malformed::NoValue`], [`Malformed::BadValue`]
    pub fn url_for(&self, facts: &Facts) -> Result<Url, Malformed> {
        match &self.token_url {
            TokenUrl::Fixed(url) => Ok(url.clone()),
            TokenUrl::Of(template) => template.filled(|name| {
                self.value(name, facts).unwrap_or_else(|| Err(Malformed::NoValue(name.to_owned())))
            }),
        }
    }

    /// The client id for one document.
    ///
    /// # Errors
    /// [`Malformed::NoValue`], [`Malformed::BadValue`]
    pub fn client_id_for<'a>(&'a self, facts: &'a Facts) -> Result<&'a str, Malformed> {
        let visible =
            |text: &&str| !text.is_empty() && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        match facts.value(Facts::CLIENT_ID) {
            Some(id) => {
                Some(id).filter(visible).ok_or_else(|| Malformed::BadValue(Facts::CLIENT_ID.to_owned()))
            }
            None if self.client_id.is_empty() && self.profile.client_auth.takes_id() => {
                Err(Malformed::NoValue(Facts::CLIENT_ID.to_owned()))
            }
            None => Ok(&self.client_id),
        }
    }

    /// Can a token of a document be sent: its place takes it, and the document holds what goes with it?
    ///
    /// # Errors
    /// What is wrong with the document.
    pub fn takes(
        &self,
        refresh_token: &RefreshToken,
        access_token: Option<&AccessToken>,
        facts: &Facts,
    ) -> Result<(), Malformed> {
        let shape = &self.profile.request;
        shape.refresh_token.takes(refresh_token)?;
        if let Some(place) = &shape.access_token
            && !access_token.is_some_and(|token| place.takes_access(token))
        {
            return Err(Malformed::NoAccessToken);
        }
        self.client_id_for(facts)?;
        if self.profile.variables.is_empty() {
            return Ok(());
        }
        for name in self.profile.used_variables() {
            self.value(name, facts).transpose()?;
        }
        self.url_for(facts).map(drop)
    }
}

impl Profile {
    /// The variables that the request holds, by their names.
    pub fn used_variables(&self) -> impl Iterator<Item = &str> {
        let texts = self.request.headers.values().map(String::as_str);
        let texts = texts.chain(self.extra_parameters.values().filter_map(Parameter::text));
        let known = |name: &str| self.variables.contains_key(name);
        texts.chain(self.token_url.as_deref()).flat_map(move |text| {
            template::parts(text, known).into_iter().filter_map(|part| match part {
                template::Part::Variable(name) => Some(name),
                template::Part::Text(_) => None,
            })
        })
    }
}

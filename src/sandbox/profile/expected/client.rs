//! The client authentication that a profile describes (RFC 6749 §2.3.1): there, with the right values, and in one way only.

use super::super::super::{SandboxConfig, opaque};
use super::super::seen::Seen;
use super::{Wrong, counted};
use crate::provider::Profile;
use crate::provider::place::RequestPlace;
use crate::provider::request::{ClientAuth, Encoding};
use axum::http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;

/// How the client must say who it is.
pub(super) struct Client {
    auth: ClientAuth,
    id_name: String,
    secret_name: String,
    /// Does a token stand in `Authorization`?
    bearer: bool,
}

impl Client {
    pub(super) fn new(profile: &Profile) -> Self {
        let places = [Some(&profile.request.refresh_token), profile.request.access_token.as_ref()];
        Self {
            auth: profile.client_auth,
            id_name: profile.client_id_name.clone(),
            secret_name: profile.client_secret_name.clone(),
            bearer: places.contains(&Some(&RequestPlace::Bearer)),
        }
    }

    pub(super) fn check(
        &self,
        config: &SandboxConfig,
        seen: &Seen<'_>,
        encoding: Encoding,
    ) -> Result<(), Wrong> {
        let (id, secret) = (&config.client_id, &config.client_secret);
        match self.auth {
            ClientAuth::Basic => self.check_basic(seen, |user, password| {
                form_decoded(user) == *id && form_decoded(password) == *secret
            })?,
            ClientAuth::BasicRaw => {
                self.check_basic(seen, |user, password| user == id && password == secret)?;
            }
            ClientAuth::SecretAsUser => {
                self.check_basic(seen, |user, password| user == secret && password.is_empty())?;
            }
            ClientAuth::Body | ClientAuth::None | ClientAuth::NoClient => {
                if !self.bearer && seen.headers.contains_key(AUTHORIZATION) {
                    return Err(self.wrong("an `Authorization`"));
                }
            }
        }
        let in_the_fields = [
            (&self.id_name, id, matches!(self.auth, ClientAuth::Body | ClientAuth::None)),
            (&self.secret_name, secret, self.auth == ClientAuth::Body),
        ];
        for (name, known, is_wanted) in in_the_fields {
            let found = seen.field(name, encoding);
            match (is_wanted, &found[..]) {
                (true, [one]) if one.as_str() == Some(known) => {}
                (true, [one]) if one.as_str().is_some_and(|text| !text.is_empty()) => {
                    return Err(Wrong::Credentials);
                }
                (true, found) => {
                    return Err(self.wrong(&format!("`{name}`: {}", counted(found.len(), "an empty one"))));
                }
                (false, []) => {}
                // A client may name itself beside the header (RFC 6749 §3.2.1).
                (false, [one]) if self.auth != ClientAuth::NoClient && one.as_str() == Some(id) => {}
                (false, _) => return Err(self.wrong(&format!("a field `{name}`"))),
            }
        }
        Ok(())
    }

    fn check_basic(&self, seen: &Seen<'_>, is_known: impl Fn(&str, &str) -> bool) -> Result<(), Wrong> {
        let found = seen.headers.get_all(AUTHORIZATION).iter().count();
        let mut pairs: Vec<_> = seen.authorization("basic").collect();
        let (Some(pair), 1) = (pairs.pop(), found) else {
            let saw = if found == 0 { "no `Authorization`" } else { "another `Authorization`" };
            return Err(self.wrong(saw));
        };
        let known = opaque::basic_credentials(&format!("Basic {pair}"))
            .ok_or_else(|| self.wrong("a Basic `Authorization` that is none"))?;
        if is_known(&known.0, &known.1) { Ok(()) } else { Err(Wrong::Credentials) }
    }

    fn wrong(&self, saw: &str) -> Wrong {
        let (id, secret) = (&self.id_name, &self.secret_name);
        let expected = match self.auth {
            ClientAuth::Basic => "client id and secret, form-encoded, as HTTP Basic".to_owned(),
            ClientAuth::BasicRaw => "client id and secret, as they are, as HTTP Basic".to_owned(),
            ClientAuth::SecretAsUser => "the client secret as the user of HTTP Basic".to_owned(),
            ClientAuth::Body => format!("the fields `{id}` and `{secret}`, and no `Authorization`"),
            ClientAuth::None => format!("the field `{id}`, and no secret"),
            ClientAuth::NoClient => "no client".to_owned(),
        };
        Wrong::Client { expected, saw: saw.to_owned() }
    }
}

fn form_decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

//! Why a document is as it is, and what to do next: a sentence or two for each state and each class of error. Pure.

use super::ShownDocument;
use crate::clock::Timestamp;
use crate::commands::shown;
use crate::commands::tokens::state::StateNow;
use crate::config::Config;
use crate::grant::answer::Class;
use crate::select::NOT_ASKED_AGAIN;

/// What a login asks of a person.
const LOG_IN: &str = "the person must log in again. When the application writes the new refresh token into this \
                      document, the next pass takes it by itself";

/// Why it is as it is, and what to do.
pub(super) fn explained(shown: &ShownDocument, config: &Config, now: Timestamp) -> (String, String) {
    let (why, next) = if shown.left_out {
        (
            "`documents.filter` leaves this document out: no pass reads it".to_owned(),
            "nothing, if that is right; else change `documents.filter`".to_owned(),
        )
    } else {
        match shown.document.state {
            StateNow::Malformed => malformed(shown, config),
            StateNow::NeedsLogin => needs_login(shown),
            StateNow::LostInFlight => lost_in_flight(shown),
            StateNow::New | StateNow::Live => asked(shown, now),
        }
    };
    (why, next)
}

fn malformed(shown: &ShownDocument, config: &Config) -> (String, String) {
    let mapping = &config.store.mapping;
    let field = mapping.provider.as_ref().map_or("", |path| path.as_str());
    if let Some(stranger) = shown.document.stranger() {
        let configured: Vec<_> = config.provider_names.iter().map(|name| format!("`{name}`")).collect();
        return (
            format!("its provider field `{field}` names no configured provider: {stranger}"),
            format!(
                "write a configured name into `{field}` (configured: {}), or configure `[providers.NAME]`",
                configured.join(", ")
            ),
        );
    }
    let code = shown.document.malformed.unwrap_or("malformed");
    (
        format!("its field `{}` holds no refresh token that can be sent ({code})", mapping.refresh_token),
        format!("{LOG_IN}. If the token is in another field, set `documents.refresh_token`"),
    )
}

fn needs_login(shown: &ShownDocument) -> (String, String) {
    let code = shown.document.last_error.as_ref().map_or("unknown", |error| error.code.as_str());
    let why = if code == "already_redeemed" {
        "this refresh token was redeemed before, and its successor is not in the document: an older copy of the document \
         was put back, by a restored backup or by an application that saved what it had read earlier"
            .to_owned()
    } else {
        format!("the provider refuses this refresh token ({code}): it is expired, revoked, or was replaced")
    };
    (why, LOG_IN.to_owned())
}

fn lost_in_flight(shown: &ShownDocument) -> (String, String) {
    let code = shown.document.last_error.as_ref().map_or("unknown", |error| error.code.as_str());
    let why = if code == NOT_ASKED_AGAIN {
        "the token was sent and its answer never came; the provider's profile says that such a token is not sent again \
         (`ask_again = \"never\"`)"
            .to_owned()
    } else {
        format!(
            "the token was sent and its answer never came; the provider may have replaced it in that answer, and now \
             refuses the old one ({code})"
        )
    };
    (why, LOG_IN.to_owned())
}

fn asked(shown: &ShownDocument, now: Timestamp) -> (String, String) {
    let document = &shown.document;
    let wake = shown.next_wake.map_or_else(
        || "the next pass asks".to_owned(),
        |wake| format!("the pass of {} UTC asks", shown::instant(Some(wake))),
    );
    let by_itself = format!("nothing: {wake}. `evergrant run --once` asks at once what is due");
    if let Some(lease) = document.lease.as_ref().filter(|lease| lease.until > now) {
        let why = format!(
            "a pass of {} has claimed it until {} UTC and is about to send its token, or waits for the answer",
            shown::plain(&lease.owner),
            shown::instant(Some(lease.until))
        );
        let next = "nothing: after that time any pass may take it, if the process is gone";
        return (why, next.to_owned());
    }
    if let Some(error) = &document.last_error {
        let (what, next) = put_off(&error.class, &error.code, document.refused_once);
        return (what, next.map_or(by_itself, str::to_owned));
    }
    let is_due = document.due_at.is_none_or(|at| at <= now);
    let why = match (shown.earlier_mark, document.state) {
        (Some(mark), _) => {
            format!("it holds a new login: the mark `{}` is of an earlier refresh token", mark.as_str())
        }
        (None, _) if shown.new_login => {
            "another program has written a newer refresh token into it: it counts as a new login".to_owned()
        }
        (None, StateNow::New) => "Evergrant never asked for this refresh token".to_owned(),
        _ if is_due => "its refresh token is due".to_owned(),
        _ => "all is well: its refresh token is not due yet".to_owned(),
    };
    (why, by_itself)
}

/// What the last grant that gave no pair means for a token that is asked again; what to do where waiting doesn't help.
fn put_off(class: &str, code: &str, refused_once: bool) -> (String, Option<&'static str>) {
    if refused_once {
        let what = format!(
            "the provider refused it once ({code}). One refusal marks no user: it is asked again when it is due, and a \
             second refusal means that the person must log in again"
        );
        return (what, None);
    }
    let is = |known: Class| class == known.word();
    if is(Class::Throttled(None)) {
        (
            format!(
                "the provider said that there were too many requests ({code}); the token was not used up"
            ),
            None,
        )
    } else if is(Class::Transient) {
        (format!("the provider could not be reached, or did not process the request ({code})"), None)
    } else if is(Class::Ambiguous) {
        (
            format!(
                "the token was sent and no usable answer came ({code}); whether it was replaced is not known yet"
            ),
            None,
        )
    } else if is(Class::ClientRejected) {
        (
            format!("the provider rejected our client, not this user ({code})"),
            Some(
                "check `client_id`, `client_secret` and `token_url`; `evergrant check --probe-client` asks the provider",
            ),
        )
    } else if is(Class::Unlisted) {
        (
            format!(
                "the provider answered with an error that its profile does not list ({code}); it marks no user"
            ),
            Some(
                "look the code up in the provider's documentation. If it means that the login is dead, list it in \
                 `answer.refused`",
            ),
        )
    } else if is(Class::Unreadable) {
        (
            format!(
                "the provider answered with a success in which no pair can be found ({code}); the answer is kept"
            ),
            Some(
                "set `answer.access_token` and `answer.refresh_token`; `evergrant journal list` shows the answer",
            ),
        )
    } else if code == "no_room" {
        (
            "the document has no place for a new pair, so nothing was sent".to_owned(),
            Some("look at the document's fields: what a mapped path leads through must be a sub-document"),
        )
    } else {
        (format!("the last grant gave no pair ({class}: {code})"), None)
    }
}

impl ShownDocument {
    /// `needs_login, since 2026-11-14 03:00 UTC`
    pub(super) fn state_text(&self) -> String {
        let since = self.document.since;
        let since = since.map_or_else(String::new, |at| format!(", since {} UTC", shown::instant(Some(at))));
        let login =
            if self.new_login { " (a new login: not the refresh token that was asked last)" } else { "" };
        format!("{}{since}{login}", self.document.state.as_str())
    }
}

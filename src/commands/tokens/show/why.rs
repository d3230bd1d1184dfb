//! Why a document is as it is, and what to do next, in the words of the closed lists. Pure.

use super::ShownDocument;
use crate::clock::Timestamp;
use crate::commands::shown;
use crate::commands::tokens::state::StateNow;
use crate::config::Config;
use crate::token::{
    Code, Evidence, LastError, Reason, State, UNKNOWN_JOURNAL, Vocabulary as _, Word, is_status_alone,
};

/// What a dead login asks of a person, and what happens then.
const LOG_IN: &str = "The user must log in again. The application then writes a new refresh token into this document, and \
                      the next pass takes it by itself.";

/// What an answer without a code that the profile knows asks of a person who writes the profile.
const NO_CODE: &str = "`evergrant providers try --id ID` asks for one document, shows the answer, and says where in it a code \
                       stands; `evergrant providers test PROFILE --answer FILE` reads a captured one. Only an answer that always says \
                       that this one login is dead may mean `refused`: that marks users.";

/// Why it is as it is, and what to do.
pub(super) fn explained(shown: &ShownDocument, config: &Config, now: Timestamp) -> (String, String) {
    if shown.left_out {
        return (
            "`documents.filter` leaves this document out: no pass reads it.".to_owned(),
            "Nothing, if that is right. Otherwise change `documents.filter`.".to_owned(),
        );
    }
    match shown.document.state {
        StateNow::Malformed => malformed(shown, config),
        StateNow::NeedsLogin => dead(State::NeedsLogin, shown.document.last_error.as_ref()),
        StateNow::LostInFlight => dead(State::LostInFlight, shown.document.last_error.as_ref()),
        StateNow::New | StateNow::Live => asked(shown, now),
    }
}

fn malformed(shown: &ShownDocument, config: &Config) -> (String, String) {
    let mapping = &config.store.mapping;
    if let Some(stranger) = shown.document.stranger() {
        let field = mapping.provider.as_ref().map_or("", |path| path.as_str());
        let configured: Vec<_> = config.provider_names.iter().map(|name| format!("`{name}`")).collect();
        return (
            format!("The field `{field}` names no configured provider: {stranger}"),
            format!(
                "Write a configured name into `{field}` ({}), or configure `[providers.NAME]`.",
                configured.join(", ")
            ),
        );
    }
    let (meaning, advice) = shown.document.malformed.and_then(Code::from_word).map_or_else(
        || (State::Malformed.meaning(), State::Malformed.advice()),
        |code| (code.meaning(), code.advice()),
    );
    (format!("{meaning} Its field is `{}`.", mapping.refresh_token), advice.to_owned())
}

fn dead(state: State, error: Option<&LastError>) -> (String, String) {
    // A code of ours says more than the state: the provider wasn't asked then.
    let code = error.map(|error| &error.code);
    match code {
        Some(Word::Ours(code @ (Code::AlreadyRedeemed | Code::NotAskedAgain))) => {
            (code.meaning().to_owned(), format!("{} {LOG_IN}", code.advice()))
        }
        Some(code) => (format!("{} Its code was `{code}`.", state.meaning()), LOG_IN.to_owned()),
        None => (state.meaning().to_owned(), LOG_IN.to_owned()),
    }
}

fn asked(shown: &ShownDocument, now: Timestamp) -> (String, String) {
    let document = &shown.document;
    let wake = shown.next_wake.map_or_else(
        || "The next pass asks for it.".to_owned(),
        |wake| format!("The pass of {} UTC asks for it.", shown::instant(Some(wake))),
    );
    let by_itself = format!("Nothing. {wake} `evergrant run --once` takes at once what is due.");
    if let Some(lease) = document.lease.as_ref().filter(|lease| lease.until > now) {
        let why = format!(
            "A pass of {} holds the claim until {} UTC: it is about to send the token, or waits for the answer.",
            shown::plain(&lease.owner),
            shown::instant(Some(lease.until))
        );
        return (
            why,
            "Nothing. If that process is gone, another pass may take it after that time.".to_owned(),
        );
    }
    if let Some(lease) = &document.lease {
        let journal = lease.by.as_ref().map_or(UNKNOWN_JOURNAL, |by| &by.journal);
        let why = format!(
            "The claim of {} (journal {}) ended at {} UTC and was not given back (`{}`): that process may have sent the token, and its journal may hold the answer.",
            shown::plain(&lease.owner),
            shown::plain(journal),
            shown::instant(Some(lease.until)),
            Reason::WaitsFor.word()
        );
        return (why, Reason::WaitsFor.advice().to_owned());
    }
    if let Some(journal) = &shown.spent_by {
        return has_its_pair(journal);
    }
    if let Some(error) = &document.last_error {
        return put_off(error, document.refused_once, &by_itself, &wake);
    }
    let is_due = document.due_at.is_none_or(|at| at <= now);
    let why = match shown.earlier_mark {
        Some(mark) => {
            format!("It holds a new login: the mark `{}` is of an earlier refresh token.", mark.word())
        }
        None if shown.new_login => {
            "Another program has written another refresh token into it: it counts as a new login.".to_owned()
        }
        None if document.state == StateNow::New => "Evergrant never asked for this refresh token.".to_owned(),
        None if is_due => "Its refresh token is due.".to_owned(),
        None => "All is well: its refresh token is not due yet.".to_owned(),
    };
    (why, by_itself)
}

/// A redeemed token is there again; which journal has its pair.
fn has_its_pair(journal: &str) -> (String, String) {
    let journal = shown::plain(journal);
    let why = format!(
        "It holds a token again that was redeemed: an old backup was restored, or an old document was saved again. The journal {journal} wrote the last pair of its login."
    );
    let next = format!(
        "Nothing, if the machine with that journal runs: its next pass puts the pair back, and no machine sends this token. \
         Otherwise start it with its `state_dir`. If it is gone for good: `evergrant run --once --take-over {journal}` sends the token."
    );
    (why, next)
}

/// What the last request without a pair means for a token that is asked again; a closed list says what to do.
fn put_off(error: &LastError, refused_once: bool, by_itself: &str, wake: &str) -> (String, String) {
    if refused_once {
        let why = format!("{} Its code was `{}`.", Reason::RefusedOnce.meaning(), error.code);
        return (why, format!("{} {wake}", Reason::RefusedOnce.advice()));
    }
    let unlisted = error.class.is(Evidence::Unlisted);
    if unlisted && is_status_alone(&error.code, error.http_status) {
        let meaning = Evidence::Unlisted.meaning();
        let why = format!(
            "{meaning} It held no code at the places of `answer.error_code`: its status stands for one (`{}`).",
            shown::plain(&error.code)
        );
        return (why, format!("{NO_CODE} {wake}"));
    }
    let (meaning, advice) = match (&error.class, &error.code) {
        (_, Word::Ours(code)) => (code.meaning(), code.advice()),
        (Word::Ours(class), Word::Other(_)) => (class.meaning(), class.advice()),
        (Word::Other(_), Word::Other(_)) => ("The last request brought no pair.", by_itself),
    };
    let next = if advice == by_itself { by_itself.to_owned() } else { format!("{advice} {wake}") };
    (format!("{meaning} Its code was `{}`.", shown::plain(&error.code)), next)
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

//! `providers try --id`: one document is refreshed as in a pass, and everything is shown.
//!
//! It is a pass that is limited to the document: claim, journal, gate, judge and write-back are the pass' own. Its wire is
//! watched, no more.

use super::{TriedAnswer, tried};
use crate::assembly;
use crate::clock::{Clock, Timestamp};
use crate::commands::providers::shown_request::{ShownRequest, shown};
use crate::commands::tokens::{connect_existing, document_shown_as};
use crate::commands::{CommandError, Surroundings, shown as words};
use crate::config::Config;
use crate::daemon::stop_on_signals;
use crate::engine::Engine;
use crate::exit::Exit;
use crate::grant::http::{ClientError, Https};
use crate::grant::{Connect, GrantRequest, Sent, Wire};
use crate::pass::{PassRequest, Stop};
use crate::provider::Provider;
use crate::report::summary::Summary;
use crate::report::{Outcome, Reports, Trouble};
use crate::token::{Fingerprint, RefreshToken, State, Subject, TokenDocument, TokenId};
use async_trait::async_trait;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// What `providers try --id --format json` prints.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TriedDocument {
    /// The provider.
    pub provider: String,
    /// The document's `_id`, as extended JSON.
    pub id: TokenId,
    /// The user.
    pub subject: Subject,
    /// The request, without its secrets.
    pub request: ShownRequest,
    /// What came of each request; empty where nothing was sent.
    pub answers: Vec<TriedAnswer>,
    /// The document before.
    pub before: SeenDocument,
    /// The document after; `null` where it is gone.
    pub after: Option<SeenDocument>,
    /// Where the pass' documents ended; those of an earlier process that it had to settle first are among them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Why documents are still due.
    pub still_due_reasons: BTreeMap<String, u64>,
    /// What kept the pass from its work.
    pub troubles: Vec<Trouble>,
}

/// A document without its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SeenDocument {
    /// Fingerprint of its refresh token; `null` where it holds none that can be sent.
    pub refresh_token: Option<Fingerprint>,
    /// Its length.
    pub refresh_token_characters: Option<usize>,
    /// The length of its access token.
    pub access_token_characters: Option<usize>,
    /// Its state.
    pub state: State,
    /// When it is due.
    pub due_at: Option<Timestamp>,
    /// When a pair was last written.
    pub refreshed_at: Option<Timestamp>,
}

/// What came of a request, and what of the request must not be shown. The document may have changed since it was read, so that
/// another token was sent than the one that was read.
type Seen = (Sent, Vec<Zeroizing<String>>);

/// Connects as the pass does, and remembers what came.
#[derive(Debug, Clone)]
struct Watched<T: ?Sized> {
    seen: Arc<Mutex<Vec<Seen>>>,
    inner: Arc<T>,
}

impl Connect for Watched<dyn Connect> {
    fn connect(&self, provider: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, ClientError> {
        let inner = self.inner.connect(provider, clock)?;
        Ok(Arc::new(Watched { seen: self.seen.clone(), inner }))
    }
}

#[async_trait]
impl Wire for Watched<dyn Wire> {
    async fn post(&self, request: &GrantRequest) -> Sent {
        let sent = self.inner.post(request).await;
        // A list is whole after every call: a panic elsewhere leaves none half done.
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((sent.clone(), request.secrets.clone()));
        sent
    }

    fn peer(&self, url: &Url) -> Option<String> {
        self.inner.peer(url)
    }
}

/// Refreshes one document, once a person has said so.
pub(super) async fn run(
    provider: &Provider,
    id: &str,
    yes: bool,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let (document, token) = find(provider, id, config, surroundings).await?;
    if !yes {
        confirm(&document, provider, surroundings)?;
    }
    let seen = Arc::new(Mutex::default());
    let inner: Arc<dyn Connect> = Arc::new(Https);
    let watched = Watched { seen: seen.clone(), inner };
    assembly::must_be_there(config)?;
    let engine = assembly::engine(config, &surroundings.clock, &watched).await?;
    let ended = refresh(&engine, provider, &document, config).await;
    let after = match &ended {
        Ok(_) => engine.base.store.read(std::slice::from_ref(&document.id)).await,
        Err(_) => Ok(Vec::new()),
    };
    engine.close().await;
    let (summary, after) = (ended?, after?);
    let now = surroundings.clock.now();
    let sent = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let mapping = &config.store.mapping;
    let answers = sent.iter().map(|(sent, secrets)| tried(sent, provider, secrets, mapping, now).0).collect();
    let exit = summary.exit();
    let result = TriedDocument {
        provider: provider.name.to_string(),
        request: shown(provider, token.expose().chars().count(), &document.facts),
        answers,
        before: SeenDocument::of(&document),
        after: after.first().map(SeenDocument::of),
        outcomes: summary.outcomes,
        still_due_reasons: summary.still_due_reasons,
        troubles: summary.troubles,
        id: document.id,
        subject: document.subject,
    };
    surroundings.print(&result.text(), &result)?;
    Ok(exit)
}

async fn refresh(
    engine: &Engine,
    provider: &Provider,
    document: &TokenDocument,
    config: &Config,
) -> Result<Summary, CommandError> {
    let stop = Stop::default();
    stop_on_signals(stop.clone(), config.stop_grace)?;
    engine.base.ready(&stop, false).await?;
    let request = PassRequest {
        only: Some(document.id.clone()),
        provider: Some(provider.name.to_string()),
        ..PassRequest::default()
    };
    Ok(engine.run(&request, &stop, Arc::new(Reports::new())).await?)
}

/// The document of that `_id`, and its token: one that this provider's passes would ask for.
async fn find(
    provider: &Provider,
    id: &str,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<(TokenDocument, RefreshToken), CommandError> {
    let store = connect_existing(config, &surroundings.clock).await?;
    let document = document_shown_as(id, &*store).await?;
    let shown = words::plain(id);
    if !store.left_out(std::slice::from_ref(&document.id)).await?.is_empty() {
        return Err(CommandError::usage(
            format!("`documents.filter` leaves the document `{shown}` out, so no pass refreshes it"),
            "change the filter, or the document",
        ));
    }
    let is_mapped = config.store.mapping.provider.is_some();
    if is_mapped && document.provider.as_deref() != Some(&*provider.name) {
        let theirs = document.provider.as_deref().map_or_else(|| "none".to_owned(), words::plain);
        return Err(CommandError::usage(
            format!("the document `{shown}` names the provider `{theirs}`, and not `{}`", provider.name),
            "name its provider: `evergrant providers try NAME --id ID`",
        ));
    }
    let token = document.refresh_token.clone().and_then(|token| {
        provider.takes(&token, document.access_token.as_ref(), &document.facts)?;
        Ok(token)
    });
    match token {
        Ok(token) => Ok((document, token)),
        Err(malformed) => Err(CommandError::usage(
            format!("the document `{shown}` holds no refresh token that can be sent: {malformed}"),
            "`evergrant tokens show` says more",
        )),
    }
}

/// Asks the person at the terminal.
fn confirm(
    document: &TokenDocument,
    provider: &Provider,
    surroundings: &Surroundings,
) -> Result<(), CommandError> {
    let TokenDocument { id, subject, .. } = document;
    let what =
        format!("the refresh token of `{subject}` (document {id}) would be redeemed at `{}`", provider.name);
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage(what, "confirm with `--yes`, or run it at a terminal"));
    }
    let ask = || {
        let mut talk = io::stderr().lock();
        write!(talk, "Now {what}, and the new pair written into the document.\nType yes to send it: ")?;
        talk.flush()?;
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed)?;
        Ok(typed)
    };
    let typed: io::Result<String> = surroundings.talk.suspend(ask);
    if typed.map_err(CommandError::io("ask"))?.trim() == "yes" {
        return Ok(());
    }
    Err(CommandError::usage("nothing was sent", "type `yes`, or use `--yes`"))
}

impl SeenDocument {
    fn of(document: &TokenDocument) -> Self {
        let token = document.refresh_token.as_ref().ok();
        let books = &document.bookkeeping;
        Self {
            refresh_token: token.map(RefreshToken::fingerprint),
            refresh_token_characters: token.map(|token| token.expose().chars().count()),
            access_token_characters: document
                .access_token
                .as_ref()
                .map(|token| token.expose().chars().count()),
            state: books.state,
            due_at: books.due_at,
            refreshed_at: books.refreshed_at,
        }
    }

    fn token(&self) -> String {
        match (self.refresh_token, self.refresh_token_characters) {
            (Some(fingerprint), Some(characters)) => format!("{fingerprint}, {characters} characters"),
            _ => words::NOTHING.to_owned(),
        }
    }
}

impl TriedDocument {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.answers.is_empty() {
            text.push_str("nothing was sent\n");
        } else {
            // Writing into a text can't fail.
            let _ = writeln!(text, "request\n{}", self.request.text());
        }
        for answer in &self.answers {
            let _ = writeln!(text, "\n{}", answer.text());
        }
        let _ = write!(text, "\ndocument {} of `{}`", self.id, self.subject);
        let Some(after) = &self.after else {
            text.push_str("\n  it is gone");
            return text;
        };
        let _ = write!(text, "\n  refresh token before  {}", self.before.token());
        let same = after.refresh_token == self.before.refresh_token;
        let token = if same { "the same".to_owned() } else { after.token() };
        let _ = write!(text, "\n  refresh token now     {token}");
        let access = after.access_token_characters;
        let access =
            access.map_or_else(|| words::NOTHING.to_owned(), |characters| format!("{characters} characters"));
        let _ = write!(text, "\n  access token now      {access}");
        let _ = write!(text, "\n  pair last written     {}", words::instant(after.refreshed_at));
        let _ = write!(text, "\n  state                 {}", after.state.word());
        let _ = write!(text, "\n  due (UTC)             {}", words::instant(after.due_at));
        let outcomes: Vec<_> = self
            .outcomes
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(outcome, count)| format!("{count} {}", outcome.word()))
            .collect();
        let reasons: Vec<_> = self.still_due_reasons.keys().map(String::as_str).collect();
        if !outcomes.is_empty() {
            let reasons =
                if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
            let _ = write!(text, "\n  outcome               {}{reasons}", outcomes.join(", "));
        } else if self.answers.is_empty() {
            text.push_str("\n  another process holds its claim, or its token is not asked for again; `evergrant tokens show` says more");
        }
        for trouble in &self.troubles {
            let _ = write!(text, "\n\n{trouble}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::json::assert_documented;

    #[test]
    fn help_names_each_field_of_the_json() {
        let seen = SeenDocument {
            refresh_token: Some(RefreshToken::new("a".into()).fingerprint()),
            refresh_token_characters: Some(1),
            access_token_characters: None,
            state: State::Live,
            due_at: None,
            refreshed_at: None,
        };
        let request =
            ShownRequest { method: "POST", url: String::new(), headers: vec![], body: String::new() };
        let tried = TriedDocument {
            provider: "own".into(),
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("ann@example.com"),
            request,
            answers: vec![TriedAnswer { no_answer: Some("timeout"), answer: None, reading: None }],
            before: seen.clone(),
            after: Some(seen.clone()),
            outcomes: BTreeMap::new(),
            still_due_reasons: BTreeMap::new(),
            troubles: vec![],
        };
        assert_documented("providers try --id", &tried);
        assert_documented("providers try --id: before", &seen);
        assert_documented("providers try --id: answers[]", &tried.answers[0]);
        assert!(tried.text().contains("refresh token now     the same"), "{}", tried.text());
    }
}

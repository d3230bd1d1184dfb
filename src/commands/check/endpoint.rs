//! Each provider: what the schedule means for its tokens, and whether anybody is there.

use super::finding::Check;
use crate::clock::{Clock, Timestamp};
use crate::config::{Chances, Config, Warning, drain_warning, words};
use crate::exit::Exit;
use crate::grant::Wire as _;
use crate::grant::answer::{self, Class, Reading};
use crate::grant::http::{Reach, TokenEndpoint};
use crate::grant::{Login, request};
use crate::pass::PassError;
use crate::provider::Provider;
use crate::provider::learned::Learned;
use crate::report::{Trouble, if_these_logins_ended};
use crate::schedule::ASSUMED_LIFE;
use crate::token::{AccessToken, Code, RefreshToken, Vocabulary as _};
use chrono::TimeDelta;

/// The start of the made-up refresh token, so that a person who finds it in a provider's log knows what it was.
const PROBE: &str = "evergrant-probe-";

/// For so long the facts of a profile are taken as they are: half a year.
const FACTS_LAST: TimeDelta = TimeDelta::days(183);

/// A refresh token that was never issued.
pub(in crate::commands) fn made_up_token() -> RefreshToken {
    RefreshToken::new(format!("{PROBE}{:032x}", rand::random::<u128>()))
}

/// All checks of one provider: `learned` is what its answers told, `documents` is how many there are, where that is known.
pub(super) async fn checks(
    provider: &Provider,
    config: &Config,
    learned: Learned,
    documents: Option<u64>,
    probe: bool,
    clock: &Clock,
) -> Vec<Check> {
    let mut checks = vec![chances(provider, config, learned, clock.now())];
    checks.extend(super::learned::check(provider, learned, config, clock.now()));
    checks.extend(fixed_login(provider, config));
    checks.extend(old_facts(provider, clock.now()));
    checks.extend(documents.map(|documents| drain(provider, config, documents, clock.now())));
    checks.extend(super::keep::check(provider, config, documents, clock.now()));
    checks.extend(url_secrets(provider));
    let endpoint = match TokenEndpoint::new(provider, clock.clone()) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            checks.push(Check::error(endpoint_name(provider), PassError::from(error)));
            return checks;
        }
    };
    let Some(reach) = endpoint.reach().await else {
        let url = &provider.token_url;
        let text =
            format!("{url} is a template: each document says where its token is sent; nothing is asked here");
        checks.push(Check::ok(endpoint_name(provider), text));
        return checks;
    };
    checks.push(check_reach(provider, &reach));
    if !probe || !matches!(reach, Reach::Answered(_)) {
        return checks;
    }
    let token = made_up_token();
    let made_up = AccessToken::new(format!("{PROBE}{:032x}", rand::random::<u128>()));
    let login = Login { access_token: Some(&made_up), ..Login::from(&token) };
    // What stands in documents isn't known here.
    if let Ok(request) = request(provider, login) {
        let sent = endpoint.post(&request).await;
        let reading = answer::read(&sent, &provider.profile, clock.now());
        checks.push(check_client(provider, &reading));
    }
    checks
}

/// A URL with a token or a secret in it is known to more than the two ends.
fn url_secrets(provider: &Provider) -> Option<Check> {
    provider.profile.request.url_holds_secrets().then(|| {
        let text = "each request has a token or a secret in its URL, and servers and proxies write URLs into their logs";
        Check::warning(endpoint_name(provider), text)
            .hint("if the server takes them elsewhere, change `request.encoding` or `request.refresh_token`")
    })
}

fn endpoint_name(provider: &Provider) -> String {
    format!("{}: token endpoint", provider.name)
}

/// The warnings of the settings that aren't told with a provider.
pub(super) fn other_warnings(config: &Config) -> impl Iterator<Item = &Warning> {
    config.warnings.iter().filter(|warning| match warning {
        Warning::FewPasses(_)
        | Warning::FewPassesOfOnce(_)
        | Warning::SlowRate { .. }
        | Warning::LateAccess(..)
        | Warning::FixedLogin { .. } => false,
        Warning::ShortStop { .. }
        | Warning::NoDatabases { .. }
        | Warning::OnCommandLine { .. }
        | Warning::OpenFile { .. } => true,
    })
}

fn chances(provider: &Provider, config: &Config, learned: Learned, now: Timestamp) -> Check {
    let name = format!("{}: passes before expiry", provider.name);
    match Chances::of(config, provider, now) {
        None if provider.profile.login_lifetime.is_some() => {
            Check::ok(name, "nothing extends the life of a token: it ends with its login")
        }
        None if learned.refresh.is_some() => Check::ok(
            name,
            "the settings don't say how long a refresh token lives; the provider's answers do, and it is due by that",
        ),
        None if config.schedule.is_continuous() => Check::ok(
            name,
            format!(
                "the life of a refresh token isn't known, so each is refreshed after {}",
                words(config.renew_after.of(ASSUMED_LIFE))
            ),
        )
        .hint("set `refresh_token_lifetime` if the provider documents it"),
        Some(_) if config.schedule.is_continuous() => {
            let life = provider.profile.sliding_life().unwrap_or_default();
            let (life, due_after) = (words(life), words(config.renew_after.of(life)));
            Check::ok(
                name,
                format!("a refresh token lives {life}, and is refreshed {due_after} after it was issued"),
            )
        }
        None => Check::ok(
            name,
            "the life of a refresh token isn't known, so every scheduled pass refreshes every token",
        )
        .hint("set `refresh_token_lifetime` if the provider documents it"),
        Some(chances) => match chances.warning() {
            Some(warning) => Check::warned(name, &warning),
            None => Check::ok(name, chances.explained()),
        },
    }
}

/// When each user must log in again, where no refresh extends a login.
fn fixed_login(provider: &Provider, config: &Config) -> Option<Check> {
    let lifetime = provider.profile.login_lifetime?;
    let name = format!("{}: login", provider.name);
    let is_of_this = |warning: &&Warning| matches!(warning, Warning::FixedLogin { provider: of, .. } if **of == *provider.name);
    Some(match config.warnings.iter().find(is_of_this) {
        Some(warning) => Check::warned(name, warning),
        None => Check::ok(
            name,
            format!(
                "a login ends {} after it began, and no refresh extends it: each user must log in again by then",
                words(lifetime)
            ),
        ),
    })
}

/// Facts of a profile that were looked up long ago: providers change their lives within months.
fn old_facts(provider: &Provider, now: Timestamp) -> Option<Check> {
    let checked = provider.profile.checked?;
    (now.date_naive() - checked > FACTS_LAST).then(|| {
        let text = format!(
            "the facts of `{}` were last looked up on {checked}, more than half a year ago",
            provider.profile_name
        );
        Check::warning(format!("{}: profile", provider.name), text).hint(
            "compare lives, rate and rotation with the provider's documentation, and set what has changed",
        )
    })
}

fn drain(provider: &Provider, config: &Config, documents: u64, now: Timestamp) -> Check {
    let name = format!("{}: rate", provider.name);
    let warning = drain_warning(documents, provider, &config.schedule, config.renew_after, now);
    if let Some(warning) = warning {
        return Check::warned(name, &warning);
    }
    let in_flight = provider.profile.concurrency;
    match provider.profile.rate {
        Some(rate) => Check::ok(
            name,
            format!(
                "a pass over all documents ({documents}) takes {} at {rate}, {in_flight} in flight at most",
                words(rate.time_for(documents))
            ),
        ),
        None => Check::ok(name, format!("no limit, {in_flight} in flight at most")),
    }
}

fn check_reach(provider: &Provider, reach: &Reach) -> Check {
    let (name, url) = (endpoint_name(provider), &provider.token_url);
    let (cause, detail) = match reach {
        Reach::Answered(status) if reach.is_no_path() => {
            let text = format!(
                "{url} answers, and says that there is no such path (HTTP {status} to a request without a grant)"
            );
            return Check::warning(name, text).hint(
                "check the path in `token_url`. `evergrant check --probe-client` sends a made-up refresh token, as a pass sends \
                 a real one, and shows what comes",
            );
        }
        Reach::Answered(status) => {
            return Check::ok(name, format!("{url} answers (HTTP {status} to a request without a grant)"));
        }
        Reach::NotReached { cause, detail } => (*cause, detail),
    };
    let hint = match Code::from_word(cause) {
        Some(Code::Dns) => "is the host in `token_url` spelled right, and does this machine resolve names?",
        Some(Code::Tls) => {
            "is `token_url` the right host, and are the root certificates of this machine (`ca-certificates`) and its \
             clock right? A proxy that opens TLS has to be trusted by the machine"
        }
        Some(Code::ConnectTimeout | Code::Timeout) => {
            "does a firewall let this machine out? No proxy is used, also not one of `HTTPS_PROXY`"
        }
        _ => "is the port in `token_url` right, and does a firewall let this machine out? No proxy is used",
    };
    Check::failed(name, Exit::Usage, format!("{url} can't be reached ({cause}): {detail}")).hint(hint)
}

fn check_client(provider: &Provider, reading: &Reading) -> Check {
    let name = format!("{}: client", provider.name);
    let Reading { class, code, http_status, .. } = reading;
    let status = http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
    let unclear = |what: &str| {
        Check::warning(name.clone(), format!("not known: {what} ({code}{status})")).hint("try again later")
    };
    match class {
        Class::Refused | Class::Suspected => Check::ok(
            name,
            format!("the provider knows it: only the made-up refresh token was refused ({code}{status})"),
        ),
        Class::ClientRejected => {
            let trouble = Trouble::ClientRejected {
                provider: provider.name.to_string(),
                code: code.clone(),
                http_status: *http_status,
                client_auth: provider.profile.client_auth,
            };
            Check::failed_by(name, Exit::ClientRejected, &trouble)
        }
        Class::Throttled(_) => unclear("the provider asked for a pause"),
        Class::Transient => unclear("the provider didn't process the request"),
        Class::Unlisted => {
            let check = unclear("the provider answered with a code that the profile doesn't list");
            match if_these_logins_ended(code, *http_status) {
                Some(hint) => check.hint(hint),
                None => check,
            }
        }
        Class::Ambiguous if http_status.is_none() => unclear("no answer came"),
        Class::Ambiguous | Class::Unreadable => {
            Check::warning(name, format!("not known: this is no answer of a token endpoint ({code}{status})"))
                .hint(format!(
                    "is `token_url` right, and does no proxy stand between it and this machine? `curl -d \
             grant_type=refresh_token {}` shows what answers",
                    provider.token_url
                ))
        }
        Class::Granted(_) => Check::warning(name, "the provider granted a made-up refresh token")
            .hint("the server at `token_url` does not check tokens; is it the right one?"),
    }
}

#[cfg(test)]
#[cfg(feature = "rehearsal")]
mod tests;

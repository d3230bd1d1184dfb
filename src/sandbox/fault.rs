//! What goes wrong on purpose: the language of fault scripts, and which fault a request meets.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// Parts in a whole share; a share is kept in parts per million so that scripts compare and print exactly.
const WHOLE_SHARE: u32 = 1_000_000;

/// Seconds in the `Retry-After` of an injected `429` that names none.
const DEFAULT_RETRY_AFTER_SECONDS: u32 = 1;

/// Length of a `slow` answer that names none.
const DEFAULT_SLOW: Duration = Duration::from_secs(3);

/// A list of fault rules; the first one that matches a token request decides what goes wrong with it.
///
/// ```text
/// script   = [ rule *( "," rule ) ]
/// rule     = fault [ ":" share "%" ] [ "@" requests ] *( " " selector )
/// fault    = status [ "(" seconds ")" ]    answered before anything is committed; seconds become Retry-After
///          | status "-after"               committed, then this status without tokens
///          | "refuse"                      invalid_grant for a token that is left alive
///          | "reject-client"               invalid_client, nothing committed
///          | "drop-before"                 connection closed, nothing committed, no bytes
///          | "drop-after"                  committed, connection closed, no bytes
///          | "truncate"                    committed, full Content-Length, body cut half way
///          | "html" | "html-after"         200 text/html, without and with a commit
///          | "gzip" | "gzip-unnamed"       processed normally, the answer compressed; unnamed: without Content-Encoding
///          | "slow" [ "(" seconds ")" ]    committed, the body drips over so many seconds
///          | "redirect"                    302, nothing committed
///          | "delay" "(" seconds ")"       processed normally, that much later
/// requests = n | from ".." | from ".." before | from "..=" last      numbered from 1
/// selector = "user=" name | "times=" n
/// ```
///
/// `status` is 400 to 599; `seconds` may have a fraction where it is a wait. A rule without a share always matches.
/// Which requests a share hits depends on the sandbox's seed and the number of the request, on nothing else.
///
/// ```
/// # use evergrant::sandbox::FaultScript;
/// let script: FaultScript = "503:2%, drop-after@10..20 times=3, truncate user=user-000007".parse()?;
/// assert_eq!(script.to_string().parse::<FaultScript>()?, script);
/// # Ok::<(), evergrant::sandbox::FaultScriptError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultScript {
    rules: Vec<FaultRule>,
}

/// Why a text is not a fault script: the rule that could not be read, and what was expected of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fault rule `{rule}`: expected {expected}")]
pub struct FaultScriptError {
    /// The rule as it was written.
    pub rule: String,
    /// What the parser expected there.
    pub expected: String,
}

/// One way in which a token request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Status { status: u16, retry_after_seconds: Option<u32> },
    StatusAfter { status: u16 },
    Refuse,
    RejectClient,
    DropBefore,
    DropAfter,
    Truncate,
    Html,
    HtmlAfter,
    Gzip { named: bool },
    Slow { over: Duration },
    Redirect,
    Delay { by: Duration },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FaultRule {
    fault: Fault,
    /// Parts per million of the requests that are otherwise matched; none is all of them.
    share: Option<u32>,
    /// First and last request number.
    requests: Option<(u64, Option<u64>)>,
    user: Option<String>,
    times: Option<NonZeroU32>,
}

impl FaultScript {
    /// Has this script no rule at all?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Has it a fault of this name?
    pub(super) fn has(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| rule.fault.name() == name)
    }
}

impl Fault {
    /// Its name in a script, without arguments; the key under which the ledger counts it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Status { status, .. } => status.to_string(),
            Self::StatusAfter { status } => format!("{status}-after"),
            Self::Refuse => "refuse".into(),
            Self::RejectClient => "reject-client".into(),
            Self::DropBefore => "drop-before".into(),
            Self::DropAfter => "drop-after".into(),
            Self::Truncate => "truncate".into(),
            Self::Html => "html".into(),
            Self::HtmlAfter => "html-after".into(),
            Self::Gzip { named: true } => "gzip".into(),
            Self::Gzip { named: false } => "gzip-unnamed".into(),
            Self::Slow { .. } => "slow".into(),
            Self::Redirect => "redirect".into(),
            Self::Delay { .. } => "delay".into(),
        }
    }

    /// Does it answer, or close, before the request is looked at?
    pub(super) const fn is_before_commit(self) -> bool {
        match self {
            Self::Status { .. }
            | Self::Refuse
            | Self::RejectClient
            | Self::DropBefore
            | Self::Html
            | Self::Redirect => true,
            Self::StatusAfter { .. }
            | Self::DropAfter
            | Self::Truncate
            | Self::HtmlAfter
            | Self::Gzip { .. }
            | Self::Slow { .. }
            | Self::Delay { .. } => false,
        }
    }
}

/// A script at work: which requests it hit so far.
#[derive(Debug)]
pub(super) struct FaultDraw {
    script: FaultScript,
    hits: Vec<u32>,
    seed: u64,
}

impl FaultDraw {
    pub(super) fn new(script: FaultScript, seed: u64) -> Self {
        Self { hits: vec![0; script.rules.len()], script, seed }
    }

    pub(super) const fn script(&self) -> &FaultScript {
        &self.script
    }

    /// The fault that request `number`, counted from 1, by `user` meets.
    ///
    /// Counts against `times`: ask once a request, and only for one that is really going to meet its fault.
    pub(super) fn draw(&mut self, number: u64, user: Option<&str>) -> Option<Fault> {
        for (position, rule) in self.script.rules.iter().enumerate() {
            let hits = &mut self.hits[position];
            let exhausted = rule.times.is_some_and(|times| *hits >= times.get());
            if exhausted || !rule.matches(number, user) {
                continue;
            }
            let roll = mix(self.seed ^ mix(number) ^ mix(!(position as u64))) % u64::from(WHOLE_SHARE);
            if rule.share.is_none_or(|share| roll < u64::from(share)) {
                *hits += 1;
                return Some(rule.fault);
            }
        }
        None
    }
}

impl FaultRule {
    fn matches(&self, number: u64, user: Option<&str>) -> bool {
        let in_range = self
            .requests
            .is_none_or(|(first, last)| number >= first && last.is_none_or(|last| number <= last));
        in_range && self.user.as_deref().is_none_or(|wanted| user == Some(wanted))
    }
}

/// Spreads a number over all 64 bits (the finisher of `SplitMix64`).
pub(super) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl fmt::Display for FaultScript {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, rule) in self.rules.iter().enumerate() {
            if position > 0 {
                formatter.write_str(", ")?;
            }
            write!(formatter, "{rule}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.fault.name())?;
        match self.fault {
            Fault::Status { retry_after_seconds: Some(seconds), .. } => write!(formatter, "({seconds})")?,
            Fault::Slow { over: wait } | Fault::Delay { by: wait } => {
                write!(formatter, "({})", wait.as_secs_f64())?;
            }
            _ => {}
        }
        if let Some(share) = self.share {
            write!(formatter, ":{}%", f64::from(share) / f64::from(WHOLE_SHARE / 100))?;
        }
        match self.requests {
            Some((first, Some(last))) if first == last => write!(formatter, "@{first}")?,
            Some((first, Some(last))) => write!(formatter, "@{first}..={last}")?,
            Some((first, None)) => write!(formatter, "@{first}..")?,
            None => {}
        }
        if let Some(user) = &self.user {
            write!(formatter, " user={user}")?;
        }
        self.times.map_or(Ok(()), |times| write!(formatter, " times={times}"))
    }
}

impl FromStr for FaultScript {
    type Err = FaultScriptError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let rule = |text: &str| {
            parse_rule(text).map_err(|expected| FaultScriptError { rule: text.trim().into(), expected })
        };
        Ok(Self { rules: text.split(',').map(rule).collect::<Result<_, _>>()? })
    }
}

fn parse_rule(text: &str) -> Result<FaultRule, String> {
    let mut words = text.split_whitespace();
    let head = words.next().ok_or("a fault between the commas, such as `503:2%`")?;
    let (head, requests) = match head.split_once('@') {
        Some((head, requests)) => (head, Some(parse_requests(requests)?)),
        None => (head, None),
    };
    let (fault, share) = match head.split_once(':') {
        Some((fault, share)) => (fault, Some(parse_share(share)?)),
        None => (head, None),
    };
    let mut rule = FaultRule { fault: parse_fault(fault)?, share, requests, user: None, times: None };
    for word in words {
        match word.split_once('=') {
            Some(("user", user)) if !user.is_empty() => rule.user = Some(user.into()),
            Some(("times", times)) => {
                rule.times = Some(times.parse().map_err(|_| format!("a number above 0 in `times={times}`"))?);
            }
            _ => return Err(format!("`user=NAME` or `times=N` instead of `{word}`")),
        }
    }
    Ok(rule)
}

fn parse_fault(text: &str) -> Result<Fault, String> {
    let (name, argument) = match text.split_once('(') {
        Some((name, rest)) => {
            (name, Some(rest.strip_suffix(')').ok_or_else(|| format!("a `)` after `{text}`"))?))
        }
        None => (text, None),
    };
    let fault = match (name, argument) {
        ("refuse", None) => Fault::Refuse,
        ("reject-client", None) => Fault::RejectClient,
        ("drop-before", None) => Fault::DropBefore,
        ("drop-after", None) => Fault::DropAfter,
        ("truncate", None) => Fault::Truncate,
        ("html", None) => Fault::Html,
        ("html-after", None) => Fault::HtmlAfter,
        ("gzip", None) => Fault::Gzip { named: true },
        ("gzip-unnamed", None) => Fault::Gzip { named: false },
        ("redirect", None) => Fault::Redirect,
        ("slow", None) => Fault::Slow { over: DEFAULT_SLOW },
        ("slow", Some(seconds)) => Fault::Slow { over: parse_wait(seconds)? },
        ("delay", Some(seconds)) => Fault::Delay { by: parse_wait(seconds)? },
        ("delay", None) => return Err("seconds, as in `delay(5)`".into()),
        (name, argument) => return parse_status(name, argument),
    };
    Ok(fault)
}

fn parse_status(name: &str, argument: Option<&str>) -> Result<Fault, String> {
    let (digits, after) = match name.strip_suffix("-after") {
        Some(digits) => (digits, true),
        None => (name, false),
    };
    let status = digits.parse().ok().filter(|status| (400..600).contains(status)).ok_or_else(|| {
        format!(
            "a status from 400 to 599, or one of refuse, reject-client, drop-before, drop-after, truncate, html, html-after, gzip, \
             gzip-unnamed, slow, redirect, delay, STATUS-after, instead of `{name}`"
        )
    })?;
    match (after, argument) {
        (true, None) => Ok(Fault::StatusAfter { status }),
        (true, Some(_)) => Err(format!("no argument after `{name}`")),
        (false, None) => {
            let retry_after_seconds = (status == 429).then_some(DEFAULT_RETRY_AFTER_SECONDS);
            Ok(Fault::Status { status, retry_after_seconds })
        }
        (false, Some(seconds)) => {
            let seconds = seconds.parse().map_err(|_| format!("whole seconds instead of `{seconds}`"))?;
            Ok(Fault::Status { status, retry_after_seconds: Some(seconds) })
        }
    }
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("seconds instead of `{text}`"))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the share is within 0 to 100")]
fn parse_share(text: &str) -> Result<u32, String> {
    let expected = || format!("a share above 0% and up to 100%, such as `2%`, instead of `{text}`");
    let percent: f64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).ok_or_else(expected)?;
    if !(percent > 0.0 && percent <= 100.0) {
        return Err(expected());
    }
    Ok(((percent * f64::from(WHOLE_SHARE / 100)).round() as u32).max(1))
}

fn parse_requests(text: &str) -> Result<(u64, Option<u64>), String> {
    let expected = || format!("request numbers from 1, such as `7`, `10..20` or `10..`, instead of `{text}`");
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| expected());
    let (first, last) = match text.split_once("..") {
        None => (number(text)?, Some(number(text)?)),
        Some((first, "")) => (number(first)?, None),
        Some((first, last)) => match last.strip_prefix('=') {
            Some(last) => (number(first)?, Some(number(last)?)),
            None => (number(first)?, Some(number(last)?.saturating_sub(1))),
        },
    };
    if first == 0 || last.is_some_and(|last| last < first) { Err(expected()) } else { Ok((first, last)) }
}

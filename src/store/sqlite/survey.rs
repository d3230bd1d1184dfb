//! The survey: range counts over an index of expressions, which SQLite itself keeps true, also when another program writes the file.

use super::json;
use super::rows::{bookkeeping_column, has_a_token_now, read_row};
use crate::clock::Timestamp;
use crate::store::Mapping;
use crate::store::mapping::FieldPath;
use crate::survey::{
    Group, Groups, NextPass, NotMade, SPANS, Survey, SurveyQuery, Surveyed, Tokens, span, span_of,
};
use crate::token::{State, Vocabulary as _};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params, params_from_iter};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the index.
const NAME: &str = "evergrant_expiry";

/// The state in the bookkeeping; no value where that isn't a text. What isn't JSON any more reads as nothing.
const STATE: &str = "CASE WHEN json_valid(bookkeeping) AND json_type(bookkeeping, '$.state') = 'text' \
    THEN json_extract(bookkeeping, '$.state') END";

/// The end of the refresh token in milliseconds since 1970, out of relaxed or canonical extended JSON; no value where there is no
/// date. The pattern keeps out words like `now`, for which SQLite would refuse the whole write.
const END: &str = "CASE WHEN json_valid(bookkeeping) THEN \
    CASE json_type(bookkeeping, '$.refresh_expires_at.\"$date\"') \
    WHEN 'text' THEN CASE WHEN json_extract(bookkeeping, '$.refresh_expires_at.\"$date\"') GLOB '[0-9][0-9][0-9][0-9]-*T*' \
    THEN CAST(round(unixepoch(json_extract(bookkeeping, '$.refresh_expires_at.\"$date\"'), 'subsec') * 1000) AS INTEGER) END \
    WHEN 'object' THEN \
    CAST(json_extract(bookkeeping, '$.refresh_expires_at.\"$date\".\"$numberLong\"') AS INTEGER) END END";

/// Longest time that one survey takes.
const LONGEST: Duration = Duration::from_secs(30);

/// Rows between two looks at the time.
const ROWS_AT_ONCE: usize = 1000;

/// Makes the index, once more where another provider field is mapped now.
pub(super) fn ensure_index(connection: &Connection, mapping: &Mapping) -> rusqlite::Result<()> {
    let statement = index_statement(mapping);
    if there(connection)?.as_ref() == statement.as_ref() {
        return Ok(());
    }
    connection.execute_batch(&format!("DROP INDEX IF EXISTS {NAME}"))?;
    statement.map_or(Ok(()), |statement| connection.execute_batch(&statement))
}

fn there(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let statement = "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?1";
    connection.query_row(statement, [NAME], |row| row.get(0)).optional()
}

/// None where SQLite can't name the provider field.
fn index_statement(mapping: &Mapping) -> Option<String> {
    let provider = match &mapping.provider {
        Some(path) => format!("{}, ", provider_expression(path)?),
        None => String::new(),
    };
    Some(format!("CREATE INDEX {NAME} ON documents ({provider}{STATE}, {END})"))
}

/// The text in the provider field; no value where that isn't a text, or an empty one.
fn provider_expression(path: &FieldPath) -> Option<String> {
    if path.as_str().contains('"') {
        return None;
    }
    let names = path.segments().fold(String::new(), |names, name| {
        let quoted = name.replace('\'', "''");
        names + ".\"" + &quoted + "\""
    });
    let value = format!("json_extract(fields, '${names}')");
    Some(format!(
        "CASE WHEN json_valid(fields) AND json_type(fields, '${names}') = 'text' AND {value} <> '' THEN {value} END"
    ))
}

/// See [`crate::store::Store::survey`].
pub(super) fn make(path: &Path, mapping: &Mapping, asked: &SurveyQuery) -> rusqlite::Result<Surveyed> {
    let not_made = |reason: String| Ok(Surveyed::NotMade(NotMade { reason, hint: None }));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(super::BUSY_TIMEOUT)?;
    // All numbers speak of one moment.
    let transaction = connection.transaction()?;
    let Some(statement) = index_statement(mapping) else {
        return not_made(
            "SQLite can't make an index on a provider field whose name has a quotation mark".to_owned(),
        );
    };
    if there(&transaction)?.as_ref() != Some(&statement) {
        return not_made("the index that it needs is not there yet; the next pass makes it".to_owned());
    }
    let provider = mapping.provider.as_ref().and_then(provider_expression);
    let counting = Counting { connection: &transaction, provider, asked, began: Instant::now() };
    match counting.survey(mapping)? {
        Some(survey) => Ok(Surveyed::Made(Box::new(survey))),
        None => not_made(format!("the store needs more than {} s to count the tokens", LONGEST.as_secs())),
    }
}

struct Counting<'a> {
    connection: &'a Connection,
    /// The expression of the provider, where a field is mapped.
    provider: Option<String>,
    asked: &'a SurveyQuery,
    began: Instant,
}

impl Counting<'_> {
    fn is_late(&self) -> bool {
        self.began.elapsed() > LONGEST
    }

    /// None where it takes too long.
    fn survey(&self, mapping: &Mapping) -> rusqlite::Result<Option<Survey>> {
        let mut survey = Survey {
            made_at: self.asked.now,
            took: Duration::ZERO,
            providers: BTreeMap::new(),
            others: None,
        };
        let shown = if self.provider.is_some() { self.asked.providers.len() } else { 1 };
        for next in self.asked.providers.iter().take(shown) {
            if self.is_late() {
                return Ok(None);
            }
            survey.providers.insert(next.provider.clone(), self.tokens(next)?);
        }
        if self.provider.is_some() {
            let Some(others) = self.others(mapping)? else { return Ok(None) };
            survey.others = Some(others);
        }
        if !self.add_due(mapping, &mut survey)? {
            return Ok(None);
        }
        survey.took = self.began.elapsed();
        Ok(Some(survey))
    }

    fn tokens(&self, next: &NextPass) -> rusqlite::Result<Tokens> {
        let now = self.asked.now;
        let mut groups = Groups::default();
        let mut seen = 0;
        for (state, group) in [
            (State::NeedsLogin, Group::NeedsLogin),
            (State::LostInFlight, Group::LostInFlight),
            (State::Malformed, Group::Malformed),
        ] {
            let count = self.count(next, Some(state), None)?;
            groups.add(group, count);
            seen += count;
        }
        let live = self.count(next, Some(State::Live), None)?;
        // The last span has no end: what is in none of the others is in it, or has no date.
        let (latest, _) = span(SPANS - 1, now);
        let mut ending = self.count_between(next, latest, Timestamp::MAX_UTC)?;
        groups.add(Group::Ends(SPANS - 1), ending);
        for number in 0..SPANS - 1 {
            let (from, to) = span(number, now);
            let count = self.count_between(next, from, to)?;
            groups.add(Group::Ends(number), count);
            ending += count;
        }
        groups.add(Group::Unknown, live.saturating_sub(ending));
        let all = self.count(next, None, None)?;
        groups.add(Group::Unseen, all.saturating_sub(seen + live));
        let mut tokens = groups.tokens();
        tokens.forecast.first_end_at = self.first_end(next)?;
        let mut question = next.too_late();
        loop {
            let count = if question.until > now { self.count_between(next, now, question.until)? } else { 0 };
            tokens.forecast.before_next_pass = count;
            if question.is_settled(count) {
                return Ok(tokens);
            }
        }
    }

    fn count_between(&self, next: &NextPass, from: Timestamp, to: Timestamp) -> rusqlite::Result<u64> {
        // The first of all moments is in its span.
        let from = from.timestamp_millis() - i64::from(from == Timestamp::MIN_UTC);
        self.count(next, Some(State::Live), Some((from, to.timestamp_millis())))
    }

    fn count(
        &self,
        next: &NextPass,
        state: Option<State>,
        between: Option<(i64, i64)>,
    ) -> rusqlite::Result<u64> {
        let (conditions, values) = self.conditions(next, state, between);
        let statement = format!("SELECT count(*) FROM documents{conditions}");
        let mut statement = self.connection.prepare_cached(&statement)?;
        let count: i64 = statement.query_row(params_from_iter(values), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    fn first_end(&self, next: &NextPass) -> rusqlite::Result<Option<Timestamp>> {
        let ahead = (self.asked.now.timestamp_millis(), Timestamp::MAX_UTC.timestamp_millis());
        let (conditions, values) = self.conditions(next, Some(State::Live), Some(ahead));
        let statement = format!("SELECT min({END}) FROM documents{conditions}");
        let mut statement = self.connection.prepare_cached(&statement)?;
        let first: Option<i64> = statement.query_row(params_from_iter(values), |row| row.get(0))?;
        Ok(first.and_then(Timestamp::from_timestamp_millis))
    }

    /// A part of the index: later than the first of the two ends, and up to the second one.
    fn conditions(
        &self,
        next: &NextPass,
        state: Option<State>,
        between: Option<(i64, i64)>,
    ) -> (String, Vec<Value>) {
        let (mut parts, mut values) = (Vec::new(), Vec::<Value>::new());
        if let Some(provider) = &self.provider {
            parts.push(format!("{provider} = ?"));
            values.push(next.provider.clone().into());
        }
        if let Some(state) = state {
            parts.push(format!("{STATE} = ?"));
            values.push(state.word().to_owned().into());
        }
        if let Some((from, to)) = between {
            parts.push(format!("{END} > ? AND {END} <= ?"));
            values.extend([from.into(), to.into()]);
        }
        let conditions =
            if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) };
        (conditions, values)
    }

    /// What names none of the providers: what lies between their names in the index, one by one. None where it takes too long.
    fn others(&self, mapping: &Mapping) -> rusqlite::Result<Option<Tokens>> {
        let Some(provider) = mapping.provider.as_ref().and_then(provider_expression) else { return Ok(None) };
        let mut names: Vec<&str> = self.asked.providers.iter().map(|next| next.provider.as_str()).collect();
        names.sort_unstable();
        let bounds = std::iter::once(Bound::Unbounded)
            .chain(names.iter().map(|name| Bound::Excluded(*name)))
            .chain([Bound::Unbounded]);
        let bounds: Vec<_> = bounds.collect();
        let gaps = bounds.windows(2).map(|pair| {
            let mut conditions = vec![format!("{provider} IS NOT NULL")];
            let mut values = Vec::new();
            for (bound, sign) in pair.iter().zip([">", "<"]) {
                if let Bound::Excluded(name) = bound {
                    conditions.push(format!("{provider} {sign} ?"));
                    values.push((*name).to_owned());
                }
            }
            (conditions.join(" AND "), values)
        });
        let nameless = (format!("{provider} IS NULL"), Vec::new());
        let (mut groups, mut first) = (Groups::default(), None::<Timestamp>);
        for (conditions, values) in gaps.chain([nameless]) {
            let statement = format!("SELECT {STATE}, {END} FROM documents WHERE {conditions}");
            let mut statement = self.connection.prepare_cached(&statement)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut number = 0;
            while let Some(row) = rows.next()? {
                let state = row.get_ref(0)?.as_str_or_null()?.and_then(State::from_word);
                let end = row.get::<_, Option<i64>>(1)?.and_then(Timestamp::from_timestamp_millis);
                groups.add(group_of(state, end, self.asked.now), 1);
                let ahead = end.filter(|end| state == Some(State::Live) && *end > self.asked.now);
                first = first.into_iter().chain(ahead).min();
                number += 1;
                if number % ROWS_AT_ONCE == 0 && self.is_late() {
                    return Ok(None);
                }
            }
        }
        let mut tokens = groups.tokens();
        tokens.forecast.first_end_at = first;
        Ok(Some(tokens))
    }

    /// Counts what is due, as [`super::rows::count_due`] does, for all providers in one go; `false` where it takes too long.
    fn add_due(&self, mapping: &Mapping, survey: &mut Survey) -> rusqlite::Result<bool> {
        let rows = || survey.providers.values().chain(&survey.others);
        let mut due = vec![(0_u64, None::<i64>); rows().count()];
        let places: BTreeMap<String, usize> = survey.providers.keys().cloned().zip(0..).collect();
        let statement = "SELECT id, fields, bookkeeping, due_at FROM documents
            WHERE due_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?1)";
        let mut statement = self.connection.prepare_cached(statement)?;
        let mut found = statement.query(params![self.asked.now.timestamp_millis()])?;
        let mut number = 0;
        while let Some(row) = found.next()? {
            number += 1;
            if number % ROWS_AT_ONCE == 0 && self.is_late() {
                return Ok(false);
            }
            let state = json::bookkeeping(bookkeeping_column(row, 2)?.as_ref()).state;
            if state.is_mark() {
                continue;
            }
            let mut place = 0;
            if state == State::Malformed || self.provider.is_some() {
                let document = read_row(row, mapping)?;
                if state == State::Malformed && !has_a_token_now(&document) {
                    continue;
                }
                if self.provider.is_some() {
                    let known = document.provider.and_then(|name| places.get(&name).copied());
                    place = known.unwrap_or(due.len() - 1);
                }
            }
            let at: i64 = row.get(3)?;
            let at = Some(at).filter(|at| *at != super::rows::DUE_NOW);
            let Some((count, oldest)) = due.get_mut(place) else { continue };
            *count += 1;
            *oldest = oldest.iter().copied().chain(at).min();
        }
        for (tokens, (count, oldest)) in survey.providers.values_mut().chain(&mut survey.others).zip(due) {
            tokens.due = Some(count);
            tokens.oldest_due_at = oldest.and_then(Timestamp::from_timestamp_millis);
        }
        Ok(true)
    }
}

fn group_of(state: Option<State>, end: Option<Timestamp>, now: Timestamp) -> Group {
    match state {
        None => Group::Unseen,
        Some(State::NeedsLogin) => Group::NeedsLogin,
        Some(State::LostInFlight) => Group::LostInFlight,
        Some(State::Malformed) => Group::Malformed,
        Some(State::Live) => end.map_or(Group::Unknown, |end| Group::Ends(span_of(end, now))),
    }
}

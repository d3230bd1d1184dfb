//! `.env`: the lines that are ours, of a file that may belong to other programs too. Each line is read once.

use super::{
    environment::{Variables, key_of},
    error::ConfigError,
    keys::PREFIX,
    layers::{Layer, Layers},
};
use std::{collections::BTreeMap, path::Path};

/// Lays `.env` over the layers; variables of others in it are left alone, whatever they hold.
///
/// `${NAME}` in a value means a variable of the process, else one of an earlier line.
pub(super) fn lay(
    layers: &mut Layers,
    path: &Path,
    text: &str,
    variables: &Variables,
) -> Result<(), ConfigError> {
    let shown = path.file_name().map_or_else(|| ".env".into(), |name| name.to_string_lossy());
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    let mut known: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut next = 0;
    while let Some(line) = lines.get(next) {
        next += 1;
        let (number, is_ours) = (next, name_of(line).0.starts_with(PREFIX));
        let at = format!("{shown} line {number}");
        // A value of ours in quotes may go on, up to the next assignment.
        let goes_on = |line: &&&str| is_ours && assignment(line).is_none();
        let more = lines[number..].iter().take_while(goes_on).count();
        let meant = |name: &str| {
            let given =
                variables.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.to_str());
            let above = || known.get(name).map(|(value, _)| value.as_str());
            given.or_else(above).unwrap_or_default().to_owned()
        };
        let whole = lines[number - 1..number + more].join("\n");
        let read = assignment(&whole).and_then(|(name, value)| Some((name, Value::read(value, meant)?)));
        let Some((name, value)) = read else {
            if is_ours {
                return Err(cannot_be_read(at, line));
            }
            continue;
        };
        next += value.further_lines;
        if is_ours && let Some((dotted, key)) = key_of(name, layers, &at)? {
            if key.kind.is_secret() && value.has_bare_dollar {
                return Err(ConfigError::Syntax {
                    at,
                    problem: format!("`{name}` has a `$` that would be replaced by a variable's value"),
                    hint: Some("put the value in single quotes: then it is taken as it stands".to_owned()),
                });
            }
            if let Some((_, earlier)) = known.get(name).filter(|(earlier, _)| *earlier != value.text) {
                return Err(ConfigError::Contradiction {
                    first: format!("`{name}` ({shown} line {earlier})"),
                    second: format!("`{name}` ({at})"),
                    reason: "one variable has two values".to_owned(),
                    hint: "remove one of the two lines".to_owned(),
                });
            }
            layers.lay_text(&dotted, key, &value.text, Layer::EnvFile, &at)?;
        }
        known.insert(name.to_owned(), (value.text, number));
    }
    Ok(())
}

/// The name that a line begins with, and what follows it.
fn name_of(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    line.split_at(line.find(|c| !is_part(c)).unwrap_or(line.len()))
}

/// The name and the text after `=`; `None` for a line that assigns nothing.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = name_of(line);
    let value = rest.trim_start_matches(BLANKS).strip_prefix('=')?;
    (!name.is_empty()).then_some((name, value))
}

/// They end no line.
const BLANKS: [char; 2] = [' ', '\t'];

/// A value as shells write it.
#[derive(Default)]
struct Value {
    text: String,
    /// Has it a `$` that isn't in single quotes, isn't escaped and isn't a plain `${NAME}`?
    has_bare_dollar: bool,
    /// Lines that it takes after the first.
    further_lines: usize,
}

impl Value {
    /// Reads quotes, `\` before a special character, `${NAME}`, and a comment after a blank; `None` where it can't be read.
    fn read(text: &str, meant: impl Fn(&str) -> String) -> Option<Self> {
        let (mut value, mut quote) = (Self::default(), None);
        let text = text.trim_start_matches(BLANKS);
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match (quote, c) {
                (Some(open), _) if c == open => quote = None,
                (None, '\n') => break,
                (None, '#') if value.text.is_empty() && text.starts_with('#') => break,
                (None, '\'' | '"') => quote = Some(c),
                (None, ' ' | '\t') => {
                    let behind: String = rest.by_ref().take_while(|c| *c != '\n').collect();
                    let behind = behind.trim_start();
                    if !behind.is_empty() && !behind.starts_with('#') {
                        return None;
                    }
                    break;
                }
                (None | Some('"'), '\\') => match rest.next()? {
                    'n' => value.text.push('\n'),
                    special @ ('\\' | '\'' | '"' | '$' | ' ') => value.text.push(special),
                    _ => return None,
                },
                (None | Some('"'), '$') => {
                    let in_braces = rest.next_if_eq(&'{').is_some();
                    value.has_bare_dollar |= !in_braces;
                    let is_part = |c: &char| c.is_alphanumeric() || *c == '_' || in_braces && *c == '.';
                    let name: String = std::iter::from_fn(|| rest.next_if(is_part)).collect();
                    if in_braces && rest.next() != Some('}') {
                        return None;
                    }
                    value.text.push_str(&meant(&name));
                }
                _ => {
                    value.further_lines += usize::from(c == '\n');
                    value.text.push(c);
                }
            }
        }
        quote.is_none().then_some(value)
    }
}

fn cannot_be_read(at: String, line: &str) -> ConfigError {
    let (name, _) = name_of(line);
    ConfigError::Syntax {
        at,
        problem: format!("expected `NAME=value`, and this line of `{name}` can't be read so"),
        hint: Some(
            "a value with spaces, `#` or quotes in it stands in single quotes, and each quote is closed"
                .to_owned(),
        ),
    }
}

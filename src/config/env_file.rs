//! `.env`: the lines that are ours, of a file that may belong to other programs too.

use super::{
    environment::key_of,
    error::ConfigError,
    keys::PREFIX,
    layers::{Layer, Layers},
};
use std::{collections::BTreeMap, path::Path};

/// Lays `.env` over the layers; variables of others in it are left alone, whatever they hold.
pub(super) fn lay(layers: &mut Layers, path: &Path, text: &str) -> Result<(), ConfigError> {
    let shown = path.file_name().map_or_else(|| ".env".into(), |name| name.to_string_lossy());
    let text = readable(text.trim_start_matches('\u{feff}'), &shown)?;
    let mut lines = Lines { text: &text, next: 0 };
    let mut seen: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for item in dotenvy::Iter::new(text.as_bytes()) {
        let (name, value) = item.map_err(|_| cannot_be_read(shown.to_string(), ""))?;
        let line = lines.find(&name);
        if !name.starts_with(PREFIX) {
            continue;
        }
        let at = format!("{shown} line {line}");
        let Some((dotted, key)) = key_of(&name, layers, Layer::EnvFile, &at)? else { continue };
        if key.kind.is_secret() && lines.has_bare_dollar(line) {
            return Err(ConfigError::Syntax {
                at,
                problem: format!("`{name}` has a `$` that would be replaced by a variable's value"),
                hint: Some("put the value in single quotes: then it is taken as it stands".to_owned()),
            });
        }
        if let Some((_, earlier)) = seen.get(&name).filter(|(earlier, _)| *earlier != value) {
            return Err(ConfigError::Contradiction {
                first: format!("`{name}` ({shown} line {earlier})"),
                second: format!("`{name}` ({at})"),
                reason: "one variable has two values".to_owned(),
                hint: "remove one of the two lines".to_owned(),
            });
        }
        layers.lay_text(&dotted, key, &value, Layer::EnvFile, &at)?;
        seen.insert(name, (value, line));
    }
    Ok(())
}

/// The text with each line blank that is another program's and can't be read: the line numbers stay as they are.
///
/// What can be read of others stays: `${NAME}` in a value of ours may mean it.
fn readable(text: &str, shown: &str) -> Result<String, ConfigError> {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = String::with_capacity(text.len() + 1);
    let mut next = 0;
    while let Some(line) = lines.get(next) {
        let count = if is_ours(line) {
            let count = length_of_value(&lines[next..]);
            count.ok_or_else(|| cannot_be_read(format!("{shown} line {}", next + 1), line))?
        } else {
            1
        };
        let here = &lines[next..next + count];
        let keeps = is_ours(line) || can_be_read(here);
        for line in here {
            kept.push_str(if keeps { line } else { "" });
            kept.push('\n');
        }
        next += count;
    }
    Ok(kept)
}

/// The lines that a variable of ours takes: more than one where a value in quotes goes on. `None` where it can't be read.
fn length_of_value(lines: &[&str]) -> Option<usize> {
    let end = 1 + lines[1..].iter().take_while(|line| !is_assignment(line)).count();
    (1..=end).find(|count| can_be_read(&lines[..*count]))
}

fn can_be_read(lines: &[&str]) -> bool {
    // The library takes a blank at the very end of a text for an open value.
    let text = lines.join("\n") + "\n";
    dotenvy::Iter::new(text.as_bytes()).all(|item| item.is_ok())
}

fn without_export(line: &str) -> &str {
    let line = line.trim_start();
    line.strip_prefix("export ").map_or(line, str::trim_start)
}

fn is_ours(line: &str) -> bool {
    without_export(line).starts_with(PREFIX)
}

/// The name that a line begins with; never a part of its value.
fn name_of(line: &str) -> &str {
    let line = without_export(line);
    let end =
        line.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.')).unwrap_or(line.len());
    &line[..end]
}

fn is_assignment(line: &str) -> bool {
    let name = name_of(line);
    !name.is_empty() && without_export(line)[name.len()..].trim_start().starts_with('=')
}

fn cannot_be_read(at: String, line: &str) -> ConfigError {
    let of = match name_of(line) {
        "" => String::new(),
        name => format!(", and this line of `{name}` can't be read so"),
    };
    ConfigError::Syntax {
        at,
        problem: format!("expected `NAME=value`{of}"),
        hint: Some(
            "a value with spaces, `#` or quotes in it stands in single quotes, and each quote is closed"
                .to_owned(),
        ),
    }
}

/// The lines of `.env`, to find the one that a variable stands in: the library doesn't say.
struct Lines<'a> {
    text: &'a str,
    /// Index of the first line that wasn't passed yet.
    next: usize,
}

impl Lines<'_> {
    /// The line of the next assignment to `name`, from 1 on.
    fn find(&mut self, name: &str) -> usize {
        let assigns = |line: &str| is_assignment(line) && name_of(line) == name;
        let found = self.text.lines().enumerate().skip(self.next).find(|(_, line)| assigns(line));
        if let Some((index, _)) = found {
            self.next = index + 1;
        }
        self.next
    }

    /// Has the value in this line a `$` that isn't in single quotes, isn't escaped and isn't a plain `${NAME}`?
    fn has_bare_dollar(&self, line: usize) -> bool {
        let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let value = text.split_once('=').map_or("", |(_, value)| value.trim());
        !value.starts_with('\'')
            && value
                .match_indices('$')
                .any(|(index, _)| !value[..index].ends_with('\\') && !value[index + 1..].starts_with('{'))
    }
}

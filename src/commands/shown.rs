//! How results are shown to people: instants, ages, columns, and long output that a reader may leave.

use super::CommandError;
use crate::clock::Timestamp;
use crate::config::words;
use crate::token::Subject;
use chrono::TimeDelta;
use comfy_table::{ContentArrangement, Table, presets};
use std::io::{self, Write as _};

/// What stands where there is nothing to show.
pub(super) const NOTHING: &str = "-";

/// Is anybody still reading stdout?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Reader {
    /// Yes.
    Listens,
    /// No: `| head` has what it wanted. There is no point in going on, and nothing is wrong.
    Gone,
}

/// Writes a part of a long output to stdout as it stands.
pub(super) fn write(text: &str) -> Result<Reader, CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(CommandError::io("write to stdout")(error)),
    }
}

/// A document's own text, on one line and without what could forge another one.
pub(super) fn plain(text: &str) -> String {
    Subject::new(text).to_string()
}

/// `2026-11-21 03:00`, UTC as everywhere in our output.
pub(super) fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NOTHING.to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string())
}

/// How long ago: `4d 16h`; what lies ahead of a clock that stepped back is `0s` old.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    words((now - at).max(TimeDelta::zero()).to_std().unwrap_or_default())
}

/// `1 open entry`, `2 open entries`.
pub(super) fn entries(number: u64) -> String {
    format!("{number} open {}", if number == 1 { "entry" } else { "entries" })
}

/// `1 document`, `2 documents`.
pub(super) fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Columns under a row of headers, without lines and as wide as they need to be, so that `grep` and `awk` like them.
pub(super) fn columns<const N: usize>(
    headers: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headers);
    for row in rows {
        table.add_row(row);
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// One line of a table that is printed a page at a time; each cell but the last is filled up to its width.
pub(super) fn line(widths: &[usize], cells: &[String]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_begin_at_the_left_and_end_without_blanks() {
        let rows = [["a".to_owned(), String::new()], ["longer".to_owned(), "x y".to_owned()]];
        assert_eq!(columns(["ONE", "TWO"], rows), "ONE     TWO\na\nlonger  x y");
        assert_eq!(line(&[4, 1], &["né".to_owned(), "x".to_owned()]), "né    x\n");
        assert_eq!(line(&[4, 1], &["longer".to_owned(), String::new()]), "longer\n");
    }

    #[test]
    fn an_age_is_never_negative() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(age(at, at + TimeDelta::minutes(90)), "1h 30min");
        assert_eq!(age(at + TimeDelta::minutes(90), at), "0s");
        assert_eq!((instant(Some(at)).as_str(), instant(None).as_str()), ("1970-01-01 00:00", NOTHING));
        assert_eq!((count(1, "document"), count(0, "document")), ("1 document".into(), "0 documents".into()));
    }
}

//! Cuts a stream into JSON objects: one behind the other, or within one array.

use super::{ImportError, MAX_DOCUMENT_BYTES};
use serde_json::{Map, Value};
use std::io::BufRead;

/// The objects of a stream, each with the line on which it begins.
pub(super) struct Objects<R> {
    reader: R,
    line: u64,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// Between objects that stand one behind the other.
    Plain,
    /// Behind the `[` (or a `,`) of an array.
    ArrayItem {
        first: bool,
    },
    /// Behind an object of an array.
    ArrayComma,
    ArrayEnd,
}

impl<R: BufRead> Objects<R> {
    pub(super) const fn new(reader: R, line: u64) -> Self {
        Self { reader, line, place: Place::Start }
    }

    fn next_object(&mut self) -> Result<Option<(u64, Map<String, Value>)>, ImportError> {
        loop {
            let Some(byte) = self.peek_past_space()? else {
                return match self.place {
                    Place::Start | Place::Plain | Place::ArrayEnd => Ok(None),
                    Place::ArrayItem { .. } => Err(self.syntax("the text ends within the array", "`{`")),
                    Place::ArrayComma => Err(self.syntax("the text ends within the array", "`,` or `]`")),
                };
            };
            self.place = match (self.place, byte) {
                (Place::Start, b'[') => Place::ArrayItem { first: true },
                (Place::ArrayItem { first: true } | Place::ArrayComma, b']') => Place::ArrayEnd,
                (Place::ArrayComma, b',') => Place::ArrayItem { first: false },
                (Place::Start | Place::Plain, b'{') => {
                    self.place = Place::Plain;
                    return self.object().map(Some);
                }
                (Place::ArrayItem { .. }, b'{') => {
                    self.place = Place::ArrayComma;
                    return self.object().map(Some);
                }
                (Place::ArrayComma, _) => return Err(self.syntax("something else", "`,` or `]`")),
                (Place::ArrayEnd, _) => return Err(self.syntax("something else", "nothing behind the `]`")),
                (Place::Start | Place::Plain | Place::ArrayItem { .. }, _) => {
                    return Err(self.syntax("no object begins here", "`{`"));
                }
            };
            self.reader.consume(1);
        }
    }

    fn peek_past_space(&mut self) -> Result<Option<u8>, ImportError> {
        loop {
            let byte = match self.reader.fill_buf() {
                Ok(buffer) => buffer.first().copied(),
                Err(source) => return Err(ImportError::Read { line: self.line, source }),
            };
            match byte {
                Some(byte) if byte.is_ascii_whitespace() => {
                    self.line += u64::from(byte == b'\n');
                    self.reader.consume(1);
                }
                other => return Ok(other),
            }
        }
    }

    /// Reads from a `{` to its `}` and parses what is between.
    fn object(&mut self) -> Result<(u64, Map<String, Value>), ImportError> {
        let begins = self.line;
        let mut text = Vec::new();
        let mut nesting = Nesting::default();
        while !nesting.ended {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(source) => return Err(ImportError::Read { line: self.line, source }),
            };
            if buffer.is_empty() || text.len() > MAX_DOCUMENT_BYTES {
                let problem =
                    if buffer.is_empty() { "the object has no end" } else { "the object is too long" };
                return Err(ImportError::Syntax {
                    line: begins,
                    problem: problem.to_owned(),
                    expected: "`}`",
                });
            }
            let taken =
                buffer.iter().position(|byte| nesting.ends_with(*byte)).map_or(buffer.len(), |at| at + 1);
            self.line += buffer[..taken].iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
            text.extend_from_slice(&buffer[..taken]);
            self.reader.consume(taken);
        }
        match serde_json::from_slice(&text) {
            Ok(object) => Ok((begins, object)),
            Err(error) => Err(ImportError::Syntax {
                line: begins + u64::try_from(error.line()).unwrap_or(1).saturating_sub(1),
                // The library's own text may quote what it found.
                problem: format!("this is not JSON, at column {}", error.column()),
                expected: "a JSON object",
            }),
        }
    }

    fn syntax(&self, problem: &str, expected: &'static str) -> ImportError {
        ImportError::Syntax { line: self.line, problem: problem.to_owned(), expected }
    }
}

/// How deep within braces a byte is; braces within strings don't count.
#[derive(Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
    ended: bool,
}

impl Nesting {
    fn ends_with(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' if !self.in_string => self.depth += 1,
            b'}' if !self.in_string => {
                self.depth -= 1;
                self.ended = self.depth == 0;
            }
            _ => {}
        }
        self.ended
    }
}

impl<R: BufRead> Iterator for Objects<R> {
    type Item = Result<(u64, Map<String, Value>), ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_object().transpose()
    }
}

//! The header fields of an answer, as they came: bounded, and secret, because cookies are tokens. Pure.

use super::secret_bytes;
use bytes::Bytes;
use std::fmt;

/// Most bytes kept of an answer's fields, names and values together. A usual answer has one KiB.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The fields that are kept first when an answer has more than [`MAX_HEADER_BYTES`], the most needed one first.
///
/// The first two say what the answer means, and are short. A cookie may be the token itself.
const KEPT_FIRST: [&str; 5] = ["retry-after", "content-encoding", "set-cookie", "date", "content-type"];

/// Longest list of content codings that is read, in characters; a real one is a word or two.
const LONGEST_CODINGS_CHARS: usize = 256;

/// The fields in the order in which they came, their names in lower case.
///
/// Made by `collect`, which keeps [`MAX_HEADER_BYTES`] of them. A value is bytes: few servers send other than ASCII, but
/// none is made to. The values are zeroised when the last copy is dropped; `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Names and values, one after the other.
    bytes: Bytes,
    /// Where each name and its value end.
    ends: Vec<(u16, u16)>,
}

impl Headers {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| usize::from(*end)));
        starts.zip(&self.ends).map(|(start, (name_end, end))| {
            let (name_end, end) = (usize::from(*name_end), usize::from(*end));
            let name = std::str::from_utf8(&self.bytes[start..name_end]).expect("a name was a text");
            (name, &self.bytes[name_end..end])
        })
    }

    /// All fields as one secret, for [`Headers::decode`].
    pub(crate) fn encode(&self) -> Bytes {
        let fields = u16::try_from(self.ends.len()).expect("their names have 16 KiB at most");
        let mut encoded = Vec::with_capacity(2 + 4 * self.ends.len() + self.bytes.len());
        encoded.extend(fields.to_be_bytes());
        for (name_end, end) in &self.ends {
            encoded.extend(name_end.to_be_bytes());
            encoded.extend(end.to_be_bytes());
        }
        encoded.extend_from_slice(&self.bytes);
        secret_bytes(encoded)
    }

    /// Reads what [`Headers::encode`] has made; `None` for anything else.
    pub(crate) fn decode(encoded: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u16::from_be_bytes(encoded.get(at..at + 2)?.try_into().ok()?));
        let fields = usize::from(number(0)?);
        let ends = (0..fields).map(|field| Some((number(2 + 4 * field)?, number(4 + 4 * field)?)));
        let ends: Vec<_> = ends.collect::<Option<_>>()?;
        let bytes = encoded.get(2 + 4 * fields..)?;
        let mut start = 0;
        for (name_end, end) in &ends {
            let (name_end, end) = (usize::from(*name_end), usize::from(*end));
            std::str::from_utf8(bytes.get(start..name_end)?).ok()?;
            bytes.get(name_end..end)?;
            start = end;
        }
        (start == bytes.len()).then(|| Self { bytes: secret_bytes(bytes.to_vec()), ends })
    }

    /// The values of all fields of this name, which is in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(field, _)| *field == name).map(|(_, value)| value)
    }

    /// The first `Retry-After` field, when it is a text.
    pub(super) fn retry_after(&self) -> Option<&str> {
        let field = self.all("retry-after").next()?;
        let is_text = field.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        std::str::from_utf8(field).ok().filter(|_| is_text)
    }

    /// The `Content-Encoding` fields as one list (RFC 9110 §5.3).
    pub(super) fn content_encoding(&self) -> Option<String> {
        let texts: Vec<_> = self.all("content-encoding").map(String::from_utf8_lossy).collect();
        let list: String = texts.join(", ").chars().take(LONGEST_CODINGS_CHARS).collect();
        (!list.is_empty()).then_some(list)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        if fields.iter().map(size).sum::<usize>() > MAX_HEADER_BYTES {
            fields = most_needed(fields);
        }
        // Of the right size at once: a place that grows leaves copies of secrets in the memory.
        let mut bytes = Vec::with_capacity(fields.iter().map(size).sum());
        let mut ends = Vec::with_capacity(fields.len());
        let here = |bytes: &Vec<u8>| u16::try_from(bytes.len()).expect("they have 16 KiB at most");
        for (name, value) in &fields {
            bytes.extend(name.as_ref().bytes().map(|byte| byte.to_ascii_lowercase()));
            let name_end = here(&bytes);
            bytes.extend_from_slice(value.as_ref());
            ends.push((name_end, here(&bytes)));
        }
        Self { bytes: secret_bytes(bytes), ends }
    }
}

fn size<N: AsRef<str>, V: AsRef<[u8]>>((name, value): &(N, V)) -> usize {
    name.as_ref().len() + value.as_ref().len()
}

/// Those that are kept first, and as many of the others as there is room for; in their order.
fn most_needed<N: AsRef<str>, V: AsRef<[u8]>>(fields: Vec<(N, V)>) -> Vec<(N, V)> {
    let rank = |name: &str| {
        let first = KEPT_FIRST.iter().position(|first| name.eq_ignore_ascii_case(first));
        first.unwrap_or(KEPT_FIRST.len())
    };
    let mut numbered: Vec<_> = fields.into_iter().enumerate().collect();
    numbered.sort_by_key(|(_, (name, _))| rank(name.as_ref()));
    let mut room = MAX_HEADER_BYTES;
    numbered.retain(|(_, field)| {
        let left = room.checked_sub(size(field));
        room = left.unwrap_or(room);
        left.is_some()
    });
    numbered.sort_by_key(|(position, _)| *position);
    numbered.into_iter().map(|(_, field)| field).collect()
}

impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(headers: &Headers) -> Vec<&str> {
        headers.iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn names_are_lower_case_and_values_are_not_shown() {
        let headers: Headers = [("Set-Cookie", "canary"), ("DATE", "canary")].into_iter().collect();
        assert_eq!(format!("{headers:?}"), r#"["set-cookie", "date"]"#);
        assert_eq!(headers.all("set-cookie").collect::<Vec<_>>(), [b"canary"]);
    }

    #[test]
    fn the_needed_fields_of_a_long_head_are_kept_in_their_order() {
        let long = "x".repeat(9 * 1024);
        let fields = [
            ("X-Long", long.as_str()),
            ("Date", "d"),
            ("X-Longer", &long),
            ("Set-Cookie", &long),
            ("Set-Cookie", &long),
            ("X-Short", "s"),
            ("Retry-After", "7"),
        ];
        let headers: Headers = fields.into_iter().collect();
        assert_eq!(names(&headers), ["date", "set-cookie", "x-short", "retry-after"]);
        let whole: Headers = fields[..2].iter().copied().collect();
        assert_eq!(names(&whole), ["x-long", "date"]);
        assert_eq!(headers.iter().collect::<Headers>(), headers, "what was kept is kept again");
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        let some = [("Set-Cookie", &b"a=1"[..]), ("X-Empty", b""), ("Date", b"\xff")];
        for headers in [Headers::default(), some.into_iter().collect()] {
            let encoded = headers.encode();
            assert_eq!(Headers::decode(&encoded).as_ref(), Some(&headers));
            for length in 0..encoded.len() {
                assert_eq!(Headers::decode(&encoded[..length]), None, "{length} of {} bytes", encoded.len());
            }
            assert_eq!(Headers::decode(&[&encoded[..], b"x"].concat()), None);
        }
        assert_eq!(Headers::decode(&[0, 1, 0, 1, 0, 1, 0xff]), None, "a name that is no text");
        assert_eq!(
            Headers::decode(&[0, 1, 0, 2, 0, 1, b'a', b'b']),
            None,
            "a name that ends behind its value"
        );
    }

    #[test]
    fn the_first_wait_counts_and_only_as_a_text() {
        for (fields, wait) in [
            (&[][..], None),
            (&[("Retry-After", &b"7"[..]), ("Retry-After", b"9")][..], Some("7")),
            (&[("Retry-After", &b""[..])][..], Some("")),
            (&[("Retry-After", &b"\xff"[..]), ("Retry-After", b"9")][..], None),
            (&[("Retry-After", "7 é".as_bytes())][..], None),
        ] {
            let headers: Headers = fields.iter().copied().collect();
            assert_eq!(headers.retry_after(), wait, "{fields:?}");
        }
    }

    #[test]
    fn codings_are_one_list_of_bounded_length() {
        let long = "gzip,".repeat(100);
        for (fields, codings) in [
            (&[][..], None),
            (&[("Content-Encoding", &b""[..])][..], None),
            (&[("Content-Encoding", &b"br"[..]), ("content-encoding", b"gzip")][..], Some("br, gzip")),
            (&[("Content-Encoding", &b"\xff"[..])][..], Some("\u{fffd}")),
            (&[("Content-Encoding", long.as_bytes())][..], Some(&long[..LONGEST_CODINGS_CHARS])),
        ] {
            let headers: Headers = fields.iter().copied().collect();
            assert_eq!(headers.content_encoding().as_deref(), codings, "{fields:?}");
        }
    }
}

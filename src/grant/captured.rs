//! A captured answer, as `curl -i` prints it: status line, header fields, a blank line, the body. Pure.

use super::headers::Headers;
use super::http::MAX_BODY_BYTES;
use super::{RawAnswer, secret_bytes};
use crate::clock::Timestamp;

/// A text that isn't a captured answer. Never holds a part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// It doesn't begin as an answer does.
    #[error("line 1 is no status line like `HTTP/1.1 401 Unauthorized`")]
    NoStatusLine,
    /// A line of the head that is no header field.
    #[error(
        "line {0} is no header field like `content-type: application/json`, and no blank line ends the head"
    )]
    NoField(usize),
    /// The head has no end.
    #[error("no blank line stands between the head and the body")]
    NoEnd,
}

/// Reads a captured answer. Of several heads (`100 Continue`, a proxy's, a redirect's) the last one counts; a body that is
/// shorter than its `content-length` is cut. It came when its `Date` says, otherwise `now`.
///
/// # Errors
/// [`CaptureError`] says which line is wrong.
pub fn captured(text: &[u8], now: Timestamp) -> Result<RawAnswer, CaptureError> {
    let (mut rest, mut line) = (text, 1);
    loop {
        let (status, headers, body) = head(rest, &mut line)?;
        if body.starts_with(b"HTTP/") && status != 0 && head(body, &mut line.clone()).is_ok() {
            rest = body;
            continue;
        }
        let field = |name: &str| headers.iter().rfind(|(known, _)| known.eq_ignore_ascii_case(name));
        let promised = field("content-length").and_then(|(_, value)| value.trim().parse().ok());
        let is_compressed = field("content-encoding").is_some();
        let kept = &body[..body.len().min(MAX_BODY_BYTES)];
        let is_short = promised.is_some_and(|promised: usize| !is_compressed && promised > body.len());
        let date = field("date").and_then(|(_, value)| httpdate::parse_http_date(value.trim()).ok());
        return Ok(RawAnswer {
            status,
            complete: !is_short && kept.len() == body.len(),
            headers: headers.iter().map(|(name, value)| (name, value)).collect::<Headers>(),
            body: secret_bytes(kept.to_vec()),
            received_at: date.map_or(now, Timestamp::from),
        });
    }
}

/// A status, the header fields, and what stands behind the blank line.
type Head<'a> = (u16, Vec<(String, String)>, &'a [u8]);

fn head<'a>(text: &'a [u8], line: &mut usize) -> Result<Head<'a>, CaptureError> {
    let (first, mut rest) = next_line(text).unwrap_or((text, b""));
    let first = String::from_utf8_lossy(first);
    let mut words = first.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/"));
    let status =
        words.next().and_then(|word| word.parse::<u16>().ok()).filter(|status| (100..600).contains(status));
    let Some(status) = status.filter(|_| is_http) else { return Err(CaptureError::NoStatusLine) };
    let mut fields = Vec::new();
    loop {
        *line += 1;
        let (field, behind) = match next_line(rest) {
            Some(next) => next,
            // An answer without a body, whose blank line an editor took away.
            None if rest.is_empty() => return Ok((status, fields, b"")),
            None => return Err(CaptureError::NoEnd),
        };
        rest = behind;
        if field.is_empty() {
            *line += 1;
            return Ok((status, fields, rest));
        }
        let field = String::from_utf8_lossy(field);
        let Some((name, value)) = field.split_once(':').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err(CaptureError::NoField(*line));
        };
        fields.push((name.trim().to_owned(), value.trim().to_owned()));
    }
}

/// A line without its end, and what stands behind it.
fn next_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let line = &text[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RawAnswer, CaptureError> {
        captured(text.as_bytes(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_answer_of_curl_is_read_with_either_line_end() {
        for end in ["\n", "\r\n"] {
            let text = [
                "HTTP/1.1 100 Continue",
                "",
                "HTTP/2 401 ",
                "content-type: application/json",
                "Set-Cookie: a=1; Path=/",
                "set-cookie: b=2",
                "date: Sat, 21 Nov 2026 03:00:00 GMT",
                "",
                "{\"error\":1}\n\nmore",
            ]
            .join(end);
            let answer = read(&text).unwrap();
            assert_eq!((answer.status, answer.complete), (401, true));
            assert_eq!(answer.headers.all("set-cookie").count(), 2);
            assert_eq!(answer.body, "{\"error\":1}\n\nmore".as_bytes());
            assert_eq!(answer.received_at, "2026-11-21T03:00:00Z".parse::<Timestamp>().unwrap());
        }
    }

    #[test]
    fn a_body_that_is_shorter_than_promised_is_cut() {
        for (text, complete) in [
            ("HTTP/1.1 200\ncontent-length: 9\n\n{\"a\":", false),
            ("HTTP/1.1 200\ncontent-length: 5\n\n{\"a\":", true),
            ("HTTP/1.1 200\ncontent-length: 9\ncontent-encoding: gzip\n\n{\"a\":", true),
            ("HTTP/1.1 204\n", true),
            ("HTTP/1.1 204\n\n", true),
        ] {
            assert_eq!(read(text).unwrap().complete, complete, "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told_by_its_line_and_not_shown() {
        for (text, error) in [
            ("", CaptureError::NoStatusLine),
            ("{\"refresh_token\":\"canary\"}", CaptureError::NoStatusLine),
            ("HTTP/1.1 abc\n\n", CaptureError::NoStatusLine),
            ("HTTP/1.1 200 OK\n{\"canary\"}\n", CaptureError::NoField(2)),
            ("HTTP/1.1 200 OK\na: b\nc: d", CaptureError::NoEnd),
        ] {
            let found = read(text).unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains("canary"));
        }
    }
}

//! Messages on the line: where one ends, and how long its head is.

/// How messages are told apart on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1 with `Content-Length`.
    Http,
    /// MongoDB's wire protocol.
    Mongo,
    /// Whatever comes at once is a message.
    Raw,
}

impl Wire {
    /// Takes a whole message off the front of what has come so far.
    pub(super) fn message(self, bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
        let length = match self {
            Self::Http => head_length(bytes).map(|head| head + content_length(&bytes[..head])),
            Self::Mongo => {
                let length = bytes.first_chunk().map(|length| i32::from_le_bytes(*length));
                length.map(|length| usize::try_from(length).unwrap())
            }
            Self::Raw => Some(bytes.len()).filter(|length| *length > 0),
        }?;
        (bytes.len() >= length).then(|| bytes.drain(..length).collect())
    }

    /// Bytes before the message's body.
    pub(super) fn head(self, message: &[u8]) -> usize {
        match self {
            Self::Http => head_length(message).unwrap(),
            Self::Mongo => 16,
            Self::Raw => 0,
        }
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    field.map_or(0, |length| length.trim().parse().unwrap())
}

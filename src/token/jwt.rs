//! Claims of a token that is a JSON Web Token (RFC 7519). The signature isn't checked: a claim is a hint about time, and
//! no proof of anything.

use crate::clock::Timestamp;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::DateTime;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

/// Longest text of the claims that is read, in bytes.
const LONGEST_CLAIMS_BYTES: usize = 64 * 1024;

/// A claim of the token; `None` where the token is no JWT, or has no such claim.
#[must_use]
pub(crate) fn claim(token: &str, name: &str) -> Option<Value> {
    let claims = claims(token)?;
    let Value::Object(mut claims) = serde_json::from_slice(&claims).ok()? else { return None };
    claims.remove(name)
}

/// When the token ends, by its claim `exp` (RFC 7519 §4.1.4), a number of seconds since 1970.
#[must_use]
pub(crate) fn ends_at(token: &str) -> Option<Timestamp> {
    let seconds = claim(token, "exp")?.as_f64()?;
    // Beyond 2^53 it is no time.
    #[expect(clippy::cast_possible_truncation, reason = "checked to be within 2^53")]
    (seconds > 0.0 && seconds < 9e15).then(|| DateTime::from_timestamp(seconds as i64, 0)).flatten()
}

/// The text of the claims. An opaque token is told by its first bytes, without a copy.
fn claims(token: &str) -> Option<Zeroizing<Vec<u8>>> {
    // The header is a JSON object, and `{"` is `ey` in base64.
    if !token.starts_with("ey") {
        return None;
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if claims.len() > LONGEST_CLAIMS_BYTES {
        return None;
    }
    // Some write the padding that RFC 7515 §2 leaves out.
    BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok().map(Zeroizing::new)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A JWT with these claims, and a signature of nothing.
    pub(crate) fn jwt(claims: &str) -> String {
        let encoded = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", encoded(r#"{"alg":"HS256","typ":"JWT"}"#), encoded(claims))
    }

    #[test]
    fn the_end_of_a_token_is_read_and_nothing_is_made_up() {
        let end = |claims: &str| ends_at(&jwt(claims)).map(|at| at.timestamp());
        assert_eq!(end(r#"{"sub":"a","exp":1795230000}"#), Some(1_795_230_000));
        assert_eq!(end(r#"{"exp":1795230000.9}"#), Some(1_795_230_000));
        for claims in [
            r#"{"iat":1}"#,
            r#"{"exp":0}"#,
            r#"{"exp":-5}"#,
            r#"{"exp":"1795230000"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":1795230000"#,
            "[1]",
            "",
        ] {
            assert_eq!(end(claims), None, "{claims}");
        }
        let whole = jwt(r#"{"exp":1795230000}"#);
        for token in ["", "opaque", "ey", "ey.ey.", "ey.%%.x", &format!("{whole}.x.y"), &whole[1..]] {
            assert_eq!(ends_at(token), None, "{token}");
        }
        let (head, rest) = whole.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        assert!(ends_at(&format!("{head}.{claims}==.{signature}")).is_some(), "with the padding");
        assert_eq!(claim(&jwt(r#"{"ttl":"1h"}"#), "ttl"), Some("1h".into()));
    }
}

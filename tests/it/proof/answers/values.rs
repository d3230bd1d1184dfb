//! What stands beside a pair or a status, in every spelling: lifetimes and `Retry-After`.

use super::{raw, reading};
use evergrant::testing::grant::RawAnswer;
use evergrant::testing::grant::answer::Class;
use std::time::Duration;

#[test]
fn a_lifetime_is_believed_or_unknown_and_never_a_panic() {
    let table = [
        ("3600", Some(3600.0)),
        ("\"3600\"", Some(3600.0)),
        ("\" 3600 \"", Some(3600.0)),
        ("3599.5", Some(3599.5)),
        ("\"1e3\"", Some(1000.0)),
        ("94608000", Some(94_608_000.0)),
        // 14 days in milliseconds, and a date: as seconds they would be decades.
        ("1209600000", None),
        ("1795276790", None),
        ("0", None),
        ("-0.0", None),
        ("-3600", None),
        ("1e300", None),
        ("9223372036854775807", None),
        ("18446744073709551615", None),
        ("123456789012345678901234567890", None),
        ("\"NaN\"", None),
        ("\"inf\"", None),
        ("\"-inf\"", None),
        ("\"\"", None),
        ("\"one hour\"", None),
        ("\"0x10\"", None),
        ("null", None),
        ("true", None),
        ("[3600]", None),
        ("{\"s\":3600}", None),
    ];
    for (value, expected) in table {
        let body = format!(
            r#"{{"access_token":"a","refresh_token":"r","expires_in":{value},"refresh_token_expires_in":{value}}}"#
        );
        let Class::Granted(granted) = reading(&raw(200, body), "generic").class else { panic!("{value}") };
        let expected = expected.map(Duration::from_secs_f64);
        assert_eq!((granted.expires_in, granted.refresh_expires_in), (expected, expected), "{value}");
    }
}

#[test]
fn retry_after_of_any_kind_pauses_for_a_while_or_not_at_all() {
    let table: [(&str, Option<u64>); 25] = [
        ("0", Some(0)),
        ("00007", Some(7)),
        ("\t7 ", Some(7)),
        ("600", Some(600)),
        ("86400", Some(86_400)),
        ("86401", Some(86_400)),
        ("4294967296", Some(86_400)),
        ("18446744073709551616", Some(86_400)),
        ("-1", None),
        ("+5", None),
        ("1.5", None),
        ("1e3", None),
        ("5s", None),
        ("5, 60", None),
        ("٥", None),
        ("NaN", None),
        ("null", None),
        ("Sat, 21 Nov 2026 03:00:30 GMT", Some(30)),
        ("Saturday, 21-Nov-26 03:00:30 GMT", Some(30)),
        ("Sat Nov 21 03:00:30 2026", Some(30)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
        ("Sat, 21 Nov 2026 03:00:30 PST", None),
        ("2026-11-21T03:00:30Z", None),
        ("Sat, 32 Nov 2026 03:00:30 GMT", None),
    ];
    for (field, seconds) in table {
        let wait = seconds.map(Duration::from_secs);
        for (status, class) in [
            (429, Class::Throttled(wait)),
            // A 503 or a page says nothing for sure unless it says for how long.
            (503, wait.map_or(Class::Ambiguous, |wait| Class::Throttled(Some(wait)))),
            (400, wait.map_or(Class::Ambiguous, |wait| Class::Throttled(Some(wait)))),
            (403, wait.map_or(Class::ClientRejected, |wait| Class::Throttled(Some(wait)))),
            (418, wait.map_or(Class::Unlisted, |wait| Class::Throttled(Some(wait)))),
            (302, Class::ClientRejected),
            (500, Class::Ambiguous),
            (502, Class::Ambiguous),
        ] {
            let answer =
                RawAnswer { headers: [("retry-after", field)].into_iter().collect(), ..raw(status, "") };
            assert_eq!(reading(&answer, "generic").class, class, "{status} {field:?}");
        }
    }
}

/// GitHub's second limit comes as a 403. A code that the profile lists says more than the time beside it.
#[test]
fn a_wait_beside_a_4xx_is_a_throttle_unless_a_listed_code_stands_in_it() {
    for (status, body, class, code, may_be_alone) in [
        (403, r#"{"message":"You have exceeded a secondary rate limit."}"#, "throttled", "http_403", true),
        (400, r#"{"error":"odd"}"#, "throttled", "odd", true),
        (429, "{}", "throttled", "http_429", false),
        (400, r#"{"error":"invalid_grant"}"#, "refused", "invalid_grant", false),
        (401, r#"{"error":"invalid_client"}"#, "client_rejected", "invalid_client", false),
        (400, r#"{"error":"slow_down"}"#, "throttled", "slow_down", false),
        (503, "", "throttled", "http_503", false),
    ] {
        let answer = RawAnswer { headers: [("retry-after", "7")].into_iter().collect(), ..raw(status, body) };
        let read = reading(&answer, "generic");
        let found = (read.class.word(), &*read.code, read.may_be_alone);
        assert_eq!(found, (class, code, may_be_alone), "{status} {body}");
    }
}

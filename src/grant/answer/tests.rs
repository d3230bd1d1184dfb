//! A row for each kind of answer, and a property over any bytes.

use super::*;
use crate::grant::RawAnswer;
use crate::grant::headers::Headers;
use crate::provider::{AnswerFormat, AnswerShape, ClientAuth, PastEnd, Rotation, profile};
use bytes::Bytes;
use proptest::prelude::*;

fn answer(status: u16, body: &str) -> RawAnswer {
    RawAnswer {
        status,
        headers: Headers::default(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        complete: true,
        received_at: Timestamp::UNIX_EPOCH,
    }
}

/// The same, of a profile that differs from `generic` in its answers only.
fn read_answer(raw: &RawAnswer, shape: &AnswerShape, now: Timestamp) -> Reading {
    let profile = Profile { answer: shape.clone(), ..profile::load("generic").unwrap() };
    super::read_answer(raw, &profile, now)
}

fn class_of(status: u16, body: &str) -> (&'static str, String) {
    let shape = profile::load("autodesk").unwrap().answer;
    let reading = read_answer(&answer(status, body), &shape, Timestamp::UNIX_EPOCH);
    (reading.class.word(), reading.code)
}

#[test]
fn every_answer_has_one_class() {
    let pair = r#"{"access_token":"a","refresh_token":"r","expires_in":3599}"#;
    let table: [(u16, &str, &str, &str); 34] = [
        (200, pair, "granted", "granted"),
        (201, pair, "granted", "granted"),
        (200, r#"{"access_token":"a"}"#, "granted", "granted"),
        (200, r#"{"access_token":"a","refresh_token":null}"#, "granted", "granted"),
        (200, r#"{"access_token":"a","refresh_token":7}"#, "unreadable", "no_tokens"),
        (200, r#"{"access_token":""}"#, "unreadable", "no_tokens"),
        (200, r#"{"refresh_token":"r"}"#, "unreadable", "no_tokens"),
        (200, "<html>Sign in to the Wi-Fi</html>", "ambiguous", "html"),
        (200, "", "ambiguous", "empty_body"),
        (204, "", "ambiguous", "empty_body"),
        (200, "OK", "ambiguous", "no_object"),
        (200, "[1]", "ambiguous", "no_object"),
        (200, r#"{"error":"invalid_grant"}"#, "refused", "invalid_grant"),
        (200, r#"{"error":"odd"}"#, "unlisted", "odd"),
        (400, r#"{"error":"invalid_grant","error_description":"dead"}"#, "refused", "invalid_grant"),
        (403, r#"{"error":"invalid_grant"}"#, "refused", "invalid_grant"),
        (401, r#"{"error":"invalid_client"}"#, "client_rejected", "invalid_client"),
        (400, r#"{"error":"unauthorized_client"}"#, "client_rejected", "unauthorized_client"),
        (401, r#"{"developerMessage":"x","errorCode":"AUTH-003"}"#, "client_rejected", "AUTH-003"),
        (403, "<html>blocked by the firewall</html>", "client_rejected", "http_403"),
        (302, "", "client_rejected", "http_302"),
        (404, "<html>", "client_rejected", "http_404"),
        (400, r#"{"error":"brand_new_error"}"#, "unlisted", "brand_new_error"),
        (400, r#"{"error":"a sentence with a secret in it"}"#, "unlisted", "unlisted_code"),
        (400, r#"{"error":["invalid_grant"]}"#, "unlisted", "http_400"),
        (400, r#"{"developerMessage":"invalid_grant"}"#, "unlisted", "http_400"),
        (400, "invalid_grant", "ambiguous", "http_400"),
        (429, r#"{"developerMessage":"Quota limit exceeded."}"#, "throttled", "http_429"),
        (429, r#"{"error":"invalid_grant"}"#, "throttled", "http_429"),
        (500, "", "ambiguous", "http_500"),
        (500, r#"{"error":"invalid_grant"}"#, "ambiguous", "invalid_grant"),
        (502, "<html>", "ambiguous", "http_502"),
        (503, "", "ambiguous", "http_503"),
        (504, "", "ambiguous", "http_504"),
    ];
    for (status, body, class, code) in table {
        assert_eq!(class_of(status, body), (class, code.to_owned()), "{status} {body}");
    }
}

#[test]
fn a_pair_is_read_whole() {
    let shape = profile::load("generic").unwrap().answer;
    let body =
        r#"{"access_token":"a","refresh_token":"r","expires_in":"3600","refresh_token_expires_in":8726400}"#;
    let Class::Granted(granted) = read_answer(&answer(200, body), &shape, Timestamp::UNIX_EPOCH).class else {
        panic!("granted")
    };
    assert_eq!(granted.access_token.expose(), "a");
    assert_eq!(granted.refresh_token.unwrap().expose(), "r");
    assert_eq!(granted.expires_in, Some(Duration::from_hours(1)));
    assert_eq!(granted.refresh_expires_in, Some(Duration::from_hours(101 * 24)));
}

#[test]
fn a_cut_success_is_ambiguous_unless_the_pair_is_whole() {
    let shape = profile::load("generic").unwrap().answer;
    let mut cut = answer(200, r#"{"access_token":"a","refresh_tok"#);
    cut.complete = false;
    assert_eq!(read_answer(&cut, &shape, Timestamp::UNIX_EPOCH).class, Class::Ambiguous);
    for short in [
        r#"{"access_token":"a","expires_in":3599}"#,
        r#"{"access_token":"a","expires_in":3599,"refresh_token":null"#,
        r#"{"refresh_token":"r","access_token":"a"#,
        r#"{"refresh_token":"r","access_token":""#,
    ] {
        cut.body = Bytes::from_static(short.as_bytes());
        let class = read_answer(&cut, &shape, Timestamp::UNIX_EPOCH).class;
        // What parses as a whole says of itself that nothing is missing.
        assert_eq!(class.word(), if short.ends_with('}') { "granted" } else { "ambiguous" }, "{short}");
    }
    for enough in [
        r#"{"access_token":"a","refresh_token":"r""#,
        r#"{"refresh_token":"r","expires_in":36,"access_token":"a","expires_in_more":36"#,
    ] {
        cut.body = Bytes::from_static(enough.as_bytes());
        for complete in [false, true] {
            cut.complete = complete;
            let Class::Granted(granted) = read_answer(&cut, &shape, Timestamp::UNIX_EPOCH).class else {
                panic!("{enough}")
            };
            assert_eq!(granted.refresh_token.unwrap().expose(), "r");
            assert_eq!(granted.access_token.expose(), "a");
        }
    }
    cut.complete = false;
    cut.body = Bytes::from_static(br#"{"access_token":"a","refresh_token":"r"}"#);
    assert_eq!(read_answer(&cut, &shape, Timestamp::UNIX_EPOCH).class.word(), "granted");
    let refusal = RawAnswer { complete: false, ..answer(400, r#"{"error":"invalid_grant"}"#) };
    assert_eq!(read_answer(&refusal, &shape, Timestamp::UNIX_EPOCH).class, Class::Ambiguous);
}

/// A new refresh token beside an access token, or alone, that isn't where the profile says: to keep the old one, or to send it
/// again, would be to lose the new one.
#[test]
fn a_refresh_token_in_the_head_is_never_passed_over() {
    let mut shape = profile::load("generic").unwrap().answer;
    let cookie = |text| ("set-cookie", text);
    let class = |shape: &AnswerShape, body: &str, field: (&str, &str), complete| {
        let raw = RawAnswer { headers: [field].into_iter().collect(), complete, ..answer(200, body) };
        read_answer(&raw, shape, Timestamp::UNIX_EPOCH).class.word()
    };
    let access = r#"{"access_token":"a"}"#;
    for (body, field, complete, expected) in [
        (access, cookie("refreshToken=new; Path=/"), true, "unreadable"),
        (access, ("x-refresh-token", "new"), true, "unreadable"),
        ("", cookie("refresh_token=new"), true, "unreadable"),
        ("OK", cookie("refresh_token=new"), true, "unreadable"),
        ("<html>", cookie("refresh_token=new"), true, "unreadable"),
        (r#"{"ok":true}"#, cookie("refresh_token=new"), true, "unreadable"),
        (r#"{"access_token":"ey"#, cookie("refresh_token=new"), false, "unreadable"),
        // Deleted, or empty, or another one: the old one stays.
        (access, cookie("refreshToken=; Max-Age=0"), true, "granted"),
        (access, cookie("refreshToken=undefined"), true, "granted"),
        (access, cookie("session=abcdefghijklmnopqrstuvwxyz"), true, "granted"),
    ] {
        assert_eq!(class(&shape, body, field, complete), expected, "{body} {field:?}");
    }
    shape.access_token = "cookie:at".parse().unwrap();
    shape.refresh_token = "cookie:rt".parse().unwrap();
    let both: Headers = [cookie("at=a"), cookie("rt=r")].into_iter().collect();
    for (body, complete) in [("", true), ("OK", true), (r#"{"a":"#, false), ("<html>", false)] {
        let raw = RawAnswer { headers: both.clone(), complete, ..answer(200, body) };
        assert_eq!(read_answer(&raw, &shape, Timestamp::UNIX_EPOCH).class.word(), "granted", "{body}");
    }
    assert_eq!(class(&shape, "", cookie("rt=new"), true), "unreadable");
    let rules = "r = [{ status = 200, means = \"transient\" }]".parse::<toml::Table>().unwrap();
    shape.rules = rules["r"].clone().try_into().unwrap();
    assert_eq!(class(&shape, "", cookie("rt=new"), true), "unreadable", "no rule says otherwise");
}

#[test]
fn a_form_is_read_as_an_object_of_texts_and_never_to_a_cut_end() {
    let mut shape = profile::load("generic").unwrap().answer;
    shape.format = AnswerFormat::Form;
    let rules = r#"r = [{ where = { "/error" = "Old refresh token*" }, means = "refused", code = "old" }]"#;
    shape.rules = rules.parse::<toml::Table>().unwrap()["r"].clone().try_into().unwrap();
    let read = |status, body: &str, complete| {
        let raw = RawAnswer { complete, ..answer(status, body) };
        read_answer(&raw, &shape, Timestamp::UNIX_EPOCH)
    };
    let pair = "access_token=a&refresh_token=r%2B1&expires_in=60";
    let Class::Granted(granted) = read(200, pair, true).class else { panic!("a pair") };
    assert_eq!((granted.access_token.expose(), granted.expires_in), ("a", Some(Duration::from_mins(1))));
    assert_eq!(granted.refresh_token.unwrap().expose(), "r+1");
    for (status, body, complete, expected) in [
        // Both came to their end before the cut, or one of them didn't.
        (200, pair, false, ("granted", "granted")),
        (200, "expires_in=60&access_token=a&refresh_token=r", false, ("ambiguous", "cut_body")),
        (200, "access_token=a&expires_in=6", false, ("ambiguous", "cut_body")),
        (200, r#"{"access_token":"a","refresh_token":"r"}"#, true, ("granted", "granted")),
        (200, "access_token=a&refreshToken=r", true, ("unreadable", "no_tokens")),
        (200, "access_token=a&access_token=b&refresh_token=r", true, ("unreadable", "not_json")),
        (200, "refresh_token=r&access_token=a&refresh_token=s", true, ("unreadable", "not_json")),
        (200, "error=bad_verification_code&error_description=x", true, ("unlisted", "bad_verification_code")),
        (400, "error=invalid_grant", true, ("refused", "invalid_grant")),
        (400, "error=Old+refresh+token+used", true, ("refused", "old")),
        (400, "error=invalid_grant and more", true, ("ambiguous", "unlisted_code")),
        (403, "<html a=b>", true, ("client_rejected", "http_403")),
        (500, "error=invalid_grant", true, ("ambiguous", "invalid_grant")),
        (200, "", true, ("ambiguous", "empty_body")),
    ] {
        let reading = read(status, body, complete);
        assert_eq!((reading.class.word(), &*reading.code), expected, "{status} {body}");
    }
}

#[test]
fn an_answer_that_nothing_knows_says_when_it_was_sent_where_the_profile_asks() {
    let mut shape = profile::load("generic").unwrap().answer;
    let rules = r#"r = [{ status = 403, where = { "/message" = "blocked" }, means = "unlisted" }]"#;
    shape.rules = rules.parse::<toml::Table>().unwrap()["r"].clone().try_into().unwrap();
    let date: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    let read = |shape: &AnswerShape, status, body, field: Option<(&str, &str)>| {
        let raw = RawAnswer { headers: field.into_iter().collect(), ..answer(status, body) };
        let generic = profile::load("generic").unwrap();
        let at = |rotation| {
            let profile = Profile { answer: shape.clone(), rotation, ..generic.clone() };
            super::read_answer(&raw, &profile, Timestamp::UNIX_EPOCH).unknown_at
        };
        assert!(
            status < 500 || at(Rotation::SingleUse).is_none(),
            "where it rotates, a 5xx is a lost answer first"
        );
        at(Rotation::None)
    };
    assert_eq!(read(&shape, 500, "", None), None, "by default nothing is asked for");
    shape.past_end = PastEnd::Suspected;
    let sent = ("date", "Sat, 21 Nov 2026 03:00:00 GMT");
    let came = Some(Timestamp::UNIX_EPOCH);
    for (status, body, field, expected) in [
        (500, "<html>", Some(sent), Some(date)),
        (500, "<html>", None, came),
        (401, r#"{"error":"odd"}"#, Some(("date", "yesterday")), came),
        (403, "{}", None, came),
        // Of something before the server, or of a server that is away.
        (403, "", None, None),
        (401, "<html>", None, None),
        (502, "<html>", None, None),
        (504, "", None, None),
        // A rule or a list knows it, or it says: later.
        (403, r#"{"message":"blocked"}"#, None, None),
        (401, r#"{"error":"invalid_client"}"#, None, None),
        (500, r#"{"error":"server_error"}"#, None, None),
        (503, "", Some(("retry-after", "5")), None),
        (429, "", None, None),
        (400, r#"{"error":"odd"}"#, None, None),
        (404, "", None, None),
        (200, r#"{"access_token":"a","refresh_token":"r"}"#, None, None),
    ] {
        assert_eq!(read(&shape, status, body, field), expected, "{status} {body}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_and_clamped() {
    let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    for (field, expected) in [
        ("0", Some(0)),
        (" 7 ", Some(7)),
        ("10800", Some(3 * 3600)),
        ("86401", Some(86_400)),
        ("99999999999999999999999", Some(86_400)),
        ("Sat, 21 Nov 2026 03:00:30 GMT", Some(30)),
        ("Sat, 21 Nov 2026 02:00:00 GMT", Some(0)),
        ("Mon, 23 Nov 2026 03:00:00 GMT", Some(86_400)),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
    ] {
        assert_eq!(retry_after(field, now), expected.map(Duration::from_secs), "{field:?}");
    }
    let throttled = RawAnswer { headers: [("retry-after", "7")].into_iter().collect(), ..answer(503, "") };
    let shape = profile::load("generic").unwrap().answer;
    assert_eq!(read_answer(&throttled, &shape, now).class, Class::Throttled(Some(Duration::from_secs(7))));
}

proptest! {
    /// Whatever comes, it is classified, nothing panics, and a user is marked only by a listed code.
    #[test]
    fn any_bytes_are_classified(status in 100u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200), complete: bool) {
        let raw = RawAnswer { body: body.into(), complete, ..answer(status, "") };
        let shape = profile::load("autodesk").unwrap().answer;
        let reading = read_answer(&raw, &shape, Timestamp::UNIX_EPOCH);
        prop_assert!(reading.class != Class::Refused || reading.code == "invalid_grant");
    }
}

#[test]
fn a_forgotten_refresh_field_loses_no_pair() {
    let long = "eyJhbGciOiJIUzI1NiJ9.e30";
    for (body, single_use, none) in [
        (format!(r#"{{"access_token":"a","refresh":"{long}"}}"#), "unreadable", "granted"),
        (format!(r#"{{"access_token":"a","data":{{"new_refresh_key":"{long}"}}}}"#), "unreadable", "granted"),
        (r#"{"access_token":"a","refresh":"short"}"#.to_owned(), "granted", "granted"),
        (r#"{"access_token":"a","refresh_until":"2026-12-24T20:00:00Z"}"#.to_owned(), "granted", "granted"),
        (
            r#"{"access_token":"a","refresh_url":"https://example.com/refresh"}"#.to_owned(),
            "granted",
            "granted",
        ),
        (format!(r#"{{"access_token":"a","refresh_expires":"{long}"}}"#), "granted", "granted"),
        (r#"{"access_token":"a","refresh_hint":"ask again in an hour"}"#.to_owned(), "granted", "granted"),
        (format!(r#"{{"ok":true,"refresh":"{long}"}}"#), "unreadable", "unreadable"),
        // Nor does a code beside it make an error of it, listed or not.
        (format!(r#"{{"error":"ok","access_token":"a","refresh":"{long}"}}"#), "unreadable", "granted"),
        (
            format!(r#"{{"error":"slow_down","access_token":"a","refresh":"{long}"}}"#),
            "unreadable",
            "granted",
        ),
    ] {
        for (rotation, expected) in [(Rotation::SingleUse, single_use), (Rotation::None, none)] {
            let profile = Profile { rotation, ..profile::load("generic").unwrap() };
            let class = super::read_answer(&answer(200, &body), &profile, Timestamp::UNIX_EPOCH).class;
            assert_eq!(class.word(), expected, "{rotation:?} {body}");
        }
    }
}

/// A server of one's own calls it what it likes. Where the old one is dead at once, it is the only copy.
#[test]
fn a_refresh_token_under_any_name_is_not_passed_over() {
    let (access, new) = ("ya29.a0AfB_byC8x1Qk2", "1//09xKq7ZtV2bCgYIARAA");
    let id = "64f1c0ffee64f1c0ffee64f1";
    for (more, head, single_use) in [
        (format!(r#""renewalToken":"{new}""#), None, "unreadable"),
        (format!(r#""rt":"{new}""#), None, "unreadable"),
        (format!(r#""data":{{"tokens":["{access}","{new}"]}}"#), None, "unreadable"),
        (format!(r#""sessionId":"{new}""#), None, "unreadable"),
        (format!(r#""renewal_id":"{new}""#), None, "unreadable"),
        (
            format!(r#""id_token":"{new}","scope":"{new}","session_state":"{new}","jti":"{new}""#),
            None,
            "granted",
        ),
        (format!(r#""signature":"{new}","user":{{"_id":"{id}","avatarUrl":"{new}"}}"#), None, "granted"),
        (format!(r#""accessToken":"{access}","copy":"{access}""#), None, "granted"),
        (r#""note":"a sentence that is longer than a token""#.to_owned(), None, "granted"),
        (r#""issued":"2026-11-27T04:00:00.000Z""#.to_owned(), None, "granted"),
        (r#""ok":true"#.to_owned(), Some(("set-cookie", "renewal")), "unreadable"),
        (r#""ok":true"#.to_owned(), Some(("set-cookie", "app_token")), "unreadable"),
        (r#""ok":true"#.to_owned(), Some(("set-cookie", "AWSALB")), "granted"),
        (r#""ok":true"#.to_owned(), Some(("set-cookie", "XSRF-TOKEN")), "granted"),
        (r#""ok":true"#.to_owned(), Some(("x-renewed-token", "")), "unreadable"),
        (r#""ok":true"#.to_owned(), Some(("etag", "")), "granted"),
    ] {
        for (rotation, expected) in
            [(Rotation::SingleUse, single_use), (Rotation::Grace, single_use), (Rotation::None, "granted")]
        {
            let profile = Profile { rotation, ..profile::load("generic").unwrap() };
            let field = head.map(|(field, cookie)| match cookie {
                "" => (field, new.to_owned()),
                cookie => (field, format!("{cookie}={new}; Path=/")),
            });
            let body = format!(r#"{{"access_token":"{access}",{more}}}"#);
            let raw = RawAnswer { headers: field.into_iter().collect(), ..answer(200, &body) };
            let class = super::read_answer(&raw, &profile, Timestamp::UNIX_EPOCH).class;
            assert_eq!(class.word(), expected, "{rotation:?} {more} {head:?}");
        }
    }
}

#[test]
fn without_a_client_a_status_that_is_not_listed_stops_no_other() {
    for (auth, status, expected) in [
        (ClientAuth::Basic, 401, "client_rejected"),
        (ClientAuth::NoClient, 401, "unlisted"),
        (ClientAuth::NoClient, 403, "unlisted"),
        (ClientAuth::NoClient, 404, "client_rejected"),
    ] {
        let profile = Profile { client_auth: auth, ..profile::load("generic").unwrap() };
        let class = super::read_answer(&answer(status, "{}"), &profile, Timestamp::UNIX_EPOCH).class;
        assert_eq!(class.word(), expected, "{auth:?} {status}");
    }
}

#[test]
fn an_unescaped_plus_in_a_form_damages_no_token() {
    let mut profile = profile::load("generic").unwrap();
    profile.answer.format = AnswerFormat::Form;
    for (body, expected) in [
        ("access_token=a&refresh_token=r&scope=x+y", "granted"),
        ("access_token=a&refresh_token=a%2Bb", "granted"),
        ("access_token=a&refresh_token=a+b", "unreadable"),
    ] {
        let class = super::read_answer(&answer(200, body), &profile, Timestamp::UNIX_EPOCH).class;
        assert_eq!(class.word(), expected, "{body}");
    }
}

/// Whatever the profile says of its format: who looks for a token knows no profile.
#[test]
fn a_refresh_token_is_seen_in_an_answer_of_either_format() {
    for (body, complete, expected) in [
        (r#"{"a":{"refreshToken":"r"}}"#, true, true),
        (r#"{"refresh_token":"r","a":"#, false, true),
        (r#"{"access_token":"a"}"#, true, false),
        ("access_token=a&refresh_token=r", true, true),
        ("refresh_token=r", true, true),
        ("access_token=a&refresh_token=r\n", true, true),
        ("access_token=a&refresh%5Ftoken=r", true, true),
        // Of two it isn't known which one counts; a person will.
        ("refresh_token=r&refresh_token=s&a=b", true, true),
        ("a=b&a=c&refresh_token=r", true, true),
        ("refresh_token=r&access_token=a", false, true),
        // It may go on.
        ("access_token=a&refresh_token=r", false, false),
        ("access_token=a&refresh_token=", true, false),
        ("access_token=a", true, false),
        (r#"{"refresh":"eyJhbGciOiJIUzI1NiJ9.e30"}"#, true, true),
        (r#"{"renewal_token":"eyJhbGciOiJIUzI1NiJ9.e30","a":"#, false, true),
        ("<a href=\"?a=b&refresh_token=r\">", true, false),
        ("", true, false),
    ] {
        let answer = RawAnswer { complete, ..answer(200, body) };
        assert_eq!(holds_a_token(&answer), expected, "{body} {complete}");
    }
}

#[test]
fn an_end_in_an_answer_means_the_providers_clock_where_ours_is_another() {
    let mut profile = profile::load("generic").unwrap();
    profile.answer.refresh_token = "cookie:rt".parse().unwrap();
    profile.answer.expires_in = "/expires_at as date".parse().unwrap();
    profile.answer.refresh_token_expires_in = "cookie:rt as max_age".parse().unwrap();
    let sent_at: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    let expires = "rt=new-refresh-token; Expires=Sat, 21 Nov 2026 05:00:00 GMT";
    for (date, seconds_ahead, clock_ahead, lives) in [
        (Some("Sat, 21 Nov 2026 03:00:00 GMT"), 0, 0, Some((3600, 7200))),
        (Some("Sat, 21 Nov 2026 03:00:00 GMT"), 1, 0, Some((3599, 7199))),
        (Some("Sat, 21 Nov 2026 03:00:00 GMT"), 86_400, 86_400, Some((3600, 7200))),
        (Some("Sat, 21 Nov 2026 03:00:00 GMT"), -86_400, -86_400, Some((3600, 7200))),
        // Past by a wrong `Date` alone is no deletion.
        (Some("Tue, 01 Dec 2026 00:00:00 GMT"), 0, -853_200, None),
        (Some("yesterday"), 60, 0, Some((3540, 7140))),
        (None, 60, 0, Some((3540, 7140))),
    ] {
        let fields = [("set-cookie", expires)].into_iter().chain(date.map(|date| ("date", date)));
        let raw = RawAnswer {
            headers: fields.collect(),
            received_at: sent_at + TimeDelta::seconds(seconds_ahead),
            ..answer(200, r#"{"access_token":"a","expires_at":"2026-11-21T04:00:00Z"}"#)
        };
        let reading = super::read_answer(&raw, &profile, raw.received_at);
        let Class::Granted(granted) = reading.class else { panic!("{date:?}: {reading:?}") };
        assert!(granted.refresh_token.is_some());
        assert_eq!(granted.clock_ahead.num_seconds(), clock_ahead, "{date:?}");
        let seconds = |life: Option<Duration>| life.map(|life| life.as_secs());
        let told = seconds(granted.expires_in).zip(seconds(granted.refresh_expires_in));
        assert_eq!(told, lives, "{date:?}, {seconds_ahead} s ahead");
    }
}

use super::*;
use crate::grant::headers::Headers;

fn masked_with(answer: &RawAnswer, known: Known<'_>) -> MaskedAnswer {
    let mut number = 0;
    let mut random = || {
        number += 1;
        0xabc0_0000_0000_0000 + number
    };
    MaskedAnswer::of(answer, known, &mut random)
}

fn answer(fields: &[(&str, &str)], body: &str) -> RawAnswer {
    RawAnswer {
        status: 200,
        headers: fields.iter().copied().collect::<Headers>(),
        body: body.to_owned().into(),
        complete: true,
        received_at: Timestamp::UNIX_EPOCH,
    }
}

fn body(body: &str) -> String {
    masked_with(&answer(&[], body), Known::default()).body
}

/// A token with the signs that are written in many ways, and each way to write it.
const TOKEN: &str = "q7/Zk+2m=Xw&9pLd~R4tYv";

#[test]
fn no_spelling_of_a_token_comes_through_anywhere() {
    let spelled = [
        TOKEN.to_owned(),
        utf8_percent_encode(TOKEN, NON_ALPHANUMERIC).to_string(),
        lower_hex(&utf8_percent_encode(TOKEN, NON_ALPHANUMERIC).to_string()),
        form_urlencoded::byte_serialize(TOKEN.as_bytes()).collect(),
        TOKEN.replace('/', "\\/"),
        TOKEN.replace('/', "\\u002f").replace('+', "\\u002B"),
        TOKEN.replace('&', "&amp;").replace('+', "&#43;").replace('/', "&#x2F;"),
    ];
    let pieces = ["q7", "Zk", "2m", "Xw", "9pLd", "R4tYv"];
    for spelling in &spelled {
        for around in [
            "{\"refresh_token\":\"@\"}",
            "{\"data\":{\"unknown\":{\"x\":\"@\"}}}",
            "{\"list\":[1,[\"@\"]]}",
            "{\"@\":1}",
            "{\"text\":\"{\\\"inner\\\":\\\"@\\\"}\"}",
            "{\"message\":\"the token @ is unknown\"}",
            "{\"message\":\"the token '@' is unknown.\"}",
            "{\"message\":\"token=@\"}",
            "{\"url\":\"https://example.com/a?code=@&state=1\"}",
            "{\"url\":\"https://example.com/@/b\"}",
            "{\"cut\":\"@",
            "the token @ is unknown",
            "<p>refresh token: @</p><a href=\"/x?t=@\">",
            "grant=1&refresh_token=@&more=2",
            "a=@",
            "@",
            "\"@\"",
        ] {
            let text = around.replace('@', spelling);
            let masked = masked_with(
                &answer(&[], &text),
                Known { sent: Some(&RefreshToken::new(TOKEN.into())), ..Known::default() },
            );
            for piece in pieces {
                assert!(!masked.body.contains(piece), "{text} -> {}", masked.body);
            }
            assert!(masked.body.contains("masked-"), "{text} -> {}", masked.body);
        }
        for (name, around) in [
            ("set-cookie", "rt=@; Path=/; HttpOnly"),
            ("set-cookie", "rt=\"@\"; Max-Age=3600"),
            ("x-refresh-token", "@"),
            ("x-anything", "@"),
            ("location", "https://example.com/cb#access_token=@&x=1"),
            ("location", "/cb?code=@"),
            ("www-authenticate", "Bearer error=\"invalid_token\", error_description=\"@ is unknown\""),
        ] {
            let value = around.replace('@', spelling);
            let masked = masked_with(
                &answer(&[(name, &value)], ""),
                Known { sent: Some(&RefreshToken::new(TOKEN.into())), ..Known::default() },
            );
            let text = masked.http();
            for piece in pieces {
                assert!(!text.contains(piece), "{value} -> {text}");
            }
            assert!(text.contains("masked-"), "{value} -> {text}");
        }
    }
}

#[test]
fn a_token_that_was_never_sent_is_masked_by_its_look() {
    let token = "4fK9-xQ2_mB7zT1wLc8R";
    for text in [
        "{\"unknown\":\"@\"}",
        "{\"a\":{\"b\":[\"x\",\"@\"]}}",
        "plain text with @ in it",
        "{\"m\":\"user@example.com has @\"}",
        "{\"c\":\"rt%3D@\"}",
        "%7B%22token%22%3A%22@%22%7D",
        "<input value='@'>",
        "key:@",
    ] {
        let text = text.replace('@', token);
        let masked = body(&text);
        assert!(!masked.contains(token) && masked.contains("masked-"), "{text} -> {masked}");
    }
}

#[test]
fn a_secret_of_the_request_is_masked_where_an_answer_repeats_it() {
    let secrets = [Zeroizing::new("correct horse".to_owned())];
    let known = Known { secrets: &secrets, ..Known::default() };
    for text in ["{\"m\":\"correct horse is wrong\"}", "client_secret=correct+horse", "x=correct%20horse"] {
        let masked = masked_with(&answer(&[("x-a", text)], text), known).http();
        assert!(!masked.contains("horse"), "{masked}");
    }
}

#[test]
fn a_short_token_is_masked_by_its_name_or_place() {
    for text in [
        "{\"refresh_token\":\"s3t\"}",
        "{\"refreshToken\":\"s3t\"}",
        "{\"refresh\":\"s3t\"}",
        "{\"tokens\":[\"s3t\"]}",
        "{\"token\":{\"value\":\"s3t\"}}",
        "{\"client_secret\" : \"s3t\"}",
        "access_token=s3t&x=1",
        "token: s3t",
        "'refreshToken' : 's3t'",
        "{\"m\":\"{\\\"jwt\\\":\\\"s3t\\\"}\"}",
        "{\"m\":\"a page with token=s3t in it\"}",
    ] {
        let masked = body(text);
        assert!(!masked.contains("s3t"), "{text} -> {masked}");
    }
    let shape = crate::provider::profile::load("generic").unwrap().answer;
    let shape = AnswerShape { refresh_token: "/data/rt".parse().unwrap(), ..shape };
    let known = Known { shape: Some(&shape), ..Known::default() };
    let masked = masked_with(&answer(&[("x-a", "1")], "{\"data\":{\"rt\":\"s3t\"}}"), known).body;
    assert!(!masked.contains("s3t"), "{masked}");
    let cookie = masked_with(&answer(&[("set-cookie", "a=s3t; Path=/")], ""), Known::default()).http();
    assert!(!cookie.contains("s3t") && cookie.contains("; Path=/"), "{cookie}");
    let number = body("{\"session\": 123456, \"expires_in\": 3600}");
    assert_eq!(number, "{\"session\": 0, \"expires_in\": 3600}");
}

#[test]
fn what_a_profile_needs_to_see_stays() {
    for text in [
        "{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS700082: The refresh token has expired due to inactivity.\"}",
        "{ \"statusCode\" : 401,\n \"message\": \"Refresh token is expired or used\", \"errors\": [] }",
        "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"issued_at\":\"2026-11-21T03:00:00.000Z\",\"ok\":false}",
        "{\"refresh_token\":\"undefined\",\"access_token\":null,\"x\":\"\"}",
        "{\"error_uri\":\"https://developer.example.com/docs/errors\"}",
        "<html><title>503 Service Temporarily Unavailable</title></html>",
        "JsonWebTokenError: jwt malformed",
        "",
    ] {
        assert_eq!(body(text), text);
    }
    let fields = [
        ("content-type", "application/json; charset=utf-8"),
        ("date", "Sat, 21 Nov 2026 03:00:00 GMT"),
        ("retry-after", "120"),
        ("cache-control", "no-store, max-age=31536000"),
        ("set-cookie", "rt=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        ("set-cookie", "rt=deleted; Max-Age=0"),
        ("www-authenticate", "Bearer realm=\"api\", error=\"invalid_token\""),
    ];
    let masked = masked_with(&answer(&fields, "x"), Known::default());
    let kept: Vec<_> = masked.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(kept, fields);
}

#[test]
fn one_token_has_one_mask_and_two_have_two() {
    let text = format!(
        "{{\"a\":\"{TOKEN}\",\"b\":\"{}\",\"c\":\"other/Token+2m=Xw9pLdR4tYv\"}}",
        TOKEN.replace('/', "\\/")
    );
    let masked: Value = serde_json::from_str(&body(&text)).unwrap();
    assert_eq!(masked["a"], masked["b"]);
    assert_ne!(masked["a"], masked["c"]);
    let mask = masked["a"].as_str().unwrap();
    assert_eq!(mask.len(), "masked-".len() + 16);
    // In another capture it is another one.
    let mut next = || 7;
    let again = MaskedAnswer::of(&answer(&[], &text), Known::default(), &mut next).body;
    assert!(!again.contains(mask));
}

#[test]
fn a_jwt_keeps_its_two_times_and_nothing_else() {
    let encoded = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let jwt = format!(
        "{}.{}.{}",
        encoded("{\"alg\":\"HS256\",\"kid\":\"planted\"}"),
        encoded("{\"sub\":\"planted\",\"exp\":1800000000,\"iat\":1700000000,\"email\":\"me@planted\"}"),
        encoded("a signature of thirty-two bytes!")
    );
    for (fields, text) in [
        (vec![], format!("{{\"jwt\":\"{jwt}\"}}")),
        (vec![], format!("{{\"m\":\"Bearer {jwt} is expired\"}}")),
        (vec![("set-cookie", format!("rt={jwt}; Path=/"))], String::new()),
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let masked = masked_with(&answer(&fields, &text), Known::default()).http();
        let kept = format!(
            "{}.{}.masked-",
            encoded("{\"alg\":\"none\"}"),
            encoded("{\"exp\":1800000000,\"iat\":1700000000}")
        );
        assert!(masked.contains(&kept), "{masked}");
        for part in jwt.split('.') {
            assert!(!masked.contains(part), "{masked}");
        }
    }
}

#[test]
fn a_capture_is_read_as_the_answer_was() {
    use crate::grant::answer::read_answer;
    use crate::grant::captured::captured;
    let profile = crate::provider::profile::load("generic").unwrap();
    let shape = &profile.answer;
    let cut =
        RawAnswer { complete: false, ..answer(&[], "{\"access_token\":\"4fK9-xQ2_mB7zT1wLc8R\",\"refr") };
    for real in [
        answer(
            &[("content-type", "application/json")],
            "{\"access_token\":\"4fK9-xQ2_mB7zT1wLc8R\",\"refresh_token\":\"s3t\",\"expires_in\":60}",
        ),
        RawAnswer { status: 400, ..answer(&[], "{\"error\":\"invalid_grant\"}") },
        RawAnswer { status: 429, ..answer(&[("retry-after", "7")], "slow down") },
        answer(&[], "{\"token\":\"4fK9-xQ2_mB7zT1wLc8R\"}"),
        answer(&[], "<html>a page</html>"),
        answer(&[], ""),
        cut,
    ] {
        let masked = masked_with(&real, Known { shape: Some(shape), ..Known::default() });
        let again = captured(masked.http().as_bytes(), Timestamp::UNIX_EPOCH).unwrap();
        let reads = |answer: &RawAnswer| {
            let reading = read_answer(answer, &profile, Timestamp::UNIX_EPOCH);
            (reading.class.word(), reading.code, reading.settles)
        };
        assert_eq!(reads(&again), reads(&real), "{}", masked.http());
        assert_eq!(reads(&masked.raw()), reads(&real));
    }
}

#[test]
fn a_compressed_body_is_masked_and_bytes_are_left_out() {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"{\"x\":\"4fK9-xQ2_mB7zT1wLc8R\"}").unwrap();
    let real = RawAnswer {
        body: gzip.finish().unwrap().into(),
        ..answer(&[("content-encoding", "gzip"), ("content-length", "99")], "")
    };
    let masked = masked_with(&real, Known::default());
    assert!(masked.body.starts_with("{\"x\":\"masked-") && masked.headers.is_empty(), "{masked:?}");
    let binary = RawAnswer { body: vec![0, 255, 1, 254, 7].into(), ..answer(&[], "") };
    let masked = masked_with(&binary, Known::default());
    assert!(masked.body.is_empty() && masked.without_body);
}

#[test]
fn no_random_token_in_any_common_alphabet_comes_through() {
    use rand::{Rng as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    let alphabets = [
        "0123456789abcdef",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "abcdefghijklmnopqrstuvwxyz",
    ];
    let mut through = Vec::new();
    for alphabet in alphabets {
        for _ in 0..2000 {
            let length = random.random_range(16..64);
            let token: String = (0..length)
                .map(|_| char::from(alphabet.as_bytes()[random.random_range(0..alphabet.len())]))
                .collect();
            for around in ["{\"x\":\"@\"}", "a text with @ in it"] {
                if body(&around.replace('@', &token)).contains(&token) {
                    through.push(token.clone());
                }
            }
        }
    }
    assert!(through.is_empty(), "{} of 12000: {through:?}", through.len());
}

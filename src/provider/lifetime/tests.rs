use super::*;
use std::collections::BTreeMap;

#[test]
fn a_place_of_a_lifetime_is_written_as_it_is_read() {
    for text in [
        "/expires_in",
        "/data/expiresAt as date",
        "cookie:rt as max_age",
        "cookie:ends as unix_millis",
        "header:x-expires as minutes",
        "/a as hours",
        "/refreshTokenDays as days",
        "jwt:exp",
        "jwt:exp as unix_millis",
        "jwt:lifetime as duration",
        "/a as millis",
    ] {
        assert_eq!(text.parse::<LifetimePlace>().unwrap().to_string(), text);
    }
    for (text, form) in [
        ("/a", Form::Seconds),
        ("/a as seconds", Form::Seconds),
        ("jwt:exp", Form::Unix),
        ("jwt:exp as unix", Form::Unix),
        ("jwt:ttl", Form::Seconds),
        ("/known as such as date", Form::Date),
    ] {
        assert_eq!(text.parse::<LifetimePlace>().unwrap().form, form, "{text}");
    }
}

#[test]
fn what_names_no_lifetime_is_refused_with_what_is_expected() {
    for text in [
        "",
        "expires_in",
        "/a as weeks",
        "/a as ",
        " as date",
        "jwt:",
        "jwt:a b",
        "/a as max_age",
        "header:x as max_age",
        "jwt:exp as max_age",
        "cookie:",
        "body",
    ] {
        let refused = text.parse::<LifetimePlace>().unwrap_err().to_string();
        assert!(refused.contains("is not a place of a lifetime: `/json/pointer`"), "{refused}");
    }
}

#[test]
fn a_text_a_list_and_an_empty_text_are_read() {
    let read = |text: &str| {
        toml::from_str::<BTreeMap<String, LifetimePlaces>>(text).map(|mut map| map.remove("p").unwrap())
    };
    assert_eq!(read("p = \"/a\"").unwrap().0.len(), 1);
    assert_eq!(read("p = [\"/a as unix\", \"jwt:exp\"]").unwrap().0.len(), 2);
    assert_eq!(read("p = \"\"").unwrap(), LifetimePlaces::default());
    assert_eq!(read("p = []").unwrap(), LifetimePlaces::default());
    assert!(read("p = \"a\"").is_err() && read("p = 5").is_err());
    let written = serde_json::to_value(read("p = [\"/a as date\"]").unwrap()).unwrap();
    assert_eq!(written, "/a as date", "one place is written as a text");
}

#[test]
fn each_form_is_read_and_only_a_believable_life_is_believed() {
    let at: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    let unix = at.timestamp();
    let ended = |text: &str| (text.to_owned(), None);
    let lasts = |text: &str, seconds: u64| (text.to_owned(), Some(seconds));
    for (form, cases) in [
        (
            Form::Seconds,
            vec![
                lasts("3600", 3600),
                lasts(" 7 ", 7),
                lasts("0.5e1", 5),
                lasts("94608000", 94_608_000),
                ended("94608001"),
                ended("0"),
                ended("-1"),
                ended("NaN"),
                ended("inf"),
                ended("1e999"),
                ended(""),
                ended("soon"),
            ],
        ),
        (Form::Minutes, vec![lasts("30", 1800), ended("-1")]),
        (Form::Hours, vec![lasts("24", 86_400), lasts("0.5", 1800), ended("26281")]),
        (Form::Days, vec![lasts("60", 60 * 86_400), ended("1096"), ended("0")]),
        (Form::Millis, vec![lasts("1800000", 1800), ended("1e300")]),
        (
            Form::Unix,
            vec![
                lasts(&(unix + 60).to_string(), 60),
                ended(&unix.to_string()),
                ended(&(unix - 1).to_string()),
                ended(&((unix + 60) * 1000).to_string()),
                ended("3600"),
            ],
        ),
        (
            Form::UnixMillis,
            vec![lasts(&((unix + 60) * 1000).to_string(), 60), ended(&(unix + 60).to_string())],
        ),
        (
            Form::Date,
            vec![
                lasts("2026-11-21T03:01:00Z", 60),
                lasts("2026-11-21T04:01:00+01:00", 60),
                lasts("2026-11-21T04:01:00+0100", 60),
                lasts("2026-11-21T03:01:00", 60),
                lasts("2026-11-21 03:01:00.0000000", 60),
                lasts("2026-11-21T03:01", 60),
                lasts("2026-11-22", 21 * 3600),
                lasts("Sat, 21 Nov 2026 03:01:00 GMT", 60),
                ended("2026-11-21T02:59:59Z"),
                ended("9999-12-31T23:59:59Z"),
                ended("tomorrow"),
                ended("1800000000"),
            ],
        ),
        (
            Form::Duration,
            vec![
                lasts("1h30m", 5400),
                lasts("14d", 14 * 86_400),
                lasts("1:02:03", 86_400 + 2 * 3600 + 180),
                lasts("0:00:30", 1800),
                ended("0:24:00"),
                ended("1:2:3"),
                ended("01:30"),
                ended("0:00:00"),
                ended("99999:00:00"),
                ended("999999:00:00"),
                ended("3600"),
                ended("-1h"),
            ],
        ),
        (Form::MaxAge, vec![ended("60")]),
    ] {
        for (text, expected) in cases {
            let life = form.text(&text).and_then(|said| said.believed(at, LONGEST_TOKEN_LIFE));
            assert_eq!(life, expected.map(Duration::from_secs), "{} {text}", form.word());
        }
    }
    assert_eq!(Form::Date.number(1e9), None, "the unit of a number is never guessed");
    let login = Said::Lasts(94_608_001.0).believed(at, LONGEST_LOGIN);
    assert_eq!(login, Some(Duration::from_secs(94_608_001)), "a login may be longer");
}

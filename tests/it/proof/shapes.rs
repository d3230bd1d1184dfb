//! Where other providers put what: the profiles that bad answers are read by.

use evergrant::testing::provider::{AnswerShape, profile};

/// A built-in profile's shape, or one made for a provider that answers in its own way.
pub(crate) fn shape(name: &str) -> AnswerShape {
    let built_in = |name| profile::load(name).unwrap().answer;
    let generic = built_in("generic");
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    match name {
        "autodesk" | "generic" => built_in(name),
        "github" => AnswerShape { refused: texts(&["bad_refresh_token"]), ..generic },
        "slack" => AnswerShape {
            refused: texts(&["invalid_refresh_token"]),
            throttled: texts(&["ratelimited"]),
            ..generic
        },
        "hubspot" => AnswerShape {
            error_code: texts(&["/error", "/status"]),
            refused: texts(&["BAD_REFRESH_TOKEN"]),
            ..generic
        },
        "sentry" => AnswerShape {
            access_token: "/token".parse().unwrap(),
            refresh_token: "/refreshToken".parse().unwrap(),
            expires_in: "/expiresIn".parse().unwrap(),
            ..generic
        },
        "tiktok" => AnswerShape {
            access_token: "/data/access_token".parse().unwrap(),
            refresh_token: "/data/refresh_token".parse().unwrap(),
            expires_in: "/data/expires_in".parse().unwrap(),
            refresh_token_expires_in: "/data/refresh_expires_in".parse().unwrap(),
            error_code: texts(&["/data/error_code", "/message"]),
            refused: texts(&["10010"]),
            ..generic
        },
        other => panic!("no shape `{other}`"),
    }
}

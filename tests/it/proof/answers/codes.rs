//! Codes: as RFC 6749 §5.2 spells them, in Autodesk's envelopes, and where other providers put them.

use super::{DEAD, PAIR, check, check_table, now, raw, reading};
use evergrant::testing::grant::answer::read_answer;
use evergrant::testing::provider::profile;

/// As §5.2 spells them, and what only looks like one.
#[test]
fn every_code_of_rfc_6749_has_one_class() {
    check_table(&[
        ("generic", 400, DEAD, "refused", "invalid_grant"),
        ("generic", 401, DEAD, "refused", "invalid_grant"),
        ("generic", 403, DEAD, "refused", "invalid_grant"),
        ("generic", 200, DEAD, "refused", "invalid_grant"),
        ("generic", 400, r#"{"error":"INVALID_GRANT"}"#, "unlisted", "INVALID_GRANT"),
        ("generic", 400, r#"{"error":" invalid_grant"}"#, "unlisted", "unlisted_code"),
        ("generic", 400, r#"{"error":{"code":"invalid_grant"}}"#, "unlisted", "invalid_grant"),
        ("generic", 400, r#"[{"error":"invalid_grant"}]"#, "ambiguous", "http_400"),
        ("generic", 400, r#""invalid_grant""#, "ambiguous", "http_400"),
        ("generic", 400, r#"{"error":"invalid_grant"}<!-- proxy -->"#, "ambiguous", "invalid_grant"),
        (
            "generic",
            400,
            "{\"error\":\"invalid_grant\"}\n{\"error\":\"invalid_grant\"}",
            "ambiguous",
            "invalid_grant",
        ),
        ("generic", 400, r#"{"error":"invalid_grant"#, "ambiguous", "http_400"),
        (
            "generic",
            400,
            r#"{"error":"temporarily_unavailable","error":"invalid_grant"}"#,
            "refused",
            "invalid_grant",
        ),
        ("generic", 400, r#"{"error_description":"invalid_grant"}"#, "unlisted", "http_400"),
        ("generic", 400, "error=invalid_grant", "ambiguous", "http_400"),
        ("generic", 400, "", "ambiguous", "http_400"),
        ("generic", 422, DEAD, "refused", "invalid_grant"),
        ("generic", 500, DEAD, "ambiguous", "invalid_grant"),
        ("generic", 503, DEAD, "transient", "invalid_grant"),
        ("generic", 302, DEAD, "client_rejected", "invalid_grant"),
        ("generic", 429, DEAD, "throttled", "http_429"),
        ("generic", 400, r#"{"error":"invalid_client"}"#, "client_rejected", "invalid_client"),
        ("generic", 401, r#"{"error":"invalid_client"}"#, "client_rejected", "invalid_client"),
        (
            "generic",
            400,
            r#"{"error":"unsupported_grant_type"}"#,
            "client_rejected",
            "unsupported_grant_type",
        ),
        ("generic", 400, r#"{"error":"slow_down"}"#, "throttled", "slow_down"),
        ("generic", 400, r#"{"error":"temporarily_unavailable"}"#, "transient", "temporarily_unavailable"),
        ("generic", 400, r#"{"error":"AADSTS700082"}"#, "unlisted", "AADSTS700082"),
        ("generic", 400, r#"{"error":"Zm9vYmFyMTIzNDU2Nzg5MA"}"#, "unlisted", "unlisted_code"),
        ("generic", 400, r#"{"error":"\u001b[31mred"}"#, "unlisted", "unlisted_code"),
    ]);
}

/// `OpenID` Connect Core 1.0 §3.1.2.6; and Entra's profile lists them otherwise.
#[test]
fn a_person_must_come_is_a_refusal_at_every_provider() {
    for code in ["login_required", "interaction_required", "consent_required", "account_selection_required"] {
        let body = format!(r#"{{"error":"{code}"}}"#);
        for status in [400, 401, 403, 200] {
            for profile in ["generic", "autodesk", "hubspot", "tiktok"] {
                let places = if profile == "tiktok" { r#""message""# } else { r#""error""# };
                let read = reading(&raw(status, body.replace(r#""error""#, places)), profile);
                assert_eq!((read.class.word(), &*read.code), ("refused", code), "{profile} {status}");
            }
        }
        let of_a_server_in_trouble = reading(&raw(500, body.clone()), "generic");
        assert_eq!(of_a_server_in_trouble.class.word(), "ambiguous", "{code}");
    }
    let entra = profile::load("entra").unwrap();
    let entra = read_answer(&raw(400, r#"{"error":"interaction_required"}"#), &entra, now());
    assert_eq!(entra.class.word(), "suspected", "what the profile says counts");
}

/// The code is shown, so that a person can list it. Only at a place that the profile names it means something.
#[test]
fn a_code_within_an_object_is_shown_and_means_nothing() {
    let table = [
        (
            "generic",
            401,
            r#"{"error":{"message":"Your session","code":"token_gone"}}"#,
            "client_rejected",
            "token_gone",
        ),
        ("generic", 401, r#"{"error":{"code":"invalid_grant"}}"#, "client_rejected", "invalid_grant"),
        ("generic", 400, r#"{"errors":[{"code":"token_gone","detail":"a text"}]}"#, "unlisted", "token_gone"),
        ("generic", 400, r#"{"errors":[{"errorType":"x"}]}"#, "unlisted", "http_400"),
        ("generic", 400, r#"{"errors":["token_gone"]}"#, "unlisted", "http_400"),
        ("generic", 400, r#"{"errors":[]}"#, "unlisted", "http_400"),
        ("generic", 400, r#"{"error":{"type":"gone","message":"x"}}"#, "unlisted", "gone"),
        // A free text, and what may be a token, are shown nowhere; nor what stands deeper.
        ("generic", 400, r#"{"error":{"code":"the token of Ann is gone"}}"#, "unlisted", "http_400"),
        ("generic", 400, r#"{"error":{"code":"Zm9vYmFyMTIzNDU2Nzg5MA"}}"#, "unlisted", "http_400"),
        ("generic", 400, r#"{"error":{"code":"a text","type":"gone"}}"#, "unlisted", "gone"),
        ("generic", 400, r#"{"error":{"code":{"code":"gone"}}}"#, "unlisted", "http_400"),
        ("generic", 400, r#"{"error":{"code":400}}"#, "unlisted", "http_400"),
    ];
    let rows = table.map(|(profile, status, body, class, code)| {
        (body.to_owned(), reading(&raw(status, body), profile), class, code)
    });
    check(rows, 12);
}

#[test]
fn every_code_of_a_provider_with_a_way_of_its_own_has_one_class() {
    check_table(&[
        // Autodesk's three envelopes.
        (
            "autodesk",
            400,
            r#"{"developerMessage":"The refresh token is invalid","errorCode":"AUTH-004"}"#,
            "unlisted",
            "AUTH-004",
        ),
        (
            "autodesk",
            401,
            r#"{"developerMessage":"x","userMessage":"","errorCode":"AUTH-003","more info":"u"}"#,
            "client_rejected",
            "AUTH-003",
        ),
        (
            "autodesk",
            400,
            r#"{"developerMessage":"x","errorCode":"AUTH-001","moreInfo":"u"}"#,
            "client_rejected",
            "AUTH-001",
        ),
        ("autodesk", 429, r#"{"developerMessage":"Quota limit exceeded."}"#, "throttled", "http_429"),
        ("autodesk", 403, r#"{"developerMessage":"no"}"#, "client_rejected", "http_403"),
        (
            "autodesk",
            400,
            r#"{"error":"invalid_grant","error_description":"x","errorCode":"AUTH-001"}"#,
            "refused",
            "invalid_grant",
        ),
        ("autodesk", 400, r#"{"error":"","errorCode":"AUTH-001"}"#, "client_rejected", "AUTH-001"),
        ("autodesk", 400, r#"{"error":null,"errorCode":"AUTH-001"}"#, "client_rejected", "AUTH-001"),
        // Others.
        (
            "github",
            200,
            r#"{"error":"bad_refresh_token","error_description":"x"}"#,
            "refused",
            "bad_refresh_token",
        ),
        ("generic", 200, r#"{"error":"bad_refresh_token"}"#, "suspected", "bad_refresh_token"),
        ("slack", 200, r#"{"ok":false,"error":"invalid_refresh_token"}"#, "refused", "invalid_refresh_token"),
        ("slack", 200, r#"{"ok":false,"error":"ratelimited"}"#, "throttled", "ratelimited"),
        ("slack", 200, r#"{"ok":false}"#, "ambiguous", "no_tokens"),
        ("hubspot", 400, r#"{"status":"BAD_REFRESH_TOKEN","message":"x"}"#, "refused", "BAD_REFRESH_TOKEN"),
        ("generic", 400, r#"{"status":"BAD_REFRESH_TOKEN"}"#, "unlisted", "http_400"),
        ("sentry", 201, r#"{"token":"a","refreshToken":"r","expiresIn":3600}"#, "granted", "granted"),
        ("generic", 201, r#"{"token":"a","refreshToken":"r"}"#, "unreadable", "no_tokens"),
        (
            "tiktok",
            200,
            r#"{"data":{"access_token":"a","refresh_token":"r","error_code":0},"message":"success"}"#,
            "granted",
            "granted",
        ),
        (
            "tiktok",
            200,
            r#"{"data":{"error_code":10010,"description":"x"},"message":"error"}"#,
            "refused",
            "10010",
        ),
        ("tiktok", 200, r#"{"data":{"error_code":10011},"message":"error"}"#, "unlisted", "error"),
        ("tiktok", 200, r#"{"data":{"error_code":0},"data2":1}"#, "ambiguous", "no_tokens"),
        ("tiktok", 200, PAIR, "unreadable", "no_tokens"),
    ]);
}

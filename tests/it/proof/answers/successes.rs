//! Successes with something wrong in them.

use super::check_table;

#[test]
fn every_success_has_one_class() {
    check_table(&[
        // Successes with something wrong in them.
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r","error":"invalid_grant"}"#,
            "granted",
            "granted",
        ),
        ("slack", 200, r#"{"ok":false,"access_token":"a","refresh_token":"r"}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":7,"refresh_token":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":["a"],"refresh_token":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":["r"]}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":{"value":"r"}}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":7}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":""}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":null}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":"","refresh_token":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":null,"refresh_token":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"error":"odd","refresh_token":"r"}"#, "unreadable", "no_tokens"),
        // Nothing that could be a token: asked again as after a lost answer. What could be one is kept, and isn't.
        ("generic", 200, r#"{"status":"maintenance"}"#, "ambiguous", "no_tokens"),
        ("generic", 200, r#"{"message":"We are back at nine o'clock.","ok":1}"#, "ambiguous", "no_tokens"),
        ("generic", 200, r#"{"access_token":null}"#, "ambiguous", "no_tokens"),
        ("generic", 200, r#"{"token":"a"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"AccessToken":""}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"data":["kf93Hd02-kd_Qm71"]}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"data":"Bearer kf93Hd02-kd_Qm71"}"#, "unreadable", "no_tokens"),
        (
            "generic",
            200,
            r#"{"body":"{\"access_token\": \"a\", \"refresh_token\": \"r\"}"}"#,
            "unreadable",
            "no_tokens",
        ),
        ("generic", 200, r#""{\"access_token\": \"a\"}""#, "unreadable", "no_tokens"),
        // A refresh token that isn't where the profile says: to keep the old one would be to lose the new one.
        ("generic", 200, r#"{"access_token":"a","refreshToken":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","data":{"refresh_token":"r"}}"#, "unreadable", "no_tokens"),
        (
            "generic",
            200,
            r#"{"access_token":"a","tokens":[{"REFRESH-TOKEN":"r"}]}"#,
            "unreadable",
            "no_tokens",
        ),
        ("generic", 200, r#"{"access_token":"a","data":{"refresh_token":null}}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":"a","refresh_token_expires_in":5}"#, "granted", "granted"),
        // Members that aren't what they should be, beside a good pair.
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r","expires_in":"soon"}"#,
            "granted",
            "granted",
        ),
        ("generic", 200, r#"{"access_token":"a","refresh_token":"r","expires_in":-1}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":"r","expires_in":{}}"#, "granted", "granted"),
        (
            "generic",
            200,
            r#"{"access_token":"old","access_token":"a","refresh_token":"r"}"#,
            "granted",
            "granted",
        ),
        // A pair in what isn't quite JSON: the provider's own success, so it is kept and never asked for again.
        ("generic", 200, "\u{feff}{\"access_token\":\"a\",\"refresh_token\":\"r\"}", "granted", "granted"),
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r"}<!-- served by edge-7 -->"#,
            "granted",
            "granted",
        ),
        (
            "generic",
            200,
            "{\"access_token\":\"a\",\"refresh_token\":\"r\"}\n{\"status\":\"ok\"}",
            "granted",
            "granted",
        ),
        ("generic", 200, "access_token=a&refresh_token=r&expires_in=5", "unreadable", "not_json"),
        ("generic", 200, r#")]}',{"access_token":"a","refresh_token":"r"}"#, "unreadable", "not_json"),
        ("generic", 200, r"{'access_token':'a','refresh_token':'r'}", "unreadable", "not_json"),
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r","expires_in":1e999}"#,
            "unreadable",
            "not_json",
        ),
        ("generic", 200, r#"{"access_token":"a","refresh_token":"\ud800"}"#, "unreadable", "not_json"),
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r","expires_in":NaN}"#,
            "unreadable",
            "not_json",
        ),
        // Cut where nobody noticed: the body ends, and its end is missing.
        ("generic", 200, "{", "ambiguous", "cut_body"),
        ("generic", 200, r#"{"access_token"#, "ambiguous", "cut_body"),
        ("generic", 200, r#"{"access_token":"a"#, "ambiguous", "cut_body"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":"r-"#, "ambiguous", "cut_body"),
    ]);
}

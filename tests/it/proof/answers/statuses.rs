//! Pages of whoever stands in between, and statuses by themselves.

use super::{DEAD, PORTAL, WAF, check_table, raw, reading};
use evergrant::testing::grant::RawAnswer;

#[test]
fn every_page_and_every_status_has_one_class() {
    check_table(&[
        // Pages of whoever stands in between.
        ("generic", 200, PORTAL, "ambiguous", "html"),
        ("generic", 302, PORTAL, "client_rejected", "http_302"),
        ("generic", 307, "", "client_rejected", "http_307"),
        ("generic", 403, WAF, "client_rejected", "http_403"),
        ("generic", 406, WAF, "unlisted", "http_406"),
        ("generic", 407, WAF, "client_rejected", "http_407"),
        ("generic", 503, WAF, "ambiguous", "http_503"),
        ("generic", 511, PORTAL, "ambiguous", "http_511"),
        ("generic", 200, "\n\t <html>", "ambiguous", "html"),
        ("generic", 200, "OK", "ambiguous", "no_object"),
        ("generic", 200, "", "ambiguous", "empty_body"),
        ("generic", 200, " \r\n", "ambiguous", "empty_body"),
        ("generic", 204, "", "ambiguous", "empty_body"),
        ("generic", 200, "null", "ambiguous", "no_object"),
        ("generic", 200, "[]", "ambiguous", "no_object"),
        ("generic", 200, "{}", "ambiguous", "no_tokens"),
        // Statuses by themselves.
        ("generic", 100, "", "ambiguous", "http_100"),
        ("generic", 304, "", "client_rejected", "http_304"),
        ("generic", 402, "", "unlisted", "http_402"),
        ("generic", 404, "", "client_rejected", "http_404"),
        ("generic", 405, "", "client_rejected", "http_405"),
        ("generic", 408, "", "ambiguous", "http_408"),
        ("generic", 409, "", "ambiguous", "http_409"),
        ("generic", 413, "", "unlisted", "http_413"),
        ("generic", 414, "", "unlisted", "http_414"),
        ("generic", 415, "", "client_rejected", "http_415"),
        ("generic", 418, "", "unlisted", "http_418"),
        ("generic", 421, "", "ambiguous", "http_421"),
        ("generic", 425, "", "ambiguous", "http_425"),
        ("generic", 431, "", "unlisted", "http_431"),
        ("generic", 451, "", "unlisted", "http_451"),
        ("generic", 500, "", "ambiguous", "http_500"),
        ("generic", 501, "", "ambiguous", "http_501"),
        ("generic", 502, WAF, "ambiguous", "http_502"),
        ("generic", 503, "", "ambiguous", "http_503"),
        // In the provider's own JSON, and in a gateway's.
        ("generic", 503, r#"{"error":"temporarily_unavailable"}"#, "transient", "temporarily_unavailable"),
        ("generic", 503, r#"{"message":"Service Unavailable"}"#, "ambiguous", "http_503"),
        ("generic", 408, r#"{"message":"slow"}"#, "transient", "http_408"),
        ("generic", 409, r#"{"message":"busy"}"#, "unlisted", "http_409"),
        ("generic", 422, WAF, "ambiguous", "http_422"),
        ("generic", 422, "{}", "unlisted", "http_422"),
        ("generic", 504, "", "ambiguous", "http_504"),
        ("generic", 520, "", "ambiguous", "http_520"),
        ("generic", 522, "", "ambiguous", "http_522"),
        ("generic", 524, "", "ambiguous", "http_524"),
        ("generic", 525, "", "ambiguous", "http_525"),
        ("generic", 599, "", "ambiguous", "http_599"),
        ("generic", 999, "", "ambiguous", "http_999"),
    ]);
}

/// Where no user is granted, such an answer is the outage's; what a server itself has thought of for one request isn't.
#[test]
fn a_gateway_speaks_for_an_outage_and_a_server_for_itself() {
    let busy = r#"{"error":"temporarily_unavailable"}"#;
    for (status, body, may_be_outage) in [
        (502, WAF, true),
        (503, "", true),
        (504, "", true),
        (502, busy, true),
        (503, busy, false),
        (400, WAF, true),
        (422, "", true),
        (400, DEAD, false),
        (403, WAF, false),
        (408, "", false),
        (421, "", false),
        (425, "", false),
        (500, "", false),
        (501, "", false),
        (520, "", false),
        (200, "", false),
        (200, PORTAL, false),
    ] {
        assert_eq!(reading(&raw(status, body), "generic").may_be_outage, may_be_outage, "{status} {body}");
    }
}

/// A refusal after anything else may be the end of a token that the provider has rotated.
#[test]
fn only_the_providers_own_json_settles_what_became_of_a_request() {
    let message = r#"{"message":"Service Unavailable"}"#;
    let busy = r#"{"error":"temporarily_unavailable"}"#;
    for (status, body, settles) in [
        (429, r#"{"developerMessage":"Quota limit exceeded."}"#, true),
        (429, "{}", true),
        (429, WAF, false),
        (429, "", false),
        (400, DEAD, true),
        (400, r#"{"error":"odd"}"#, true),
        (400, r#"{"error":"odd"}<!-- served by edge-7 -->"#, false),
        (400, r#"["odd"]"#, false),
        (400, "\"odd\"", false),
        (400, r#"{"error":"od"#, false),
        (401, r#"{"error":"invalid_client"}"#, true),
        (401, "", false),
        (403, WAF, false),
        (404, PORTAL, false),
        (408, "", false),
        (421, "", false),
        (425, message, true),
        (422, WAF, false),
        (302, PORTAL, false),
        (503, WAF, false),
        (503, "upstream connect error or disconnect/reset before headers", false),
        // A gateway's JSON; and the provider's.
        (503, message, false),
        (503, busy, true),
        (200, r#"{"error":"odd"}"#, true),
    ] {
        assert_eq!(reading(&raw(status, body), "generic").settles, settles, "{status} {body}");
        let cut = RawAnswer { complete: false, ..raw(status, body) };
        assert!(!reading(&cut, "generic").settles, "{status} {body}, cut");
    }
}

//! Pages of whoever stands in between, and statuses by themselves.

use super::{PORTAL, WAF, check_table};

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
        ("generic", 503, WAF, "transient", "http_503"),
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
        ("generic", 408, "", "transient", "http_408"),
        ("generic", 409, "", "unlisted", "http_409"),
        ("generic", 413, "", "unlisted", "http_413"),
        ("generic", 414, "", "unlisted", "http_414"),
        ("generic", 415, "", "client_rejected", "http_415"),
        ("generic", 418, "", "unlisted", "http_418"),
        ("generic", 421, "", "transient", "http_421"),
        ("generic", 425, "", "transient", "http_425"),
        ("generic", 431, "", "unlisted", "http_431"),
        ("generic", 451, "", "unlisted", "http_451"),
        ("generic", 500, "", "ambiguous", "http_500"),
        ("generic", 501, "", "ambiguous", "http_501"),
        ("generic", 502, WAF, "ambiguous", "http_502"),
        ("generic", 503, "", "transient", "http_503"),
        ("generic", 504, "", "ambiguous", "http_504"),
        ("generic", 520, "", "ambiguous", "http_520"),
        ("generic", 522, "", "ambiguous", "http_522"),
        ("generic", 524, "", "ambiguous", "http_524"),
        ("generic", 525, "", "ambiguous", "http_525"),
        ("generic", 599, "", "ambiguous", "http_599"),
        ("generic", 999, "", "ambiguous", "http_999"),
    ]);
}

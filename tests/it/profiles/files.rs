//! Profile files of one's own: each kind of place, encoding and client authentication is in one of them.

use evergrant::testing::provider::{Profile, profile};

/// Name and text of each.
const FILES: [(&str, &str); 8] = [
    (
        "eight-lines",
        r#"
        token_url = "https://api.example.com/auth/refresh"
        client_auth = "no_client"
        request = { encoding = "json", grant_type = "none", refresh_token = "body:refreshToken" }
        access_token_lifetime = "1h"
        [answer]
        access_token = "/accessToken"
        refresh_token = "/refreshToken"
        rules = [{ status = 401, where = { "/message" = "Refresh token expired" }, means = "refused" }]
        [[example]]
        name = "expired"
        status = 401
        body = '{"message":"Refresh token expired"}'
        means = "refused"
        "#,
    ),
    (
        "cookies-only",
        r#"
        token_url = "https://api.example.com/users/session"
        client_auth = "no_client"
        rotation = "grace"
        grace = "30min"
        request = { method = "PUT", encoding = "none", grant_type = "none", refresh_token = "cookie:rt", access_token = "header:x-old-access" }
        [answer]
        access_token = "cookie:at"
        refresh_token = "cookie:rt"
        expires_in = "cookie:at as max_age"
        [[example]]
        name = "success"
        status = 204
        headers = { "Set-Cookie" = ["at=a; Path=/; Max-Age=600", "rt=r; Path=/; HttpOnly"] }
        means = "granted"
        [[example]]
        name = "dead"
        status = 401
        body = '{"error":"invalid_grant"}'
        means = "refused"
        "#,
    ),
    (
        "get-query",
        r#"
        token_url = "https://api.example.com/token?version=2"
        client_auth = "body"
        client_id_name = "app"
        client_secret_name = "key"
        url_holds_secrets = true
        request = { method = "GET", encoding = "query", refresh_token = "query:code" }
        [answer]
        format = "form"
        [[example]]
        name = "success"
        status = 200
        headers = { "Content-Type" = "application/x-www-form-urlencoded" }
        body = "access_token=a&expires_in=3600&refresh_token=r&token_type=bearer"
        means = "granted"
        [[example]]
        name = "dead"
        status = 400
        headers = { "Content-Type" = "application/x-www-form-urlencoded" }
        body = "error=invalid_grant"
        means = "refused"
        "#,
    ),
    (
        "nested-json",
        r#"
        token_url = "https://{region}.api.example.com/v1/{tenant}/token"
        client_auth = "basic"
        rotation = "none"
        scope = "read write"
        extra_parameters = { device = "{device} {uuid}", version = 2, offline = true }
        variables = { region = { one_of = ["eu", "us"] }, tenant = "segment", device = "text", key = "secret" }
        [request]
        encoding = "json"
        refresh_token = "body:/auth/refresh~1token"
        headers = { X-Api-Key = "{key}", X-Trace = "{uuid}" }
        [answer]
        access_token = "/data/access"
        refresh_token = []
        "#,
    ),
    (
        "secret-as-user",
        r#"
        token_url = "https://api.example.com/token"
        client_auth = "secret_as_user"
        request = { refresh_token = "header:x-refresh-token" }
        [answer]
        access_token = "header:x-access-token"
        refresh_token = ["/none", "header:x-refresh-token"]
        [[example]]
        name = "success"
        status = 200
        headers = { "X-Access-Token" = "a", "X-Refresh-Token" = "r" }
        body = "{}"
        means = "granted"
        "#,
    ),
    (
        "public-client",
        r#"
        token_url = "https://{host}/token"
        client_auth = "none"
        variables = { host = { hosts = ["example.com"] } }
        "#,
    ),
    (
        "over-another",
        r#"
        extends = "cookie-session"
        request = { refresh_token = "cookie:refreshToken" }
        [[example]]
        name = "dead"
        status = 401
        body = '{"message":"jwt expired"}'
        means = "refused"
        "#,
    ),
    (
        "limits-with-200",
        r#"
        token_url = "https://api.example.com/token"
        client_auth = "basic_raw"
        [answer]
        rules = [{ status = 200, where = { "/error" = "too many" }, means = "throttled", code = "slow", wait = "1h", pause = "token" }]
        [[example]]
        name = "too many"
        status = 200
        body = '{"error":"too many"}'
        means = "throttled"
        "#,
    ),
];

/// Each of them, read.
pub(super) fn all() -> Vec<(String, Profile)> {
    let folder = tempfile::tempdir().unwrap();
    let read = |(name, text): (&str, &str)| {
        let file = folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        let profile =
            profile::load(file.to_str().unwrap()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        (name.to_owned(), profile)
    };
    FILES.into_iter().map(read).collect()
}

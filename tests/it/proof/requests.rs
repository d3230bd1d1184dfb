//! What goes over the wire, byte for byte: each way to authenticate, as recorded from the code that sent it first.

use evergrant::testing::clock::Clock;
use evergrant::testing::grant::http::TokenEndpoint;
use evergrant::testing::grant::{self, Sent, Wire as _};
use evergrant::testing::provider::{ClientAuth, ClientSecret, Profile, Provider, conflict, profile};
use evergrant::testing::token::RefreshToken;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Characters that a form, a header and a URL each write in their own way.
const SECRET: &str = "s e&c+ret%:=/é\u{1f511}~*-._'\"";
/// One that can stand in a header field, too.
const PLAIN_TOKEN: &str = "rt1&2=3+4/5%6~*-._!";
const TOKEN: &str = "rt 1&2=3+4/5%6é~*-._!";

/// A request as the provider gets it; the port in it is another one each time.
async fn recorded(client_auth: ClientAuth, secret: Option<&str>, is_plain: bool) -> String {
    let mut profile = profile::load("generic").unwrap();
    profile.client_auth = client_auth;
    if !is_plain {
        profile.scope = Some("data:read data:write".into());
        let extra = [("audience", "https://api.example.com/?a=b&c"), ("a b", "é")];
        profile.extra_parameters = extra.map(|(name, value)| (name.into(), value.into())).into();
    }
    let path = if is_plain { "token" } else { "oauth/v2/tok%20en?tenant=a%26b" };
    let client_id = if is_plain { "client" } else { "id:1 é" };
    sent(profile, path, client_id, secret, if is_plain { "rt" } else { TOKEN }).await
}

/// The request of a profile that says more than `generic`.
async fn recorded_with(more: &str) -> String {
    let mut table = profile::table("generic").unwrap();
    table.extend(more.parse::<toml::Table>().unwrap());
    let profile: Profile = table.try_into().unwrap();
    assert_eq!(conflict::conflict(&profile), None, "{more}");
    let secret = profile.client_auth.takes_secret().then_some(SECRET);
    sent(profile, "token", "id:1", secret, PLAIN_TOKEN).await
}

async fn sent(profile: Profile, path: &str, client_id: &str, secret: Option<&str>, token: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let provider = Provider {
        name: "p".into(),
        profile_name: "generic".into(),
        profile,
        token_url: format!("http://{address}/{path}").parse().unwrap(),
        values: evergrant::testing::provider::Values::default(),
        client_id: client_id.into(),
        client_secret: secret.map(|secret| ClientSecret::new(secret.into())),
    };
    let endpoint = TokenEndpoint::new(&provider, Clock::system()).unwrap();
    let request = grant::request(&provider, &RefreshToken::new(token.into())).unwrap();
    let (sent, bytes) = tokio::join!(endpoint.post(&request), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let bytes = whole_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        bytes
    });
    assert!(matches!(sent, Sent::Answered(_)), "{sent:?}");
    let text = String::from_utf8(bytes).unwrap();
    let version = concat!("evergrant/", env!("CARGO_PKG_VERSION"));
    text.replace(&format!("host: {address}\r\n"), "host: HOST\r\n").replace(version, "evergrant/VERSION")
}

/// The head, and as many bytes of a body as it says.
async fn whole_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the line ends too early");
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if bytes.len() == end + 4 + length.parse::<usize>().unwrap() {
            return bytes;
        }
    }
}

/// What is the same in every request, round what isn't.
fn expected(target: &str, authorization: &str, length: usize, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\naccept: application/json\r\naccept-encoding: identity\r\n\
         content-type: application/x-www-form-urlencoded\r\n{authorization}user-agent: evergrant/VERSION\r\n\
         host: HOST\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

const PLAIN: &str = "grant_type=refresh_token&refresh_token=rt";
const ODD: &str = "grant_type=refresh_token&refresh_token=rt+1%262%3D3%2B4%2F5%256%C3%A9%7E*-._%21\
    &scope=data%3Aread+data%3Awrite&a+b=%C3%A9&audience=https%3A%2F%2Fapi.example.com%2F%3Fa%3Db%26c";

#[tokio::test]
async fn each_way_to_authenticate_sends_the_recorded_bytes() {
    use ClientAuth::{Basic, Body, None as Public};
    let basic = |value| format!("authorization: Basic {value}\r\n");
    let odd_basic = "aWQlM0ExJTIwJUMzJUE5OnMlMjBlJTI2YyUyQnJldCUyNSUzQSUzRCUyRiVDMyVBOSVGMCU5RiU5NCU5MSU3RSotLl8lMjclMjI=";
    let odd_body = "&client_id=id%3A1+%C3%A9\
        &client_secret=s+e%26c%2Bret%25%3A%3D%2F%C3%A9%F0%9F%94%91%7E*-._%27%22";
    for (auth, secret, authorization, length, credentials) in [
        (Basic, Some("secret"), basic("Y2xpZW50OnNlY3JldA=="), 41, ""),
        (Basic, None, basic("Y2xpZW50Og=="), 41, ""),
        (Body, Some("secret"), String::new(), 79, "&client_id=client&client_secret=secret"),
        (Public, None, String::new(), 199, "&client_id=id%3A1+%C3%A9"),
        (Basic, Some(SECRET), basic(odd_basic), 175, ""),
        (Body, Some(SECRET), String::new(), 270, odd_body),
    ] {
        let is_plain = auth != Public && secret != Some(SECRET);
        let (target, body) =
            if is_plain { ("/token", PLAIN) } else { ("/oauth/v2/tok%20en?tenant=a%26b", ODD) };
        let expected = expected(target, &authorization, length, &format!("{body}{credentials}"));
        assert_eq!(recorded(auth, secret, is_plain).await, expected, "{auth:?}");
    }
}

/// Expected by hand, from the texts of RFC 6749, RFC 6750, RFC 7617 and RFC 8259, and RFC 6265.
#[tokio::test]
async fn each_place_and_encoding_sends_what_it_says() {
    let no_client = "client_auth = \"no_client\"\n";
    // base64 of `id:1:s e&c+ret%:=/é🔑~*-._'"` and of the secret with a `:` behind it.
    let raw = "aWQ6MTpzIGUmYytyZXQlOj0vw6nwn5SRfiotLl8nIg==";
    let as_user = "cyBlJmMrcmV0JTo9L8Op8J+UkX4qLS5fJyI6";
    let cookie = "rt1&2=3+4/5%256~*-._!";
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let json = "content-type: application/json\r\n";
    let token = PLAIN_TOKEN;
    for (more, line, fields, body) in [
        (
            "client_auth = \"basic_raw\"".to_owned(),
            "POST /token",
            format!("{form}authorization: Basic {raw}\r\n"),
            "grant_type=refresh_token&refresh_token=rt1%262%3D3%2B4%2F5%256%7E*-._%21".to_owned(),
        ),
        (
            "client_auth = \"secret_as_user\"\nrequest = { method = \"PUT\", grant_type = \"none\" }".to_owned(),
            "PUT /token",
            format!("{form}authorization: Basic {as_user}\r\n"),
            "refresh_token=rt1%262%3D3%2B4%2F5%256%7E*-._%21".to_owned(),
        ),
        (
            "client_auth = \"none\"\nclient_id_name = \"client_key\"\nrequest = { grant_type = \"none\", refresh_token = \"body:rt\" }"
                .to_owned(),
            "POST /token",
            form.to_owned(),
            "rt=rt1%262%3D3%2B4%2F5%256%7E*-._%21&client_key=id%3A1".to_owned(),
        ),
        (
            format!("{no_client}request = {{ encoding = \"json\", grant_type = \"none\", refresh_token = \"body:refreshToken\" }}"),
            "POST /token",
            json.to_owned(),
            format!("{{\"refreshToken\":\"{token}\"}}"),
        ),
        (
            "client_auth = \"body\"\nextra_parameters = { a = \"\\\"\\u0001\" }\n\
             request = { encoding = \"json\", refresh_token = \"body:/data/tokens/refresh\" }"
                .to_owned(),
            "POST /token",
            json.to_owned(),
            format!(
                "{{\"grant_type\":\"refresh_token\",\"data\":{{\"tokens\":{{\"refresh\":\"{token}\"}}}},\
                 \"a\":\"\\\"\\u0001\",\"client_id\":\"id:1\",\"client_secret\":\"s e&c+ret%:=/é🔑~*-._'\\\"\"}}"
            ),
        ),
        (
            format!("{no_client}request = {{ encoding = \"none\", refresh_token = \"bearer\" }}"),
            "POST /token",
            format!("authorization: Bearer {token}\r\n"),
            String::new(),
        ),
        (
            format!("{no_client}request = {{ encoding = \"json\", grant_type = \"none\", refresh_token = \"cookie:refreshToken\" }}"),
            "POST /token",
            format!("{json}cookie: refreshToken={cookie}\r\n"),
            "{}".to_owned(),
        ),
        (
            format!(
                "{no_client}request = {{ encoding = \"none\", refresh_token = \"header:X-Refresh\", headers = {{ X-Api = \"2 b\" }} }}"
            ),
            "POST /token",
            format!("x-refresh: {token}\r\nx-api: 2 b\r\n"),
            String::new(),
        ),
        (
            "client_auth = \"body\"\nurl_holds_secrets = true\nrequest = { method = \"GET\", encoding = \"query\" }".to_owned(),
            "GET /token?grant_type=refresh_token&refresh_token=rt1%262%3D3%2B4%2F5%256%7E*-._%21&client_id=id%3A1\
             &client_secret=s+e%26c%2Bret%25%3A%3D%2F%C3%A9%F0%9F%94%91%7E*-._%27%22",
            String::new(),
            String::new(),
        ),
        (
            format!("{no_client}url_holds_secrets = true\nrequest = {{ encoding = \"none\", refresh_token = \"query:t\" }}"),
            "POST /token?t=rt1%262%3D3%2B4%2F5%256%7E*-._%21",
            String::new(),
            String::new(),
        ),
    ] {
        let length = format!("content-length: {}\r\n", body.len());
        let (before, after) = match (line.starts_with("GET"), body.is_empty()) {
            (true, _) => ("", ""),
            (false, true) => (length.as_str(), ""),
            (false, false) => ("", length.as_str()),
        };
        let expected = format!(
            "{line} HTTP/1.1\r\naccept: application/json\r\naccept-encoding: identity\r\n{before}{fields}\
             user-agent: evergrant/VERSION\r\nhost: HOST\r\n{after}\r\n{body}"
        );
        assert_eq!(recorded_with(&more).await, expected, "{more}");
    }
}

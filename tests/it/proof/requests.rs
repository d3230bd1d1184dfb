//! What goes over the wire, byte for byte: each way to authenticate, as recorded from the code that sent it first.

use evergrant::clock::Clock;
use evergrant::grant::http::TokenEndpoint;
use evergrant::grant::{self, Sent, Wire as _};
use evergrant::provider::{ClientAuth, ClientSecret, Provider, profile};
use evergrant::token::RefreshToken;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Characters that a form, a header and a URL each write in their own way.
const SECRET: &str = "s e&c+ret%:=/é\u{1f511}~*-._'\"";
const TOKEN: &str = "rt 1&2=3+4/5%6é~*-._!";

/// A request as the provider gets it; the port in it is another one each time.
async fn recorded(client_auth: ClientAuth, secret: Option<&str>, is_plain: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut profile = profile::load("generic").unwrap();
    profile.client_auth = client_auth;
    if !is_plain {
        profile.scope = Some("data:read data:write".into());
        let extra = [("audience", "https://api.example.com/?a=b&c"), ("a b", "é")];
        profile.extra_parameters = extra.map(|(name, value)| (name.into(), value.into())).into();
    }
    let path = if is_plain { "token" } else { "oauth/v2/tok%20en?tenant=a%26b" };
    let provider = Provider {
        name: "p".into(),
        profile_name: "generic".into(),
        profile,
        token_url: format!("http://{address}/{path}").parse().unwrap(),
        client_id: if is_plain { "client".into() } else { "id:1 é".into() },
        client_secret: secret.map(|secret| ClientSecret::new(secret.into())),
    };
    let token = RefreshToken::new(if is_plain { "rt".into() } else { TOKEN.into() });
    let endpoint = TokenEndpoint::new(&provider, Clock::system()).unwrap();
    let request = grant::request(&provider, &token);
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
        let text = std::str::from_utf8(&bytes).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return bytes;
            }
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

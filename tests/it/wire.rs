//! The bytes of a request on the line, as they were recorded when the request was still put together by the HTTP library.

use evergrant::clock::Clock;
use evergrant::grant::http::Https;
use evergrant::grant::{Connect as _, Sent, request};
use evergrant::provider::{ClientAuth, ClientSecret, Provider, profile};
use evergrant::token::RefreshToken;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn provider(client_auth: ClientAuth, url: &str) -> Provider {
    let mut profile = profile::load("generic").unwrap();
    profile.client_auth = client_auth;
    profile.scope = Some("data:read offline".into());
    profile.extra_parameters = [("resource".to_owned(), "a&b=c".to_owned())].into();
    Provider {
        name: "p".into(),
        profile_name: "generic".into(),
        profile,
        token_url: url.parse().unwrap(),
        client_id: "id:1 é".into(),
        client_secret: (client_auth != ClientAuth::None).then(|| ClientSecret::new("s e&c+r%t/ü".into())),
    }
}

/// What reaches a server, up to the end of the body.
async fn recorded(client_auth: ClientAuth) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut line, _) = listener.accept().await.unwrap();
        let mut came = Vec::new();
        let whole = |came: &[u8]| {
            let text = String::from_utf8_lossy(came).into_owned();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head.lines().find_map(|field| field.strip_prefix("content-length: "))?;
            (body.len() >= length.parse().unwrap()).then_some(text.clone())
        };
        loop {
            if let Some(text) = whole(&came) {
                line.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                return text;
            }
            assert!(line.read_buf(&mut came).await.unwrap() > 0, "{}", String::from_utf8_lossy(&came));
        }
    });
    let provider = provider(client_auth, &format!("http://{address}/oauth/token?tenant=1"));
    let wire = Https.connect(&provider, &Clock::system()).unwrap();
    let sent = wire.post(&request(&provider, &RefreshToken::new("r+t/=".into()))).await;
    assert!(matches!(sent, Sent::Answered(answer) if answer.status == 503));
    server
        .await
        .unwrap()
        .replace(&address.to_string(), "ADDRESS")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[tokio::test]
async fn a_request_is_the_same_bytes_as_ever() {
    let grant =
        "grant_type=refresh_token&refresh_token=r%2Bt%2F%3D&scope=data%3Aread+offline&resource=a%26b%3Dc";
    let credentials = "&client_id=id%3A1+%C3%A9&client_secret=s+e%26c%2Br%25t%2F%C3%BC";
    for (client_auth, authorization, body) in [
        (
            ClientAuth::Basic,
            "authorization: Basic aWQlM0ExJTIwJUMzJUE5OnMlMjBlJTI2YyUyQnIlMjV0JTJGJUMzJUJD\r\n",
            grant.to_owned(),
        ),
        (ClientAuth::Body, "", format!("{grant}{credentials}")),
        (ClientAuth::None, "", format!("{grant}&client_id=id%3A1+%C3%A9")),
    ] {
        let expected = format!(
            "POST /oauth/token?tenant=1 HTTP/1.1\r\naccept: application/json\r\naccept-encoding: identity\r\n\
             content-type: application/x-www-form-urlencoded\r\n{authorization}user-agent: evergrant/VERSION\r\n\
             host: ADDRESS\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(recorded(client_auth).await, expected);
    }
}

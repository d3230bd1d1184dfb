//! One request goes out once, whatever the library would send again by itself; and which version of HTTP it goes by.

use super::*;
use crate::grant::request;
use crate::provider::{AskAgain, Profile, Rotation, profile};
use crate::token::RefreshToken;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// The frames of HTTP/2 (RFC 9113 §6) that are sent or read here.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// `REFUSED_STREAM` (RFC 9113 §7): nothing was processed, says the server.
const REFUSED_STREAM: u32 = 7;

const PREFACE_BYTES: usize = 24;

fn provider(address: SocketAddr, scheme: &str, profile: Profile) -> Provider {
    Provider {
        name: "p".into(),
        profile_name: "generic".to_owned(),
        token_url: format!("{scheme}://{address}/token").parse::<Url>().unwrap().into(),
        profile,
        client_id: "client".to_owned(),
        client_secret: None,
        values: crate::provider::Values::default(),
    }
}

fn strict() -> Profile {
    Profile { client_auth: crate::provider::ClientAuth::None, ..profile::load("generic").unwrap() }
}

fn grant(provider: &Provider) -> GrantRequest {
    request(provider, crate::grant::Login::from(&RefreshToken::new("t".into()))).unwrap()
}

/// Over HTTP/2 without TLS, which no product uses: the rest of the settings is the same.
fn over_http2(provider: &Provider) -> TokenEndpoint {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let peers = Arc::new(Peers::default());
    let client = settings(provider, &peers).http2_prior_knowledge().build().unwrap();
    TokenEndpoint::over(client, provider, Clock::system(), peers)
}

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
}

/// Answers each request over HTTP/2 with these frames, and tells of each.
async fn refuse(mut stream: TcpStream, kind: u8, arrived: mpsc::UnboundedSender<u32>) -> Option<()> {
    stream.read_exact(&mut [0; PREFACE_BYTES]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, &[])).await.ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] != HEADERS {
            continue;
        }
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let _ = arrived.send(number);
        let says = match kind {
            // The last stream that was processed is none, and nothing went wrong.
            GOAWAY => frame(GOAWAY, 0, &[0; 8]),
            _ => frame(RST_STREAM, number, &REFUSED_STREAM.to_be_bytes()),
        };
        stream.write_all(&says).await.ok()?;
    }
}

#[tokio::test]
async fn what_an_http2_server_refuses_is_not_sent_again_by_the_library() {
    for kind in [RST_STREAM, GOAWAY] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = provider(listener.local_addr().unwrap(), "http", strict());
        let (arrived, mut arrivals) = mpsc::unbounded_channel();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(refuse(stream, kind, arrived.clone()));
            }
        });
        let endpoint = over_http2(&provider);
        let sent = endpoint.post(&grant(&provider)).await;
        assert!(matches!(sent, Sent::Lost("reset")), "{kind}: {sent:?}");
        server.abort();
        assert_eq!(arrivals.recv().await, Some(1), "{kind}");
        assert!(arrivals.try_recv().is_err(), "{kind}: it was sent once");
    }
}

/// Reads one request with the body `refresh_token=t` at its end; `false` where the connection ends before.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    while !request.windows(15).any(|part| part == b"refresh_token=t") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_request_that_meets_the_end_of_a_kept_connection_is_sent_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = provider(listener.local_addr().unwrap(), "http", strict());
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        // The connection answers once and is kept; the next request on it is read, and not answered.
        for connection in 0_u32.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let arrived = arrived.clone();
            tokio::spawn(async move {
                for request in 0.. {
                    if !read_request(&mut stream).await {
                        return;
                    }
                    let _ = arrived.send((connection, request));
                    if request == 1 {
                        return;
                    }
                    let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    let endpoint = TokenEndpoint::new(&provider, Clock::system()).unwrap();
    let request = grant(&provider);
    assert!(matches!(endpoint.post(&request).await, Sent::Answered(_)));
    let sent = endpoint.post(&request).await;
    assert!(matches!(sent, Sent::Lost("reset")), "{sent:?}");
    server.abort();
    assert_eq!((arrivals.recv().await, arrivals.recv().await), (Some((0, 0)), Some((0, 1))));
    assert!(arrivals.try_recv().is_err(), "nothing came by another connection");
}

/// The first bytes that a client sends for TLS: they name the versions of HTTP that it takes (RFC 7301).
async fn first_bytes(profile: Profile) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = provider(listener.local_addr().unwrap(), "https", profile);
    let endpoint = TokenEndpoint::new(&provider, Clock::system()).unwrap();
    let request = grant(&provider);
    let (_, hello) = tokio::join!(endpoint.post(&request), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        hello.resize(5 + length, 0);
        stream.read_exact(&mut hello[5..]).await.unwrap();
        hello
    });
    hello
}

#[tokio::test]
async fn single_use_tokens_go_by_http1_unless_the_rate_is_per_second() {
    let rate = |text: &str| Some(text.parse().unwrap());
    for (rotation, rate, takes_http2) in [
        (Rotation::SingleUse, None, false),
        (Rotation::SingleUse, rate("400/min"), false),
        (Rotation::SingleUse, rate("50/s"), true),
        (Rotation::Grace, None, true),
        (Rotation::None, rate("400/min"), true),
    ] {
        let grace = if rotation == Rotation::Grace { Duration::from_secs(30) } else { Duration::ZERO };
        let ask_again = AskAgain::Once;
        let hello = first_bytes(Profile { rate, rotation, grace, ask_again, ..strict() }).await;
        let offers = |name: &[u8]| hello.windows(name.len()).any(|part| part == name);
        assert!(offers(b"\x08http/1.1"), "{rotation:?} {rate:?}");
        assert_eq!(offers(b"\x02h2"), takes_http2, "{rotation:?} {rate:?}");
    }
}

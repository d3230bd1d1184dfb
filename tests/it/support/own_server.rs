//! A team's own server, as small as one can be: each refresh token works once, the pair comes in cookies or in an envelope,
//! and a test may say what it answers, and what it does before it answers. What was presented to it is in its ledger.

use futures::future::BoxFuture;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Life of an access token in each answer, in seconds.
const ACCESS_LIFE_SECONDS: u64 = 86_400;

/// Where the pair of an answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Under `data`.
    Envelope,
    /// In cookies alone.
    Cookies,
    /// In cookies alone, and the body is cut half way.
    CookiesAndACutBody,
}

/// A pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) refresh_token: String,
    pub(crate) access_token: String,
}

/// An answer that a test wants instead.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    pub(crate) status: u16,
    pub(crate) body: &'static str,
}

/// One presentation of a token.
#[derive(Debug, Clone)]
pub(crate) struct Presented {
    pub(crate) user: String,
    pub(crate) refresh_token: String,
    pub(crate) at: Instant,
    /// Was a pair given for it?
    pub(crate) granted: bool,
    /// Had it been replaced before?
    pub(crate) reused: bool,
}

/// What the server does with a new pair of this user before it answers.
type Deed = dyn Fn(String, Pair) -> BoxFuture<'static, ()> + Send + Sync;

#[derive(Default)]
struct State {
    newest: HashMap<String, Pair>,
    users: HashMap<String, String>,
    presented: Vec<Presented>,
    scripts: HashMap<String, VecDeque<Scripted>>,
    deed: Option<Arc<Deed>>,
    issued: usize,
}

/// A running server; it ends with the test.
#[derive(Clone)]
pub(crate) struct OwnServer {
    address: SocketAddr,
    shape: Shape,
    state: Arc<Mutex<State>>,
}

impl OwnServer {
    pub(crate) async fn start(shape: Shape) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, shape, state: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                // A client that goes away is a client's affair.
                tokio::spawn(async move { drop(serving.answer(stream).await) });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/refresh-token", self.address)
    }

    /// Logs a user in.
    pub(crate) fn login(&self, user: &str) -> Pair {
        self.state().issue(user)
    }

    /// The next answers for this user.
    pub(crate) fn script(&self, user: &str, answers: impl IntoIterator<Item = Scripted>) {
        self.state().scripts.entry(user.to_owned()).or_default().extend(answers);
    }

    /// What is done with each new pair before it is answered.
    pub(crate) fn before_the_answer(
        &self,
        deed: impl Fn(String, Pair) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        self.state().deed = Some(Arc::new(deed));
    }

    /// The pair that works now.
    pub(crate) fn newest(&self, user: &str) -> Pair {
        self.state().newest[user].clone()
    }

    /// Everything that was presented, in its order.
    pub(crate) fn presented(&self) -> Vec<Presented> {
        self.state().presented.clone()
    }

    /// How often this token was presented.
    pub(crate) fn times(&self, refresh_token: &str) -> usize {
        self.presented().iter().filter(|one| one.refresh_token == refresh_token).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Some(token) = presented_in(&mut stream).await? else { return Ok(()) };
        let (granted, deed) = {
            let mut state = self.state();
            (state.redeem(&token), state.deed.clone())
        };
        let (status, head, body) = match granted {
            Redeemed::Scripted(Scripted { status, body }) => (status, String::new(), body.to_owned()),
            Redeemed::Refused => (
                401,
                String::new(),
                r#"{"statusCode":401,"data":null,"message":"Refresh token is expired or used","success":false}"#
                    .to_owned(),
            ),
            Redeemed::Granted(user, pair) => {
                if let Some(deed) = deed {
                    deed(user, pair.clone()).await;
                }
                self.shaped(&pair)
            }
        };
        let cut = self.shape == Shape::CookiesAndACutBody && status == 200;
        let sent = if cut { &body[..body.len() / 2] } else { &body };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n{head}\r\n{sent}"
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }

    fn shaped(&self, pair: &Pair) -> (u16, String, String) {
        let Pair { refresh_token, access_token } = pair;
        if self.shape == Shape::Envelope {
            let data = serde_json::json!({ "accessToken": access_token, "refreshToken": refresh_token });
            return (200, String::new(), serde_json::json!({ "data": data, "success": true }).to_string());
        }
        let mut head = String::new();
        for (name, token) in [("accessToken", access_token), ("refreshToken", refresh_token)] {
            write!(head, "Set-Cookie: {name}={token}; Path=/; HttpOnly; Secure\r\n").unwrap();
        }
        let body = r#"{"statusCode":200,"data":{},"message":"Access token refreshed","success":true}"#;
        (200, head, body.to_owned())
    }
}

enum Redeemed {
    Granted(String, Pair),
    Refused,
    Scripted(Scripted),
}

impl State {
    fn issue(&mut self, user: &str) -> Pair {
        self.issued += 1;
        let number = self.issued;
        let claims = format!(r#"{{"sub":"{user}","jti":"{number}","exp":{}}}"#, now() + ACCESS_LIFE_SECONDS);
        let pair = Pair {
            refresh_token: format!("refresh-token-{number:06}-of-{user}"),
            access_token: format!("{}.{}.c2lnbmF0dXJl", base64url(r#"{"alg":"HS256"}"#), base64url(&claims)),
        };
        self.users.insert(pair.refresh_token.clone(), user.to_owned());
        self.newest.insert(user.to_owned(), pair.clone());
        pair
    }

    fn redeem(&mut self, token: &str) -> Redeemed {
        let Some(user) = self.users.get(token).cloned() else { return Redeemed::Refused };
        let reused = self.newest[&user].refresh_token != token;
        let scripted = self.scripts.get_mut(&user).and_then(VecDeque::pop_front);
        let granted = scripted.is_none() && !reused;
        let refresh_token = token.to_owned();
        self.presented.push(Presented {
            user: user.clone(),
            refresh_token,
            at: Instant::now(),
            granted,
            reused,
        });
        match scripted {
            Some(scripted) => Redeemed::Scripted(scripted),
            None if reused => Redeemed::Refused,
            None => {
                let pair = self.issue(&user);
                Redeemed::Granted(user, pair)
            }
        }
    }
}

/// The refresh token in a request, `None` where the client has gone away.
async fn presented_in(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                value.trim().parse::<usize>().ok()
            } else {
                None
            }
        });
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        return Ok(Some(body["refreshToken"].as_str().unwrap_or_default().to_owned()));
    }
}

fn base64url(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn now() -> u64 {
    evergrant::testing::clock::Clock::system().now().timestamp().try_into().unwrap()
}

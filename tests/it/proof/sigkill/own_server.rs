//! The built binary, killed between two steps while a team's own server gives a pair in cookies, or writes its new token
//! into the very document before it answers. The oracles are that server's ledger, the document and the journal.

use crate::store::backend::{Backend, both};
use crate::support::own_server::{OwnServer, Pair, Shape};
use crate::support::process::{Ended, ONCE, command};
use evergrant::testing::journal::{EntryState, Journal};
use evergrant::testing::kill_point::Point;
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::token::{RefreshToken, State, TokenId};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;

/// The way of one answer; a point that is reached twice by a token which the server has written itself: our own write
/// misses, and then the rest is written.
const WAY: [(Point, u64); 15] = [
    (Point::AnswerBegun, 1),
    (Point::AnswerReceived, 1),
    (Point::AnswerWritten, 1),
    (Point::AnswerCommitted, 1),
    (Point::AnswerRead, 1),
    (Point::BeforeApply, 1),
    (Point::Applied, 1),
    (Point::BeforeApply, 2),
    (Point::Applied, 2),
    (Point::BeforeEnd, 1),
    (Point::EndWritten, 1),
    (Point::EndCommitted, 1),
    (Point::Ended, 1),
    (Point::PassEnds, 1),
    (Point::PassFinished, 1),
];

/// Is the answer not yet in the journal there?
const fn is_before_the_journal(point: Point) -> bool {
    matches!(point, Point::AnswerBegun | Point::AnswerReceived | Point::AnswerWritten)
}

/// What happens between the kill and the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    Login,
    Deleted,
}

/// A server, a store, and an installation between them.
struct Team {
    server: OwnServer,
    backend: Arc<Backend>,
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    users: usize,
}

impl Team {
    fn new(server: OwnServer, backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = backend.settings();
        let state = folder.path().join("state");
        let settings = [
            ("provider", Some("cookie-session".to_owned())),
            ("token_url", Some(server.url())),
            ("refresh_token_lifetime", Some("14d".to_owned())),
            ("settle_after", Some("100ms".to_owned())),
            ("store.url", Some(store.url.expose_secret().to_owned())),
            ("store.database", store.database.clone()),
            ("state_dir", Some(state.to_str().unwrap().to_owned())),
        ];
        let settings =
            settings.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        Self { server, backend: Arc::new(backend), folder, settings, users: 0 }
    }

    /// A user more, who is due. Who was refreshed before isn't.
    async fn user(&mut self) -> (String, TokenId, Pair) {
        self.users += 1;
        let (user, id) = (format!("user-{}", self.users), document_id(self.users));
        let pair = self.server.login(&user);
        let document = json!({
            "_id": { "$oid": format!("{:024x}", self.users) },
            "email": user,
            "refresh_token": pair.refresh_token,
            "access_token": pair.access_token,
        });
        self.backend.insert([document]).await;
        (user, id, pair)
    }

    /// Lets the server write each new refresh token into its document before it answers.
    fn server_writes(&self) {
        let backend = self.backend.clone();
        self.server.before_the_answer(move |user, pair| {
            let backend = backend.clone();
            Box::pin(async move {
                let number = user.rsplit('-').next().unwrap().parse().unwrap();
                backend.set(&document_id(number), json!({ "refresh_token": pair.refresh_token })).await;
            })
        });
    }

    async fn is_killed_at(&self, (point, times): (Point, u64)) {
        let mut command = command(self.folder.path(), &self.settings, &ONCE);
        command.env("EVERGRANT_TEST_KILL_AT", format!("{}:{times}", point.name()));
        let ended = command.status().await.unwrap();
        assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{point:?}:{times}: {ended}");
    }

    async fn run(&self) -> Ended {
        Ended::of(command(self.folder.path(), &self.settings, &ONCE).spawn().unwrap()).await
    }

    fn rows(&self) -> Vec<EntryState> {
        let rows = Journal::peek(&self.folder.path().join("state")).unwrap();
        rows.into_iter().map(|row| row.state).collect()
    }

    /// The document holds the newest pair, both tokens from one answer, and bookkeeping that speaks of it.
    async fn assert_alive(&self, user: &str, id: &TokenId, round: &str) {
        let (document, newest) = (self.backend.whole(id).await.unwrap(), self.server.newest(user));
        assert_eq!(document["refresh_token"], newest.refresh_token, "{round}");
        assert_eq!(document["access_token"], newest.access_token, "{round}: of another answer");
        let books = self.backend.read(id).await.bookkeeping;
        assert_eq!((books.state, books.lease), (State::Live, None), "{round}");
        assert_eq!(books.fingerprint, Some(RefreshToken::new(newest.refresh_token).fingerprint()), "{round}");
        assert!(books.refreshed_at.is_some() && books.last_error.is_none(), "{round}");
    }
}

fn document_id(number: usize) -> TokenId {
    crate::support::rehearsal::document_id(number)
}

/// One fact over each store at the same time.
async fn on_both(name: &str, shape: Shape, fact: impl AsyncFn(Team)) {
    let backends = both(name, Mapping::default()).await;
    let fact = &fact;
    let runs = backends.into_iter().map(|backend| async move {
        fact(Team::new(OwnServer::start(shape).await, backend)).await;
    });
    futures::future::join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_the_server_writes_itself_survives_a_kill_at_each_point_of_its_way() {
    on_both("kill_server_writes", Shape::Envelope, async |mut team| {
        team.server_writes();
        for at in WAY {
            let round = format!("{at:?}");
            let (user, id, first) = team.user().await;
            team.is_killed_at(at).await;
            let ended = team.run().await;
            assert_eq!(ended.code, Some(0), "{round}: {ended:?}");
            team.assert_alive(&user, &id, &round).await;
            assert_eq!(team.rows(), [], "{round}");
            // The document has the new token: the old one is asked for by no one.
            assert_eq!(team.server.times(&first.refresh_token), 1, "{round}");
            let presented = team.server.presented();
            assert!(presented.iter().all(|one| one.granted && !one.reused), "{round}: {presented:?}");
            // What was received in full isn't asked for again.
            let grants = presented.iter().filter(|one| one.user == user).count();
            assert_eq!(grants, if is_before_the_journal(at.0) { 2 } else { 1 }, "{round}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_or_a_deletion_after_the_kill_is_kept_and_marks_no_user() {
    use Meanwhile::{Deleted, Login, Nothing};
    on_both("kill_server_meanwhile", Shape::Envelope, async |mut team| {
        team.server_writes();
        for (number, (at, meanwhile)) in
            [(Point::BeforeApply, 1), (Point::BeforeApply, 2), (Point::Applied, 2)]
                .into_iter()
                .flat_map(|at| [(at, Nothing), (at, Login), (at, Deleted)])
                .enumerate()
        {
            let round = format!("{number}: {at:?} {meanwhile:?}");
            let before = team.rows().len();
            let (user, id, first) = team.user().await;
            team.is_killed_at(at).await;
            match meanwhile {
                Nothing => {}
                Login => {
                    let Pair { refresh_token, access_token } = team.server.login(&user);
                    let pair = json!({ "refresh_token": refresh_token, "access_token": access_token });
                    team.backend.set(&id, pair).await;
                }
                Deleted => team.backend.delete(&id).await,
            }
            let ended = team.run().await;
            let report = ended.json();
            for outcome in ["needs_login", "lost_in_flight", "malformed", "lost"] {
                assert_eq!(report["outcomes"][outcome], 0, "{round}: {ended:?}");
            }
            // A pair that has lost its place is parked; one that was in its document before isn't.
            let is_written = at == (Point::Applied, 2);
            match meanwhile {
                // The document wasn't due any more: the login stays as it is.
                Login if is_written => {
                    let document = team.backend.whole(&id).await.unwrap();
                    assert_eq!(document["refresh_token"], team.server.newest(&user).refresh_token, "{round}");
                    assert_eq!(document["evergrant"]["state"], "live", "{round}");
                }
                Nothing | Login => team.assert_alive(&user, &id, &round).await,
                Deleted => assert_eq!(team.backend.whole(&id).await, None, "{round}"),
            }
            let parked = usize::from(meanwhile == Login && !is_written) + usize::from(meanwhile == Deleted);
            assert_eq!(team.rows().len() - before, parked, "{round}: {:?}", team.rows());
            assert!(team.rows().iter().all(|row| *row == EntryState::Orphan), "{round}: {:?}", team.rows());
            assert_eq!(team.server.times(&first.refresh_token), 1, "{round}");
            assert!(team.server.presented().iter().all(|one| !one.reused), "{round}");
        }
    })
    .await;
}

/// The server keeps its tokens to itself: what was received is in our journal, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_in_cookies_alone_survives_a_kill_at_each_point_of_its_way() {
    for (name, shape) in [("kill_cookies", Shape::Cookies), ("kill_cut_cookies", Shape::CookiesAndACutBody)] {
        on_both(name, shape, async |mut team| {
            for at in WAY.into_iter().filter(|(_, times)| *times == 1) {
                let round = format!("{shape:?} {at:?}");
                let (user, id, first) = team.user().await;
                team.is_killed_at(at).await;
                // Someone else is granted: a refusal is believed.
                let (beside, beside_id, _) = team.user().await;
                let ended = team.run().await;
                team.assert_alive(&beside, &beside_id, &round).await;
                let times = team.server.times(&first.refresh_token);
                if is_before_the_journal(at.0) {
                    // It had not been kept when the process died: asked once more, and then named for what it is.
                    assert_eq!((ended.code, times), (Some(3), 2), "{round}: {ended:?}");
                    let books = team.backend.read(&id).await.bookkeeping;
                    assert_eq!(books.state, State::LostInFlight, "{round}");
                } else {
                    assert_eq!((ended.code, times), (Some(0), 1), "{round}: {ended:?}");
                    team.assert_alive(&user, &id, &round).await;
                }
                assert_eq!(team.rows(), [], "{round}");
                let again = team.run().await;
                assert_eq!(again.json()["grants"], 0, "{round}: {again:?}");
                assert_eq!(team.server.times(&first.refresh_token), times, "{round}: replayed");
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_body_with_both_cookies_is_a_pair() {
    on_both("cut_cookies", Shape::CookiesAndACutBody, async |mut team| {
        let mut users = Vec::new();
        for _ in 0..5 {
            users.push(team.user().await);
        }
        let ended = team.run().await;
        assert_eq!((ended.code, &ended.json()["outcomes"]["refreshed"]), (Some(0), &5.into()), "{ended:?}");
        for (user, id, first) in users {
            team.assert_alive(&user, &id, "cut").await;
            assert_eq!(team.server.times(&first.refresh_token), 1);
        }
        assert_eq!(team.rows(), []);
    })
    .await;
}

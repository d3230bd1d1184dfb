//! The one thread that owns the journal's file: it takes what waits, writes it in one commit, then answers all.

use super::documents::NoteDocuments;
use super::lock::Lock;
use super::marks::MarksRequest;
use super::passes::PassesRequest;
use super::room::Room;
use super::{
    Adoption, Begun, Census, Damaged, Entry, EntryId, Event, IfRedeemed, Intent, JournalError, KeptPair,
    Moment, OtherStore, Page, Permission, Spent, StaleDocument, Standing, sqlite::Rows,
};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::kill_point::{Point, reach};
use crate::provider::history::History;
use crate::provider::memory::Memory;
use crate::store::Identity;
use crate::token::{Fingerprint, RefreshToken, TokenId};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Most requests in one commit: as many answers as arrive while one fsync runs, with room to spare.
pub(super) const MAX_BATCH: usize = 512;

/// Where an answer goes, and what it will be once the commit is done.
#[derive(Debug)]
pub(super) struct Reply<T> {
    to: oneshot::Sender<Result<T, JournalError>>,
    value: Option<Result<T, JournalError>>,
}

impl<T> Reply<T> {
    pub(super) const fn new(to: oneshot::Sender<Result<T, JournalError>>) -> Self {
        Self { to, value: None }
    }

    /// Remembers what came out; an error is everybody's, because the commit is void then.
    pub(super) fn set(&mut self, done: Result<T, JournalError>) -> Result<(), JournalError> {
        self.value = Some(Ok(done?));
        Ok(())
    }

    /// Remembers what came out, where some errors are this request's alone: the others of the commit go on.
    fn set_its_own(&mut self, done: Result<T, JournalError>) -> Result<(), JournalError> {
        match done {
            Err(error @ (JournalError::NoEntry(_) | JournalError::OutOfOrder { .. })) => {
                self.value = Some(Err(error));
                Ok(())
            }
            done => self.set(done),
        }
    }

    pub(super) fn send(self, committed: Result<(), &JournalError>) {
        let value = match committed {
            Ok(()) => self.value.unwrap_or(Err(JournalError::Stopped)),
            Err(error) => Err(error.share()),
        };
        // Nobody may be waiting any more: an answer is kept all the same.
        let _ = self.to.send(value);
    }
}

/// What can be asked of the owner.
#[derive(Debug)]
pub(super) enum Request {
    Intent(Intent, RefreshToken, IfRedeemed, Reply<Permission>),
    Answer(EntryId, RawAnswer, Reply<()>),
    End(Vec<(EntryId, Event)>, Timestamp, Reply<()>),
    Page(Option<EntryId>, Reply<Page>),
    Entry(EntryId, Reply<Option<Result<Entry, Damaged>>>),
    Standing(Reply<Standing>),
    Census(Reply<Census>),
    Newest(Fingerprint, Reply<Option<(TokenId, Option<Fingerprint>)>>),
    RedeemedAt(Fingerprint, Reply<Option<Timestamp>>),
    PairFor(StaleDocument, Reply<Option<KeptPair>>),
    Remembered(Moment, Reply<Option<Timestamp>>),
    Earliest(Moment, Reply<Option<Timestamp>>),
    Remember(Moment, Option<Timestamp>, Reply<()>),
    History(String, Reply<History>),
    SetHistory(String, History, Reply<()>),
    Keeping(String, Reply<Option<String>>),
    SetKeeping(String, String, Reply<()>),
    StandingOf(String, Reply<Option<Memory>>),
    SetStandingOf(String, Option<Memory>, Reply<()>),
    PutOff(String, Reply<Vec<TokenId>>),
    SetPutOff(String, Vec<TokenId>, Reply<()>),
    BeginProcess { store: Identity, reply: Reply<Begun> },
    BeginPass { lease_id: String, store: Identity, provider: Arc<str>, at: Timestamp, reply: Reply<Begun> },
    Spent(Vec<Fingerprint>, Reply<Vec<Spent>>),
    Forget(Vec<Fingerprint>, Reply<u64>),
    OtherStore(Identity, Reply<Option<OtherStore>>),
    Adoptable(Identity, Reply<Adoption>),
    AdoptStore(Identity, Reply<Adoption>),
    FinishPass(String, Timestamp, Reply<()>),
    Marks(MarksRequest),
    Passes(PassesRequest),
    Documents(NoteDocuments),
}

impl Request {
    /// Must it survive a power cut? What else is lost with the last second can be found again.
    const fn is_durable(&self) -> bool {
        match self {
            // A pass that its own journal doesn't know is another machine's: its claims would be waited for.
            Self::Answer(..) | Self::BeginPass { .. } | Self::AdoptStore(..) => true,
            Self::Marks(request) => request.is_durable(),
            _ => false,
        }
    }
}

/// Which kill points stand around a commit: before it, and after it.
#[derive(Clone, Copy)]
struct Points {
    intents: bool,
    answers: bool,
    ends: bool,
}

impl Points {
    fn of(requests: &[Request]) -> Self {
        let any = |wanted: fn(&Request) -> bool| requests.iter().any(wanted);
        Self {
            intents: any(|request| matches!(request, Request::Intent(..))),
            answers: any(|request| matches!(request, Request::Answer(..))),
            ends: any(|request| matches!(request, Request::End(..))),
        }
    }

    fn reach(self, intents: Point, answers: Point, ends: Point) {
        for (here, point) in [(self.intents, intents), (self.answers, answers), (self.ends, ends)] {
            if here {
                reach(point);
            }
        }
    }
}

/// The owner thread. It ends when the last sender of its queue is gone, and with it the lock.
#[derive(Debug)]
pub(super) struct Owner {
    thread: Option<JoinHandle<()>>,
}

impl Owner {
    /// Waits until the thread has let go of the file and its lock; the senders must be gone.
    pub(super) fn join(self) -> std::thread::Result<()> {
        self.thread.map_or(Ok(()), JoinHandle::join)
    }

    /// No thread: a simulation drives the rows itself.
    #[cfg(any(test, feature = "testing"))]
    pub(super) const fn nobody() -> Self {
        Self { thread: None }
    }

    pub(super) fn spawn(
        mut rows: Rows,
        mut room: Room,
        mut queue: mpsc::Receiver<Request>,
        lock: Lock,
    ) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || {
            let _lock = lock;
            let mut waiting = Vec::with_capacity(MAX_BATCH);
            while queue.blocking_recv_many(&mut waiting, MAX_BATCH) > 0 {
                // A commit that failed may be half on the disk, and a second fsync may lie about it: take no more.
                if !commit(&mut rows, &mut room, waiting.drain(..), |rows, _| rows.commit())
                    || !tidy(&mut rows, &mut room)
                {
                    break;
                }
            }
        })?;
        Ok(Self { thread: Some(thread) })
    }
}

/// Moves what is in the log into the file when there is much of it. `false` when the journal is broken.
///
/// By hand, because SQLite keeps an error of its own checkpoints to itself: after a failed sync of the log, rows that
/// nobody has synced since may be gone from it, and with them the way to the answers behind them.
fn tidy(rows: &mut Rows, room: &mut Room) -> bool {
    match rows.checkpoint_when_long() {
        Ok(()) => true,
        // Nothing was lost: the log holds all of it, and grows.
        Err(JournalError::Full(_)) => {
            room.ran_out();
            true
        }
        Err(error) => {
            tracing::error!(error = crate::failure::error_chain(&error), "the journal takes no more");
            false
        }
    }
}

/// Writes all of `requests` in one commit, which `finish` makes, told whether it must survive a power cut; then lets
/// their replies go. `false` when the journal is broken.
///
/// On a disk that is full nothing of it is written, and nothing is broken: the ballast is given up, and the same is
/// written once more, without the intents. Any other failure is final.
pub(super) fn commit(
    rows: &mut Rows,
    room: &mut Room,
    requests: impl ExactSizeIterator<Item = Request>,
    mut finish: impl FnMut(&mut Rows, bool) -> Result<(), JournalError>,
) -> bool {
    let requests: Vec<_> = requests.collect();
    // Once, before anything is written: what is given up for this commit must not be taken back for its second try.
    if requests
        .iter()
        .any(|request| matches!(request, Request::BeginProcess { .. } | Request::BeginPass { .. }))
    {
        room.refill();
    }
    let mut requests = refuse_intents(requests, room);
    let mut written = write(rows, room, &mut requests, &mut finish);
    if matches!(written, Err(JournalError::Full(_))) && room.ran_out() {
        requests = refuse_intents(requests, room);
        written = write(rows, room, &mut requests, &mut finish);
    }
    let written = written.map_err(|error| room.measured(error));
    for request in requests {
        request.deliver(match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(error),
        });
    }
    matches!(written, Ok(()) | Err(JournalError::Full(_)))
}

/// Answers the intents that there is no room for; returns the others.
fn refuse_intents(requests: Vec<Request>, room: &mut Room) -> Vec<Request> {
    let asks = requests.iter().any(|request| matches!(request, Request::Intent(..)));
    let Some(shortage) = asks.then(|| room.shortage()).flatten() else { return requests };
    let (intents, others): (Vec<_>, Vec<_>) =
        requests.into_iter().partition(|request| matches!(request, Request::Intent(..)));
    for intent in intents {
        intent.deliver(Err(&shortage));
    }
    others
}

fn write(
    rows: &mut Rows,
    room: &Room,
    requests: &mut [Request],
    finish: &mut impl FnMut(&mut Rows, bool) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    if requests.is_empty() {
        return Ok(());
    }
    let durable = requests.iter().any(Request::is_durable);
    let points = Points::of(requests);
    let written = rows.begin(durable).and_then(|()| {
        for request in requests {
            perform(rows, room, request)?;
        }
        points.reach(Point::IntentWritten, Point::AnswerWritten, Point::EndWritten);
        finish(rows, durable)
    });
    points.reach(Point::IntentCommitted, Point::AnswerCommitted, Point::EndCommitted);
    if written.is_err() {
        rows.abandon();
    }
    written
}

/// Writes one request; its reply waits for the commit. An error makes the whole commit void.
fn perform(rows: &mut Rows, room: &Room, request: &mut Request) -> Result<(), JournalError> {
    match request {
        Request::Intent(intent, token, if_redeemed, reply) => {
            reply.set(rows.intent(intent, token, *if_redeemed))
        }
        Request::Answer(entry, answer, reply) => reply.set_its_own(rows.answer(*entry, answer)),
        Request::End(endings, at, reply) => {
            rows.give_way(room.known().is_some())?;
            reply.set(rows.forget_old(endings.len(), *at))?;
            for (entry, event) in endings {
                let ended = rows.end(*entry, event, *at);
                if !matches!(ended, Ok(())) {
                    reply.set_its_own(ended)?;
                }
            }
            Ok(())
        }
        Request::Newest(fingerprint, reply) => reply.set(rows.newest(*fingerprint)),
        Request::RedeemedAt(fingerprint, reply) => reply.set(rows.redeemed_at(*fingerprint)),
        Request::PairFor(stale, reply) => reply.set(rows.pair_for(stale)),
        Request::Page(after, reply) => reply.set(rows.page(*after)),
        Request::Entry(id, reply) => reply.set(rows.entry(*id)),
        Request::Standing(reply) => {
            reply.set(rows.parked().map(|parked| Standing { parked, shortage: room.known() }))
        }
        Request::Census(reply) => reply.set(rows.census()),
        Request::Remembered(moment, reply) => reply.set(rows.remembered(moment)),
        Request::Earliest(moment, reply) => reply.set(rows.earliest(moment)),
        Request::Remember(moment, at, reply) => reply.set(rows.remember(moment, *at)),
        Request::History(provider, reply) => reply.set(rows.history(provider)),
        Request::SetHistory(provider, history, reply) => reply.set(rows.set_history(provider, *history)),
        Request::Keeping(provider, reply) => reply.set(rows.keeping(provider)),
        Request::SetKeeping(provider, keeping, reply) => reply.set(rows.set_keeping(provider, keeping)),
        Request::StandingOf(provider, reply) => reply.set(rows.standing_of(provider)),
        Request::SetStandingOf(provider, memory, reply) => {
            reply.set(rows.set_standing_of(provider, memory.as_ref()))
        }
        Request::PutOff(provider, reply) => reply.set(rows.put_off(provider)),
        Request::SetPutOff(provider, documents, reply) => reply.set(rows.set_put_off(provider, documents)),
        Request::BeginProcess { store, reply } => reply.set(rows.begin_process(store)),
        Request::BeginPass { lease_id, store, provider, at, reply } => {
            reply.set(rows.begin_pass(lease_id, store, provider, *at))
        }
        Request::Spent(tokens, reply) => reply.set(rows.spent(tokens)),
        Request::Forget(tokens, reply) => reply.set(rows.forget(tokens)),
        Request::OtherStore(here, reply) => reply.set(rows.other_store(here)),
        Request::Adoptable(here, reply) => reply.set(rows.adoptable(here)),
        Request::AdoptStore(here, reply) => reply.set(rows.adopt(here)),
        Request::FinishPass(lease_id, at, reply) => reply.set(rows.finish_pass(lease_id, *at)),
        Request::Marks(request) => request.perform(rows),
        Request::Passes(request) => request.perform(rows),
        Request::Documents(request) => request.perform(rows),
    }
}

impl Request {
    fn deliver(self, committed: Result<(), &JournalError>) {
        match self {
            Self::Intent(_, _, _, reply) => reply.send(committed),
            Self::Answer(_, _, reply)
            | Self::End(_, _, reply)
            | Self::Remember(_, _, reply)
            | Self::SetHistory(_, _, reply)
            | Self::SetPutOff(_, _, reply)
            | Self::SetStandingOf(_, _, reply)
            | Self::SetKeeping(_, _, reply)
            | Self::FinishPass(_, _, reply) => reply.send(committed),
            Self::Page(_, reply) => reply.send(committed),
            Self::Entry(_, reply) => reply.send(committed),
            Self::Standing(reply) => reply.send(committed),
            Self::Census(reply) => reply.send(committed),
            Self::Newest(_, reply) => reply.send(committed),
            Self::PairFor(_, reply) => reply.send(committed),
            Self::RedeemedAt(_, reply) | Self::Remembered(_, reply) | Self::Earliest(_, reply) => {
                reply.send(committed);
            }
            Self::History(_, reply) => reply.send(committed),
            Self::Keeping(_, reply) => reply.send(committed),
            Self::StandingOf(_, reply) => reply.send(committed),
            Self::PutOff(_, reply) => reply.send(committed),
            Self::BeginProcess { reply, .. } | Self::BeginPass { reply, .. } => reply.send(committed),
            Self::Spent(_, reply) => reply.send(committed),
            Self::Forget(_, reply) => reply.send(committed),
            Self::OtherStore(_, reply) => reply.send(committed),
            Self::Adoptable(_, reply) | Self::AdoptStore(_, reply) => reply.send(committed),
            Self::Marks(request) => request.deliver(committed),
            Self::Passes(request) => request.deliver(committed),
            Self::Documents(request) => request.deliver(committed),
        }
    }
}

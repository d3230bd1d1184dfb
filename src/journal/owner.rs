//! The one thread that owns the journal's file: it takes what waits, writes it in one commit, then answers all.

use super::{Begun, Ending, Entry, EntryId, Intent, JournalError, Journaled, Permission, sqlite::Rows};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::kill_point::{Point, reach};
use crate::token::{Fingerprint, TokenId};
use std::fs::File;
use std::io;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Most requests in one commit: as many answers as arrive while one fsync runs, with room to spare.
pub(super) const MAX_BATCH: usize = 512;

pub(super) type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

/// What can be asked of the owner.
#[derive(Debug)]
pub(super) enum Request {
    Intent(Intent, Reply<Permission>),
    Answer(Journaled<RawAnswer>, Reply<()>),
    End(Vec<(EntryId, Ending)>, Timestamp, Reply<()>),
    Entries(Reply<Vec<Entry>>),
    Newest(Fingerprint, Reply<Option<(TokenId, Option<Fingerprint>)>>),
    LastWake(Reply<Option<Timestamp>>),
    SetLastWake(Timestamp, Reply<()>),
    BeginPass([String; 2], Reply<Begun>),
    FinishPass(String, Reply<()>),
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

/// A reply that waits for the commit.
type Held = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

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
    pub(super) const fn nobody() -> Self {
        Self { thread: None }
    }

    pub(super) fn spawn(mut rows: Rows, mut queue: mpsc::Receiver<Request>, lock: File) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || {
            let _lock = lock;
            let mut waiting = Vec::with_capacity(MAX_BATCH);
            while queue.blocking_recv_many(&mut waiting, MAX_BATCH) > 0 {
                // A commit that failed may be half on the disk, and a second fsync may lie about it: take no more.
                if !commit(&mut rows, waiting.drain(..), |rows, _| rows.commit()) {
                    break;
                }
            }
        })?;
        Ok(Self { thread: Some(thread) })
    }
}

/// Writes all of `requests` in one commit, which `finish` makes, told whether it must survive a power cut; then lets
/// their replies go. `false` when the journal is broken.
pub(super) fn commit(
    rows: &mut Rows,
    requests: impl ExactSizeIterator<Item = Request>,
    finish: impl FnOnce(&mut Rows, bool) -> Result<(), JournalError>,
) -> bool {
    let requests: Vec<_> = requests.collect();
    // Only an answer must survive a power cut; what else is lost with the last second can be found again.
    let durable = requests.iter().any(|request| matches!(request, Request::Answer(..)));
    let points = Points::of(&requests);
    let mut held: Vec<Held> = Vec::with_capacity(requests.len());
    let written = rows.begin(durable).and_then(|()| {
        for request in requests {
            perform(rows, request, &mut held)?;
        }
        points.reach(Point::IntentWritten, Point::AnswerWritten, Point::EndWritten);
        finish(rows, durable)
    });
    points.reach(Point::IntentCommitted, Point::AnswerCommitted, Point::EndCommitted);
    let intact = written.is_ok();
    for reply in held {
        reply(match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(error.share()),
        });
    }
    intact
}

/// Writes one request; its reply is held until the commit. An error breaks the whole commit.
fn perform(rows: &mut Rows, request: Request, held: &mut Vec<Held>) -> Result<(), JournalError> {
    fn hold<T: Send + 'static>(
        held: &mut Vec<Held>,
        done: Result<T, JournalError>,
        reply: Reply<T>,
    ) -> Result<(), JournalError> {
        let (value, verdict) = match done {
            Ok(value) => (Some(value), Ok(())),
            Err(error) => (None, Err(error.share())),
        };
        held.push(Box::new(move |committed| {
            // Nobody may be waiting any more: an answer is kept all the same.
            let _ = reply.send(match (committed, value) {
                (Ok(()), Some(value)) => Ok(value),
                (Ok(()), None) => Err(JournalError::Stopped),
                (Err(error), _) => Err(error),
            });
        }));
        verdict
    }
    match request {
        Request::Intent(intent, reply) => hold(held, rows.intent(&intent), reply),
        Request::Answer(answer, reply) => hold(held, rows.answer(answer.entry(), answer.get()), reply),
        Request::End(endings, at, reply) => {
            let done = endings.iter().try_for_each(|(entry, ending)| rows.end(*entry, ending, at));
            hold(held, done, reply)
        }
        Request::Newest(fingerprint, reply) => hold(held, rows.newest(fingerprint), reply),
        Request::Entries(reply) => hold(held, rows.entries(), reply),
        Request::LastWake(reply) => hold(held, rows.last_wake(), reply),
        Request::SetLastWake(at, reply) => hold(held, rows.set_last_wake(at), reply),
        Request::BeginPass([lease_id, store], reply) => hold(held, rows.begin_pass(&lease_id, &store), reply),
        Request::FinishPass(lease_id, reply) => hold(held, rows.finish_pass(&lease_id), reply),
    }
}

impl JournalError {
    /// The same failure for everybody whose request was in the failed commit.
    fn share(&self) -> Self {
        match self {
            Self::Failed { file, action, source } => {
                Self::Failed { file: file.clone(), action, source: source.clone() }
            }
            _ => Self::Stopped,
        }
    }
}

//! What Evergrant keeps in a token document: how the login stands, and who holds the claim.

use super::{AccessToken, Code, Fingerprint, LastError, Lost, SpentTokens, Vocabulary as _, vocabulary};
use crate::clock::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// What a lease must last beyond the longest wait for an answer: at least so much when a grant is sent, and more when it
/// is configured.
///
/// Time for what stands around the request (the wait at the journal, the answer's fsync and the write-back), and as much
/// as the clocks of different machines may be apart. The request timeout is the limit on the whole exchange, the
/// connection's set-up among it, and a wait to settle a lost answer ends with another look at the claim: from that look
/// to the write there is one request and this.
pub const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// What a person gives for claims that name no journal: those of earlier versions.
pub const UNKNOWN_JOURNAL: &str = "unknown";

vocabulary! {
    /// What the document's bookkeeping says of its login.
    #[derive(Default)]
    State {
        #[default]
        Live = "live":
            "The login works, as far as is known. Also a document that no pass has seen yet.",
            "Nothing to do.";
        NeedsLogin = "needs_login":
            "The provider refused the refresh token.",
            "The user must log in again.";
        LostInFlight = "lost_in_flight":
            "The provider may have rotated the token in an answer that never arrived, and refuses the old one.",
            "The user must log in again.";
        Malformed = "malformed":
            "The document holds no refresh token that can be sent, or names a provider that is not configured.",
            "`last_error.code` says what is wrong.";
    }
}

impl State {
    /// Does it say that a user must log in again?
    #[must_use]
    pub const fn is_mark(self) -> bool {
        matches!(self, Self::NeedsLogin | Self::LostInFlight)
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for State {
    /// A word of a later version counts as live: the token is asked again, and the provider tells.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(Self::from_word(&word).unwrap_or_default())
    }
}

/// A pass's time-limited right to redeem a document's refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Unique to one pass of one process: the fence.
    pub id: String,
    /// `host:pid`, for the person who looks into the document.
    pub owner: String,
    /// From then on the claim is void and the document is due again.
    pub until: Timestamp,
    /// Had another process held the claim until it ran out? That process may have sent the token, and may hold its
    /// answer: a refusal then means lost, not revoked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_over: bool,
    /// Whose claim it is, and since when; absent where an earlier version made it.
    #[serde(flatten)]
    pub by: Option<ClaimedBy>,
}

/// Whose claim it is, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedBy {
    /// Id of the journal that will hold the answer: of the state directory, over restarts.
    pub journal: String,
    /// The version of Evergrant.
    pub version: String,
    /// When the claim was made. A renewed claim keeps it.
    pub since: Timestamp,
}

/// Everything Evergrant keeps in a token document, in one sub-document (default name `evergrant`).
///
/// It is always written whole, so a field that is `None` here is absent there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bookkeeping {
    /// What we know of the login.
    #[serde(default)]
    pub state: State,
    /// When the state last changed: "must log in again since …". A second mark of the same token leaves it as it is: by
    /// this moment a mark is known.
    pub since: Option<Timestamp>,
    /// The refresh token of which `state` and `failures` speak; another one in the document means a new login.
    pub fingerprint: Option<Fingerprint>,
    /// The access token that stood beside the refresh token when that was marked; another one beside the same refresh token
    /// means a new login. Only while marked, and where there was one.
    pub access_fingerprint: Option<Fingerprint>,
    /// Schedule, retry and visibility in one; absent means due now.
    pub due_at: Option<Timestamp>,
    /// When we last wrote a pair.
    pub refreshed_at: Option<Timestamp>,
    /// Id of the journal that the refresh token came from.
    pub refreshed_by: Option<String>,
    /// The refresh tokens of this login that were redeemed: first the one for which the refresh token came.
    #[serde(default)]
    pub spent: SpentTokens,
    /// When the access token in the document ends, if the provider said.
    pub access_expires_at: Option<Timestamp>,
    /// When the refresh token in the document ends, by its own life or by its login's, if anything says.
    pub refresh_expires_at: Option<Timestamp>,
    /// When the login began, at the latest.
    pub login_at: Option<Timestamp>,
    /// When the login ends, at the latest, whatever is refreshed until then.
    pub login_ends_at: Option<Timestamp>,
    /// Passes in a row that gave no pair.
    #[serde(default)]
    pub failures: u32,
    /// Why the last one gave none; absent after a success.
    pub last_error: Option<LastError>,
    /// Only while claimed.
    pub lease: Option<Lease>,
}

/// Every field of the bookkeeping with its meaning, as `evergrant help document` shows it; dots lead into sub-documents.
pub const FIELDS: [(&str, &str); 33] = [
    ("state", "`live`, `needs_login`, `lost_in_flight` or `malformed` (`evergrant help outcomes`)."),
    ("since", "When the state last changed. A second mark of the same token does not change it."),
    (
        "fingerprint",
        "Fingerprint of the refresh token for which the other fields are valid. If the document holds another one, that is a new login.",
    ),
    (
        "access_fingerprint",
        "Fingerprint of the access token that stood in the document when the user was marked. If the document holds another one, that is a new login, also where the refresh token is the same. Absent in a document that is not marked.",
    ),
    (
        "due_at",
        "When the token is due. Absent: now. After a success up to a tenth of the interval is taken off at random, so that not all documents fall due at once.",
    ),
    ("refreshed_at", "When a new pair was last written."),
    ("refreshed_by", "Id of the journal in the `state_dir` that the refresh token came from."),
    (
        "spent",
        "Fingerprint of the refresh token of this login that was redeemed last. Such a token is no new login. Absent where none was.",
    ),
    (
        "spent_before",
        "Fingerprints of up to seven refresh tokens of this login that were redeemed before that, the last one first. An earlier version does not write it.",
    ),
    ("access_expires_at", "End of the access token, as far as it is known."),
    (
        "refresh_expires_at",
        "End of the refresh token, as far as it is known. No later than the end of the login.",
    ),
    (
        "login_at",
        "Begin of the login, or when this login was first seen. Absent where neither matters (`login_lifetime`).",
    ),
    (
        "login_ends_at",
        "End of the login, as far as it is known. A refresh does not move it: the user must log in again by then.",
    ),
    ("failures", "Number of passes in a row that brought no pair. A pass may have made several requests."),
    ("last_error", "Why the last request brought no pair. Absent after a success."),
    ("last_error.class", "Kind of answer (`evergrant help reasons`)."),
    (
        "last_error.code",
        "The provider's code, or one of Evergrant's (`evergrant help reasons`). Never free text.",
    ),
    ("last_error.http_status", "HTTP status of the answer. Absent without an answer."),
    ("last_error.at", "When it happened."),
    (
        "last_error.lost",
        "A request for this token whose answer never arrived in full. Absent if there was none.",
    ),
    ("last_error.lost.cause", "What went wrong: `timeout`, `reset`, `http_502` (`evergrant help reasons`)."),
    ("last_error.lost.sent_at", "When that request was sent."),
    ("last_error.lost.peer", "Address that it was sent to."),
    ("last_error.lost.received_bytes", "Bytes of the answer's body that arrived."),
    (
        "last_error.lost.turned_away",
        "True where an answer came that was not the provider's own, such as a 503 page. The token may be sent again.",
    ),
    ("lease", "The claim of a pass on this document. Absent while no pass holds it."),
    ("lease.id", "Identifies the pass."),
    ("lease.owner", "Host and process id of the pass."),
    ("lease.until", "When the claim ends by itself."),
    ("lease.taken_over", "True where another process held the document until its claim ran out."),
    ("lease.journal", "Id of the journal in the `state_dir` of that pass. The answer is kept there."),
    ("lease.version", "Version of Evergrant that made the claim."),
    ("lease.since", "When the claim was made."),
];

impl Bookkeeping {
    /// When the login was marked as ended; `None` where it isn't. A token that is asked for again, and refused again, bears
    /// the same mark still: whatever else its document says of it by then.
    #[must_use]
    pub fn marked_at(&self) -> Option<Timestamp> {
        self.since.filter(|_| self.state.is_mark())
    }

    /// Did the last pair come from another journal than the one with this id?
    #[must_use]
    pub fn is_refreshed_elsewhere(&self, journal: &str) -> bool {
        self.refreshed_by.as_ref().is_some_and(|by| by != journal)
    }

    /// The token that came for the last redeemed one: good, as far as the document knows.
    #[must_use]
    pub fn good_token(&self) -> Option<Fingerprint> {
        self.fingerprint.filter(|token| !self.spent.is_empty() && !self.spent.contains(*token))
    }

    /// Does a marked document hold another access token than when it was marked?
    #[must_use]
    pub fn has_another_access_token(&self, access_token: Option<&AccessToken>) -> bool {
        let marked = self.access_fingerprint.filter(|_| self.state.is_mark());
        marked.zip(access_token).is_some_and(|(marked, there)| there.fingerprint() != marked)
    }

    /// The same, speaking of the token with this fingerprint: what was said of another one is over, a mark above all.
    #[must_use]
    pub fn speaking_of(self, fingerprint: Fingerprint, now: Timestamp) -> Self {
        let fingerprint = Some(fingerprint);
        if self.fingerprint == fingerprint {
            return self;
        }
        let since = if self.state == State::Live { self.since } else { Some(now) };
        Self {
            state: State::Live,
            since,
            fingerprint,
            access_fingerprint: None,
            last_error: None,
            ..self.of_login(fingerprint, now)
        }
    }

    /// The same; where another token is in the document now, without the ends of the one before. Its login is first seen
    /// now, unless nothing was known of any; a token that was redeemed is of the same login.
    #[must_use]
    pub fn of_login(self, token: Option<Fingerprint>, now: Timestamp) -> Self {
        if self.fingerprint == token {
            return self;
        }
        if token.is_some_and(|token| self.spent.contains(token)) {
            return Self { refresh_expires_at: None, ..self };
        }
        let login_at = self.fingerprint.map(|_| now);
        let spent = if token.is_some() { SpentTokens::default() } else { self.spent };
        Self { refresh_expires_at: None, login_at, login_ends_at: None, spent, ..self }
    }

    /// The redeemed tokens of the login, once the pair with the token `new` came for `sent`, and stands in the place of the
    /// redeemed token `there`: that is `sent` itself, or an older one.
    #[must_use]
    pub fn spent_after(&self, there: Fingerprint, sent: Fingerprint, new: Fingerprint) -> SpentTokens {
        if self.spent.contains(there) {
            return self.spent.with([sent], new);
        }
        let is_of_this_login = self.fingerprint == Some(there);
        let before = if is_of_this_login { self.spent.clone() } else { SpentTokens::default() };
        before.with([sent, there], new)
    }

    /// The same; where the claim was taken over, with a note that the token may have been sent by the process that held it.
    #[must_use]
    pub fn noting_the_takeover(self, token: Fingerprint, now: Timestamp) -> Self {
        if self.is_taken_over() { self.noting_a_doubt(token, None, now) } else { self }
    }

    /// The same, with the time at which the process that held the claim is taken to have sent the token.
    #[must_use]
    pub fn noting_the_sending(self, token: Fingerprint, sent_at: Timestamp, now: Timestamp) -> Self {
        if self.is_taken_over() { self.noting_a_doubt(token, Some(sent_at), now) } else { self }
    }

    /// When another machine, whose claim was taken over after a long wait, may have sent what stood in the document then.
    #[must_use]
    pub fn sent_by_another_machine(&self) -> Option<Timestamp> {
        let lost = self.last_error.as_ref()?.lost.as_ref()?;
        lost.sent_at.filter(|_| lost.cause.is(Code::ClaimEnded))
    }

    fn is_taken_over(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.taken_over)
    }

    /// The same, with a note that the token may have been sent, perhaps at a known time.
    #[must_use]
    pub fn noting_a_doubt(self, token: Fingerprint, sent_at: Option<Timestamp>, now: Timestamp) -> Self {
        let books = self.speaking_of(token, now);
        let known = books.last_error.as_ref().and_then(|error| error.lost.clone());
        let lost = match known.filter(|lost| !lost.turned_away) {
            // A request that is known isn't hidden behind one that may have been sent.
            Some(lost) => Lost { sent_at: lost.sent_at.or(sent_at), ..lost },
            None => Lost {
                cause: Code::ClaimEnded.into(),
                sent_at,
                peer: None,
                received_bytes: 0,
                turned_away: false,
            },
        };
        let evidence = match books.last_error.clone() {
            Some(error) => LastError { lost: Some(lost), ..error },
            None => LastError::in_doubt(lost, now),
        };
        Self { last_error: Some(evidence), ..books }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::RefreshToken;

    #[test]
    fn a_token_that_was_redeemed_is_no_new_login_and_another_one_ends_what_was_known() {
        let token = |name: &str| RefreshToken::new(name.into()).fingerprint();
        let (earlier, now) = (Timestamp::UNIX_EPOCH, "2026-11-21T03:00:00Z".parse().unwrap());
        let [t0, t1, t2, t3] = ["t0", "t1", "t2", "t3"].map(token);
        let books = Bookkeeping {
            fingerprint: Some(t2),
            spent: [t1, t0].into_iter().collect(),
            login_at: Some(earlier),
            refresh_expires_at: Some(now),
            ..Bookkeeping::default()
        };
        for (there, login_at, is_known) in [(t2, earlier, true), (t0, earlier, true), (t3, now, false)] {
            let of = books.clone().speaking_of(there, now);
            assert_eq!((of.fingerprint, of.login_at), (Some(there), Some(login_at)));
            assert_eq!((of.spent == books.spent, of.spent.is_empty()), (is_known, !is_known));
            assert_eq!(of.refresh_expires_at.is_some(), there == t2, "an end is that of its own token");
        }
        let unread = books.clone().of_login(None, now);
        assert_eq!(unread.spent, books.spent, "a token that can't be read is no other one");
        let after = |there, sent, new| books.spent_after(there, sent, new).iter().collect::<Vec<_>>();
        assert_eq!(after(t2, t2, t3), [t2, t1, t0]);
        assert_eq!(after(t2, t2, t2), [t1, t0], "the provider kept it");
        assert_eq!(after(t2, t2, t0), [t2, t1], "it is handed out again");
        assert_eq!(after(t0, t0, t3), [t0, t1], "it was taken all the same");
        assert_eq!(after(t0, t1, t2), [t1, t0], "the last pair goes back");
        assert_eq!(after(t3, t3, t2), [t3], "a new login");
    }

    #[test]
    fn what_was_known_of_a_token_that_is_taken_over_stays_and_a_known_sending_is_not_hidden() {
        let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let token = RefreshToken::new("r".into()).fingerprint();
        let lease =
            |taken_over| Lease { id: "l".into(), owner: "host:1".into(), until: now, taken_over, by: None };
        let books = Bookkeeping { lease: Some(lease(false)), ..Bookkeeping::default() };
        assert_eq!(books.clone().noting_the_takeover(token, now), books);
        let books = Bookkeeping { lease: Some(lease(true)), ..books };
        let mut noted = books.noting_the_takeover(token, now);
        assert_eq!(noted.fingerprint, Some(token));
        let evidence = noted.last_error.clone().unwrap();
        assert_eq!((&*evidence.class, &*evidence.lost.unwrap().cause), ("ambiguous", "claim_ended"));
        assert_eq!(noted.clone().noting_the_takeover(token, now), noted, "once is enough");
        let error = noted.last_error.as_mut().unwrap();
        (error.class, error.lost) = ("unreadable".into(), None);
        let evidence = noted.noting_the_takeover(token, now).last_error.unwrap();
        assert_eq!((&*evidence.class, evidence.lost.is_some()), ("unreadable", true));
    }
}

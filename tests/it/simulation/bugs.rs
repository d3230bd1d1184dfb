//! Deliberate bugs, each at a seam of the pass: what the simulation must find.

/// Something that somebody could have built wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The journal says that an answer is on the disk before its fsync.
    AcknowledgesBeforeFsync,
    /// The journal says that an answer is kept before it is written at all.
    AcknowledgesBeforeWrite,
    /// A restart begins with an empty journal: old entries are dropped.
    DropsOldEntries,
    /// A restart forgets which tokens were redeemed.
    ForgetsRedeemed,
    /// A document isn't read again: what was claimed is believed.
    BelievesTheFirstRead,
    /// A claim doesn't look whether somebody else holds the document.
    ClaimsWithoutLease,
    /// A write-back doesn't compare the refresh token.
    WritesWithoutCompare,
    /// A mark compares neither token nor lease.
    MarksWithoutCompare,
    /// A write that the store didn't take counts as done.
    TakesAnErrorForDone,
    /// Only the refresh token is written.
    WritesHalfAPair,
    /// A 401 counts as a refusal of the user's token.
    MarksOnRejectedClient,
    /// A lost answer counts as a request that was never sent.
    TakesLostForNotSent,
    /// The transport repeats a request without an answer by itself.
    RepeatsInTheTransport,
    /// The begin of a provider's pass recovers the rows of the other providers' passes, which are at work.
    RecoversRowsOfOthers,
    /// The begin of a provider's pass gives back what the other providers' passes have claimed and have in hand.
    ReleasesClaimsOfOthers,
    /// A pass doesn't look for what falls due while it runs. It is found in a pass of hours, which no seed has.
    OverlooksWhatFallsDue,
    /// The first refusal of a token counts for the second one too: its provider isn't asked once more.
    MarksAtTheFirstRefusal,
    /// Some refusals in a row end a pass, and no sample is drawn.
    StopsWithoutASample,
    /// A token that was redeemed is forgotten as soon as that is written.
    ForgetsRedeemedTooEarly,
    /// In doubt the marks of a pass stay what they are.
    LeavesMarks,
    /// A restart forgets which marks aren't judged yet.
    ForgetsMarks,
    /// A restart forgets the pairs that are kept should a document lose them.
    ForgetsKeptPairs,
    /// A claim that has ended counts as none: whose it was isn't asked.
    ForgetsWhoClaimed,
    /// A document doesn't say which machine wrote its pair.
    ForgetsWhoRefreshed,
    /// A document doesn't say which token its pair came for.
    ForgetsWhatWasSpent,
    /// A copy of the database is taken for the database.
    TakesACopyForItself,
    /// A kept pair is put back into a document that holds something else by now.
    PutsBackWithoutCompare,
    /// An import doesn't compare its pairs with those that are there.
    ImportsWithoutCompare,
    /// The time is that of the machine's clock, and the store isn't asked for its own.
    BelievesTheMachinesClock,
    /// A leap of the store's clock isn't noticed: claims seem to have ended.
    IgnoresALeap,
    /// A token that may be spent is sent again to a provider that punishes that.
    AsksAgainWhatMayBeSpent,
}

impl Bug {
    /// Those that only a crowd finds, each in one of its few worlds.
    pub(super) const OF_A_CROWD: [Self; 2] = [Self::LeavesMarks, Self::ForgetsMarks];

    /// All, each with a seed at which it is found.
    pub(super) const ALL: [(Self, u64); 28] = [
        (Self::AcknowledgesBeforeFsync, 9),
        (Self::AcknowledgesBeforeWrite, 0),
        (Self::DropsOldEntries, 0),
        (Self::ForgetsRedeemed, 0),
        (Self::BelievesTheFirstRead, 0),
        (Self::ClaimsWithoutLease, 244),
        (Self::WritesWithoutCompare, 0),
        (Self::MarksWithoutCompare, 307),
        (Self::TakesAnErrorForDone, 0),
        (Self::WritesHalfAPair, 0),
        (Self::MarksOnRejectedClient, 24),
        (Self::TakesLostForNotSent, 0),
        (Self::RepeatsInTheTransport, 0),
        (Self::RecoversRowsOfOthers, 2),
        (Self::ReleasesClaimsOfOthers, 98),
        (Self::MarksAtTheFirstRefusal, 10),
        (Self::StopsWithoutASample, 24),
        (Self::ForgetsRedeemedTooEarly, 0),
        (Self::ForgetsKeptPairs, 0),
        (Self::ForgetsWhoClaimed, 27),
        (Self::ForgetsWhoRefreshed, 162),
        (Self::ForgetsWhatWasSpent, 419),
        (Self::TakesACopyForItself, 4),
        (Self::PutsBackWithoutCompare, 2),
        (Self::ImportsWithoutCompare, 114),
        (Self::BelievesTheMachinesClock, 10),
        (Self::IgnoresALeap, 1_023),
        (Self::AsksAgainWhatMayBeSpent, 3),
    ];
}

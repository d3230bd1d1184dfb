//! The rules of the judge: one name for each line of its tables.

macro_rules! rules {
    ($($rule:ident: $says:literal;)*) => {
        /// The rule that decided a case.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $says] $rule,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// What it says, for the log.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$rule => $says,)*
                }
            }
        }
    };
}

rules! {
    AskAgainLater: "Put off by the provider: asked again in this pass.";
    Rests: "Asked for too early, or throttled alone: the token rests until a later pass, and nothing has failed.";
    PutOff: "Put off by the provider too often: a later pass.";
    Unlisted: "An error code that the profile does not list: a later pass.";
    UnreadableAndKept: "A success in which no pair can be read, of a provider that does not rotate.";
    Unreadable: "A success in which no pair can be read: it is kept, and the token is not sent again.";
    OutageAskAgain: "An outage in which no user is granted: asked again in this pass.";
    OutagePutOff: "An outage in which no user is granted: a later pass.";
    LostAskAgain: "No usable answer: asked again in this pass.";
    LostPutOff: "No usable answer: a later pass.";
    RefusedAskOnceMore: "A refusal: asked once more in this pass.";
    NotAskedOnceMore: "A refusal after which the token could not be asked for once more waits to be believed.";
    RefusedIsHeld: "A refusal waits to be believed.";
    ClientRejected: "The provider rejects our client.";
    GrantedUnsendable: "A new pair whose refresh token cannot be sent.";
    Granted: "A new pair.";
    RefusedOnce: "A refusal that is not believed yet.";
    RefusalsNotBelieved: "Too many refusals: more likely our fault.";
    MarksWithoutRequestNotBelieved: "Too many marks for which nothing was sent: more likely our fault.";
    MayBeSpent: "The token may be spent, and its provider forbids a second request.";
    MarkLooks: "A mark that is believed looks at the document first.";
    MarkUnknown: "A mark whose document cannot be read.";
    MarkGone: "A mark whose document is gone.";
    MarkSuperseded: "A mark whose document holds another token.";
    MarkedLost: "Marked: lost in flight.";
    Marked: "Marked: needs a login.";
    RedeemedLooks: "A token that was redeemed before: its first document is read.";
    RedeemedUnknown: "Its first document cannot be read.";
    RedeemedOnItsWay: "Its first document is claimed.";
    RedeemedIsTaken: "The provider takes redeemed tokens, and there is no pair to copy any more: the next pass asks.";
    Copied: "Its pair is copied out of its first document.";
    PutBack: "Its pair is in no document, and the journal has it: it is put back.";
    RedeemedIsHeld: "Its pair is in no document: the mark waits to be believed.";
    RedeemedMarked: "Its pair is in no document: marked.";
    OvertakenLooks: "A newer token was written: the document is read.";
    OvertakenUnknown: "That document cannot be read.";
    OvertakenGone: "That document is gone.";
    Overtaken: "The newer token stays.";
    NotSent: "The claim is given back: due for the next pass.";
    Waits: "The claim is given back: due after the first wait.";
    TooYoung: "The claim is given back: due when the token is old enough.";
    NotTaken: "The claim is given back as if it had never been taken.";
    Malformed: "The document holds no token that can be sent.";
    Stray: "The document belongs to another provider by now.";
    LeftInDoubt: "A row in doubt stays as it is.";
    LeftGone: "A row in doubt whose document is gone.";
    LeftMarked: "A row in doubt whose document is marked.";
    LeftWrittenThen: "A row in doubt whose pair was written straight into the document.";
    LeftOtherToken: "A row in doubt whose document holds another token.";
    LeftUnknownProvider: "An answer of a provider that is not configured any more.";
    LeftBeside: "An answer that stays beside the next try.";
    LeftMisread: "An answer that an earlier version took for a lost one.";
    LeftUnreadAskAgain: "An unread answer of a provider that does not rotate, says the profile by now.";
    LeftUnreadableAndKept: "An answer without a pair, of a provider that does not rotate.";
    LeftUnread: "An unread answer that still cannot be read.";
    LeftUnreadable: "A success in which no pair can be read.";
    LeftLost: "An answer that says nothing.";
    LeftTurnedAway: "An answer that isn't the provider's own.";
    LeftNotProcessed: "An answer that says: not granted.";
    LeftPairGone: "A pair whose document is gone.";
    LeftPairThere: "A pair that is in its document.";
    LeftPairOtherProvider: "A pair whose document belongs to another provider.";
    LeftPairEnded: "An access token that has ended.";
    LeftPairWritten: "A pair that is written into its document.";
    LeftPairFinished: "A pair whose refresh token the server itself has written into the document.";
    LeftPairSuperseded: "A pair whose document holds another token.";
    ByHandThere: "By hand: the pair is in its document.";
    ByHandWritten: "By hand: a parked pair is written into its document.";
    ByHandParked: "By hand: nothing to ask for, and the answer is parked.";
    ByHandAskAgain: "By hand: a second request is allowed.";
    ByHandDiscarded: "By hand: an answer is given up.";
    TheirsStays: "Not written: another program's token stays.";
    DocumentGone: "Not written: the document is gone.";
    RenewalNotWritten: "Not written: a renewed access token that could be kept nowhere.";
    PairIsHeld: "Not written: the pair stays in the journal.";
    NotWritten: "Not written: the next pass finds it out again.";
    PairIsLost: "Not written: the pair could be kept nowhere.";
}

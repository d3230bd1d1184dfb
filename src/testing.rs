//! What our own tests, benchmarks and fuzz targets reach of the inside: no promise to anybody else.
//!
//! It has the paths of the rooms themselves, and of each what is used and no more: what stands in no list here, and isn't used by
//! the binary, is dead code to the compiler.
#![allow(missing_docs, reason = "each item is documented where it stands")]

pub mod chance {
    pub use crate::chance::Chance;
}
pub mod cli {
    pub use crate::cli::Cli;
}
pub mod clock {
    pub use crate::clock::{Clock, Timestamp};
}
pub mod config {
    pub use crate::config::{Config, Inputs, Need};
    pub mod keys {
        pub use crate::config::keys::{KEYS, Key};
    }
}
pub mod daemon {
    pub use crate::daemon::Daemon;
}
pub mod engine {
    pub use crate::engine::Engine;
}
pub mod exit {
    pub use crate::exit::Exit;
}
pub mod failure {
    pub use crate::failure::{Advice, told};
}
pub mod gate {
    pub use crate::gate::{Suspicion, skip_samples};
}
pub mod grant {
    pub use crate::grant::{Connect, GrantRequest, RawAnswer, Sent, Wire, request};
    pub mod answer {
        pub use crate::grant::answer::{
            Class, Granted, MAX_RETRY_AFTER, Reading, holds_a_token, read, read_answer, retry_after,
        };
    }
    pub mod headers {
        pub use crate::grant::headers::Headers;
    }
    pub mod http {
        pub use crate::grant::http::{ClientError, Https, TokenEndpoint};
    }
}
pub mod help {
    pub use crate::help::{AUTODESK, BEARER_SESSION, COOKIE_SESSION, EXPRESS_JWT, JWT_PAIR, Topic};
}
pub mod journal {
    pub use crate::journal::{
        Entry, EntryId, EntryState, Event, Intent, Journal, JournalError, JournalSettings, KeptPairs,
        MadeMark, Moment, Permission,
    };
    pub mod simulated {
        pub use crate::journal::simulated::{Commit, Desk, Disk, Mistake};
    }
}
pub mod kill_point {
    pub use crate::kill_point::Point;
}
pub mod pass {
    pub use crate::pass::{
        ApplyError, Base, LOOKS_AGAIN_EVERY, PassError, PassRequest, PassSettings, Stop, Whose,
        go_by_its_time, rules_met,
    };
}
pub mod provider {
    pub use crate::provider::{
        AnswerShape, AskAgain, ClientAuth, ClientSecret, PastEnd, Profile, Provider, Rotation, SecondLooks,
        Values,
    };
    pub mod conflict {
        pub use crate::provider::conflict::conflict;
    }
    pub mod keep {
        pub use crate::provider::keep::Keep;
    }
    pub mod place {
        pub use crate::provider::place::{AnswerPlace, RequestPlace};
    }
    pub mod profile {
        pub use crate::provider::profile::{load, names, table};
    }
    pub mod rate {
        pub use crate::provider::rate::Rate;
    }
    pub mod request {
        pub use crate::provider::request::{ClientAuth, Encoding, Method};
    }
    pub mod rules {
        pub use crate::provider::rules::{Rule, check};
    }
    pub mod token_url {
        pub use crate::provider::token_url::{TokenUrl, UrlTemplate, is_template};
    }
}
pub mod report {
    pub use crate::report::{ENDING_SOON, Named, Outcome, Reports, Trouble, WhyLiveAgain};
    pub mod summary {
        pub use crate::report::summary::Summary;
    }
}
pub mod schedule {
    pub use crate::schedule::{ASSUMED_LIFE, RenewAfter, Schedule, TooShort, Wakes};
}
pub mod select {
    pub use crate::select::FRESH_FOR;
}
pub mod silence {
    pub use crate::silence::keep;
}
pub mod survey {
    pub use crate::survey::{
        Forecast, NextPass, NotMade, Survey, SurveyQuery, Surveyed, Tokens, WITHIN_DAYS, Within,
    };
}
pub mod store {
    pub use crate::store::{
        Applied, Change, Claim, Claimed, Deployment, DueAfter, DuePage, DueQuery, Existence, Fence, Identity,
        IndexState, Later, Mark, PairChange, Position, ProviderFilter, Readiness, Relation, Replaces, Store,
        StoreError, StoreSettings, Strangers, Trial, TtlIndex, Unwritable, Waiting, Waits, WhoWaits, connect,
        sqlite_path,
    };
    pub mod import {
        pub use crate::store::import::{ImportFormat, malformed, read_documents};
    }
    pub mod mapping {
        pub use crate::store::mapping::{ExpiryFormat, FieldPath, Mapping};
    }
    pub mod sqlite {
        pub use crate::store::sqlite::{ImportTerms, SqliteStore, keeps_its_pair};
    }
}
pub mod token {
    pub use crate::token::{
        AccessToken, Bookkeeping, ClaimedBy, Code, Facts, Fingerprint, Further, LastError, Lease, Lost,
        Malformed, ParkedWhy, RefreshToken, SpentTokens, State, Subject, TokenDocument, TokenId, Vocabulary,
        Word,
    };
}
pub mod verdict {
    pub use crate::verdict::Rule;
}

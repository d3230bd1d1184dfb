//! The store's contract, over both stores; and what only one of them has.

pub(crate) mod backend;
mod claims;
mod draws;
mod imports;
mod look_up;
mod mongo_only;
mod pages;
mod surveys;
mod updates;
mod waiting;

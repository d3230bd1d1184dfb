//! What several subjects need.

pub(crate) mod canaries;
pub(crate) mod foreign;
pub(crate) mod meddler;
pub(crate) mod mongod;
pub(crate) mod process;
pub(crate) mod rehearsal;

//! What several subjects need.

pub(crate) mod mongod;
pub(crate) mod process;

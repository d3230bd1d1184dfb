//! What several subjects need.

pub(crate) mod app;
pub(crate) mod canaries;
pub(crate) mod codings;
pub(crate) mod compiled;
pub(crate) mod faulty_disk;
pub(crate) mod foreign;
pub(crate) mod in_step;
pub(crate) mod journal_file;
pub(crate) mod meddler;
pub(crate) mod mongod;
pub(crate) mod own_server;
pub(crate) mod power_cut;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod rehearsal;
pub(crate) mod replica_set;
pub(crate) mod small_disk;

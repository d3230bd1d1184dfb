//! `evergrant providers`.

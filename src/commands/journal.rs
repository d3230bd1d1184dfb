//! `evergrant journal`.

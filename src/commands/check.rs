//! `evergrant check`.

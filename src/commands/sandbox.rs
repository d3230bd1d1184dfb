//! `evergrant sandbox`.

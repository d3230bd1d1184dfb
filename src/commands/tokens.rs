//! `evergrant tokens`.

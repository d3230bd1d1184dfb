//! A local OAuth provider.

//! The line breaks, everywhere and in every way: between us and the provider, and between us and MongoDB.

mod provider;
mod store;

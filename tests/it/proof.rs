//! Proofs: tables of whatever others may send us or leave in a document, and what is scanned for secrets.

mod answers;
mod canaries;
mod corpus;
mod documents;
mod mongo_documents;
mod shapes;
mod unsendable;

//! The line to MongoDB: a cell for each call of a pass, each stage of it and each way to break.

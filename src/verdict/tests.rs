//! The judge's table.

//! The store traits in memory, for tests.

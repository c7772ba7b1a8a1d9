//! `holm.toml`: parsing with positions, defaults, and the nearest known key for an unknown one.

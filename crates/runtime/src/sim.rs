//! A scripted engine for tests of the platform.

//! What is going on on an HTTP/2 connection, told from the frames that pass, and how long a peer may pause that reads in steps.

pub mod frames;
#[cfg(test)]
#[allow(dead_code, reason = "each crate uses a part of it")]
#[path = "../../src/fuzz_tests.rs"]
mod fuzz_tests;
pub mod pace;
pub mod streams;

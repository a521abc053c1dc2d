//! HTTP/2.
//!
//! - `multiplexed` is the client that reads all the while, on a `socket` that keeps it from breaking the protocol
//! - `blocking` is the one that reads only while it awaits a response
//! - `frames` finds the frames in what both read and write

pub(super) mod blocking;
pub(super) mod multiplexed;

mod frames;
mod socket;

#[cfg(test)]
pub(super) mod peer;

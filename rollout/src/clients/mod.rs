//! Clients that forgive nothing: no retry, no look at the socket before writing.
//!
//! - `load` starts the clients of a `mix`, each with a `pacer`; `target` is what they ask for
//! - `client` is what they have in common, `http1` and `http2` what they speak, `tls` what may be below
//! - `library` runs programs on real client libraries
//! - `preflight` asks once for everything before the run

pub(crate) mod client;
pub(crate) mod http1;
pub(crate) mod library;
pub(crate) mod load;
pub(crate) mod mix;
pub(crate) mod preflight;
pub(crate) mod target;

pub(crate) mod tls;

mod http2;
mod pacer;

//! HTTP/1.1: `connection` is the protocol, `keep` and `stream` are the clients.

pub(crate) mod connection;

pub(super) mod keep_alive;
pub(super) mod stream;

//! HTTP/1.1: `connection` is the protocol, `keep_alive`, `stream` and `open` are the clients.

pub(crate) mod connection;

pub(super) mod keep_alive;
pub(super) mod open;
pub(super) mod stream;

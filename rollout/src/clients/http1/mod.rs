//! HTTP/1.1: `connection` is the protocol; `keep_alive`, `open`, `pipelined`, `slow`, `stream` and `websocket` are the clients.

pub(crate) mod connection;

pub(super) mod keep_alive;
pub(super) mod open;
pub(super) mod pipelined;
pub(super) mod slow;
pub(super) mod stream;
pub(super) mod websocket;

#[cfg(test)]
mod tests;

//! The engine as its callers meet it, mostly as real processes: one file for each subject, one executable for all of them,
//! because linking takes longer than compiling.
//!
//! What measures memory or load, or blocks whole runtimes, stands beside this folder and runs alone.

mod accept_loop;
mod background;
mod bad_clients;
mod broken_clients;
mod checks;
mod command;
mod goaway;
mod half_close;
mod hooks;
mod http2_limits;
mod lifecycle;
mod logs;
mod metrics;
mod pipelining;
mod requests;
mod router;
#[cfg(target_os = "linux")]
mod sockets;
mod spans;
mod status;
mod stopped;
#[allow(dead_code, reason = "the tests beside this folder use the rest")]
#[path = "../support/mod.rs"]
mod support;

//! The engine as its callers meet it, mostly as real processes: one file for each subject, one executable for all of them,
//! because linking takes longer than compiling.
//!
//! What measures memory or load, or blocks whole runtimes, stands beside this folder and runs alone.

mod accept_loop;
mod ageing;
mod background;
mod bad_clients;
mod broken_clients;
mod checks;
mod command;
#[allow(dead_code, clippy::unwrap_used, reason = "it is the library's, whose tests use the rest")]
#[path = "../../src/fuzz_tests.rs"]
mod fuzz_tests;
mod goaway;
mod half_close;
mod hooks;
mod http2_limits;
mod lifecycle;
mod logs;
mod metrics;
mod model;
mod outliving;
mod overload;
mod pipelining;
mod requests;
mod router;
mod slow_readers;
#[cfg(target_os = "linux")]
mod sockets;
mod spans;
mod status;
mod stopped;
mod strangers;
#[allow(dead_code, reason = "the tests beside this folder use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod systemd;

//! The engine of an axum service that survives every rolling update, eviction and node drain without losing a request.
//!
//! # The lifecycle
//!
//! ```text
//!             start            SIGTERM            delay over            all gone, or timeout
//!               │                 │                    │                        │
//!  phase    Starting ─► Serving ─► Draining ──────────► Closing ───────────────► Stopped ─► exit
//!  /startupz  503        200       200                  200                     (admin port
//!  /livez     200        200       200                  200                      answers until
//!  /readyz    503        200       503                  503                      the very end)
//!  listener  bound,     accepts    accepts              queue emptied, closed
//!            unserved
//!  HTTP/1               keep-alive every response says  a kept connection gets one last
//!                                  `Connection: close`  response, with `Connection: close`
//!  HTTP/2               open       GOAWAY goes with a   the same; what is open at
//!                                  response, or to a    the end of the timeout gets
//!                                  peer that reads      GOAWAY and is closed
//!                                  when idle
//!  streams, upgrades               told to finish       waited for, then aborted
//!  background work                 told to finish       waited for, then aborted
//!  workers                                              told when the last request was answered
//!  clean-up                                             pools close, telemetry flushes: after the drain
//! ```
//!
//! # Layout
//!
//! - `app`: the order things happen in
//! - `service`: what a service gets to build itself from, and what it gives to be run
//! - `lifecycle`, `shutdown`: the phases; signals and the sequence
//! - `systemd`: sockets that are handed over, and what is told to who did
//! - `server`: accept loop, connection deadlines, draining connections
//! - [`health`], [`metrics`], `admin`, `status`: what the cluster and its operators ask
//! - [`config`], `command`: environment in, a checked value out; and the command line
//! - [`telemetry`], [`trace`]: logs; request ids and spans
//! - `layers`, [`error`]: what wraps each request; problem+json
//! - [`testing`]: a service without sockets, for tests of its routes
//!
//! What knows nothing of services is in crates of its own: `landfall-frames` follows HTTP/2's frames,
//! `landfall-telemetry` writes the logs, `landfall-variables` reads the environment.
//!
//! No module imports one that imports it, and none knows a service.

// In place of which tests/loom has loom's.
use std::sync;

mod admin;
mod app;
mod command;
pub mod config;
pub mod error;
#[cfg(test)]
mod fuzz_tests;
pub mod health;
mod layers;
mod lifecycle;
pub mod metrics;
mod server;
mod service;
mod shutdown;
mod status;
mod systemd;
pub mod telemetry;
pub mod testing;
pub mod trace;
mod waiting;

pub use self::{
    app::Program,
    layers::RouteLimits,
    lifecycle::{Drain, Phase},
    service::{App, Service, StartError},
    shutdown::Signals,
};

/// The page whose snippets are compiled by the tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/service.md")]
struct DocsOfService;

/// Which build of a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The service's name: its package's.
    pub name: &'static str,
    /// Its version in Cargo.toml.
    pub version: &'static str,
    /// The revision of its sources, `unknown` where there was none.
    pub revision: &'static str,
}

/// The [`Build`] of the package that calls it, whose `build.rs` writes the revision into `OUT_DIR/revision`.
#[macro_export]
macro_rules! build {
    () => {
        $crate::Build {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            revision: include_str!(concat!(env!("OUT_DIR"), "/revision")),
        }
    };
}

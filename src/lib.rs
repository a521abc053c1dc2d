//! landfall: an axum service that survives every rolling update, eviction and node drain without losing a request.
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
//!  HTTP/1               keep-alive every answer says    a kept connection gets one last
//!                                  `Connection: close`  answer, with `Connection: close`
//!  HTTP/2               open       GOAWAY, new streams  streams in flight finish
//!                                  still answered
//!  streams, upgrades               told to finish       waited for, then aborted
//!  background work                 told to finish       waited for, then aborted
//!  cleanup                                              pools close, telemetry flushes: after the drain
//! ```
//!
//! # Layout
//!
//! - [`app`]: the order things happen in
//! - [`shutdown`]: signals, phases, the sequence
//! - [`server`]: accept loop, connection deadlines, draining connections
//! - [`health`], [`metrics`], [`admin`]: what the cluster asks
//! - [`config`], [`command`]: environment in, a checked value out; and the command line
//! - [`telemetry`], [`trace`]: logs; request ids and spans
//! - [`layers`], [`error`]: what wraps each request; problem+json
//! - [`routes`]: the service: the file you replace

pub mod admin;
pub mod app;
pub mod command;
pub mod config;
pub mod error;
pub mod health;
pub mod layers;
pub mod metrics;
pub mod routes;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod trace;

/// The version in Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision that was built, `unknown` where there was none.
pub const REVISION: &str = env!("LANDFALL_REVISION");

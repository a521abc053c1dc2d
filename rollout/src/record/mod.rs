//! What is seen while a run goes on.
//!
//! - `recorder` takes the `outcome` of every request into a `tally` for each `kind` of client and a `timeline`
//! - `pods` are the histories of the servers, `connections` what a balancer did with each connection,
//!   `shares` which part of the requests each pod got

pub(crate) mod connections;
pub(crate) mod kind;
pub(crate) mod outcome;
pub(crate) mod pods;
pub(crate) mod recorder;
pub(crate) mod shares;
pub(crate) mod tally;
pub(crate) mod timeline;

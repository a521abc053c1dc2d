//! `rollout cluster`: restarts a Deployment under load.
//!
//! - `run` restarts it, `watched` sees its pods and endpoints, `kubectl` is how both talk to the cluster

pub(crate) mod run;

mod kubectl;
mod watched;

//! `rollout cluster`: replaces a Deployment's pods under load.
//!
//! - `run` takes the `steps`, `watched` sees what becomes of the pods, `kubectl` is how both talk to the cluster

pub(crate) mod run;

mod kubectl;
mod steps;
mod watched;

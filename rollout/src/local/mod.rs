//! `rollout local`: real processes behind a balancer that lags, replaced as a Deployment replaces them.
//!
//! - `run` goes through the rollouts under load; `compare` does so for each sequence, the `naive` servers' among them
//! - `deployment` decides what to start and to end, within the bounds of `rolling`; `pod` carries it out on a `process`
//! - `balancer` is in front, on addresses of `network`; `chaos` disturbs
//! - `proxy` stands between the clients and the pods
//! - `timings` are how long things take, `overlay` reads them from manifests

pub(crate) mod compare;
pub(crate) mod naive;
pub(crate) mod run;

mod balancer;
mod chaos;
mod deployment;
mod network;
mod overlay;
mod pod;
mod process;
mod proxy;
mod rolling;
mod timings;

//! `rollout cluster`.
use crate::args::Cluster;
use crate::interrupt::Interrupt;
use crate::report::Verdict;
use crate::unable::Unable;
/// Runs.
pub(crate) async fn run(_args: Cluster, _interrupt: Interrupt) -> Result<Verdict, Unable> {
    Err(Unable("soon".into()))
}

//! rollout: load-tests a rolling update.
fn main() {}

//! Real proxies between the clients and the pods, with their retries off.
//!
//! - `running` starts one and tells it of endpoints, each in its own way
//! - `configuration` is what each is told

pub(super) mod configuration;
pub(super) mod running;

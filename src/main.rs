//! landfall: an axum service that survives every rolling update.
fn main() {}

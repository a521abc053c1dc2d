//! Checks what `kubectl kustomize` renders: the objects by themselves, and the numbers and names that must
//! agree.
//!
//! - [`render`]: a kustomization in, its objects out
//! - [`schema`]: each object against the schema of its kind, unknown fields refused
//! - [`custom`]: the custom resources in use, as far as the rules read them
//! - [`rendered`]: the objects of one kustomization, typed, and the questions that the rules ask of them
//! - [`rules`]: what must hold, one function each
//! - [`units`]: durations and quantities

pub mod custom;
pub mod render;
pub mod rendered;
pub mod rules;
pub mod schema;
pub mod units;

pub use rendered::Rendered;

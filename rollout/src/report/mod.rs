//! A run's results, for people and for machines.
//!
//! - `summary` is what was seen, and the verdict
//! - `text` is the table, `json` everything, `chart` the picture; `publish` prints and writes them
//! - `progress` shows the run as it goes; `columns` lays out plain text

pub(crate) mod chart;
pub(crate) mod columns;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod publish;
pub(crate) mod summary;
pub(crate) mod text;

//! A run's results, for people and for machines.
//!
//! - `summary` is what was seen, and the verdict
//! - `text` is what a terminal shows, `page` what a browser does, with the `chart` and the `losses` in it; `json` is everything;
//!   `junit` and `markdown` are for CI; `publish` prints and writes them
//! - `table` has the rows of all of them; `columns` lays out plain text, `escape` is for markup
//! - `progress` shows the run as it goes

pub(crate) mod columns;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod publish;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod text;

mod chart;
mod escape;
mod junit;
mod losses;
mod markdown;
mod page;

#[cfg(test)]
mod tests;

//! Environment in, a checked value out: everything that is wrong at once, or one [`LoadedConfig`].
//!
//! A set of variables is declared once, by [`declare!`]: from that come the struct, the defaults, the table and the checks.
//! A program has two sets: the configuration that all programs of its kind have, and its own variables, which may be
//! checked beside the configuration.

mod error;
mod file;
#[cfg(test)]
#[path = "../../src/fuzz_tests.rs"]
mod fuzz_tests;
mod load;
#[cfg(test)]
mod tests;
mod value;
mod variable;

#[doc(hidden)]
pub use self::variable::{parse, shown};
pub use self::{
    error::{ConfigError, ConfigErrors},
    load::{LoadedConfig, Source},
    value::{HumanDuration, Secret},
    variable::{PREFIX, Variable, Variables},
};

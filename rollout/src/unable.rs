//! Why a run could not be made.

use std::fmt::Display;

/// A run that could not be made, and what to do about it; the exit code is 2.
#[derive(Debug)]
pub(crate) struct Unable(pub(crate) String);

/// Turns any error into [`Unable`], saying what was tried.
pub(crate) trait OrUnable<T> {
    /// Names what was tried when it failed.
    fn or_unable(self, tried: impl Display) -> Result<T, Unable>;
}

impl<T, E: Display> OrUnable<T> for Result<T, E> {
    fn or_unable(self, tried: impl Display) -> Result<T, Unable> {
        self.map_err(|error| Unable(format!("{tried}: {error}")))
    }
}

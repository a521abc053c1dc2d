//! What is wrong with the environment.

use std::fmt;

use crate::variable::name;

/// One thing that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: expected {expected}{}", .found.iter().map(|found| format!("; found {found}")).collect::<String>())]
pub struct ConfigError {
    /// The variable at fault.
    pub variable: String,
    /// What was expected of it.
    pub expected: String,
    /// What was found; absent where it may be a secret.
    pub found: Option<String>,
}

/// Everything that is wrong with the environment.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{}", .0.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// Adds an error about a field unless it holds. A secret must not be among what was found.
    pub fn expect(
        &mut self,
        holds: bool,
        field: &str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        if !holds {
            self.push(name(field), expected.to_string(), Some(found.to_string()));
        }
    }

    pub(crate) fn push(&mut self, variable: String, expected: String, found: Option<String>) {
        self.0.push(ConfigError { variable, expected, found });
    }
}

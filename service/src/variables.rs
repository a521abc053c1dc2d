//! The variables of this service's own, beside those of the engine.

use landfall::config::Secret;

landfall::variables! {
    /// What the service reads from its environment.
    pub(crate) struct Variables {
        /// When set, the bearer token that every POST has to carry.
        api_token: Option<Secret> = None, "a token, not empty", secret;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_has_the_table() {
        landfall::testing::assert_documented::<super::Variables>(include_str!("../README.md"));
    }
}

//! What must hold in every rendered kustomization, one function each.

mod alb;
mod drain;
mod gitops;
mod identity;
mod platforms;
mod pods;
mod progressive;
mod quota;
mod scaling;
mod tracks;
mod traffic;

use crate::Rendered;

/// One rule: its name, where it holds, and what it finds.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// As the tests and `docs/decisions.md` name it.
    pub name: &'static str,
    /// Whether it also holds for the base, which has no namespace, no host and no ingress class.
    pub in_base: bool,
    check: fn(&Rendered) -> Vec<String>,
}

impl Rule {
    /// What breaks the rule, a sentence each; empty when nothing does.
    pub fn check(&self, rendered: &Rendered) -> Vec<String> {
        (self.check)(rendered)
    }
}

const fn everywhere(name: &'static str, check: fn(&Rendered) -> Vec<String>) -> Rule {
    Rule { name, in_base: true, check }
}

const fn overlays(name: &'static str, check: fn(&Rendered) -> Vec<String>) -> Rule {
    Rule { name, in_base: false, check }
}

/// All of them.
pub const RULES: &[Rule] = &[
    // A pod by itself.
    everywhere("restricted", pods::restricted),
    everywhere("uid-above-10000", pods::ids),
    everywhere("read-only-root", pods::read_only),
    everywhere("resources", pods::resources),
    everywhere("fixed-image", pods::fixed_image),
    everywhere("probes", pods::probes),
    everywhere("hooks", pods::hooks),
    everywhere("no-service-links", pods::no_service_links),
    everywhere("environment", pods::environment),
    everywhere("spread", pods::spread),
    // The durations.
    everywhere("grace-covers-drain", drain::grace),
    everywhere("delay-covers-lag", drain::delay),
    everywhere("timeout-covers-keep-alive", drain::keep_alive),
    // The number of pods.
    everywhere("one-owner-of-replicas", scaling::owner),
    everywhere("autoscaler", scaling::autoscaler),
    everywhere("disruption-budget", scaling::budget),
    everywhere("rollout-proceeds", scaling::rollout),
    everywhere("quota-has-room", quota::quota),
    // Who reaches whom.
    everywhere("service-selects", traffic::services),
    everywhere("selectors-disjoint", traffic::disjoint),
    everywhere("tracks-alike", pods::alike),
    everywhere("routes", traffic::routes),
    overlays("public-host", traffic::public_host),
    everywhere("network-policy", traffic::policy),
    everywhere("scrape", traffic::scrape),
    everywhere("alb", alb::alb),
    // Two tracks.
    everywhere("config-per-track", tracks::config),
    everywhere("service-names-track", tracks::services),
    everywhere("weights-decide", tracks::weights),
    // Names.
    everywhere("labels", identity::labels),
    everywhere("references", identity::references),
    everywhere("no-token", identity::no_token),
    everywhere("least-rights", identity::least_rights),
    everywhere("no-secret-in-config", identity::no_secret_in_config),
    overlays("namespace", identity::namespace),
    // Controllers that bring in new versions.
    everywhere("progressive-delivery", progressive::delivery),
    // What a platform refuses, or needs besides.
    everywhere("gateway", platforms::gateway),
    everywhere("platform-network", platforms::network),
    overlays("architecture", platforms::architecture),
    everywhere("config-outlives-rollout", gitops::config),
    everywhere("server-side-diff", gitops::server_side_diff),
];

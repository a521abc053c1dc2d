//! For tests: a service without sockets and signals, whose routers are asked with `oneshot`; and its docs.

use axum::Router;

use crate::{
    Build, admin, app,
    config::{LoadedConfig, Variable, Variables},
    health::Health,
    lifecycle::{Lifecycle, Phase},
    service::{App, Service, StartError},
    telemetry::LogHandle,
};

/// A service that has started.
#[derive(Debug)]
pub struct Started {
    /// What its port answers.
    pub router: Router,
    /// What the admin port answers.
    pub admin: Router,
    /// Its checks.
    pub health: Health,
    lifecycle: Lifecycle,
}

impl Started {
    /// Moves the lifecycle on to a later phase, such as [`Phase::Draining`].
    pub fn enter(&self, phase: Phase) {
        self.lifecycle.enter(phase);
    }
}

/// Starts a service with these variables and no others; fails with everything that is wrong with them, or as the
/// service's start does.
pub async fn start<V, F>(
    vars: &[(&str, &str)],
    start: impl FnOnce(App<V>) -> F,
) -> Result<Started, StartError>
where
    V: Variables,
    F: Future<Output = Result<Service, StartError>>,
{
    let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
    let build = Build { name: "test", version: "0.0.0", revision: "unknown" };
    let (app, status) = app::prepare(build, LoadedConfig::from_vars(vars)?);
    let (config, health, metrics) = (app.config.clone(), app.health.clone(), app.metrics.clone());
    let (lifecycle, log) = (status.lifecycle.clone(), LogHandle::new(config.log.clone()));
    let Service { router, limits, outer, .. } = start(app).await?;
    let drain = lifecycle.drain();
    let router = app::router(router, &limits, outer, &config, &health, &metrics, drain, 1).await?;
    lifecycle.enter(Phase::Serving);
    let admin = admin::router(status, &log);
    Ok(Started { router, admin, health, lifecycle })
}

/// Requires that a text has the table's row of each variable of this set, and no row of another variable; says which
/// it lacks or has too much.
///
/// # Panics
/// When it has not.
pub fn assert_documented<V: Variables>(text: &str) {
    let rows: Vec<String> = V::LIST.iter().map(Variable::row).collect();
    let found: Vec<&str> = text.lines().filter(|line| line.starts_with("| `APP_")).collect();
    let missing: String =
        rows.iter().filter(|row| !found.contains(&row.as_str())).map(|row| format!("{row}\n")).collect();
    assert!(missing.is_empty(), "is missing:\n{missing}");
    let extra: String = found
        .iter()
        .filter(|row| !rows.iter().any(|known| known == *row))
        .map(|row| format!("{row}\n"))
        .collect();
    assert!(extra.is_empty(), "is too much:\n{extra}");
}

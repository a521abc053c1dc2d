//! Postgres by sqlx: a lazy pool, a background check, and closing after the drain.

use std::{io, process::ExitCode, str::FromStr, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    routing::get,
};
use landfall::{
    App, Build, Program, Service, Signals, StartError,
    config::{Config, ConfigErrors, HumanDuration, Secret},
    error::{Json, Problem},
    health::{Schedule, Severity},
};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

landfall::variables! {
    /// What the service reads from its environment.
    struct Variables {
        /// Where the database is: `postgres://user:password@host:5432/name?sslmode=verify-full`.
        database_url: Secret, "a URL that begins with postgres://", secret;
        /// Connections of one pod; times the most pods there can be, it stays under the database's `max_connections`.
        database_connections: u32 = 10, "a whole number, 1 or more";
        /// How long a request waits for a connection, then 503.
        database_wait: HumanDuration = HumanDuration::secs(2), "a duration such as 500ms, 10s or 1m";
        /// From one check of the database to the next.
        database_check_interval: HumanDuration = HumanDuration::secs(10), "a duration such as 500ms, 10s or 1m";
    }

    fn check(&self, config: &Config, errors: &mut ConfigErrors) {
        let url = self.database_url.expose();
        let is_url = url.starts_with("postgres://") && PgConnectOptions::from_str(url).is_ok();
        errors.expect(is_url, "database_url", "a URL that begins with postgres://", "something else");
        let is_some = self.database_connections > 0;
        errors.expect(is_some, "database_connections", "1 or more", self.database_connections);
        errors.expect(
            self.database_wait < config.request_timeout,
            "database_wait",
            format_args!("less than APP_REQUEST_TIMEOUT ({})", config.request_timeout),
            self.database_wait,
        );
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    const BUILD: Build =
        Build { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), revision: "unknown" };
    let signals = Signals::register()?;
    Ok(Program::new(BUILD).run(signals, start).await)
}

async fn start(app: App<Variables>) -> Result<Service, StartError> {
    let variables = &app.variables;
    let options = PgConnectOptions::from_str(variables.database_url.expose())?
        .application_name(app.config.pod_name.as_deref().unwrap_or(app.build.name))
        // What nobody waits for any more must not keep a connection busy.
        .options([("statement_timeout", format!("{}ms", app.config.request_timeout.0.as_millis()))]);
    // Lazy: nothing connects here, so that the service starts, and restarts, also while the database is down.
    let pool = PgPoolOptions::new()
        .max_connections(variables.database_connections)
        .acquire_timeout(variables.database_wait.0)
        .max_lifetime(Duration::from_secs(30 * 60))
        .connect_lazy_with(options);

    let asked = pool.clone();
    // Degraded and not critical: all pods share the database, and its outage must not take every one of them out.
    let schedule = Schedule {
        interval: variables.database_check_interval.0,
        severity: Severity::Degraded,
        ..Schedule::default()
    };
    app.health.background("database", schedule, move || {
        let pool = asked.clone();
        async move { sqlx::query("SELECT 1").execute(&pool).await.map(drop) }
    });
    let counted = pool.clone();
    app.metrics.gauge_on_scrape(
        "database_connections_idle",
        "Connections that wait for a query.",
        move || i64::try_from(counted.num_idle()).unwrap_or(i64::MAX),
    );

    let router = Router::new().route("/notes", get(list).post(add)).with_state(pool.clone());
    // After the drain: the last requests still have their connections.
    Ok(Service::new(router).with_cleanup(async move { pool.close().await }))
}

async fn list(State(pool): State<PgPool>) -> Result<Json<Vec<String>>, Failed> {
    let notes =
        sqlx::query_scalar("SELECT text FROM notes ORDER BY id DESC LIMIT 100").fetch_all(&pool).await?;
    Ok(Json(notes))
}

async fn add(State(pool): State<PgPool>, Json(text): Json<String>) -> Result<StatusCode, Failed> {
    sqlx::query("INSERT INTO notes (text) VALUES ($1)").bind(text).execute(&pool).await?;
    Ok(StatusCode::CREATED)
}

/// A query that failed: the log says why, the caller is told what it can do.
struct Failed(sqlx::Error);

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl axum::response::IntoResponse for Failed {
    fn into_response(self) -> axum::response::Response {
        tracing::error!(error = %self.0, "the database did not do what it was asked");
        match self.0 {
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database can't be reached; try again later",
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("5")),
            _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed; its log says more"),
        }
        .into_response()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_has_the_table() {
        landfall::testing::assert_documented::<super::Variables>(include_str!("../README.md"));
    }
}

//! The recipe against a real PostgreSQL, which is down, comes up, and goes away.

#![allow(clippy::unwrap_used)]

mod server;

use harness::{Process, eventually};
use reqwest::{Client, StatusCode};
use serde_json::json;

use self::server::Server;

const RECIPE: &str = env!("CARGO_BIN_EXE_postgres");

#[tokio::test]
async fn it_starts_while_the_database_is_down_and_recovers_with_it() {
    let mut server = Server::new().await;
    let vars = [
        ("APP_DATABASE_URL", server.url()),
        ("APP_DATABASE_WAIT", "500ms".to_owned()),
        ("APP_DATABASE_CHECK_INTERVAL", "100ms".to_owned()),
    ];
    let vars = vars.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut process = Process::start(RECIPE, &vars).await;
    let notes = process.url("/notes").await;
    let client = Client::new();

    let (status, checks) = process.admin("/readyz?verbose").await;
    assert_eq!(status, 200, "one shared outage must not take every pod out: {checks}");
    assert!(checks.contains("[~]database degraded: "), "{checks}");
    let response = client.get(&notes).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["retry-after"], "5");

    server.start().await;
    server.sql("CREATE TABLE notes (id bigserial PRIMARY KEY, text text NOT NULL)").await;
    eventually("the check passes", async || {
        process.admin("/readyz?verbose").await.1.contains("[+]database ok")
    })
    .await;
    let response = client.post(&notes).json("it's up").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let response = client.get(&notes).send().await.unwrap();
    assert_eq!(response.json::<serde_json::Value>().await.unwrap(), json!(["it's up"]));

    server.stop().await;
    eventually("the check fails", async || {
        process.admin("/readyz?verbose").await.1.contains("[~]database degraded: ")
    })
    .await;
    assert_eq!(client.get(&notes).send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_query_in_flight_is_answered_before_the_pool_closes() {
    let mut server = Server::new().await;
    server.start().await;
    server.sql("CREATE TABLE notes (id bigserial PRIMARY KEY, text text NOT NULL)").await;
    let url = server.url();
    let mut process =
        Process::start(RECIPE, &[("APP_DATABASE_URL", &url), ("APP_POD_NAME", "notes-0")]).await;
    let notes = process.url("/notes").await;

    // Holds the insert until it is rolled back.
    let mut lock = server.connect().await;
    sqlx::query("BEGIN").execute(&mut lock).await.unwrap();
    sqlx::query("LOCK TABLE notes").execute(&mut lock).await.unwrap();
    let request = Client::new().post(&notes).json("in flight").send();
    let request = tokio::spawn(request);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'notes-0' AND wait_event_type = 'Lock'";
    let mut asking = server.connect().await;
    eventually("the insert waits for the lock", async || {
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut asking).await.unwrap() == 1
    })
    .await;
    process.drain().await;
    process.close().await;
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();

    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::CREATED);
    let exit = process.exit().await;
    exit.assert_clean();
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'notes-0'";
    eventually("no connection is left", async || {
        sqlx::query_scalar::<_, i64>(left).fetch_one(&mut asking).await.unwrap() == 0
    })
    .await;
    let log = server.log();
    assert!(!log.contains("notes-0 DEBUG:  unexpected EOF"), "it says goodbye:\n{log}");
}

#[tokio::test]
async fn a_missing_or_bad_url_stops_the_start_and_is_not_shown() {
    let exit = Process::spawn(RECIPE, &[]).exit().await;
    assert_eq!(exit.code, Some(78));
    assert_eq!(exit.log[exit.position("bad configuration")]["variable"], "APP_DATABASE_URL");

    let bad = [("APP_DATABASE_URL", "mysql://hunter2@db"), ("APP_DATABASE_WAIT", "20s")];
    let exit = Process::spawn(RECIPE, &bad).exit().await;
    assert_eq!(exit.code, Some(78));
    let wrong: Vec<_> = exit.log.iter().map(|line| line["variable"].as_str().unwrap_or_default()).collect();
    assert_eq!(wrong, ["APP_DATABASE_URL", "APP_DATABASE_WAIT"]);
    assert!(!format!("{exit:?}").contains("hunter2"), "{exit:?}");
}

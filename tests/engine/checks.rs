//! A check or a scrape hook that panics costs itself, and no probe and no other metric.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure")]

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode},
};
use http_body_util::BodyExt;
use landfall::{
    App,
    health::{Endpoint, Schedule, Severity},
    testing::{self, Started},
};
use tower::ServiceExt;

async fn start(with: impl FnOnce(&App)) -> Started {
    let start = async |app: App| {
        with(&app);
        Ok(landfall::Service::new(Router::new()))
    };
    testing::start(&[], start).await.unwrap()
}

async fn get(service: &Started, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(Method::GET).uri(path).body(Body::empty()).unwrap();
    let response = service.admin.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_check_that_panics_has_failed_and_the_others_are_still_asked() {
    let service = start(|app| {
        app.health.check(Endpoint::Readyz, "faulty", Severity::Critical, || panic!("asked to"));
        app.health.check(Endpoint::Readyz, "sound", Severity::Critical, || Ok(()));
    })
    .await;
    for _ in 0..3 {
        let (status, body) = get(&service, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("[-]faulty failed: panicked\n[+]sound ok\n"), "{body}");
        let (_, metrics) = get(&service, "/metrics").await;
        assert!(metrics.contains("health_check_up{check=\"faulty\",endpoint=\"readyz\"} 0"), "{metrics}");
        assert!(metrics.contains("health_check_up{check=\"sound\",endpoint=\"readyz\"} 1"), "{metrics}");
    }
}

#[tokio::test]
async fn a_check_whose_name_is_taken_panics_where_it_is_added_and_nowhere_else() {
    let service = start(|app| {
        let (health, metrics) = (app.health.clone(), app.metrics.clone());
        let again = move || health.check(Endpoint::Readyz, "lifecycle", Severity::Critical, || Ok(()));
        assert!(catch_unwind(AssertUnwindSafe(again)).is_err());
        let again = move || metrics.counter("lifecycle_requests_total", "Taken.");
        assert!(catch_unwind(AssertUnwindSafe(again)).is_err());
    })
    .await;
    assert_eq!(get(&service, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(get(&service, "/metrics").await.0, StatusCode::OK);
    service.health.check(Endpoint::Readyz, "another", Severity::Critical, || Ok(()));
    assert_eq!(get(&service, "/readyz/another").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_check_may_add_another() {
    let service = start(|app| {
        let health = app.health.clone();
        app.health.check(Endpoint::Readyz, "parent", Severity::Critical, move || {
            let again = || health.check(Endpoint::Livez, "child", Severity::Critical, || Ok(()));
            let _ = catch_unwind(AssertUnwindSafe(again));
            Ok(())
        });
    })
    .await;
    assert_eq!(get(&service, "/readyz").await.0, StatusCode::OK);
    assert_eq!(get(&service, "/livez/child").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_scrape_hook_that_panics_costs_no_other_metric() {
    let service = start(|app| {
        app.metrics.gauge_on_scrape("faulty", "Panics.", || panic!("asked to"));
        app.metrics.gauge_on_scrape("sound", "Does not.", || 7);
    })
    .await;
    for _ in 0..3 {
        let (status, metrics) = get(&service, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(metrics.contains("\nfaulty 0\n") && metrics.contains("\nsound 7\n"), "{metrics}");
    }
}

const EVERY_SECOND: Schedule = Schedule {
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(1),
    rise: 1,
    fall: 2,
    severity: Severity::Critical,
};

#[tokio::test(start_paused = true)]
async fn a_background_check_that_panics_has_failed_and_is_asked_again() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let service = start(move |app| {
        app.health.background("database", EVERY_SECOND, move || {
            let count = count.fetch_add(1, Ordering::Relaxed);
            async move {
                // Well the first time, then two panics, then well again.
                assert!(count == 0 || count > 2, "asked to");
                Ok::<_, Infallible>(())
            }
        });
    })
    .await;
    let times = async |times| {
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if asked.load(Ordering::Relaxed) >= times {
                break;
            }
        }
        assert_eq!(asked.load(Ordering::Relaxed), times);
        tokio::time::sleep(Duration::from_millis(10)).await;
        get(&service, "/readyz/database").await
    };
    assert_eq!(times(1).await.0, StatusCode::OK);
    assert_eq!(times(2).await.0, StatusCode::OK, "it goes down after two failures");
    let (status, body) = times(3).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.starts_with("[-]database failed: panicked\n"), "{body}");
    assert_eq!(times(4).await.0, StatusCode::OK);
}

/// What no timeout can end: a check that blocks its thread.
#[tokio::test]
async fn a_background_check_without_a_result_for_a_few_intervals_is_stale_and_fails() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let main = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let entered = main.handle().clone();
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    let service = start(move |app| {
        let schedule = Schedule {
            interval: Duration::from_millis(50),
            timeout: Duration::from_millis(50),
            ..Schedule::default()
        };
        let _on_main = entered.enter();
        app.health.background("database", schedule, move || {
            let (first, blocked) = (count.fetch_add(1, Ordering::Relaxed) == 0, blocked.clone());
            async move {
                if !first {
                    let _ = blocked.lock().unwrap().recv();
                }
                Ok::<_, Infallible>(())
            }
        });
    })
    .await;
    let until = async |status| {
        for _ in 0..1000 {
            let (found, body) = get(&service, "/readyz/database").await;
            if found == status {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never {status}");
    };
    until(StatusCode::OK).await;
    let body = until(StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(body.starts_with("[-]database failed: stale: the last result is 0."), "{body}");
    drop(release);
    until(StatusCode::OK).await;
    main.shutdown_background();
}

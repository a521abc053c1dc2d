use tokio::time::sleep;

use super::{hysteresis::Hysteresis, *};

fn after(schedule: Schedule, outcomes: &[bool]) -> bool {
    let mut result = Hysteresis::new(&schedule);
    for ok in outcomes {
        result.add(if *ok { Ok(()) } else { Err("no".to_owned()) });
    }
    result.outcome().is_ok()
}

#[test]
fn a_check_is_down_until_its_first_results_and_goes_up_after_rise() {
    let schedule = Schedule { rise: 2, fall: 3, ..Schedule::default() };
    assert!(!after(schedule, &[]));
    assert!(!after(schedule, &[true]));
    assert!(!after(schedule, &[true, false, true]));
    assert!(after(schedule, &[true, true]));
}

#[test]
fn a_check_goes_down_after_fall_failures_in_a_row() {
    let schedule = Schedule { rise: 1, fall: 3, ..Schedule::default() };
    assert!(after(schedule, &[true, false, false]));
    assert!(after(schedule, &[true, false, false, true, false, false]));
    assert!(!after(schedule, &[true, false, false, false]));
}

#[tokio::test(start_paused = true)]
async fn a_background_check_that_hangs_fails_by_its_timeout() {
    let health = Health::default();
    let schedule = Schedule { timeout: Duration::from_secs(1), ..Schedule::default() };
    health.background("database", schedule, std::future::pending::<Result<(), String>>);
    assert!(reason(&health).contains("not checked yet"));
    sleep(Duration::from_millis(1100)).await;
    assert!(reason(&health).contains("no answer within 1s"), "{}", reason(&health));
}

fn reason(health: &Health) -> String {
    health.report(Endpoint::Readyz, |_| true).lines[0].to_string()
}

#[test]
#[should_panic = "readyz has a check called twice already"]
fn a_name_is_taken_once() {
    let health = Health::default();
    for _ in 0..2 {
        health.check(Endpoint::Readyz, "twice", Severity::Critical, || Ok(()));
    }
}

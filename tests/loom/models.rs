//! Each model in every order in which its threads can run.

#[test]
fn a_phase_that_was_reached_is_the_phase() {
    loom::model(loom_models::a_phase_that_was_reached_is_the_phase);
}

#[test]
fn a_request_that_waits_gets_its_turn() {
    loom::model(loom_models::a_request_that_waits_gets_its_turn);
}

#[test]
fn a_line_is_written_when_the_queue_was_flushed() {
    loom::model(loom_models::a_line_is_written_when_the_queue_was_flushed);
}

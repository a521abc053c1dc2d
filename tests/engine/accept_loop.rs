//! An accept loop that panics ends the process: nobody new would be served for ever.

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::support::{eventually, http1::Http1, process::testbed};

#[test]
fn a_panicked_accept_loop_starts_the_drain_and_ends_with_1() {
    let process = testbed().set("TESTBED_TRACING", "faulty").set("APP_DRAIN_DELAY", "500ms").start();
    let mut kept = process.connect();
    assert_eq!(kept.get("/").status, 200);

    // Nothing can be accepted, which is logged, and the layer that sees it panics.
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), ..limit };
    prlimit(Some(process.pid()), Resource::Nofile, none).expect("it is our child");
    let _unserved = Http1::try_connect(process.address_of_service());
    process.line("panicked");
    prlimit(Some(process.pid()), Resource::Nofile, limit).expect("it is our child");

    let line = process.line("draining");
    assert_eq!(line["signal"], "none: the accept loop has ended");
    let response = kept.get("/");
    assert!(response.status == 200 && response.says_close(), "{response:?}");
    eventually("the listener is closed", || Http1::try_connect(process.address_of_service()).is_err());
    let exit = process.exit();
    assert_eq!(exit.with_code(1)["clean"], false);
    assert!(exit.report["delay_ms"].as_u64() >= Some(500), "{}", exit.report);
}

//! Two pods under load are replaced by two others, and the dashboard of that minute is drawn for the docs.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crate::{
    now, picture,
    server::{Prometheus, dashboard, free_port},
    support::{
        http1::{Http1, post},
        process::{Process, testbed},
    },
};

/// The addresses that new connections go to.
type Endpoints = Mutex<Vec<SocketAddr>>;

#[test]
#[ignore = "takes a minute and writes docs/images/dashboard.svg"]
fn draw_the_dashboard_of_a_rollout() {
    let ports = [(); 4].map(|()| free_port());
    let names = ["pod-1", "pod-2", "pod-3", "pod-4"];
    let pods: Vec<_> = names.into_iter().zip(ports).collect();
    let prometheus = Prometheus::start("picture", &pods, "1s");
    let start = |port: u16| {
        let pod = testbed().set("APP_ADMIN_PORT", &port.to_string()).set("APP_DRAIN_DELAY", "6s");
        pod.set("APP_DRAIN_TIMEOUT", "10s").set("APP_REQUEST_TIMEOUT", "5s").start()
    };
    let endpoints = Endpoints::default();
    let add = |pod: &Process| endpoints.lock().expect("no client panics").push(pod.address_of_service());
    let enough = AtomicBool::new(false);
    // They outlive the clients.
    let mut new = Vec::new();
    let began = now();
    thread::scope(|scope| {
        let old = [start(ports[0]), start(ports[1])];
        old.iter().for_each(add);
        for client in 0..8 {
            let (endpoints, enough) = (&endpoints, &enough);
            scope.spawn(move || ask(client, endpoints, enough));
        }
        thread::sleep(Duration::from_secs(12));
        // Says nothing more until the deadline.
        let mut idle = old[0].connect();
        idle.get("/");
        for (pod, port) in old.into_iter().zip([ports[2], ports[3]]) {
            let next = start(port);
            add(&next);
            pod.drain();
            // The endpoint lists take their time.
            thread::sleep(Duration::from_millis(2500));
            let gone = pod.address_of_service();
            endpoints.lock().expect("no client panics").retain(|address| *address != gone);
            pod.exit();
            new.push(next);
            thread::sleep(Duration::from_secs(5));
        }
        thread::sleep(Duration::from_secs(3));
        enough.store(true, Relaxed);
    });
    let picture = picture::draw(&dashboard(), &prometheus, (began + 4.0, now() - 1.0));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images/dashboard.svg");
    fs::write(file, picture).expect("the docs have images");
}

/// A client that asks for this and that, on one connection until it is told to leave it.
fn ask(client: usize, endpoints: &Endpoints, enough: &AtomicBool) {
    let mut kept: Option<Http1> = None;
    for turn in client.. {
        if enough.load(Relaxed) {
            return;
        }
        let mut connection = kept.take().unwrap_or_else(|| {
            let endpoints = endpoints.lock().expect("no client panics");
            Http1::connect(endpoints[turn % endpoints.len()])
        });
        let response = match fastrand::u8(..200) {
            0..5 => connection.get("/block/30"),
            5 => connection.get("/panic"),
            6..40 => {
                connection.send(&format!("{}{{\"name\":\"Ada\"}}", post("/greetings", 14)));
                connection.response()
            }
            40..60 => connection.get("/nothing"),
            _ => connection.get("/"),
        };
        // Two of the eight take a new connection for each request.
        kept = (!response.says_close() && client >= 2).then_some(connection);
        thread::sleep(Duration::from_millis(fastrand::u64(10..40)));
    }
}

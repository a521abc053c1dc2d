//! A real Prometheus with the rules of `k8s/components/monitoring`, and what it scrapes.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    iter,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    eventually,
    http1::{Http1, Response},
};

/// A server of its own, which ends when it is dropped, and also when this process is killed.
pub(crate) struct Prometheus {
    address: SocketAddr,
    // Its stdin keeps the server alive.
    _shell: Child,
}

/// A name of a pod, and the admin port that it will have.
pub(crate) type Pod<'a> = (&'a str, u16);

/// A file of `k8s/components/monitoring`.
pub(crate) fn component(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/components/monitoring").join(file)
}

/// The dashboard as Grafana loads it.
pub(crate) fn dashboard() -> Value {
    let text = fs::read_to_string(component("dashboard.json")).expect("the component has one");
    serde_json::from_str(&text).expect("it is JSON")
}

/// The service's name, which is the job that dashboard and rules ask for.
pub(crate) fn job() -> String {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().expect("it has variables");
    let job = variables.iter().find(|variable| variable["name"] == "job");
    job.and_then(|job| job["query"].as_str()).expect("one of them is the job").to_owned()
}

impl Prometheus {
    /// Starts one that scrapes these pods, whether they are there yet or not; its data are in a directory of this name.
    pub(crate) fn start(name: &str, pods: &[Pod<'_>], interval: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // There is none the first time.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("cargo made the directory above");
        let file = dir.join("prometheus.yml");
        fs::write(&file, configuration(pods, interval, serve_cluster_state())).expect("the directory is new");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // The shell ends the server when nobody holds its stdin any more, however this process ended.
        let shell = Command::new("sh")
            .args(["-c", "\"$@\" & read _; kill $!; wait", "sh", "prometheus", "--log.level=error"])
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        eventually("Prometheus is ready; `make test` puts it on the PATH", || {
            let ready = Http1::try_connect(address).and_then(|mut client| client.try_get("/-/ready"));
            ready.is_ok_and(|response| response.status == 200)
        });
        Self { address, _shell: shell }
    }

    /// What an expression yields, now or at a time of the past.
    pub(crate) fn query(&self, expression: &str, at: Option<f64>) -> Vec<Value> {
        let time = at.map_or(String::new(), |at| format!("&time={at}"));
        let data = self.get(&format!("/api/v1/query?query={}{time}", encode(expression)));
        match data["resultType"].as_str() {
            Some("scalar") => vec![json!({ "metric": {}, "value": data["result"] })],
            _ => data["result"].as_array().expect("a vector is a list").clone(),
        }
    }

    /// What an expression yields over a stretch of time, each so many seconds.
    pub(crate) fn range(&self, expression: &str, from: f64, to: f64, step: f64) -> Vec<Value> {
        let query = encode(expression);
        let data = self.get(&format!("/api/v1/query_range?query={query}&start={from}&end={to}&step={step}"));
        data["result"].as_array().expect("a matrix is a list").clone()
    }

    /// The one number that an expression yields.
    pub(crate) fn number(&self, expression: &str) -> Option<f64> {
        self.query(expression, None).first().map(number)
    }

    /// Waits until an expression yields something.
    pub(crate) fn eventually(&self, expression: &str) {
        eventually(expression, || !self.query(expression, None).is_empty());
    }

    /// The data of a successful response.
    pub(crate) fn get(&self, path: &str) -> Value {
        let Response { body, .. } = Http1::connect(self.address).get(path);
        let mut response: Value =
            serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
        assert_eq!(response["status"], "success", "{path}: {response}");
        response["data"].take()
    }
}

/// The number of a series.
pub(crate) fn number(series: &Value) -> f64 {
    series["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a sample is a number")
}

fn configuration(pods: &[Pod<'_>], interval: &str, cluster_state: SocketAddr) -> String {
    let pods = pods.iter().map(|(pod, port)| {
        let labels = json!({ "namespace": "here", "pod": pod, "track": "stable" });
        json!({ "targets": [format!("127.0.0.1:{port}")], "labels": labels })
    });
    json!({
        "global": { "scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": "1s" },
        "rule_files": [component("rules.yaml")],
        "scrape_configs": [
            { "job_name": job(), "static_configs": pods.collect::<Vec<_>>() },
            {
                "job_name": "kube-state-metrics",
                "honor_labels": true,
                "static_configs": [{ "targets": [cluster_state] }],
            },
        ],
    })
    .to_string()
}

/// Answers every request with what kube-state-metrics would say, to the end of this process.
fn serve_cluster_state() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let body = include_str!("kube.txt").replace("SERVICE", &job());
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            // Prometheus may leave when it ends.
            let _ = answer(&mut client, &response);
        }
    });
    address
}

fn answer(client: &mut TcpStream, response: &str) -> io::Result<()> {
    let lines = BufReader::new(client.try_clone()?).lines();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    client.write_all(response.as_bytes())
}

/// A port that nobody has, and that nobody gets who does not ask for it by its number.
pub(crate) fn free_port() -> u16 {
    let is_free = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_err();
    iter::repeat_with(|| fastrand::u16(20_000..30_000)).find(is_free).expect("one is free")
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

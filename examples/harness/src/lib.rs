//! A recipe as a real process: started on free ports, read by its log, ended by signals.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    sync::watch,
    time::{sleep, timeout},
};

/// How long anything may take that must happen: only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running recipe; it does not outlive the test.
pub struct Process {
    child: Child,
    log: watch::Receiver<Vec<Value>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Exit {
    /// `None` when a signal killed it.
    pub code: Option<i32>,
    /// The line that says how the drain went.
    pub report: Value,
    /// All that it logged.
    pub log: Vec<Value>,
}

impl Process {
    /// Starts it with these variables, on free ports, and waits until it serves. Its drain goes on until a signal ends
    /// it.
    pub async fn start(program: &str, variables: &[(&str, &str)]) -> Self {
        let mut process = Self::spawn(program, variables);
        process.line("serving").await;
        process
    }

    /// Starts it without waiting for anything.
    pub fn spawn(program: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .env_clear()
            .envs([("APP_HOST", "127.0.0.1"), ("APP_PORT", "0"), ("APP_ADMIN_PORT", "0")])
            .envs([("APP_DRAIN_DELAY", "5m"), ("APP_DRAIN_TIMEOUT", "5m")])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the recipe is built and can be run");
        let (lines, log) = watch::channel(Vec::new());
        tokio::spawn(read(child.stdout.take().expect("stdout is piped"), lines));
        Self { child, log }
    }

    /// Waits for a log line whose message begins like this.
    pub async fn line(&mut self, message: &str) -> Value {
        let found = timeout(PATIENCE, self.log.wait_for(|lines| find(lines, message).is_some())).await;
        let line = found.ok().and_then(|lines| find(&lines.ok()?, message).cloned());
        line.unwrap_or_else(|| panic!("no line says {message:?}:\n{:#?}", self.log.borrow()))
    }

    async fn address(&mut self, field: &str) -> String {
        self.line("listening").await[field].as_str().expect("the line tells the addresses").to_owned()
    }

    /// Where the service is, as `host:port`.
    pub async fn service(&mut self) -> String {
        self.address("address").await
    }

    /// The URL of a path of the service.
    pub async fn url(&mut self, path: &str) -> String {
        format!("http://{}{path}", self.address("address").await)
    }

    /// Asks the admin port for a path: the status and the text.
    pub async fn admin(&mut self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address("admin_address").await);
        let response = reqwest::get(url).await.expect("the admin port answers");
        (response.status().as_u16(), response.text().await.expect("the body is text"))
    }

    /// The value of a metric, given with its labels; `None` when there is no such series.
    pub async fn metric(&mut self, series: &str) -> Option<u64> {
        let (_, text) = self.admin("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    fn terminate(&self) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("it is running");
        kill_process(id, Signal::TERM).expect("it is our child, and not waited for yet");
    }

    /// SIGTERM; returns when the drain has begun.
    pub async fn drain(&mut self) {
        self.terminate();
        self.line("draining").await;
    }

    /// Another SIGTERM, which ends the delay; returns when the listener closes.
    pub async fn close(&mut self) {
        self.terminate();
        self.line("closing").await;
    }

    /// Waits for the end.
    pub async fn exit(mut self) -> Exit {
        let status = timeout(PATIENCE, self.child.wait()).await;
        // The sender goes at the end of the log.
        while self.log.changed().await.is_ok() {}
        let log = self.log.borrow().clone();
        let status = status.unwrap_or_else(|_| panic!("it has not ended within {PATIENCE:?}:\n{log:#?}"));
        let report = find(&log, "stopped").cloned().unwrap_or_default();
        Exit { code: status.expect("it is our child").code(), report, log }
    }
}

impl Exit {
    /// Requires a clean drain with nothing aborted.
    pub fn assert_clean(&self) {
        assert_eq!((self.code, &self.report["clean"]), (Some(0), &Value::Bool(true)), "{self:#?}");
    }

    /// Where in the log the first line stands whose message begins like this.
    pub fn position(&self, message: &str) -> usize {
        let position = self.log.iter().position(|line| says(line, message));
        position.unwrap_or_else(|| panic!("no line says {message:?}: {:#?}", self.log))
    }
}

async fn read(stdout: ChildStdout, log: watch::Sender<Vec<Value>>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
        log.send_modify(|lines| lines.push(line));
    }
}

fn says(line: &Value, message: &str) -> bool {
    line["message"].as_str().is_some_and(|text| text.starts_with(message))
}

fn find<'a>(lines: &'a [Value], message: &str) -> Option<&'a Value> {
    lines.iter().find(|line| says(line, message))
}

/// Asks again and again until it holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "not within {PATIENCE:?}: {what}");
}

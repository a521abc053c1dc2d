//! The binary under test: started on free ports, read by its log, asked by its admin port, ended by signals.

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    PATIENCE, eventually,
    http1::{Http1, Response},
};

/// A process to be started. Unless set otherwise, its drain goes on until a signal ends it.
pub(crate) struct Setup(Command);

/// The service of these tests, see `testbed.rs`.
pub(crate) fn testbed() -> Setup {
    // Not there for the tests of other packages, which run a service of their own.
    Setup::new(option_env!("CARGO_BIN_EXE_testbed").unwrap_or_default())
}

impl Setup {
    pub(crate) fn new(program: &str) -> Self {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command)
            .set("APP_HOST", "127.0.0.1")
            .set("APP_PORT", "0")
            .set("APP_ADMIN_PORT", "0")
            .set("APP_DRAIN_DELAY", "5m")
            .set("APP_DRAIN_TIMEOUT", "5m")
            .set("APP_FLUSH_TIMEOUT", "5m")
            .set("APP_REQUEST_TIMEOUT", "5m")
    }

    /// Sets a variable of its environment.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Hands over listening sockets as systemd does: the service's as its stdin, the admin port's as its stderr, which a shell moves to where
    /// they are looked for.
    pub(crate) fn with_sockets(mut self, sockets: [&TcpListener; 2]) -> Self {
        const SCRIPT: &str = "exec 3<&0 4<&2 </dev/null 2>/dev/null; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\"";
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().arg("-c").arg(SCRIPT).arg(self.0.get_program()).stdout(Stdio::piped());
        shell.envs(self.0.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let [service, admin] = sockets.map(|socket| OwnedFd::from(socket.try_clone().expect("it is open")));
        shell.stdin(service).stderr(admin);
        self.0 = shell;
        self
    }

    /// Says where its stderr goes; what is piped is in the [`Exit`].
    pub(crate) fn stderr(mut self, stderr: Stdio) -> Self {
        self.0.stderr(stderr);
        self
    }

    /// Runs a command instead of serving.
    pub(crate) fn command(mut self, name: &str) -> Self {
        self.0.arg(name);
        self
    }

    /// Starts it, without waiting for anything.
    pub(crate) fn spawn(mut self) -> Process {
        let mut child = self.0.spawn().expect("the binary is built and can be run");
        let log = Arc::new(Log::default());
        let stdout = child.stdout.take().expect("stdout is piped");
        let reader = log.clone();
        thread::spawn(move || reader.read(stdout));
        Process { child, log }
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self) -> Process {
        let process = self.spawn();
        process.line("serving");
        process
    }
}

/// The lines that a process has logged so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    read: Vec<Value>,
    paused: bool,
    closed: bool,
    ended: Option<Instant>,
}

impl Log {
    fn read(&self, stdout: ChildStdout) {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            self.change(|lines| lines.read.push(line));
            let lines = self.lines.lock().expect("no reader panics");
            let lines = self.changed.wait_while(lines, |lines| lines.paused).expect("no reader panics");
            if lines.closed {
                break;
            }
        }
        self.change(|lines| lines.ended = Some(Instant::now()));
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines.lock().expect("no reader panics"));
        self.changed.notify_all();
    }

    /// Waits until it holds, or to the end of the log.
    fn wait(&self, what: &str, holds: impl Fn(&Lines) -> bool) -> MutexGuard<'_, Lines> {
        let lines = self.lines.lock().expect("no reader panics");
        let waiting = |lines: &mut Lines| !holds(lines) && lines.ended.is_none();
        let (lines, _) = self.changed.wait_timeout_while(lines, PATIENCE, waiting).expect("no reader panics");
        if !holds(&lines) {
            let log: String = lines.read.iter().map(|line| format!("{line}\n")).collect();
            // A panic with the lock held would poison it for the reader.
            drop(lines);
            panic!("not within {PATIENCE:?}, or not before the end: {what}; the log:\n{log}");
        }
        lines
    }
}

fn says(line: &Value, message: &str) -> bool {
    line["message"].as_str().is_some_and(|text| text.starts_with(message))
}

/// A running process; it does not outlive the test.
pub(crate) struct Process {
    child: Child,
    log: Arc<Log>,
}

/// How a process ended.
pub(crate) struct Exit {
    /// `None` when a signal killed it.
    pub(crate) code: Option<i32>,
    /// The last line but what the process says about its drain.
    pub(crate) report: Value,
    /// All that it logged.
    pub(crate) log: Vec<Value>,
    /// What it wrote to stderr, if that was piped; no more than a pipe holds.
    pub(crate) stderr: String,
    /// When it ended.
    pub(crate) at: Instant,
}

impl Process {
    /// Waits for a log line whose message begins like this.
    pub(crate) fn line(&self, message: &str) -> Value {
        self.lines(message, 1).remove(0)
    }

    /// Waits for a number of such lines.
    pub(crate) fn lines(&self, message: &str, count: usize) -> Vec<Value> {
        let matching = |line: &&Value| says(line, message);
        let what = format!("{count} log lines {message:?}");
        let lines = self.log.wait(&what, |lines| lines.read.iter().filter(matching).count() >= count);
        lines.read.iter().filter(matching).cloned().collect()
    }

    /// Reads no more of its log, until told to go on.
    pub(crate) fn pause_log(&self, paused: bool) {
        self.log.change(|lines| lines.paused = paused);
    }

    /// Closes the reading end of its log with the next line.
    pub(crate) fn close_log(&self) {
        self.log.change(|lines| lines.closed = true);
    }

    fn address(&self, field: &str) -> SocketAddr {
        let line = self.line("listening");
        line[field].as_str().and_then(|text| text.parse().ok()).expect("the line tells the addresses")
    }

    /// Where the service is.
    pub(crate) fn address_of_service(&self) -> SocketAddr {
        self.address("address")
    }

    /// Where probes and metrics are.
    pub(crate) fn address_of_admin(&self) -> SocketAddr {
        self.address("admin_address")
    }

    /// A new connection to the service.
    pub(crate) fn connect(&self) -> Http1 {
        Http1::connect(self.address_of_service())
    }

    /// A new connection to the admin port.
    pub(crate) fn connect_to_admin(&self) -> Http1 {
        Http1::connect(self.address_of_admin())
    }

    /// The status that a probe of the admin port gets.
    pub(crate) fn probe(&self, path: &str) -> u16 {
        self.connect_to_admin().get(path).status
    }

    /// The value of a metric, given with its labels as Prometheus writes them.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        metric(&mut self.connect_to_admin(), series)
    }

    /// Waits until so many connections have been closed for this reason.
    pub(crate) fn closed(&self, reason: &str, count: u64) {
        let series = format!("server_connections_closed_total{{reason=\"{reason}\"}}");
        eventually(&series, || self.metric(&series) == count);
    }

    /// How many requests over HTTP/1.1 got such a response.
    pub(crate) fn responses(&self, method: &str, route: &str, status: u16) -> u64 {
        self.metric(&format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
             http_response_status_code=\"{status}\",http_route=\"{route}\",network_protocol_version=\"1.1\",\
             url_scheme=\"http\"}}"
        ))
    }

    /// The process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is our child, and not waited for yet");
    }

    /// Lets everything go on that the testbed holds.
    pub(crate) fn release(&self) {
        self.signal(Signal::USR1);
    }

    /// SIGTERM; returns when the drain has begun.
    pub(crate) fn drain(&self) -> Value {
        self.signal(Signal::TERM);
        self.line("draining")
    }

    /// Another SIGTERM, which ends the delay; returns when closing has begun.
    pub(crate) fn close(&self) -> Value {
        self.signal(Signal::TERM);
        self.line("closing")
    }

    /// Waits for the end of a process whose log is not read, and tells its exit code.
    pub(crate) fn exit_unread(mut self) -> Option<i32> {
        let mut code = None;
        eventually("the end of the process", || {
            code = self.child.try_wait().expect("it is our child");
            code.is_some()
        });
        self.pause_log(false);
        code.and_then(|code| code.code())
    }

    /// Waits for the end.
    pub(crate) fn exit(mut self) -> Exit {
        let lines = self.log.wait("the end of the process", |lines| lines.ended.is_some());
        let log = lines.read.clone();
        let at = lines.ended.expect("waited for");
        drop(lines);
        let code = self.child.wait().expect("it is our child").code();
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr).expect("it is text");
        }
        let report = log.iter().rfind(|line| says(line, "stopped")).cloned().unwrap_or_default();
        Exit { code, report, log, stderr, at }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has been waited for, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exit {
    /// Requires this exit code, and hands out the report.
    pub(crate) fn with_code(&self, code: i32) -> &Value {
        let log: String = self.log.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(self.code, Some(code), "the log:\n{log}");
        &self.report
    }

    /// The messages of the log, in their order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &str> {
        self.log.iter().filter_map(|line| line["message"].as_str())
    }

    /// Where in the log the first such message stands.
    pub(crate) fn position(&self, message: &str) -> usize {
        let position = self.log.iter().position(|line| says(line, message));
        position.unwrap_or_else(|| panic!("no line says {message:?}: {:#?}", self.log))
    }
}

/// The value of a metric, asked for on a connection that is there already.
pub(crate) fn metric(admin: &mut Http1, series: &str) -> u64 {
    let Response { body, .. } = admin.get("/metrics");
    let value = body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("there is no metric {series}:\n{body}"));
    value.parse().unwrap_or_else(|error| panic!("{series} {value}: {error}"))
}

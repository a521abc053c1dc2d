//! A PostgreSQL server of the test's own: on a free port, in a directory that goes with it.

use std::{fs, net::TcpListener, path::PathBuf, process::Stdio, thread, time::Duration};

use harness::eventually;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) struct Server {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Makes the directory; nothing listens yet.
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        if is_root() {
            // PostgreSQL refuses to run as root.
            run(Command::new("chown").arg("nobody").arg(directory.path())).await;
        }
        let data = directory.path().join("data");
        let flags = ["--auth=trust", "--username=notes", "--no-sync", "--no-locale", "--encoding=UTF8"];
        run(postgres("initdb").args(flags).arg("--pgdata").arg(&data)).await;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { directory, port, process: None }
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) async fn start(&mut self) {
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let port = self.port.to_string();
        let process = postgres("postgres")
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .args(["-p", &port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "log_min_messages=debug1", "-c", "log_line_prefix=%a "])
            .stderr(log)
            .spawn();
        self.process = Some(process.unwrap());
        let url = self.url();
        eventually("PostgreSQL takes connections", async || PgConnection::connect(&url).await.is_ok()).await;
    }

    /// Ends it at once, as an outage does.
    pub(crate) async fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        quit(&process);
        process.wait().await.unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://notes@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    pub(crate) async fn sql(&self, statement: &'static str) {
        sqlx::query(statement).execute(&mut self.connect().await).await.unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        quit(process);
        // Its directory goes next.
        while process.try_wait().is_ok_and(|status| status.is_none()) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// SIGQUIT: without a checkpoint, but with its shared memory given back.
fn quit(process: &Child) {
    let id = process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("it runs");
    kill_process(id, Signal::QUIT).unwrap();
}

/// One of its programs, from the PATH or from where Debian keeps them, as a user that may run it.
fn postgres(program: &str) -> Command {
    let program = find(program);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = std::env::split_paths(&path).chain(debian.map(|version| version.path().join("bin")));
    let found = found.map(|directory| directory.join(program)).find(|path| path.is_file());
    found
        .unwrap_or_else(|| panic!("{program} is not on the PATH: install PostgreSQL, or run `make examples`"))
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0
}

async fn run(command: &mut Command) {
    let output = command.stderr(Stdio::piped()).output().await.unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

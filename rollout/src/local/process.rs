//! A process of ours: its own group, the end of its output kept, and never left behind.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

const TAIL_LINES: usize = 20;

/// A running process; it is killed when this is dropped, also by a panic.
pub(crate) struct Process {
    child: Child,
    output: Arc<Mutex<VecDeque<String>>>,
    readers: JoinSet<()>,
}

impl Process {
    /// Starts a program with these variables and none of the caller's own `APP_` variables.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        variables: &[(String, String)],
        log: Option<&Path>,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("APP_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(arguments)
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for us; we end the process ourselves.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let log = log.map(std::fs::File::create).transpose()?.map(Arc::new);
        let mut readers = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            readers.spawn(read_output(out, output.clone(), log.clone()));
        }
        if let Some(err) = child.stderr.take() {
            readers.spawn(read_output(err, output.clone(), log));
        }
        Ok(Self { child, output, readers })
    }

    /// Sends a signal; a process that has already ended gets none.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            // Not yet reaped, so the id is still this process's.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// The last lines that the process wrote, once it has ended.
    pub(crate) async fn output_tail(&mut self) -> String {
        // A child of the process may hold its output open.
        let read = async { while self.readers.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_secs(1), read).await;
        let output = self.output.lock().expect("nothing panics while it holds the lines");
        output.iter().cloned().collect::<Vec<_>>().join("\n")
    }
}

async fn read_output(
    from: impl AsyncRead + Unpin,
    output: Arc<Mutex<VecDeque<String>>>,
    log: Option<Arc<std::fs::File>>,
) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(log) = &log {
            use std::io::Write;
            // A full disk must not end the run.
            let _ = writeln!(&mut &**log, "{line}");
        }
        let mut output = output.lock().expect("nothing panics while it holds the lines");
        if output.len() == TAIL_LINES {
            output.pop_front();
        }
        output.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn sleeper() -> Process {
        Process::start(Path::new("sleep"), &["1000".into()], &[], None).unwrap()
    }

    fn is_gone(pid: u32) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => std::thread::yield_now(),
                _ => return true,
            }
        }
        false
    }

    #[tokio::test]
    async fn ends_with_a_panic() {
        let process = sleeper();
        let pid = process.child.id().unwrap();
        let panicked = tokio::spawn(async move {
            let _held = process;
            panic!("on purpose");
        });
        assert!(panicked.await.is_err());
        assert!(is_gone(pid));
    }

    #[tokio::test]
    async fn last_words_are_kept_and_bounded() {
        let script = "for n in $(seq 100); do echo line $n; done; echo last >&2";
        let mut process = Process::start(Path::new("sh"), &["-c".into(), script.into()], &[], None).unwrap();
        assert!(process.ended().await.unwrap().success());
        let output = process.output_tail().await;
        assert!(output.contains("line 100") && output.contains("last"), "{output}");
        assert_eq!(output.lines().count(), TAIL_LINES);
    }
}

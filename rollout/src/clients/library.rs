//! Clients on real libraries: a program for each, and a line of its output for each request.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::client::{Client, Loss};
use super::mix::{self, Mix, Pace};
use super::tls::Trust;
use crate::record::kind::Kind;
use crate::record::outcome::Outcome;
use crate::unable::{OrUnable, Unable};

/// What stands for every library that is there.
const INSTALLED: &str = "installed";

/// Beyond the timeout of the requests that were begun.
const END: Duration = Duration::from_secs(5);

/// The clients of one library, all of one pace.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) kind: Kind,
    program: PathBuf,
    clients: u32,
    pause: (Duration, Duration),
}

/// A running program; it and what it started are killed when this is dropped.
struct Program {
    child: Child,
    group: Option<Pid>,
}

/// Reads the mix of each library: `busy=4,idle=12@3s-12s`.
pub(crate) fn mix(text: &str) -> Result<Mix, String> {
    let mix = mix::parse(text)?;
    let fits = |group: &mix::Group| {
        matches!(group.kind, Kind::Busy | Kind::Idle) && !matches!(group.pace, Some(Pace::Rate(_)))
    };
    match mix.0.iter().all(fits) {
        true => Ok(mix),
        false => Err("a library's clients are busy or idle, with a pause such as busy=4@5ms-20ms".into()),
    }
}

/// Finds the programs of these names, and gives each the clients of the mix; `idle` is the idle ones' own pause.
pub(crate) fn find(
    names: &[String],
    directory: &Path,
    mix: &Mix,
    idle: (Duration, Duration),
) -> Result<Vec<Library>, Unable> {
    // Another working directory would make a relative program another one.
    let directory = std::path::absolute(directory).or_unable("--libraries")?;
    let mut found = Vec::new();
    for name in named(names, &directory)? {
        let program = directory.join(&name);
        if !program.is_file() {
            let why = std::fs::read_to_string(directory.join(format!("{name}.missing"))).unwrap_or_default();
            let why = if why.is_empty() { String::new() } else { format!(": {}", why.trim()) };
            return Err(Unable(format!(
                "--library {name}: there is none in {}{why}; `make libraries` makes what it can",
                directory.display()
            )));
        }
        for group in mix.0.iter().filter(|group| group.count > 0) {
            let (row, own) = match group.kind {
                Kind::Idle => (format!("{name}-idle"), idle),
                _ => (name.clone(), (Duration::from_millis(5), Duration::from_millis(20))),
            };
            let pause = match group.pace {
                Some(Pace::Pause(min, max)) => (min, max),
                _ => own,
            };
            // Leaked once for each row of the table.
            let kind = Kind::Library(row.leak());
            found.push(Library { kind, program: program.clone(), clients: group.count, pause });
        }
    }
    Ok(found)
}

/// The names that were given, and for `installed` those that are there; the missing are printed.
fn named(names: &[String], directory: &Path) -> Result<Vec<String>, Unable> {
    if !names.iter().any(|name| name == INSTALLED) {
        return Ok(names.to_vec());
    }
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Unable(format!("no libraries in {}: run `make libraries`", directory.display())));
        }
        entries => entries.or_unable(directory.display())?,
    };
    let mut there = Vec::new();
    for entry in entries {
        let entry = entry.or_unable(directory.display())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(missing) = name.strip_suffix(".missing") {
            let why = std::fs::read_to_string(entry.path()).unwrap_or_default();
            eprintln!("rollout: without {missing}: {}", why.trim());
        } else if !name.starts_with('.') && entry.path().is_file() {
            there.push(name);
        }
    }
    there.sort();
    Ok(there)
}

/// Runs the program until the run ends, and counts what it says.
pub(super) async fn run(client: Client, library: Library) {
    let name = library.kind.name();
    let mut program = match Program::start(&client, &library) {
        Ok(program) => program,
        Err(error) => {
            return client.context.recorder.own_fault(format!("starting {name}: {error}"));
        }
    };
    let (Some(output), Some(errors)) = (program.child.stdout.take(), program.child.stderr.take()) else {
        return client.context.recorder.own_fault(format!("{name} has no output"));
    };
    let errors = tokio::spawn(first_of(errors));
    let mut lines = BufReader::new(output).lines();
    let mut stop = client.stop.clone();
    let stopped = loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            _ = stop.wait_for(|stop| *stop) => break true,
        };
        match line {
            Ok(Some(line)) => count(&client, &line),
            _ => break false,
        }
    };
    if !stopped {
        let status = program.child.wait().await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let errors = errors.await.unwrap_or_default();
        let fault = format!("{name} ended by itself ({status}): {}", errors.trim());
        return client.context.recorder.own_fault(fault);
    }
    // The end of its input tells it to end.
    drop(program.child.stdin.take());
    let rest = async {
        while let Ok(Some(line)) = lines.next_line().await {
            count(&client, &line);
        }
    };
    if timeout(client.context.target.response_timeout + END, rest).await.is_err() {
        client.context.recorder.own_fault(format!("{name} did not end with its input"));
    }
}

/// Counts a line: `201 0.000873`, or `000 0.000120 connection reset`.
fn count(client: &Client, line: &str) {
    let mut parts = line.splitn(3, ' ');
    let status = parts.next().and_then(|status| status.parse::<u16>().ok());
    let took = parts.next().and_then(|took| Duration::try_from_secs_f64(took.parse().ok()?).ok());
    let (Some(status), Some(took)) = (status, took) else {
        let name = client.kind.name();
        return client.context.recorder.own_fault(format!("{name} wrote what is no response: {line}"));
    };
    match parts.next().map(str::trim).filter(|error| !error.is_empty()) {
        None => client.answered(status, took),
        Some(error) => client.failed(Loss {
            outcome: Outcome::LibraryError,
            answered_before: 0,
            bytes_received: 0,
            caller: None,
            detail: error.to_string(),
        }),
    }
}

/// The first part of what a program says of its errors; the rest is read and forgotten.
async fn first_of(mut errors: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    let _ = (&mut errors).take(2000).read_to_end(&mut text).await;
    let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&text).into_owned()
}

impl Program {
    fn start(client: &Client, library: &Library) -> std::io::Result<Self> {
        let target = &client.context.target;
        let headers: String =
            target.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let (min, max) = library.pause;
        let (authority, insecure) = match &target.trust {
            Trust::System => (OsString::new(), ""),
            Trust::File(path) => (path.clone().into_os_string(), ""),
            Trust::Anybody => (OsString::new(), "1"),
        };
        let child = Command::new(&library.program)
            .env("ROLLOUT_URL", target.url_of(Kind::Post))
            .env("ROLLOUT_BODY", &target.post_body)
            .env("ROLLOUT_HEADERS", headers)
            .env("ROLLOUT_CA", authority)
            .env("ROLLOUT_INSECURE", insecure)
            .env("ROLLOUT_CLIENTS", library.clients.to_string())
            .env("ROLLOUT_PAUSE_MS", format!("{} {}", min.as_millis(), max.as_millis()))
            .env("ROLLOUT_TIMEOUT_MS", target.response_timeout.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for us; and a program may be a script that starts others.
            .process_group(0)
            .spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Nobody may be left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt;
    use tokio::sync::watch;

    use super::*;
    use crate::clients::client::Context;
    use crate::clients::http2::peer::target;
    use crate::record::recorder::Recorder;

    const IDLE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(9));

    /// A directory with two libraries, one that is missing, and what is none.
    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("rollout-{}-{name}", std::process::id()));
        std::fs::create_dir_all(directory.join("sources")).unwrap();
        for file in ["ruby", "go", ".hidden", "perl.missing"] {
            std::fs::write(directory.join(file), "").unwrap();
        }
        directory
    }

    #[test]
    fn installed_is_each_program_that_is_there() {
        let directory = directory("installed");
        let names = |names: &[&str], directory: &Path| {
            named(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), directory)
        };
        assert_eq!(names(&["perl", "go"], &directory).unwrap(), ["perl", "go"]);
        assert_eq!(names(&["installed"], &directory).unwrap(), ["go", "ruby"]);
        let advice = "run `make libraries`";
        assert!(names(&["installed"], &directory.join("none")).unwrap_err().0.ends_with(advice));
        assert!(!names(&["installed"], &directory.join("ruby")).unwrap_err().0.ends_with(advice));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn each_pace_of_a_library_has_clients_of_its_own() {
        let directory = directory("paces");
        let found = |mix: &str| -> Vec<_> {
            let found = find(&["ruby".into()], &directory, &self::mix(mix).unwrap(), IDLE).unwrap();
            found.iter().map(|library| (library.kind.name(), library.clients, library.pause)).collect()
        };
        let ms = Duration::from_millis;
        assert_eq!(found("busy=2,idle=3"), [("ruby", 2, (ms(5), ms(20))), ("ruby-idle", 3, IDLE)]);
        assert_eq!(found("busy=0,idle=1@1ms-7ms"), [("ruby-idle", 1, (ms(1), ms(7)))]);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn what_a_program_started_ends_with_it() {
        let context = Context {
            target: Arc::new(target(([127, 0, 0, 1], 1).into())),
            recorder: Arc::new(Recorder::start()),
            connections: None,
        };
        let kind = Kind::Library("sh");
        let client = Client { context, kind, stop: watch::channel(false).1 };
        let library = Library { kind, program: "/bin/sh".into(), clients: 1, pause: IDLE };
        let mut program = Program::start(&client, &library).unwrap();
        let mut output = program.child.stdout.take().unwrap();
        program.child.stdin.as_mut().unwrap().write_all(b"sleep 60 & echo begun\n").await.unwrap();
        output.read_exact(&mut [0; 6]).await.unwrap();
        drop(program);
        // It ends when nobody has it open any more.
        let end = timeout(Duration::from_secs(10), output.read_u8()).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_librarys_clients_are_busy_or_idle() {
        assert!(mix("busy=4,idle=12@3s-12s").is_ok());
        for text in ["fresh=1", "busy=1@200/s", "busy=0"] {
            assert!(mix(text).is_err(), "{text}");
        }
    }
}

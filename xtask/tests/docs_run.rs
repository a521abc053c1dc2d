//! Runs the commands of the pages, each page in a copy of the repository, and compares the output shown with the output
//! seen: `make docs`. It needs Linux, curl and what `make test` needs, and compiles the service once more.
//!
//! A block of `sh` has to succeed. In a block of `console` each line shown has to be seen, in order; numbers and ids may
//! be others, and `…` stands for what is left out. `make run` goes on in the background, on ports of its own, until the
//! page ends; what it says is shown in a block of `log`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![cfg(target_os = "linux")]

mod common;

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use common::{
    copy_into,
    markdown::{Fence, fences, pages},
    read, repository, service, target,
};

/// Made by `.ci/run` and by the workflow of pull requests, and not once more here.
const BY_CI: &[&str] = &["test", "lint", "check", "examples", "docs", "lint-files", "api"];

/// Time for what compiles first.
const PATIENCE: Duration = Duration::from_secs(900);

/// A copy of the repository in which a page is followed.
struct Place {
    root: PathBuf,
    bin: PathBuf,
    run: Option<Running>,
}

/// `make run` in a process group of its own, ended with the page.
struct Running {
    make: Child,
    log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ =
            Command::new("kill").arg("--").arg(format!("-{}", self.make.id())).stderr(Stdio::null()).status();
        let _ = self.make.wait();
    }
}

impl Place {
    fn new(page: &str) -> Self {
        let above = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs").join(page.replace('/', "-"));
        let _ = fs::remove_dir_all(&above);
        let place = Self { root: above.join("repository"), bin: above.join("bin"), run: None };
        copy_into(&repository(), &place.root);
        fs::create_dir_all(&place.bin).unwrap();
        place
    }

    fn command(&self, line: &str) -> Command {
        let path = format!(
            "{}:{}:{}",
            self.bin.display(),
            repository().join(".tools/bin").display(),
            env::var("PATH").unwrap()
        );
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", line])
            .current_dir(&self.root)
            .envs([("PATH", path.as_str()), ("CARGO_NET_OFFLINE", "true"), ("APP_LOG_FORMAT", "pretty")])
            .envs([("APP_PORT", "0"), ("APP_ADMIN_PORT", "0"), ("CARGO_TERM_QUIET", "true")])
            .env("CURL_HOME", &self.bin)
            .env("CARGO_TARGET_DIR", target("copies"))
            .stdin(Stdio::null());
        for variable in ["MAKEFLAGS", "MAKELEVEL", "CARGO_MANIFEST_DIR", "NAME"] {
            command.env_remove(variable);
        }
        command
    }

    /// What it prints, and whether it succeeds.
    fn output(&self, line: &str) -> (String, bool) {
        let output = self.command(line).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&said).into_owned(), output.status.success())
    }

    /// Starts the service, and has curl, pidof and pkill find this one, whatever else runs on the machine.
    fn make_run(&mut self) {
        let log = self.bin.join("log");
        let file = fs::File::create(&log).unwrap();
        let make = self
            .command("make run")
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap();
        self.run = Some(Running { make, log: log.clone() });
        let said = until(|| Some(fs::read_to_string(&log).unwrap()).filter(|said| said.contains("serving")));
        let port = |name: &str| {
            let address = said.split_once(&format!(" {name}=")).unwrap().1.split_whitespace().next().unwrap();
            address.rsplit_once(':').unwrap().1.to_owned()
        };
        let (http, admin) = (port("address"), port("admin_address"));
        let curlrc = format!(
            "silent\nconnect-to = localhost:8080:127.0.0.1:{http}\nconnect-to = localhost:9090:127.0.0.1:{admin}\n"
        );
        fs::write(self.bin.join(".curlrc"), curlrc).unwrap();
        for (name, script) in
            [("pidof", format!("echo {}", self.pid())), ("pkill", format!("kill \"$1\" {}", self.pid()))]
        {
            let program = self.bin.join(name);
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// The service in the process group of `make run`.
    fn pid(&self) -> u32 {
        let group = self.run.as_ref().unwrap().make.id().to_string();
        let name = service(&self.root);
        let processes =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut ours = processes.filter(|pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let is_ours = stat.rsplit(") ").next().is_some_and(|rest| rest.split(' ').nth(2) == Some(&group));
            is_ours && fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(&name))
        });
        ours.next().expect("it said that it serves")
    }
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it takes too long");
        sleep(Duration::from_millis(50));
    }
}

/// A line with every number and id the same.
fn stable(line: &str) -> String {
    let mut text = String::new();
    for word in line.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (word, end) = match word.chars().next_back() {
            Some(c) if !c.is_ascii_alphanumeric() => word.split_at(word.len() - c.len_utf8()),
            _ => (word, ""),
        };
        let is_id = word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
        let digits = word.chars().take_while(char::is_ascii_digit).count();
        match (is_id, digits) {
            (true, _) => text += "#",
            (_, 0) => text += word,
            (_, digits) => text = text + "#" + &word[digits..],
        }
        text += end;
    }
    text
}

/// The first line that was not seen, if any.
fn unseen<'a>(shown: &[&'a str], seen: &str) -> Option<&'a str> {
    let mut lines = seen.lines().map(stable);
    shown.iter().copied().find(|line| {
        let expected = stable(line.trim_end().trim_end_matches('…').trim_end());
        !expected.is_empty() && !lines.any(|line| line.contains(&expected))
    })
}

fn is_by_ci(command: &str) -> bool {
    let goal = command.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next());
    goal.is_some_and(|goal| BY_CI.contains(&goal))
}

/// The commands of a console, each with what is shown under it.
fn steps(lines: &[String]) -> Vec<(String, Vec<&str>)> {
    let mut all: Vec<(String, Vec<&str>)> = Vec::new();
    for line in lines {
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push((command.to_owned(), Vec::new())),
            (None, Some((command, shown))) if shown.is_empty() && command.ends_with('\\') => {
                *command += &format!("\n{line}");
            }
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => panic!("a console begins with `$ `, and not with {line}"),
        }
    }
    all
}

/// Follows a block; an error says what was not as shown.
fn follow(place: &mut Place, fence: &Fence) -> Result<(), String> {
    let fail = |what: &str, said: &str| Err(format!("{}: {what}\n{said}", fence.place));
    match fence.language.as_str() {
        "sh" => {
            let lines: Vec<&str> =
                fence.lines.iter().map(String::as_str).filter(|line| !is_by_ci(line)).collect();
            let (said, is_done) = place.output(&lines.join("\n"));
            if is_done { Ok(()) } else { fail("fails", &said) }
        }
        "console" => {
            for (command, shown) in steps(&fence.lines) {
                if command == "make run" {
                    place.make_run();
                    let said = fs::read_to_string(&place.run.as_ref().unwrap().log).unwrap();
                    if let Some(line) = unseen(&shown, &said) {
                        return fail(&format!("{command} does not say: {line}"), &said);
                    }
                } else if !is_by_ci(&command) {
                    let (said, is_done) = place.output(&command);
                    if shown.is_empty() && !is_done {
                        return fail(&format!("{command} fails"), &said);
                    } else if let Some(line) = unseen(&shown, &said) {
                        return fail(&format!("{command} does not say: {line}"), &said);
                    }
                }
            }
            Ok(())
        }
        "log" => {
            let log = &place.run.as_ref().expect("a page shows a log after make run").log;
            let shown: Vec<&str> = fence.lines.iter().map(String::as_str).collect();
            let begun = Instant::now();
            loop {
                let said = fs::read_to_string(log).unwrap();
                match unseen(&shown, &said) {
                    None => return Ok(()),
                    Some(line) if begun.elapsed() > Duration::from_secs(60) => {
                        return fail(&format!("the log does not say: {line}"), &said);
                    }
                    Some(_) => sleep(Duration::from_millis(50)),
                }
            }
        }
        _ => Ok(()),
    }
}

#[test]
#[ignore = "it needs curl and compiles for a minute; `make docs` runs it"]
fn every_command_does_what_the_page_says() {
    let root = repository();
    let mut wrong = Vec::new();
    let mut run = 0;
    for page in pages(&root) {
        let all = fences(&root, &page);
        let is_command = |fence: &&Fence| {
            matches!(fence.language.as_str(), "sh" | "console" | "log") && fence.marks.is_empty()
        };
        let to_run: Vec<&Fence> = all.iter().filter(is_command).collect();
        if to_run.is_empty() {
            continue;
        }
        let mut place = Place::new(&page);
        for fence in to_run {
            println!("{}", fence.place);
            run += 1;
            wrong.extend(follow(&mut place, fence).err());
        }
    }
    assert!(run > 5, "the pages have more commands than {run}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_ci_makes_is_made_by_ci() {
    // After the first renaming it is the team's.
    if repository().join("engine.lock").exists() {
        return;
    }
    let ci = read(&repository(), ".ci/run");
    for goal in BY_CI.iter().filter(|goal| **goal != "check") {
        assert!(ci.contains(&format!("make {goal}")), ".ci/run does not make {goal}");
    }
    assert!(read(&repository(), "Makefile").contains("check: lint test"));
}

#[test]
fn a_line_is_the_same_with_other_numbers_and_ids() {
    assert_eq!(stable(r#""revision":"11d5abb58650" took=17ms"#), r##""revision":"#" took=#ms"##);
    assert_eq!(unseen(&["a 1", "b …"], "a 22\nx\nb c"), None);
    assert_eq!(unseen(&["b", "a 1"], "a 22\nb"), Some("a 1"));
}

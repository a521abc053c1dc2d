//! Killed in the middle, the tool ends every process it started and prints what it has.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use common::{FEW, eventually, is_alive, local, signal, stat};

#[test]
fn ctrl_c_in_the_middle_prints_what_there_is_and_leaves_nothing() {
    for name in ["INT", "TERM"] {
        let mut run = start(&["--rollouts", "100", "--scale", "0.1", "--clients", FEW]);
        let mut said = String::new();
        let mut progress = BufReader::new(run.stderr.take().unwrap());
        while !said.contains("rollout ") {
            said.clear();
            assert!(progress.read_line(&mut said).unwrap() > 0, "it ended by itself");
        }
        let children = children(run.id());
        assert!(children.len() >= 3, "{children:?}");
        signal(name, run.id());
        let mut table = String::new();
        run.stdout.take().unwrap().read_to_string(&mut table).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(2), "{table}");
        assert!(
            table.contains("ended early") && table.contains("busy") && table.contains(" 0 lost"),
            "{table}"
        );
        for child in children {
            // It was killed before the tool ended, and dies when the kernel gets to it.
            eventually("no process is left behind", || !is_alive(child));
        }
    }
}

#[test]
fn ctrl_c_before_the_load_leaves_nothing_either() {
    let mut run = start(&["--scale", "1", "--clients", FEW]);
    let id = run.id();
    eventually("three processes", || children(id).len() == 3);
    let children = children(id);
    signal("INT", id);
    assert_eq!(run.wait().unwrap().code(), Some(2));
    for child in children {
        eventually("no process is left behind", || !is_alive(child));
    }
}

fn start(arguments: &[&str]) -> Child {
    local(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn children(of: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, parent)| parent == of)).collect()
}

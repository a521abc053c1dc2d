//! What `make rename` and `make update-engine` run, in the root of the repository.

mod cargo_lock;
mod engine_lock;
mod name;
mod places;
mod rename;
mod tree;
mod update;

use std::{env, path::Path, process::ExitCode};

const USAGE: &str = "usage: xtask rename NAME | xtask update-engine FROM";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(".");
    let done = match arguments[..] {
        ["rename", name] => rename::rename(root, name),
        ["update-engine", from] if !from.is_empty() => update::update(root, Path::new(from)),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{}", reason.trim_end());
            ExitCode::FAILURE
        }
    }
}

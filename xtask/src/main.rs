//! What `make rename`, `make update-engine`, `make remove` and `make api` run, in the root of the repository.

#[cfg(feature = "api")]
mod api;
mod cargo_lock;
mod engine_lock;
mod name;
mod places;
mod remove;
mod rename;
mod tree;
mod update;

use std::{env, path::Path, process::ExitCode};

const USAGE: &str =
    "usage: xtask rename NAME | xtask update-engine FROM | xtask remove PART… | xtask api [--accept]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(".");
    let done = match arguments[..] {
        ["rename", name] => rename::rename(root, name),
        ["update-engine", from] if !from.is_empty() => update::update(root, Path::new(from)),
        ["remove", ref what @ ..] if !what.is_empty() => remove::remove(root, what),
        #[cfg(feature = "api")]
        ["api"] => api::api(root, false),
        #[cfg(feature = "api")]
        ["api", "--accept"] => api::api(root, true),
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

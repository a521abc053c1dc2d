//! The command line: serve, show the configuration, ask the running service how it is.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    Build,
    config::{Config, LoadedConfig, Variables, list},
};

/// Exit code for bad configuration, EX_CONFIG of sysexits.h.
pub(crate) const EX_CONFIG: u8 = 78;

/// A service that survives every rolling update. Serves when no command is given.
#[derive(Debug, Parser)]
struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    command: Option<Command>,
}

/// What the program does besides serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show every variable: its value, where that came from, and what it means.
    Config(ConfigArgs),
    /// Ask the running service's admin port whether it is ready: exit code 0 if it is, 1 if not.
    Healthcheck,
}

/// How to show the configuration.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct ConfigArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print nothing but what is wrong.
    #[arg(long)]
    check: bool,
    /// Print the table of all variables and their defaults for the docs, whatever the environment is.
    #[arg(long)]
    markdown: bool,
}

/// What the command line asks for; ends the process where that is help, the version or not understood.
pub(crate) fn from_arguments(build: &Build) -> Option<Command> {
    let command = Cli::command().name(build.name).version(format!("{} ({})", build.version, build.revision));
    let Cli { command } = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    command
}

impl Command {
    /// Does it; the exit code is 78 for bad configuration.
    pub(crate) fn run<V: Variables>(self) -> ExitCode {
        if let Self::Config(ConfigArgs { markdown: true, .. }) = self {
            return exit_code(print_markdown::<V>());
        }
        let loaded = match LoadedConfig::<V>::from_env() {
            Ok(loaded) => loaded,
            Err(errors) => {
                eprintln!("{errors}");
                return ExitCode::from(if matches!(self, Self::Healthcheck) { 1 } else { EX_CONFIG });
            }
        };
        exit_code(match self {
            Self::Config(ConfigArgs { check: true, .. }) => Ok(()),
            Self::Config(ConfigArgs { json: true, .. }) => writeln!(io::stdout(), "{:#}", loaded.to_json()),
            Self::Config(_) => write!(io::stdout(), "{}", loaded.to_table()),
            Self::Healthcheck => healthcheck(&loaded.config),
        })
    }
}

fn exit_code(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print_markdown<V: Variables>() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "| variable | default | meaning |\n| --- | --- | --- |")?;
    list::<V>().try_for_each(|variable| writeln!(out, "{}", variable.row()))
}

/// Asks `/readyz` over a connection of its own: an image without a shell has no other client.
fn healthcheck(config: &Config) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_secs(2);
    let host = match config.host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let address = SocketAddr::from((host, config.admin_port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)
        .map_err(|error| io::Error::new(error.kind(), format!("nothing answers at {address}: {error}")))?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    if response.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = response.split_once("\r\n\r\n").map_or("no response", |(_, body)| body.trim_end());
    Err(io::Error::other(body.to_owned()))
}

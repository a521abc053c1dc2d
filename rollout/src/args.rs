//! The command line.

mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use self::values::{earlier, from_to, header, json, path, pause, scale, variable};
use crate::clients::library;
use crate::clients::load::Clients;
use crate::clients::mix::{self, Group, Mix};
use crate::clients::target::Target;
use crate::clients::tls::Trust;
use crate::duration;
use crate::proxies::Proxy;
use crate::unable::Unable;

/// Load-tests a rolling update with clients that forgive nothing.
///
/// Exit code: 0 nothing was lost, 1 something was, 2 the run could not be made or not be finished.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Replace real server processes on this machine, behind a balancer that lags like kube-proxy
    Local(Local),
    /// Replace a Deployment's pods on a cluster with kubectl, and drive its URL
    Cluster(Cluster),
    /// Run a command, such as one that replaces containers, and drive a URL meanwhile
    Drive(Drive),
    /// Serve one of the naive sequences that `local --compare` measures
    #[command(hide = true)]
    Naive {
        mode: Mode,
        /// Where the endless response is
        #[arg(value_parser = path)]
        stream: String,
        /// Where the large one is; every other path has a short one
        #[arg(value_parser = path, default_value = "/download")]
        download: String,
    },
}

/// `rollout local`.
#[derive(ClapArgs, Clone)]
pub(crate) struct Local {
    /// The service's executable, such as target/release/orders
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: PathBuf,
    /// A variable of every pod, unscaled; it wins over the timings (may be repeated)
    #[arg(long = "env", value_parser = variable, value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<(String, String)>,
    /// Take the timings of this overlay: a directory for `kubectl kustomize`, or a rendered file
    #[arg(long, value_name = "PATH")]
    pub(crate) overlay: Option<PathBuf>,
    /// Multiply every timing by this, for a quick run
    #[arg(long, default_value = "1", value_parser = scale)]
    pub(crate) scale: f64,
    /// Replace every pod this many times; 0 is the control run
    #[arg(long, default_value = "3", value_name = "N")]
    pub(crate) rollouts: u32,
    /// Go on replacing pods until this many requests were made
    #[arg(long, default_value = "0", value_name = "N")]
    pub(crate) requests: u64,
    /// Pods that should be ready [default: the overlay's, or 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) replicas: Option<u32>,
    /// The longest delay before the balancer sees a change of an endpoint; each is drawn from 0 to this (scaled)
    #[arg(long, default_value = "3s", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) lag: Duration,
    /// Load before, between and after the rollouts (scaled)
    #[arg(long, default_value = "3s", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) pause: Duration,
    /// Also evict pods, scale down and up, kill clients' connections and stop processes, at random
    #[arg(long, conflicts_with_all = ["library", "through"])]
    pub(crate) chaos: bool,
    /// The same run through each of these proxies, and a table that compares them: nginx, haproxy, envoy, traefik, caddy;
    /// but for nginx also -h2, with HTTP/2 to the pods, and -checks, which asks them by their readiness probe each second
    #[arg(long, value_name = "PROXY", value_delimiter = ',')]
    pub(crate) through: Vec<Proxy>,
    /// How long these keep an idle connection to a pod, unscaled [default: 4/5 of APP_IDLE_TIMEOUT]
    #[arg(long, value_parser = duration::parse, value_name = "TIME", requires = "through")]
    pub(crate) proxy_keep_alive: Option<Duration>,
    /// The same run for the naive sequences too, and a table that compares them
    #[arg(long)]
    pub(crate) compare: bool,
    /// Which sequences to compare
    #[arg(long, value_name = "MODE", value_delimiter = ',', requires = "compare",
          default_values = ["none", "flag", "close", "landfall"])]
    pub(crate) modes: Vec<Sequence>,
    /// Write each process's output to a file in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) logs: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// `rollout cluster`.
#[derive(ClapArgs, Clone)]
pub(crate) struct Cluster {
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    #[arg(long, short)]
    pub(crate) deployment: String,
    /// The service's URL from outside: a NodePort, LoadBalancer or Ingress, as http://HOST:PORT or https://HOST.
    /// Not a port-forward: that is tied to one pod and hides the loss
    #[arg(long)]
    pub(crate) url: String,
    /// The kubectl context [default: the current one]
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Restart the Deployment, or what is asked for instead, this many times; 0 is the control run
    #[arg(long, default_value = "3", value_name = "N")]
    pub(crate) rollouts: u32,
    /// Instead: restart, then go back to the revision before
    #[arg(long)]
    pub(crate) rollback: bool,
    /// Instead: scale from A pods to B, and back to A
    #[arg(long, value_parser = from_to, value_name = "A..B")]
    pub(crate) scale: Option<(u32, u32)>,
    /// Instead: evict each pod, one after another, as the disruption budget allows
    #[arg(long)]
    pub(crate) evict: bool,
    /// The labels of the pods to watch, such as those of both colours [default: the Deployment's]
    #[arg(long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Load before, between and after the rollouts
    #[arg(long, default_value = "5s", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) pause: Duration,
    /// How long one rollout may take, its old pods' ends included
    #[arg(long, default_value = "10m", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) patience: Duration,
    /// How long idle clients stay silent, at least and at most
    #[arg(long, default_value = "3s-12s", value_parser = pause, value_name = "MIN-MAX")]
    pub(crate) idle: (Duration, Duration),
    #[command(flatten)]
    pub(crate) load: Load,
    /// Instead: run this command, such as k8s/promote.sh OVERLAY, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// `rollout drive`.
#[derive(ClapArgs, Clone)]
pub(crate) struct Drive {
    /// The service's URL, as http://HOST:PORT or https://HOST: a balancer in front of what is replaced
    #[arg(long)]
    pub(crate) url: String,
    /// Load before the command, and after it
    #[arg(long, default_value = "5s", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) pause: Duration,
    /// How long idle clients stay silent, at least and at most
    #[arg(long, default_value = "3s-12s", value_parser = pause, value_name = "MIN-MAX")]
    pub(crate) idle: (Duration, Duration),
    #[command(flatten)]
    pub(crate) load: Load,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// The load, and what is written about it.
#[derive(ClapArgs, Clone)]
pub(crate) struct Load {
    /// Clients as KIND=COUNT, KIND=COUNT@PAUSE or KIND=COUNT@RATE, such as busy=24,idle=60@3s-12s,fresh=8@200/s;
    /// kinds: busy, idle, fresh, h2, h2-idle, h2-blocking, post, stream, pipeline, upload, download, half-close,
    /// websocket
    /// [default: every kind but download, half-close and websocket, about 2 500 requests per second; none with --library]
    #[arg(long = "clients", value_parser = mix::parse, value_name = "MIX")]
    mix: Option<Mix>,
    /// Also send this many requests per second, however slow the responses are: each on a connection that is free, or a
    /// new one. Its latencies count from when each request was due
    #[arg(long, value_parser = mix::rate, value_name = "RATE")]
    rate: Option<f64>,
    /// Programs on real client libraries too, such as go,httpx-h2, or `installed` for all that are there; they post
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    library: Vec<String>,
    /// How many clients each library has; kinds: busy, idle
    #[arg(long, default_value = "busy=4,idle=12", value_parser = library::mix, value_name = "MIX", requires = "library")]
    library_clients: Mix,
    /// Where the libraries' programs are; `make libraries` puts them there
    #[arg(long, default_value = ".tools/libraries", value_name = "DIR", requires = "library")]
    libraries: PathBuf,
    /// Streams at once on each HTTP/2 connection
    #[arg(long, default_value = "4", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    h2_streams: u32,
    /// What every kind but post and stream gets
    #[arg(long, default_value = "/", value_parser = path, value_name = "PATH")]
    pub(crate) path: String,
    /// Where post posts
    #[arg(long, default_value = "/greetings", value_parser = path, value_name = "PATH")]
    pub(crate) post: String,
    /// What post posts, as application/json
    #[arg(long, default_value = r#"{"name": "Ada"}"#, value_parser = json, value_name = "JSON")]
    pub(crate) post_body: String,
    /// What stream gets: an endless response, such as server-sent events
    #[arg(long, default_value = "/ticks", value_parser = path, value_name = "PATH")]
    pub(crate) stream: String,
    /// What download gets: a response of megabytes, with a Content-Length
    #[arg(long, default_value = "/download", value_parser = path, value_name = "PATH")]
    pub(crate) download: String,
    /// Where websocket opens a WebSocket
    #[arg(long, default_value = "/ws", value_parser = path, value_name = "PATH")]
    pub(crate) websocket: String,
    /// A header of every request, such as 'Authorization: Bearer …' (may be repeated)
    #[arg(long = "header", value_parser = header, value_name = "HEADER")]
    pub(crate) headers: Vec<(String, String)>,
    /// For an https:// URL: trust whom this file of PEM certificates names, and nobody else
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// For an https:// URL: trust anybody
    #[arg(long)]
    insecure: bool,
    #[arg(long, default_value = "5s", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) connect_timeout: Duration,
    /// For a response, and for each part of a stream
    #[arg(long, default_value = "10s", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) response_timeout: Duration,
    /// Write everything to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the run to this file
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) chart: Option<PathBuf>,
    /// Write one page with the table, the chart and each lost request to this file
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Show what this earlier run lost beside it on the page: what --json wrote (may be repeated)
    #[arg(long, value_name = "FILE", value_parser = earlier, requires = "report")]
    pub(crate) beside: Vec<Earlier>,
    /// Write a test case for each kind of client to this file
    #[arg(long, value_name = "FILE.xml")]
    pub(crate) junit: Option<PathBuf>,
    /// Append the result as Markdown to this file, such as $GITHUB_STEP_SUMMARY
    #[arg(long, value_name = "FILE.md")]
    pub(crate) summary: Option<PathBuf>,
}

/// The runs of an earlier `--json`.
#[derive(Clone, Debug)]
pub(crate) struct Earlier(pub(crate) Vec<Value>);

/// What a service does on SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sequence {
    None,
    Flag,
    Close,
    Landfall,
}

/// The sequences of the naive servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// axum's graceful shutdown at once
    None,
    /// A readiness flag, a sleep, then axum's graceful shutdown
    Flag,
    /// The same, with `Connection: close` while it sleeps
    Close,
}

impl Load {
    /// The clients that send; `idle` is the idle ones' own pause.
    pub(crate) fn clients(&self, idle: (Duration, Duration)) -> Result<Clients, Unable> {
        let mut mix = match (&self.mix, self.library.is_empty()) {
            (Some(mix), _) => mix.clone(),
            (None, true) => mix::parse(mix::DEFAULT).expect("a test reads it"),
            (None, false) => Mix(Vec::new()),
        };
        mix.0.extend(self.rate.map(Group::open));
        let libraries = library::find(&self.library, &self.libraries, &self.library_clients, idle)?;
        Ok(Clients { mix, idle, h2_streams: self.h2_streams, libraries })
    }

    /// The requests to send; where to is set by [`Target::aim`].
    pub(crate) fn target(&self) -> Target {
        Target {
            addresses: Vec::new(),
            authority: String::new(),
            base: String::new(),
            path: self.path.clone(),
            post: self.post.clone(),
            post_body: self.post_body.clone(),
            stream: self.stream.clone(),
            download: self.download.clone(),
            websocket: self.websocket.clone(),
            headers: self.headers.clone(),
            connect_timeout: self.connect_timeout,
            response_timeout: self.response_timeout,
            trust: match (&self.ca, self.insecure) {
                (_, true) => Trust::Anybody,
                (Some(path), _) => Trust::File(path.clone()),
                (None, _) => Trust::System,
            },
            tls: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}

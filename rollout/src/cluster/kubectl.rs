//! kubectl, and what its failures mean.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::unable::{OrUnable, Unable};

/// One cluster and namespace.
#[derive(Clone)]
pub(crate) struct Kubectl {
    pub(crate) context: Option<String>,
    pub(crate) namespace: String,
}

/// A kubectl that watches or follows until dropped.
pub(crate) struct Watch {
    child: Child,
    ended: Arc<Mutex<Option<String>>>,
}

impl Kubectl {
    /// Runs kubectl to its end and returns what it printed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String, Unable> {
        let output = tokio::process::Command::from(self.command(arguments))
            .kill_on_drop(true)
            .output()
            .await
            .map_err(not_started)?;
        if !output.status.success() {
            return Err(meaning(&String::from_utf8_lossy(&output.stderr), &self.namespace));
        }
        String::from_utf8(output.stdout).or_unable("what kubectl printed")
    }

    /// Runs kubectl and reads its JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Result<Value, Unable> {
        let text = self.run(&[arguments, &["-o", "json", "--request-timeout=15s"]].concat()).await?;
        serde_json::from_str(&text).or_unable("what kubectl printed is not JSON")
    }

    /// Fails unless this may be done in the namespace: a verb, a resource, and `--subresource` with a third word.
    pub(crate) async fn may(&self, words: &[&str]) -> Result<(), Unable> {
        let output = tokio::process::Command::from(self.command(&[&["auth", "can-i"], words].concat()))
            .kill_on_drop(true)
            .output()
            .await
            .map_err(not_started)?;
        // It says no with exit code 1, and fails with the same: only the word tells.
        match String::from_utf8_lossy(&output.stdout).trim() {
            "yes" => Ok(()),
            "no" => Err(Unable(format!(
                "rights missing: may not {} in namespace {}; ask for a Role with that verb",
                words.join(" "),
                self.namespace
            ))),
            _ => Err(meaning(&String::from_utf8_lossy(&output.stderr), &self.namespace)),
        }
    }

    /// Asks the cluster to evict a pod; false while its disruption budget forbids that.
    pub(crate) async fn evict(&self, pod: &str) -> Result<bool, Unable> {
        let namespace = &self.namespace;
        let eviction = serde_json::json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": pod, "namespace": namespace },
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        let mut command = self.command(&["create", "--raw", &path, "--filename", "-"]);
        command.stdin(Stdio::piped());
        let tried = format!("evicting {pod}");
        let mut child =
            tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(not_started)?;
        let mut input = child.stdin.take().expect("its input is piped");
        input.write_all(eviction.to_string().as_bytes()).await.or_unable(&tried)?;
        drop(input);
        let output = child.wait_with_output().await.or_unable(&tried)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(true),
            false if ["TooManyRequests", "disruption budget"].iter().any(|word| stderr.contains(word)) => {
                Ok(false)
            }
            false => Err(meaning(&stderr, namespace)),
        }
    }

    /// Watches a resource; `each` gets the type of every event and its object.
    pub(crate) fn watch(
        &self,
        resource: &[&str],
        mut each: impl FnMut(&str, &Value) + Send + 'static,
    ) -> Result<Watch, Unable> {
        let arguments = [&["get"], resource, &["-o", "json", "--watch", "--output-watch-events"]].concat();
        self.read(&arguments, move |out| {
            let events = serde_json::Deserializer::from_reader(out).into_iter::<Value>();
            for event in events.map_while(Result::ok) {
                each(event["type"].as_str().unwrap_or_default(), &event["object"]);
            }
        })
    }

    /// Follows a pod's log, from its last lines on.
    pub(crate) fn follow(
        &self,
        pod: &str,
        mut each: impl FnMut(&str) + Send + 'static,
    ) -> Result<Watch, Unable> {
        self.read(&["logs", pod, "--follow", "--tail=20"], move |out| {
            out.lines().map_while(Result::ok).for_each(|line| each(&line));
        })
    }

    /// Runs kubectl until dropped, its output read on a thread of its own.
    fn read(
        &self,
        arguments: &[&str],
        read: impl FnOnce(BufReader<ChildStdout>) + Send + 'static,
    ) -> Result<Watch, Unable> {
        let mut child = self.command(arguments).spawn().map_err(not_started)?;
        let out = child.stdout.take().expect("its output is piped");
        let err = child.stderr.take().expect("its errors are piped");
        let ended = Arc::new(Mutex::new(None));
        let why = ended.clone();
        std::thread::spawn(move || {
            read(BufReader::new(out));
            let mut stderr = String::new();
            let _ = BufReader::new(err).read_to_string(&mut stderr);
            *why.lock().expect("nothing panics while it holds the text") = Some(stderr);
        });
        Ok(Watch { child, ended })
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new("kubectl");
        command
            .args(["--namespace", &self.namespace])
            .args(self.context.iter().flat_map(|context| ["--context", context]))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for us; we end it ourselves.
            .process_group(0);
        command
    }
}

impl Watch {
    /// What kubectl wrote to standard error when it exited by itself.
    pub(crate) fn ended(&self) -> Option<String> {
        self.ended.lock().expect("nothing panics while it holds the text").clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill, only to reap.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn not_started(error: std::io::Error) -> Unable {
    match error.kind() {
        std::io::ErrorKind::NotFound => Unable("kubectl is not on the PATH".into()),
        _ => Unable(format!("starting kubectl: {error}")),
    }
}

/// Sorts what kubectl says into what a user can do about it.
fn meaning(stderr: &str, namespace: &str) -> Unable {
    let stderr = stderr.trim();
    let any = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    if any(&["(NotFound)", "not found"]) {
        Unable(format!("no such thing in namespace {namespace}: {stderr}"))
    } else if any(&["(Forbidden)", "forbidden"]) {
        Unable(format!("rights missing: {stderr}"))
    } else if any(&["Unauthorized", "must be logged in"]) {
        Unable(format!("the cluster does not know you, log in again: {stderr}"))
    } else if any(&[
        "refused",
        "Unable to connect",
        "no such host",
        "timeout",
        "timed out",
        "does not exist",
        "EOF",
    ]) {
        Unable(format!("no cluster responds; look at `kubectl config current-context`: {stderr}"))
    } else {
        Unable(format!("kubectl: {stderr}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        for (stderr, begins) in [
            ("Error from server (NotFound): deployments.apps \"x\" not found", "no such thing"),
            (
                "Error from server (Forbidden): deployments.apps is forbidden: User \"u\" cannot",
                "rights missing",
            ),
            ("error: You must be logged in to the server (Unauthorized)", "the cluster does not know you"),
            ("The connection to the server localhost:8080 was refused", "no cluster responds"),
            ("error: context \"x\" does not exist", "no cluster responds"),
            ("error: unknown flag", "kubectl:"),
        ] {
            let Unable(text) = meaning(stderr, "default");
            assert!(text.starts_with(begins) && text.contains(stderr), "{text}");
        }
    }
}

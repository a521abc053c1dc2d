//! The manifests against the service itself: its variables, its ports, its paths.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use manifests::{
    Rendered,
    custom::Custom,
    render::{kustomize, root, targets},
    rendered::Workload,
    units,
};
use serde_json::Value;

type Variables = BTreeMap<String, String>;

/// The service's program, built once.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--message-format", "json", "--manifest-path"])
            .arg(root().join("../service/Cargo.toml"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs: it runs this test");
        assert!(built.status.success(), "the service does not build");
        let messages = String::from_utf8_lossy(&built.stdout);
        let program = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        program.expect("cargo names what it built")
    })
}

/// What the service says that it can't start without: in a cluster, its Secret holds most of it.
fn required() -> Variables {
    let text = fs::read_to_string(root().join("../service/test.env")).expect("the service has one");
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Runs the program with these variables and no others.
fn run(arguments: &[&str], variables: &Variables) -> Result<String, String> {
    let output = Command::new(program())
        .args(arguments)
        .env_clear()
        .envs(variables)
        .output()
        .map_err(|e| e.to_string())?;
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        code => Err(format!("exit {code:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// The effective value of every variable that the program knows.
fn effective(variables: &Variables) -> Result<BTreeMap<String, Option<String>>, String> {
    let rows: Vec<Value> =
        serde_json::from_str(&run(&["config", "--json"], variables)?).map_err(|e| e.to_string())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(rows.iter().filter_map(|row| Some((text(&row["name"])?, text(&row["value"])))).collect())
}

/// The variables as the container has them: what the Secret holds and fields of the pod filled in, and files that
/// exist. A file of a variable that the service does not have is left out of the combinations under `tests`, which
/// are nobody's to deploy.
fn variables(target: &str, rendered: &Rendered, workload: &Workload<'_>) -> Variables {
    let required = required();
    let mut all = required.clone();
    all.extend(rendered.environment(workload));
    for variable in workload.container.env.iter().flatten() {
        if let Some(from) = &variable.value_from {
            let value = if from.resource_field_ref.is_some() { "1" } else { "pod-7d4b9c-x2x4z" };
            all.insert(variable.name.clone(), value.to_owned());
        }
    }
    let known = effective(&required).unwrap_or_default();
    for of_file in all.keys().filter(|name| name.ends_with("_FILE")).cloned().collect::<Vec<_>>() {
        let name = of_file.trim_end_matches("_FILE");
        all.remove(name);
        if target.starts_with("tests/") && !known.contains_key(name) {
            all.remove(&of_file);
            continue;
        }
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, required.get(name).map_or("secret", String::as_str))
            .expect("cargo made the directory");
        all.insert(of_file, path.display().to_string());
    }
    all
}

/// Variables that the program does not know, and values that it refuses.
fn config_faults(variables: &Variables) -> Vec<String> {
    let known = match effective(&required()) {
        Ok(known) => known,
        Err(e) => return vec![e],
    };
    let unknown =
        variables.keys().filter(|name| !known.contains_key(name.strip_suffix("_FILE").unwrap_or(name)));
    let mut faults: Vec<_> = unknown.map(|name| format!("{name}: no such variable")).collect();
    faults.extend(run(&["config", "--check"], variables).err());
    faults
}

/// What the engine reads of a connection before anybody asks for it: a head, most of all.
const READ_BUFFER: u64 = 16 * 1024;

/// Container ports that are not those the program binds, and heads and bodies that together could fill the memory.
fn number_faults(workload: &Workload<'_>, variables: &Variables) -> Vec<String> {
    let effective = match effective(variables) {
        Ok(effective) => effective,
        Err(e) => return vec![e],
    };
    let number = |name: &str| -> Option<u64> { effective.get(name)?.as_ref()?.parse().ok() };
    let mut faults = Vec::new();
    for (name, variable) in [("http", "APP_PORT"), ("admin", "APP_ADMIN_PORT")] {
        let declared =
            workload.port(&IntOrString::String(name.to_owned())).and_then(|port| u64::try_from(port).ok());
        if declared.is_none() || declared != number(variable) {
            faults.push(format!("port {name} is {declared:?}, {variable} is {:?}", number(variable)));
        }
    }
    let limits = workload.container.resources.clone().and_then(|r| r.limits).unwrap_or_default();
    let memory = limits.get("memory").and_then(|q| units::quantity(&q.0)).unwrap_or(0) / 1_000;
    let product = |count: &str, bytes: Option<u64>| number(count)?.checked_mul(bytes?);
    let heads = product("APP_MAX_CONNECTIONS", Some(READ_BUFFER));
    let bodies = product("APP_MAX_IN_FLIGHT", number("APP_BODY_LIMIT"));
    // A body is there twice while its parts are put together.
    match heads.zip(bodies) {
        Some((heads, bodies)) if u128::from(heads) + u128::from(bodies) * 2 <= memory => {}
        _ => faults.push(format!(
            "heads of {heads:?} and bodies of {bodies:?} bytes at once, {memory} bytes of memory"
        )),
    }
    faults
}

/// A running service, killed when dropped.
struct Running {
    child: Child,
    http: String,
    admin: String,
}

impl Running {
    fn start() -> Self {
        let mut child = Command::new(program())
            .env_clear()
            .envs(required())
            .envs([
                ("APP_HOST", "127.0.0.1"),
                ("APP_PORT", "0"),
                ("APP_ADMIN_PORT", "0"),
                ("APP_LOG_FORMAT", "json"),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was just built");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"))
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let mut says =
            |message: &str| lines.find(|line| line["message"] == message).expect("it says so before it ends");
        let listening = says("listening");
        says("serving");
        let address = |key: &str| listening[key].as_str().unwrap_or_default().to_owned();
        Self { child, http: address("address"), admin: address("admin_address") }
    }

    /// The status that a path is answered with.
    fn status(address: &str, path: &str) -> u16 {
        let mut stream = TcpStream::connect(address).expect("the service listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("10 s are a valid timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .expect("the service reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the service answers");
        response.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a response has a status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports, by their name, and paths that something outside asks: the kubelet, Prometheus, a load balancer.
fn asked(rendered: &Rendered) -> Vec<(String, String)> {
    let mut asked = Vec::new();
    for workload in rendered.workloads() {
        for get in workload.probes().iter().filter_map(|(_, probe)| probe.http_get.as_ref()) {
            if let IntOrString::String(port) = &get.port {
                asked.push((port.clone(), get.path.clone().unwrap_or_default()));
            }
        }
    }
    for custom in &rendered.custom {
        match custom {
            Custom::PodMonitor(monitor) => asked.extend(
                monitor.spec.pod_metrics_endpoints.iter().map(|to| (to.port.clone(), to.path.clone())),
            ),
            Custom::HealthCheckPolicy(policy) => asked
                .push(("http".to_owned(), policy.spec.default.config.http_health_check.request_path.clone())),
            _ => {}
        }
    }
    for ingress in &rendered.ingresses {
        let annotations = ingress.metadata.annotations.iter().flatten();
        let paths =
            annotations.filter(|(key, _)| key.ends_with("/healthcheck-path")).map(|(_, path)| path.clone());
        asked.extend(paths.map(|path| ("http".to_owned(), path)));
    }
    asked
}

/// Paths that the running service does not answer with 200.
fn path_faults(service: &Running, asked: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (port, path) in asked {
        let address = match port.as_str() {
            "http" => &service.http,
            "admin" => &service.admin,
            other => {
                faults.push(format!("there is no port {other}"));
                continue;
            }
        };
        let status = Running::status(address, path);
        if status != 200 {
            faults.push(format!("port {port} answers {path} with {status}"));
        }
    }
    faults
}

fn all() -> impl Iterator<Item = (String, Rendered)> {
    targets().into_iter().map(|target| {
        let objects = kustomize(&target).expect("the target renders, or another test says why");
        let rendered =
            Rendered::read(&objects).expect("the objects are of known kinds, or another test says which");
        (target, rendered)
    })
}

#[test]
fn the_service_knows_and_accepts_every_variable() {
    for (target, rendered) in all() {
        for workload in rendered.workloads() {
            let variables = variables(&target, &rendered, &workload);
            assert!(variables.len() > 10, "{target}: {variables:?}");
            assert_eq!(config_faults(&variables), Vec::<String>::new(), "{target}: {}", workload.name);
        }
    }
}

#[test]
fn the_service_binds_the_ports_and_fits_the_memory_that_are_declared() {
    for (target, rendered) in all() {
        for workload in rendered.workloads() {
            let faults = number_faults(&workload, &variables(&target, &rendered, &workload));
            assert_eq!(faults, Vec::<String>::new(), "{target}: {}", workload.name);
        }
    }
}

#[test]
fn the_running_service_responses_every_path_that_is_asked() {
    let service = Running::start();
    for (target, rendered) in all() {
        let asked = asked(&rendered);
        assert_eq!(asked.is_empty(), rendered.deployments.is_empty(), "{target}: {asked:?}");
        assert_eq!(path_faults(&service, &asked), Vec::<String>::new(), "{target}");
    }
}

#[test]
fn what_the_service_refuses_is_caught() {
    let rendered = Rendered::read(&kustomize("overlays/production").unwrap()).unwrap();
    let workload = rendered.workloads().next().unwrap();
    let whole = variables("overlays/production", &rendered, &workload);
    for (what, name, value) in [
        ("a misspelt variable", "APP_DRAIN_DELAI", "10s"),
        ("a misspelt variable of a file", "APP_API_TOKN_FILE", "/dev/null"),
        ("a duration without a unit", "APP_DRAIN_DELAY", "10"),
        ("a sum that does not fit", "APP_DRAIN_DELAY", "60s"),
        ("a word that there is not", "APP_LOG_FORMAT", "yaml"),
    ] {
        let mut broken = whole.clone();
        broken.insert(name.to_owned(), value.to_owned());
        assert!(!config_faults(&broken).is_empty(), "{what} is not caught");
    }
    for (what, name, value) in [
        ("another port of the service", "APP_PORT", "8000"),
        ("another admin port", "APP_ADMIN_PORT", "9091"),
        ("bodies that fill the memory", "APP_BODY_LIMIT", "1048576"),
        ("heads that fill the memory", "APP_MAX_CONNECTIONS", "16384"),
    ] {
        let mut broken = whole.clone();
        broken.insert(name.to_owned(), value.to_owned());
        assert!(!number_faults(&workload, &broken).is_empty(), "{what} is not caught");
    }
}

#[test]
fn a_path_that_the_service_does_not_have_is_caught() {
    let service = Running::start();
    for (port, path) in [("admin", "/healthz"), ("http", "/metrics"), ("metrics", "/metrics")] {
        let faults = path_faults(&service, &[(port.to_owned(), path.to_owned())]);
        assert_eq!(faults.len(), 1, "{port} {path}");
    }
}

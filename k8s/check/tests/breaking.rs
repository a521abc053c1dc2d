//! `k8s/break.sh`, with stand-ins for kubectl and for the way to the node, and with real processes to break.

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use manifests::render::{root, service};

const UID: &str = "0f6c1d2e-1111-2222-3333-444455556666";

/// A node with one process of the pod and one of another, and a kubectl that knows the pod.
struct Node {
    directory: PathBuf,
    own: Child,
    other: Child,
}

impl Node {
    fn new(name: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&directory);
        let sleep = || Command::new("sleep").arg("60").spawn().expect("there is a sleep");
        let node = Self { own: sleep(), other: sleep(), directory };
        for (process, comm, uid) in
            [(&node.own, "service", UID.replace('-', "_")), (&node.other, "service", "another".to_owned())]
        {
            let proc = node.directory.join(format!("proc/{}", process.id()));
            fs::create_dir_all(&proc).expect("cargo made the directory above");
            fs::write(proc.join("comm"), format!("{comm}\n")).expect("it was just made");
            let cgroup = format!("0::/kubepods-burstable-pod{uid}.slice/container.scope\n");
            fs::write(proc.join("cgroup"), cgroup).expect("it was just made");
        }
        let commands = node.directory.join("commands");
        fs::create_dir_all(&commands).expect("cargo made the directory above");
        let kubectl = format!(
            "#!/bin/sh\nif [ \"$1\" = config ]; then echo kind-here; exit; fi\nshift 2\ncase \"$*\" in\n\
             *get\\ pods*) echo 'shop-a {UID} node-1'; echo 'shop-b another node-2' ;;\n\
             *) echo \"$*\" >'{0}/created'; cat >>'{0}/created' ;;\nesac\n",
            node.directory.display()
        );
        // The shell that follows `exec -i NODE` runs here.
        let docker = "#!/bin/sh\n[ \"$1 $2 $3\" = 'exec -i node-1' ] || exit 9\nshift 3\nexec \"$@\"\n";
        for (name, text) in [("kubectl", kubectl.as_str()), ("docker", docker)] {
            fs::write(commands.join(name), text).expect("the directory was just made");
            fs::set_permissions(commands.join(name), fs::Permissions::from_mode(0o755))
                .expect("the file was just written");
        }
        node
    }

    fn run(&self, how: &str) -> (bool, String) {
        let path = format!("{}/commands:{}", self.directory.display(), env::var("PATH").unwrap_or_default());
        let output = Command::new(root().join("break.sh"))
            .arg(how)
            .env_remove("CONTEXT")
            .env_remove("DOCKER")
            .env_remove("ON_NODE")
            .env("PATH", path)
            .env("PROC", self.directory.join("proc"))
            .env("CGROUPS", self.directory.join("cgroups"))
            .output()
            .expect("the script is there");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in [&mut self.own, &mut self.other] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The state of a process, as the kernel writes it: `S` sleeping, `T` stopped.
fn state(process: &Child) -> char {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it has not been waited for");
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).expect("a state follows the name")
}

#[test]
fn a_crash_kills_the_process_of_that_pod_and_no_other() {
    let mut node = Node::new("break-crash");
    let (ok, said) = node.run("crash");
    assert!(ok && said.contains("crash: pod/shop-a on node node-1"), "{said}");
    assert_eq!(node.own.wait().expect("it is a child").signal(), Some(9));
    assert_eq!(node.other.try_wait().expect("it is a child"), None);
}

#[test]
fn stuck_stops_it() {
    let node = Node::new("break-stuck");
    let (ok, said) = node.run("stuck");
    assert!(ok, "{said}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while state(&node.own) != 'T' && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((state(&node.own), state(&node.other)), ('T', 'S'));
}

#[test]
fn memory_lowers_the_limit_of_its_cgroup() {
    let node = Node::new("break-memory");
    let cgroup = format!("cgroups/kubepods-burstable-pod{}.slice/container.scope", UID.replace('-', "_"));
    fs::create_dir_all(node.directory.join(&cgroup)).expect("cargo made the directory above");
    let (ok, said) = node.run("memory");
    assert!(ok, "{said}");
    let limit = fs::read_to_string(node.directory.join(cgroup).join("memory.max"));
    assert_eq!(limit.expect("it was written"), "1M\n");
}

#[test]
fn evict_asks_the_api() {
    let name = service();
    let node = Node::new("break-evict");
    let (ok, said) = node.run("evict");
    assert!(ok, "{said}");
    let created = fs::read_to_string(node.directory.join("created")).expect("it was created");
    let (command, body) = created.split_once('\n').expect("the body follows");
    assert_eq!(command, format!("create --raw /api/v1/namespaces/{name}-local/pods/shop-a/eviction -f -"));
    let body: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
    assert_eq!(body["kind"], "Eviction");
    assert_eq!(body["metadata"]["name"], "shop-a");
}

#[test]
fn what_is_no_way_to_break_or_has_no_process_fails() {
    let mut node = Node::new("break-none");
    let (ok, said) = node.run("everything");
    assert!(!ok && said.contains("HOW is"), "{said}");
    node.own.kill().expect("it runs");
    fs::remove_dir_all(node.directory.join(format!("proc/{}", node.own.id()))).expect("it was made");
    let (ok, said) = node.run("crash");
    assert!(!ok && said.contains("No process called service"), "{said}");
    assert_eq!(node.other.try_wait().expect("it is a child"), None);
}

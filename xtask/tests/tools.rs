//! What `make test` does when a program that it needs is not on the PATH.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// A checkout with nothing but `scripts/tools.sh`, and a PATH with nothing but what that script uses.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools").join(name);
        let _ = fs::remove_dir_all(&root);
        for directory in ["bin", "scripts"] {
            fs::create_dir_all(root.join(directory)).expect("the target directory is writable");
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/tools.sh");
        fs::copy(script, root.join("scripts/tools.sh")).expect("it is part of every checkout");
        for program in ["bash", "cat", "dirname", "ln", "mkdir", "rm"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
            let found = String::from_utf8(found.expect("there is a shell").stdout).expect("a path");
            symlink(found.trim(), root.join("bin").join(program)).expect("the directory was empty");
        }
        Self(root)
    }

    /// Installs a program that does nothing and ends with this code.
    fn with(self, program: &str, code: u8) -> Self {
        let path = self.0.join("bin").join(program);
        fs::write(&path, format!("#!/bin/sh\nexit {code}\n")).expect("the directory was just made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it was just made");
        self
    }

    /// The exit code and what is said on stderr.
    fn run(&self) -> (Option<i32>, String) {
        let bin = self.0.join("bin");
        let mut command = Command::new(bin.join("bash"));
        let output = command.arg("scripts/tools.sh").current_dir(&self.0).env("PATH", bin).output();
        let output = output.expect("bash is there");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn what_is_installed_is_linked() {
    let machine = Machine::new("installed").with("kubectl", 0).with("promtool", 0).with("prometheus", 0);
    assert_eq!(machine.run(), (Some(0), String::new()));
    for tool in ["kubectl", "promtool", "prometheus"] {
        let link = fs::read_link(machine.0.join(".tools/bin").join(tool)).unwrap();
        assert_eq!(link, machine.0.join("bin").join(tool));
    }
}

#[test]
fn without_apt_it_fails_and_says_what_to_install() {
    let (code, said) = Machine::new("without-apt").with("promtool", 0).run();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("make test needs on the PATH: kubectl prometheus\n"), "{said}");
    assert!(said.contains("brew install kubernetes-cli prometheus\n"), "{said}");
}

#[test]
fn without_a_registry_it_fails_and_says_what_is_missing() {
    let (code, said) = Machine::new("without-a-registry").with("kubectl", 0).with("apt-get", 100).run();
    assert_eq!(code, Some(100), "{said}");
    assert_eq!(said, "fetching failed; make test needs on the PATH: promtool prometheus\n");
}

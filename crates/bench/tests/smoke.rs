//! The bench itself: it carries every load, and believes nobody.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn every_load_gets_whole_through_plain_nat_and_the_gateway() {
    let folder = Folder::new("whole");
    let output = bench(&folder, &gateway(), &["--peers", "nat,sipalg"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let results = folder.results();
    let runs = results["runs"].as_array().expect("runs");
    // L9 is of the gateway only.
    assert_eq!(runs.len(), 17, "{told}");
    for run in runs {
        assert!(run["void"].is_null(), "{run}");
        assert!(run["units"].as_u64() > Some(0), "{run}");
        assert!(run["cpu"].as_f64() > Some(0.0), "{run}");
    }
    assert_eq!(of(runs, "L9")["more"]["ports"], 400.0);
    let plot = fs::read_to_string(folder.0.join("bench.svg")).expect("a plot");
    assert!(
        plot.contains("sipalg") && plot.ends_with("</svg>\n"),
        "{plot}"
    );
}

#[test]
fn a_gateway_that_does_not_rewrite_has_no_figures() {
    let folder = Folder::new("void");
    let program = folder.0.join("sipalg");
    let script = format!(
        "#!/bin/sh\nexec '{}' \"$@\" --no-fixup\n",
        gateway().display()
    );
    fs::write(&program, script).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    let loads = ["--peers", "sipalg", "--only", "L1,L2,L3,L5"];
    let output = bench(&folder, &program, &loads);
    assert!(!output.status.success());
    let results = folder.results();
    for load in ["L1", "L2", "L3", "L5"] {
        let void = of(results["runs"].as_array().expect("runs"), load)["void"].to_string();
        assert!(void.contains("leak an inside address"), "{load}: {void}");
    }
}

fn of<'a>(runs: &'a [Value], load: &str) -> &'a Value {
    runs.iter()
        .find(|run| run["load"] == load)
        .expect("a run of this load")
}

fn bench(folder: &Folder, gateway: &Path, more: &[&str]) -> Output {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_sipalg-bench"));
    bench.args(["bench", "--smoke", "--sipalg"]).arg(gateway);
    bench.arg("--out").arg(&folder.0).args(more);
    bench.output().expect("the bench starts")
}

/// The gateway's program beside that of the bench, where the workspace's tests have built it.
fn gateway() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_sipalg-bench")).with_file_name("sipalg");
    if !program.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "sipalg"])
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "the gateway cannot be built"
        );
    }
    program
}

/// A folder of its own in the temporary folder, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("sipalg-bench-smoke-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a temporary folder");
        Folder(path)
    }

    fn results(&self) -> Value {
        let text = fs::read_to_string(self.0.join("bench.json")).expect("the figures");
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: it is in the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

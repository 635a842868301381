//! What deploy/ says about the program is asked of the program: paths of probes, variables, commands, SQL. Helm itself judges the
//! chart where it is there (`helm`, or what `TIDEMILL_HELM` names); the tests say so where it is not.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regex::Regex;

use super::kit::Server;
use crate::not_run::not_run;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below deploy/, with their texts.
fn deployed() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            match entry.path() {
                // What a user made there holds secrets of the user's own.
                path if path.ends_with("secrets") || path.ends_with(".env") => {}
                path if path.is_dir() => folders.push(path),
                path => files.push((path.clone(), std::fs::read_to_string(&path).expect("text"))),
            }
        }
    }
    assert!(files.len() > 15, "the walk found only {} files", files.len());
    files
}

fn tidemill(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidemill")).args(args).output().expect("the program starts")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// What stands in the first group of each match, with the file.
fn found(pattern: &str) -> Vec<(String, PathBuf)> {
    let pattern = Regex::new(pattern).expect("a pattern");
    let mut all = Vec::new();
    for (path, text) in deployed() {
        all.extend(pattern.captures_iter(&text).map(|found| (found[1].to_string(), path.clone())));
    }
    all
}

#[test]
fn probes_ask_for_paths_that_the_server_has() {
    let server = Server::start(&[]);
    let routes = server.get("/api/v1/openapi.json").expect(200);
    let paths = found(r"(?m)^\s*path: (/\S*)$");
    assert!(paths.len() >= 5, "{paths:?}");
    for (path, file) in paths {
        let route = &routes["paths"][path.as_str()]["get"];
        assert!(route.is_object(), "{}: the server has no {path}", file.display());
        // A probe has no token; who reads the figures has one.
        assert!(path == "/metrics" || server.get(&path).status == 200, "{}: {path}", file.display());
    }
}

#[test]
fn variables_and_commands_are_those_of_the_program() {
    let options = told(&tidemill(&["config"]));
    let is_option = |name: &str| {
        options.lines().any(|line| line.starts_with(&format!("{} =", name.to_lowercase().replace('_', "-"))))
    };
    let others = ["CONFIG", "TOKEN", "JOB_FILE", "JOB_PARALLELISM"];
    let names = found(r"\bTIDEMILL_([A-Z_]+)\b");
    assert!(names.len() > 10, "{names:?}");
    for (name, file) in names {
        let is_known = is_option(&name) || others.contains(&name.as_str());
        assert!(is_known, "{}: there is no variable TIDEMILL_{name}", file.display());
    }
    let commands = found(r#"(?:/usr/local/bin/tidemill"?, |command: \[)"?(health[^\]]*|submit[^\]]*)\]"#);
    assert!(commands.len() >= 6, "{commands:?}");
    for (command, file) in commands {
        let mut args: Vec<String> = command.split(',').map(|word| word.trim().trim_matches('"').to_string()).collect();
        args.push("--help".to_string());
        let output = tidemill(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{}: {command}: {}", file.display(), told(&output));
    }
}

#[test]
fn the_jobs_are_right() {
    let jobs: Vec<PathBuf> = deployed()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.extension().is_some_and(|end| end == "sql"))
        .collect();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    for job in jobs {
        let output = tidemill(&["check", &job.display().to_string()]);
        assert!(output.status.success(), "{}", told(&output));
    }
}

#[test]
fn the_chart_is_right_and_the_manifests_are_made_of_it() {
    let helm = std::env::var_os("TIDEMILL_HELM").map_or_else(|| PathBuf::from("helm"), PathBuf::from);
    if !Command::new(&helm).arg("version").output().is_ok_and(|output| output.status.success()) {
        not_run("the checks of the chart", "helm was not found (or TIDEMILL_HELM)");
        return;
    }
    let run = |program: &Path, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(root()).env("TIDEMILL_HELM", &helm).output().expect("it starts")
    };
    let chart = "deploy/helm/tidemill";
    let lint = run(&helm, &["lint", "--strict", chart]);
    assert!(lint.status.success(), "{}", told(&lint));
    let check = run(&root().join("scripts/manifests.sh"), &["--check"]);
    assert!(check.status.success(), "scripts/manifests.sh writes them anew: {}", told(&check));

    let template = |set: &[&str]| run(&helm, &[&["template", "x", chart, "--kube-version", "1.30.0"], set].concat());
    for (set, expected) in [
        (vec!["--set", "mode=jbo"], "value must be one of 'server', 'job'"),
        (vec!["--set", "mode=job"], "job.sql or job.existingConfigMap"),
        (vec!["--set", "config.listen=x"], "'listen'"),
        (vec!["--set", "tokens.existingSecret="], "who may ask the server"),
        (vec!["--set", "imgae.tag=1"], "'imgae' not allowed"),
    ] {
        let output = template(&set);
        assert!(!output.status.success() && told(&output).contains(expected), "{set:?}: {}", told(&output));
    }
    let config = r#"config={"allow-host":["kafka:9092","*.db"],"jobs-max":5,"stop-timeout":"30 s"}"#;
    let output = template(&["--set-json", config, "--show-only", "templates/config.yaml"]);
    assert!(output.status.success(), "{}", told(&output));
    let toml: String = told(&output)
        .split("server.toml: |")
        .nth(1)
        .expect("the file")
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("server.toml");
    std::fs::write(&file, toml).expect("written");
    let options = told(&tidemill(&["config", "--config", &file.display().to_string()]));
    for line in ["allow-host = \"kafka:9092,*.db\"", "jobs-max = \"5\"", "stop-timeout = \"30 s\""] {
        assert!(options.contains(line), "{options}");
    }
}

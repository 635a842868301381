//! Prometheus' own tool judges the figures of a running server, the alerts and the scraping of the compose file. Where it is not
//! there (`promtool` of the package prometheus, or what `TIDEMILL_PROMTOOL` names), the tests say so.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::kit::{Server, copying_job};
use crate::not_run::not_run;

fn promtool(test: &str) -> Option<PathBuf> {
    let program = std::env::var_os("TIDEMILL_PROMTOOL").map_or_else(|| PathBuf::from("promtool"), PathBuf::from);
    if Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    not_run(test, "promtool was not found (package prometheus, or TIDEMILL_PROMTOOL)");
    None
}

/// All that it prints; it must find nothing wrong.
fn is_content(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{told}\n{input}");
    told
}

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn promtool_has_nothing_to_say_about_the_figures() {
    let Some(promtool) = promtool("promtool check metrics") else { return };
    let server = Server::start(&[]);
    for name in ["a", "b"] {
        server.feed(&format!("in/{name}"), "1.json", "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":1}\n");
        server.post("/api/v1/jobs", json!({ "name": name, "sql": copying_job(name) })).expect(201);
    }
    let windows = "CREATE TABLE r (w INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) \
                   WITH ('connector' = 'datagen', 'rows-per-second' = '100'); \
                   SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' SECOND)) \
                   GROUP BY window_start, window_end";
    server.post("/api/v1/jobs", json!({ "name": "windows", "sql": windows })).expect(201);
    let needed = ["tidemill_state_size_bytes{job=\"b\"}", "tidemill_watermark_lag_seconds", "tidemill_latency_seconds"];
    server.wait_until("the figures are there", || {
        let page = server.get("/metrics").text;
        needed.iter().all(|name| page.contains(name))
    });
    let told = is_content(Command::new(promtool).args(["check", "metrics"]), &server.get("/metrics").text);
    assert_eq!(told, "");
}

#[test]
fn alerts_are_raised_by_the_figures_that_they_name() {
    let rules = text_of(&deploy("prometheus/rules.yml"));
    let figures = text_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/metrics.rs"));
    let word = regex::Regex::new(r"tidemill_[a-z_]+").expect("a pattern");
    let names: Vec<&str> = word.find_iter(&rules).map(|found| found.as_str()).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(figures.contains(&format!("\"{name}\"")), "the server has no figure {name}");
    }
    let Some(promtool) = promtool("promtool test rules") else { return };
    let told = is_content(Command::new(&promtool).args(["check", "rules"]).arg(deploy("prometheus/rules.yml")), "");
    assert!(told.contains("SUCCESS"), "{told}");
    is_content(Command::new(&promtool).args(["test", "rules"]).arg(deploy("prometheus/rules-test.yml")), "");
}

#[test]
fn what_is_scraped_by_the_compose_file_is_configured() {
    let Some(promtool) = promtool("promtool check config") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let here = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(here("token"), "tm_").expect("written");
    std::fs::copy(deploy("prometheus/rules.yml"), here("rules.yml")).expect("copied");
    // As the files lie in the container.
    let mut config = text_of(&deploy("compose/prometheus.yml"));
    for (inside, name) in [("/etc/prometheus/rules.yml", "rules.yml"), ("/run/secrets/prometheus-token", "token")] {
        assert!(config.contains(inside), "{inside} is not in {config}");
        assert!(text_of(&deploy("compose/compose.yml")).contains(inside.rsplit('/').next().unwrap_or_default()));
        config = config.replace(inside, &here(name));
    }
    std::fs::write(here("prometheus.yml"), config).expect("written");
    let told = is_content(Command::new(promtool).args(["check", "config"]).arg(here("prometheus.yml")), "");
    assert!(told.contains("1 rule files found"), "{told}");
}

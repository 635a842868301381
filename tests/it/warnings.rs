//! What the program says before a job runs whose state nothing frees.

use crate::process::Workspace;

const SCRIPT: &str = "
CREATE TABLE numbers (n BIGINT, m BIGINT) WITH ('connector' = 'datagen');
SELECT a.n, b.m FROM numbers AS a JOIN numbers AS b ON a.n = b.n;
SELECT n, COUNT(*) FROM numbers GROUP BY n;
SELECT a.n FROM numbers AS a LEFT JOIN numbers AS b ON a.n = b.m;
";

const NEARLY_INTERVAL: &str = "
CREATE TABLE orders (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE shipments (id BIGINT, ts TIMESTAMP(3)) WITH ('connector' = 'datagen');
SELECT o.id FROM orders AS o JOIN shipments AS s ON o.id = s.id
AND s.ts BETWEEN o.ts AND o.ts + INTERVAL '1' HOUR;
";

#[test]
fn a_join_that_could_go_by_time_but_does_not_is_said_with_its_place_and_remedy() {
    let workspace = Workspace::new(NEARLY_INTERVAL);
    let output = workspace.command(&["check", "job.sql"]).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "as in Flink it runs: {said}");
    let place =
        "warning: line 5, column 5: a join by the distance of times, of which `s.ts` is no time attribute, keeps";
    assert!(said.contains(place), "{said}");
    assert!(said.contains("add WATERMARK FOR ts AS ts - INTERVAL '5' SECOND to table `shipments`"), "{said}");
}

fn check(settings: &[&str]) -> (bool, String) {
    let workspace = Workspace::new(SCRIPT);
    let args: Vec<&str> = ["check", "job.sql"].iter().chain(settings).copied().collect();
    let output = workspace.command(&args).output().expect("the program starts");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_state_that_only_grows_is_said_once_or_refused_or_bounded() {
    let (is_right, said) = check(&[]);
    assert!(is_right, "{said}");
    let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "one of joins and one of aggregations: {said}");
    assert!(warnings.iter().all(|line| line.contains("table.exec.state.ttl")), "{said}");
    let (is_right, said) = check(&["--set", "table.exec.state.unbounded=forbid"]);
    assert!(!is_right && said.contains("a join would keep the rows of both inputs"), "{said}");
    for settings in ["table.exec.state.unbounded=allow", "table.exec.state.ttl=1 d"] {
        assert_eq!(check(&["--set", settings]), (true, String::new()), "{settings}");
    }
}

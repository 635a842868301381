//! What the program says before a job runs whose state nothing frees.

use crate::process::Workspace;

const SCRIPT: &str = "
CREATE TABLE numbers (n BIGINT, m BIGINT) WITH ('connector' = 'datagen');
SELECT a.n, b.m FROM numbers AS a JOIN numbers AS b ON a.n = b.n;
SELECT n, COUNT(*) FROM numbers GROUP BY n;
SELECT a.n FROM numbers AS a LEFT JOIN numbers AS b ON a.n = b.m;
";

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

//! What `examples/kafka-exactly-once/run.sh` does, on the broker that the tests have: fill, run, `kill -9`, run again, look.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::broker::Broker;
use crate::process::{Workspace, visible_files, wait_or_kill};

/// Where the example's own broker listens.
const ADDRESS: &str = "localhost:29092";

fn workspace(broker: &Broker) -> Workspace {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kafka-exactly-once");
    let workspace = Workspace::new("");
    for name in ["fill.sql", "job.sql", "answer.sql"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("a script of the example");
        assert!(text.contains(ADDRESS), "{name} reads or writes a topic");
        workspace.write(name, &text.replace(ADDRESS, &broker.address()));
    }
    workspace
}

#[test]
fn a_job_that_was_killed_on_its_way_leaves_the_answer_that_the_example_expects() {
    let test = "a_job_that_was_killed_on_its_way_leaves_the_answer_that_the_example_expects";
    let Some(broker) = Broker::own(test, &[]) else { return };
    let workspace = workspace(&broker);
    let run = |script: &str, state: &str| {
        let mut command = workspace.command(&["run", script, "--quiet", "--state-dir", state]);
        command.stderr(Stdio::piped()).spawn().expect("the program starts")
    };
    let to_end = |script: &str, state: &str| {
        let output = run(script, state).wait_with_output().expect("it ends");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    };
    to_end("fill.sql", "filled");
    let killed = wait_or_kill(&mut run("job.sql", "state"), Duration::from_secs(1));
    assert!(killed.is_none_or(|status| status.success()), "{killed:?}");
    to_end("job.sql", "state");
    to_end("answer.sql", "answered");
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kafka-exactly-once/expected");
    let expected = std::fs::read_to_string(expected).expect("what is expected");
    assert_eq!(visible_files(&workspace.path("out")).len(), 1);
    assert_eq!(workspace.visible_lines("out").join("\n"), expected.trim_end());
}

//! The SQL corpus in `tests/corpus`: every case in every world that the program knows.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

/// A smaller corpus means that files were lost on the way.
const CASES_MIN: usize = 250;
/// Where files cost no disk: the corpus is about answers; the crash tests are about disks.
const MEMORY_FOLDER: &str = "/dev/shm";

#[test]
fn the_corpus_holds_in_all_worlds() {
    let worlds = worlds();
    assert!(worlds.len() >= 9, "{worlds:?}");
    // Jobs of a test mostly wait for each other's threads, so all worlds together take little longer than one.
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let running: Vec<_> = worlds.iter().map(|world| scope.spawn(|| run(world))).collect();
        running.into_iter().map(|world| world.join().expect("the world's run was looked at")).collect()
    });
    let failures: String = outcomes.iter().filter_map(|outcome| outcome.failure.as_deref()).collect();
    assert!(failures.is_empty(), "\n{failures}");
    let cases = outcomes[0].passed;
    assert!(cases >= CASES_MIN, "{cases} cases in world {}, fewer than {CASES_MIN}", worlds[0]);
}

struct Outcome {
    passed: usize,
    /// All that the program said, where it did not end well.
    failure: Option<String>,
}

/// The names, the default world first.
fn worlds() -> Vec<String> {
    let output = tidemill(&["test", "--list-worlds"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_string).collect()
}

fn run(world: &str) -> Outcome {
    let output = tidemill(&["test", "tests/corpus", "--worlds", world]);
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = text.lines().rev().find_map(|line| line.split_once(" passed")?.0.parse().ok()).unwrap_or(0);
    let said = || format!("world {world}: {}\n{text}{}\n", output.status, String::from_utf8_lossy(&output.stderr));
    // A job that ends well has nothing to say: what stands on stderr is a warning that nobody else would see.
    let well = output.status.success() && output.stderr.is_empty();
    Outcome { passed, failure: (!well).then(said) }
}

fn tidemill(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    if Path::new(MEMORY_FOLDER).is_dir() {
        command.env("TMPDIR", MEMORY_FOLDER);
    }
    command.output().expect("the program starts")
}

//! INSERT in the background: listed, stopped, told of, and asked about before the shell leaves it.

use super::terminal::{CTRL_D, Terminal};
use crate::process::Workspace;

const TABLES: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500', \
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000');\
    CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');\
    CREATE TABLE texts (t STRING) WITH ('connector' = 'filesystem', 'path' = 'texts', 'format' = 'csv');\
    CREATE TABLE more (n INT) WITH ('connector' = 'filesystem', 'path' = 'more', 'format' = 'csv');";

#[test]
fn inserts_run_behind_the_prompt_until_they_are_stopped() {
    let workspace = Workspace::new("");
    let mut terminal = Terminal::open(&workspace, &[]);
    terminal.wait_for_prompt();
    terminal.run(TABLES, "table created");
    terminal.run("INSERT INTO copies SELECT n FROM numbers;", "job 1 runs in the background");
    terminal.run("SELECT 'meanwhile' AS said;", "meanwhile");
    let shown = terminal.run("\\jobs", "INSERT INTO copies SELECT n FROM numbers");
    assert!(shown.contains("| 1   | running |"), "{shown}");
    terminal.run("\\stop 7", "there is no job 7: there are 1");
    terminal.run("\\stop 1", "job 1 is stopped: ");
    assert!(!workspace.visible_lines("out").is_empty(), "the final checkpoint made the rows visible");
    terminal.run("\\jobs", "| finished |");
    terminal.enter("\\q");
    assert!(terminal.end().success());
}

#[test]
fn a_job_that_fails_or_ends_is_told_of_at_the_next_prompt() {
    let workspace = Workspace::new("");
    workspace.write("texts/a.csv", "12\nnot a number\n");
    let mut terminal = Terminal::open(&workspace, &[]);
    terminal.wait_for_prompt();
    terminal.run(TABLES, "table created");
    terminal.run("INSERT INTO more SELECT CAST(t AS INT) FROM texts;", "job 1 runs");
    terminal.run("INSERT INTO more VALUES (1), (2);", "job 2 runs");
    for _ in 0..100 {
        terminal.enter("");
        std::thread::sleep(std::time::Duration::from_millis(50));
        let shown = terminal.text();
        if shown.contains("job 1 failed: ") && shown.contains("job 2 is done: ") {
            break;
        }
    }
    let shown = terminal.text();
    assert!(shown.contains("job 1 failed: ") && shown.contains("job 2 is done: 2 rows in, 2 rows out"), "{shown}");
}

#[test]
fn leaving_with_jobs_is_asked_once() {
    let workspace = Workspace::new("");
    let mut terminal = Terminal::open(&workspace, &[]);
    terminal.wait_for_prompt();
    terminal.run(TABLES, "table created");
    terminal.run("INSERT INTO copies SELECT n FROM numbers;", "job 1 runs");
    terminal.type_(CTRL_D);
    terminal.wait_for("1 job runs and will be stopped with a final checkpoint. Leave? [y/N]");
    terminal.type_("n");
    terminal.wait_for("no");
    terminal.wait_for_prompt();
    terminal.enter("\\q");
    terminal.wait("the second question", |text| text.matches("Leave? [y/N]").count() == 2);
    terminal.type_("y");
    assert!(terminal.end().success());
    assert!(!workspace.visible_lines("out").is_empty(), "its rows are visible");
}

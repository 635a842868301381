//! Without a terminal: from a pipe, from arguments, from files.

use std::io::{BufRead, BufReader, Write};
use std::process::{Output, Stdio};
use std::time::Instant;

use crate::process::{Workspace, wait};

fn piped(workspace: &Workspace, args: &[&str], input: &str) -> Output {
    let mut command = workspace.command(args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    child.wait_with_output().expect("it ends")
}

/// What it writes, what it says, and how it ends.
fn parts(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

fn check(args: &[&str], input: &str, stdout: &str, stderr_has: &str, code: i32) {
    let (out, err, ended) = parts(&piped(&Workspace::new(""), args, input));
    assert_eq!((out.as_str(), ended), (stdout, Some(code)), "{args:?} {input:?}: {err}");
    assert!(if stderr_has.is_empty() { err.is_empty() } else { err.contains(stderr_has) }, "{args:?} {input:?}: {err}");
}

#[test]
fn a_pipe_is_answered_without_prompt_or_colours() {
    check(&[], "select 1;", "+--------+\n| EXPR$0 |\n+--------+\n|      1 |\n+--------+\n", "", 0);
    check(
        &["--format", "json"],
        "values (1, 'é'), (2, cast(null as string))",
        "{\"column1\":1,\"column2\":\"é\"}\n{\"column1\":2,\"column2\":null}\n",
        "",
        0,
    );
    check(
        &["--format", "csv"],
        "SELECT 1 AS a, '' AS b, 'x,\"y' AS c, CAST(NULL AS INT) AS d;",
        "a,b,c,d\n1,\"\",\"x,\"\"y\",\n",
        "",
        0,
    );
    check(&["--format", "markdown"], "SELECT 'a|b' AS x, 1 AS n;", "| x | n |\n|---|---:|\n| a\\|b | 1 |\n", "", 0);
    check(&["-c", "SELECT 1 AS a", "-c", "SELECT 2 AS b", "--format", "csv"], "", "a\n1\nb\n2\n", "", 0);
    check(&["-c", "\\format json", "-c", "SELECT 1 AS a;"], "", "{\"a\":1}\n", "format: json", 0);
    check(&[], "", "", "", 0);
    check(&[], "-- nothing\n;;\n", "", "", 0);
}

#[test]
fn the_first_error_ends_it_unless_it_is_to_keep_going() {
    let script = "SELECT 1 AS a;\nSELECT 2 AS b FROM nothing;\nSELECT 3 AS c;\n";
    let place = "error: table or view `nothing` does not exist\n --> standard input:2:20\n  |\n2 | SELECT 2 AS b FROM nothing;\n  |                    ^^^^^^^\n";
    check(&["--format", "csv"], script, "a\n1\n", place, 2);
    check(&["--format", "csv", "--keep-going"], script, "a\n1\nc\n3\n", place, 2);
    check(&["--format", "csv"], "SELECT CAST(t AS INT) AS n FROM (VALUES ('x')) AS v(t);", "", "error: ", 1);
    check(&["-f", "no-such-file.sql"], "", "", "error: cannot read no-such-file.sql", 2);
    check(&["--format", "cvs"], "", "", "csv", 2);
    check(&[], "\\nothing", "", "there is no command \\nothing", 2);
}

#[test]
fn a_bounded_result_that_changes_is_written_once_and_an_insert_is_waited_for() {
    let workspace = Workspace::new("");
    workspace.write("sales/a.csv", "pear,1\napple,2\npear,3\n");
    let script = "CREATE TABLE sales (item STRING, n INT) WITH ('connector' = 'filesystem', 'path' = 'sales', 'format' = 'csv');
        CREATE TABLE totals (item STRING, total INT) WITH ('connector' = 'filesystem', 'path' = 'totals', 'format' = 'csv');
        INSERT INTO totals SELECT item, n FROM sales WHERE n > 1;
        SELECT item, SUM(n) AS total FROM sales GROUP BY item ORDER BY total DESC;
        SELECT COUNT(*) AS written FROM totals;";
    workspace.write("all.sql", script);
    let (out, err, code) = parts(&piped(&workspace, &["--format", "csv", "-f", "all.sql"], ""));
    assert_eq!((out.as_str(), code), ("item,total\npear,4\napple,2\nwritten\n2\n", Some(0)), "{err}");
}

#[test]
fn a_result_that_never_ends_comes_as_changes_and_a_closed_pipe_ends_it() {
    let workspace = Workspace::new(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
         SELECT COUNT(*) AS c FROM numbers;",
    );
    let mut command = workspace.command(&["--format", "csv", "-f", "job.sql"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!(line(), "op,c");
    assert!(line().starts_with("+I,"));
    assert!(line().starts_with("-U,"));
    drop(lines);
    assert!(wait(&mut child).success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut said).expect("text");
    assert_eq!(said, "");
}

#[test]
fn another_program_can_drive_it_and_has_the_first_row_at_once() {
    let workspace = Workspace::new("");
    let mut command = workspace.command(&["--format", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut to = child.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut ask = |sql: &str| {
        let begun = Instant::now();
        to.write_all(sql.as_bytes()).expect("written");
        (lines.next().expect("a line").expect("text"), begun.elapsed())
    };
    assert_eq!(ask("SELECT 1 AS n;\n").0, "{\"n\":1}");
    let (row, time) = ask(
        "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000', 'fields.n.min' = '5', 'fields.n.max' = '5');\nSELECT n FROM t LIMIT 1;\n",
    );
    assert_eq!(row, "{\"n\":5}");
    // Ten times what it takes on an idle machine, built for development.
    assert!(time.as_secs() < 5, "{time:?}");
    drop(to);
    assert!(wait(&mut child).success());
}

#[test]
fn a_shell_that_waits_for_input_can_be_ended() {
    let workspace = Workspace::new("");
    let mut command = workspace.command(&["--format", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut to = child.stdin.take().expect("a pipe");
    to.write_all(b"SELECT 1 AS n;\n").expect("written");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "{\"n\":1}");
    // SAFETY: sends a signal to the child that this test started and has not waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    assert!(wait(&mut child).success());
    drop(to);
}

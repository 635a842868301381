//! The shell against a server: everything that it does here is done there.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::terminal::{CTRL_C, CTRL_D, Terminal};
use crate::process::Workspace;
use crate::server::kit::Server;

/// Without an end, so that only a table of its rows can be sorted.
const NUMBERS: &str = "CREATE TABLE numbers (n BIGINT, k BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', \
    'fields.n.min' = '1', 'fields.n.max' = '1000000', 'fields.k.min' = '1', 'fields.k.max' = '3');";

fn queries_running(server: &Server) -> usize {
    let all = server.get("/api/v1/queries").expect(200);
    all["queries"].as_array().expect("a list").iter().filter(|query| query["state"] == "running").count()
}

fn piped(server: &Server, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["repl", "--server", &server.url]).args(args).current_dir(server.path(""));
    command.envs(server.token.as_ref().map(|token| ("TIDEMILL_TOKEN", token)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    child.wait_with_output().expect("it ends")
}

/// What it writes, what it says, and how it ends.
fn parts(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn a_pipe_is_answered_by_the_server() {
    let server = Server::start(&[]);
    server.feed("in", "1.json", "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":5}\n{\"k\":\"a\",\"v\":2}\n");
    let check = |args: &[&str], input: &str, stdout: &str, said: &str, code: i32| {
        let (out, err, ended) = parts(&piped(&server, args, input));
        assert_eq!((out.as_str(), ended), (stdout, Some(code)), "{args:?} {input:?}: {err}");
        assert!(if said.is_empty() { err.is_empty() } else { err.contains(said) }, "{args:?} {input:?}: {err}");
    };
    check(&[], "select 1", "+--------+\n| EXPR$0 |\n+--------+\n|      1 |\n+--------+\n", "", 0);
    // The path is the server's: relative to its folder of files.
    let table =
        "CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');\n";
    let query = format!("{table}SELECT k, SUM(v) AS total FROM t GROUP BY k ORDER BY k;");
    check(&["--format", "csv"], &query, "k,total\na,3\nb,5\n", "", 0);
    let typed = "SELECT CAST(1.50 AS DECIMAL(5, 2)) AS d, TIMESTAMP '2024-01-02 03:04:05' AS t, ARRAY[1, 2] AS a, CAST(NULL AS STRING) AS s;";
    let expected = "{\"d\":1.50,\"t\":\"2024-01-02 03:04:05\",\"a\":[1,2],\"s\":null}\n";
    check(&["--format", "json"], typed, expected, "", 0);
    let described = format!("{table}\\format csv\nDESCRIBE t;");
    let (out, ..) = parts(&piped(&server, &[], &described));
    assert!(out.starts_with("name,type,null") && out.contains("\nv,INT,"), "{out}");
    let (out, ..) = parts(&piped(&server, &[], &format!("{table}EXPLAIN SELECT k FROM t;")));
    assert!(out.contains("Source(t)"), "{out}");
    let place = "error: column 'w' does not exist";
    let wrong = format!("{table}SELECT k,\n  w FROM t;\nSELECT 3 AS c;\n");
    let (out, err, code) = parts(&piped(&server, &["--format", "csv", "--keep-going"], &wrong));
    assert_eq!((out.as_str(), code), ("c\n3\n", Some(2)), "{err}");
    assert!(err.contains(" --> standard input:3:3\n  |\n3 |   w FROM t;\n  |   ^\n"), "{place}: {err}");
    let outside = "CREATE TABLE o (k STRING) WITH ('connector' = 'filesystem', 'path' = '/etc', 'format' = 'raw');";
    check(&[], outside, "", "leads out of", 2);
    assert_eq!(queries_running(&server), 0);
}

#[test]
fn an_insert_becomes_a_job_of_the_server_and_goes_on_without_the_shell() {
    let server = Server::start(&[]);
    server.feed("in", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    let script = "SET 'execution.checkpointing.interval' = '50 ms';
CREATE TABLE t (k STRING, v INT)
  WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json', 'source.monitor-interval' = '50 ms');
CREATE TABLE copies (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO copies SELECT k, v FROM t;
INSERT INTO copies SELECT k, w FROM t;";
    let (_, err, code) = parts(&piped(&server, &["--keep-going"], script));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("job copies runs on the server"), "{err}");
    assert!(err.contains(" --> standard input:6:30\n") && err.contains("6 | INSERT INTO copies SELECT k, w"), "{err}");
    server.wait_until("the row is there", || server.lines("out") == ["a,1"]);
    let (out, ..) = parts(&piped(&server, &["--format", "csv"], "\\jobs\n"));
    assert!(out.starts_with("job,phase,for,epoch") && out.contains("\ncopies,running,"), "{out}");
    let (out, ..) = parts(&piped(&server, &["--format", "csv"], "\\dt cop\n\\df ABS\n"));
    assert!(out.contains("\ncopies,table,filesystem,\"k, v\",copies\n") && out.contains("\nABS,"), "{out}");
    // Its tables can be used by name.
    let (out, err, _) =
        parts(&piped(&server, &["--format", "csv"], "\\set job copies\nSELECT v FROM copies;\n\\d t\n"));
    assert!(out.starts_with("v\n1\n") && err.contains("of job copies"), "{out} {err}");
    let (_, err, code) = parts(&piped(&server, &[], "\\set job copeis\n"));
    assert!(err.contains("did you mean 'copies'?") && code == Some(2), "{err}");
    let (_, err, _) = parts(&piped(&server, &[], "\\stop copies\n"));
    assert!(err.contains("job copies is stopped"), "{err}");
}

#[test]
fn a_live_table_refreshes_in_place_and_ctrl_c_ends_its_query_alone() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::open(&Workspace::new(""), &["repl", "--server", &server.url]);
    terminal.wait_for(&server.url);
    terminal.wait_for_prompt();
    terminal.run(NUMBERS, "table created");
    terminal.enter("SELECT k, COUNT(*) AS c FROM numbers GROUP BY k ORDER BY k DESC;");
    let shown = terminal.wait("three rows", |text| text.contains("3 rows |") && text.contains("read ("));
    assert!(terminal.is_full_screen() && shown.contains("Ctrl-C ends it"), "{shown}");
    assert!(shown.find("|  3 |").or(shown.find("| 3 |")) < shown.find("|  1 |").or(shown.find("| 1 |")), "{shown}");
    let count = |text: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with("| 3 |") || line.starts_with("|  3 |"))?;
        line.trim_end_matches(['|', ' ']).rsplit(' ').next()?.parse().ok()
    };
    let before = count(&shown).expect("a count");
    terminal.wait("a higher count", |text| count(text).is_some_and(|count| count > before));
    assert_eq!(queries_running(&server), 1);
    terminal.type_(CTRL_C);
    terminal.wait_for("stopped: 3 rows in");
    server.wait_until("the query is over", || queries_running(&server) == 0);
    terminal.run("SELECT 'still here' AS said;", "still here");
    terminal.run("SELECT x FROM numbers;", "1 | SELECT x FROM numbers;");
    // Rows that only append go by, and `q` ends them too.
    terminal.enter("SELECT n FROM numbers WHERE n > 3;");
    terminal.wait_for("rows | ");
    terminal.type_("q");
    // Its rows may have moved the first end out of sight.
    terminal.wait("the second end", |text| {
        text.lines().rev().nth(1).is_some_and(|line| line.starts_with("stopped: ")) && text.ends_with("tidemill>")
    });
    server.wait_until("the query is over", || queries_running(&server) == 0);
    terminal.wait_for_prompt();
    terminal.type_(CTRL_D);
    assert!(terminal.end().success());
}

#[test]
fn a_server_that_is_not_there_or_ends_or_wants_a_token_is_told() {
    let mut server = Server::start(&[]);
    let mut terminal = Terminal::open(&Workspace::new(""), &["repl", "--server", &server.url]);
    terminal.wait_for_prompt();
    terminal.run(NUMBERS, "table created");
    terminal.enter("SELECT COUNT(*) AS c FROM numbers;");
    terminal.wait_for("Ctrl-C ends it");
    assert_eq!(server.terminate(), 0);
    terminal.wait_for("error: the server ends, and the query with it");
    terminal.wait_for_prompt();
    terminal.run("SELECT 1;", "error: no answer of http://127.0.0.1");
    let (_, err, code) = parts(&piped(&server, &[], "SELECT 1"));
    assert!(err.contains("is the server running?") && code == Some(1), "{err}");

    let (mut server, [read, ..]) = crate::server::security::server_with_tokens(&[]);
    let (_, err, code) = parts(&piped(&server, &[], "SELECT 1"));
    assert!(err.contains("a token is needed") && code == Some(2), "{err}");
    server.token = Some(read);
    let (out, err, code) = parts(&piped(&server, &["--format", "csv"], "SELECT 1 AS n"));
    assert_eq!((out.as_str(), code), ("n\n1\n", Some(0)), "{err}");
    let (_, err, code) = parts(&piped(&server, &[], NUMBERS));
    assert!(err.contains("needs the role operate") && code == Some(2), "{err}");
}

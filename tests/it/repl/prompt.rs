//! The prompt: lines, history, completion, colours, errors, commands.

use super::terminal::{CTRL_C, CTRL_D, TAB, Terminal, UP};
use crate::process::Workspace;

const TABLE: &str = "CREATE TABLE bids (price BIGINT, item STRING) WITH ('connector' = 'datagen');";

#[test]
fn a_statement_goes_on_until_its_semicolon_and_its_rows_are_a_table() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.begin("SELECT 'a;b' AS x,");
    terminal.begin("  1 + 1");
    let shown = terminal.run(" AS n;", "1 row in");
    let expected = "tidemill> SELECT 'a;b' AS x,\n       ->   1 + 1\n       ->  AS n;\n+-----+---+\n| x   | n |\n+-----+---+\n| a;b | 2 |\n+-----+---+\n1 row in ";
    assert!(shown.contains(expected), "{shown}");
    terminal.begin("SELECT 1");
    terminal.type_(CTRL_C);
    terminal.wait_for_prompt();
    terminal.type_(CTRL_D);
    assert!(terminal.end().success());
}

#[test]
fn what_was_typed_comes_back_in_the_next_session_but_no_secret_does() {
    let workspace = Workspace::new("");
    let mut terminal = Terminal::open(&workspace, &[]);
    terminal.wait_for_prompt();
    terminal.run("SELECT 41 + 1 AS answer;", "42");
    terminal.run("CREATE TABLE t (a INT) WITH ('connector' = 'http', 'url' = 'http://127.0.0.1:1/{a}', 'http.headers.Authorization' = 'geheim');", "table created");
    terminal.enter("\\q");
    assert!(terminal.end().success());
    let kept = std::fs::read_to_string(workspace.path("state-home/tidemill/history")).expect("a history");
    assert!(kept.contains("41 + 1") && !kept.contains("geheim"), "{kept}");
    let mut terminal = Terminal::open(&workspace, &[]);
    terminal.wait_for_prompt();
    terminal.type_(UP);
    terminal.wait_for("tidemill> \\q");
    terminal.type_(UP);
    terminal.wait_for("tidemill> SELECT 41 + 1 AS answer;");
    terminal.run("", "42");
    terminal.type_("SEL");
    terminal.wait_for("tidemill> SELECT 41 + 1 AS answer;");
    terminal.type_(&format!("{CTRL_C}\x12answ"));
    terminal.wait_for("search `answ`: SELECT 41 + 1 AS answer;");
}

#[test]
fn tab_completes_words_tables_columns_options_and_values() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.run(TABLE, "table created");
    terminal.type_(&format!("sel{TAB} price fr{TAB} bi{TAB}"));
    terminal.wait_for("tidemill> select price from bids");
    terminal.type_(&format!("{CTRL_C}SELECT i{TAB}"));
    terminal.wait_for("interval");
    terminal.type_(&format!("{CTRL_C}CREATE TABLE t (a INT) WITH ('conn{TAB}data{TAB}, 'rows-per{TAB}5')"));
    terminal.wait_for("WITH ('connector' = 'datagen', 'rows-per-second' = '5')");
    terminal.type_(&format!("{CTRL_C}\\d{TAB}{TAB}"));
    let shown = terminal.wait_for("describe a table or view");
    assert!(shown.contains("\\df"), "{shown}");
}

#[test]
fn words_are_coloured_and_usage_is_shown() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.type_("SELECT UPPER('x'), other");
    terminal.wait_for("other");
    let colours = ["SELECT", "UPPER", "'x'", "other"].map(|text| terminal.colour_of(text));
    let [keyword, function, text, plain] = colours;
    assert!(plain == vt100::Color::Default && keyword != plain && function != plain && text != plain, "{colours:?}");
    assert!(keyword != function && function != text, "{colours:?}");
    terminal.type_(&format!("{CTRL_C}SELECT UPPER("));
    terminal.wait_for("upper(");
}

#[test]
fn an_error_underlines_its_place() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.run(TABLE, "table created");
    let shown = terminal.run("SELECT price,\r  itm FROM bids;", "hint: did you mean");
    let expected = "--> statement:2:3\n  |\n2 |   itm FROM bids;\n  |   ^^^\nhint: did you mean `item`?";
    assert!(shown.contains(expected), "{shown}");
    assert!(terminal.run("\\dx", "hint").contains("error: there is no command \\dx\nhint: did you mean \\d?"));
}

#[test]
fn commands_describe_and_list() {
    let workspace = Workspace::new("");
    workspace
        .write("more.sql", "CREATE VIEW dear AS SELECT * FROM bids WHERE price > 10;\nSELECT 'from the file' AS said;");
    let mut terminal = Terminal::open(&workspace, &[]);
    terminal.wait_for_prompt();
    terminal.run(TABLE, "table created");
    terminal.run("\\i more.sql", "from the file");
    let shown = terminal.run("\\d", "dear");
    assert!(shown.contains("| bids | table | datagen   | price, item"), "{shown}");
    let shown = terminal.run("\\d bids", "connector: datagen");
    assert!(shown.contains("| price | BIGINT |"), "{shown}");
    terminal.run("\\dv", "dear");
    terminal.run("\\df date_f", "DATE_FORMAT");
    terminal.run("\\format json", "format: json");
    terminal.run("SELECT 1 AS n, CAST(NULL AS STRING) AS s;", "{\"n\":1,\"s\":null}");
    terminal.run("\\format table", "format: table");
    terminal.run("\\x", "a line for each column");
    terminal.run("SELECT 1 AS n, CAST(NULL AS STRING) AS s;", "n | 1\ns | NULL");
    terminal.run("\\h drop", "DROP [TEMPORARY] TABLE | VIEW");
    terminal.run("\\o rows.txt", "tidemill>");
    terminal.run("\\format csv", "format: csv");
    terminal.run("SELECT 7 AS seven;", "tidemill>");
    terminal.run("\\o", "tidemill>");
    terminal.run("\\timing", "timing is on");
    terminal.run("SELECT 8 AS eight;", "time: ");
    assert_eq!(std::fs::read_to_string(workspace.path("rows.txt")).expect("rows"), "seven\n7\n");
}

#[test]
fn a_wide_table_is_cut_to_the_screen_and_says_so() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    let query = "SELECT REPEAT('日本', 40) AS wide, REPEAT('x', 90) AS other, 7 AS n;";
    let shown = terminal.run(query, "the table is wider than the screen: \\x");
    let bars: Vec<usize> =
        shown.lines().filter(|line| line.starts_with('|')).map(unicode_width::UnicodeWidthStr::width).collect();
    assert!(bars.len() == 2 && bars.iter().all(|width| *width == bars[0] && *width <= 100), "{shown}");
    assert!(shown.contains('…') && shown.contains("| 7 |"), "{shown}");
}

#[test]
fn the_line_being_written_follows_the_size_of_the_terminal() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.type_("SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1");
    terminal.wait_for("', 1");
    terminal.resize(20, 30);
    terminal.wait("the wrapped line", |text| text.contains("SELECT 'aaaaaaaaaaaa\naaaaaaaaaaaaaaaaaaaaaaaaa', 1"));
    terminal.resize(30, 100);
    let shown = terminal.run(";", "1 row in");
    assert_eq!(shown.matches("SELECT").count(), 1, "{shown}");
}

#[test]
fn files_run_before_the_first_prompt_and_their_errors_leave_the_shell_open() {
    let workspace = Workspace::new("");
    workspace.write("first.sql", TABLE);
    workspace.write("second.sql", "SELECT 1 AS n FROM nothing;");
    let mut terminal = Terminal::open(&workspace, &["repl", "first.sql", "second.sql"]);
    let shown = terminal.wait_for_prompt();
    assert!(shown.contains("--> second.sql:1:20"), "{shown}");
    terminal.run("\\dt", "| bids |");
}

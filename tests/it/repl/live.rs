//! Queries that go on: tables that refresh in place, rows that go by, and their end.

use super::terminal::{CTRL_C, Terminal};
use crate::process::Workspace;

const NUMBERS: &str = "CREATE TABLE numbers (n BIGINT, k BIGINT, ts AS PROCTIME()) WITH ('connector' = 'datagen', 'rows-per-second' = '200', \
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000', 'fields.k.min' = '1', 'fields.k.max' = '3');";

fn count_of(screen: &str) -> Option<u64> {
    screen.lines().filter(|line| line.starts_with("| ")).find_map(|line| line.trim_matches(['|', ' ']).parse().ok())
}

#[test]
fn a_changing_result_refreshes_in_place_and_ctrl_c_ends_the_query_alone() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.run(NUMBERS, "table created");
    terminal.enter("SELECT COUNT(*) AS c FROM numbers;");
    let first =
        terminal.wait("a count", |text| count_of(text).is_some_and(|count| count > 0) && text.contains("read ("));
    assert!(terminal.is_full_screen() && first.contains("Ctrl-C ends it") && first.contains("1 row |"), "{first}");
    let before = count_of(&first).expect("a count");
    let later = terminal.wait("a higher count", |text| count_of(text).is_some_and(|count| count > before));
    assert_eq!(later.lines().filter(|line| line.starts_with("| ")).count(), 2, "one row, in its place:\n{later}");
    terminal.type_(CTRL_C);
    let left = terminal.wait_for("stopped: 1 row in");
    assert!(!terminal.is_full_screen() && count_of(&left).is_some(), "{left}");
    terminal.run("SELECT 'still here' AS said;", "still here");
}

#[test]
fn the_live_table_follows_the_size_of_the_terminal_and_tells_what_does_not_fit() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.run(NUMBERS, "table created");
    terminal.enter("SELECT n, MAX(k) AS highest FROM numbers GROUP BY n;");
    terminal.wait_for("more rows");
    terminal.resize(12, 40);
    let small = terminal.wait("a smaller table", |text| {
        text.lines().count() == 12
            && text.contains("more rows")
            && text.lines().filter(|line| line.starts_with("| ")).count() == 7
    });
    assert!(small.lines().all(|line| line.chars().count() <= 40), "{small}");
    terminal.type_("q");
    terminal.wait_for("stopped: ");
}

#[test]
fn a_live_table_is_shown_in_the_order_that_its_query_asks_for() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    let table = "CREATE TABLE rising (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', \
        'fields.n.kind' = 'random', 'fields.n.min' = '1', 'fields.n.max' = '100000');";
    terminal.run(table, "table created");
    // Without a LIMIT a stream cannot be sorted: the table is.
    terminal.enter("SELECT MOD(n, 3) AS third, COUNT(*) AS times FROM rising GROUP BY MOD(n, 3) ORDER BY third DESC;");
    let sorted = |text: &str| {
        text.contains("|     2 |") && text.contains("|     0 |") && text.find("|     2 |") < text.find("|     0 |")
    };
    assert!(terminal.wait("three rows", |text| text.contains("3 rows") && sorted(text)).contains("|     1 |"));
    terminal.type_(CTRL_C);
    terminal.wait_for("stopped: 3 rows");
    terminal.wait_for_prompt();
    terminal.enter("SELECT n, COUNT(*) AS times FROM rising GROUP BY n ORDER BY n DESC LIMIT 3;");
    let values = |text: &str| -> Vec<i64> {
        text.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next()?.trim().parse().ok()).collect()
    };
    let shown = terminal.wait("three rows, high ones", |text| {
        let values = values(text);
        values.len() == 3 && values[2] > 90_000 && text.contains("read (")
    });
    assert!(values(&shown).is_sorted_by(|a, b| a > b), "{shown}");
}

#[test]
fn rows_that_append_go_by_over_a_line_of_status() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.run(NUMBERS, "table created");
    terminal.enter("SELECT n FROM numbers WHERE n > 150;");
    terminal.wait_for("|");
    terminal.wait("rows and a status", |text| {
        text.lines().last().is_some_and(|line| line.contains("watermark") || line.contains("read ("))
            && text.lines().filter(|line| line.starts_with("| ")).count() > 3
    });
    assert!(!terminal.is_full_screen());
    terminal.type_(CTRL_C);
    terminal.wait_for("stopped: ");
    terminal.wait_for_prompt();
}

#[test]
fn columns_grow_with_their_numbers() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.run(NUMBERS, "table created");
    terminal.enter("SELECT n FROM numbers;");
    terminal.wait("numbers of four digits", |text| {
        text.lines().filter_map(|line| line.trim_matches(['|', ' ']).parse().ok()).any(|number: u64| number >= 1_000)
    });
    terminal.type_("q");
    let shown = terminal.wait_for("stopped: ");
    assert!(!shown.contains('…'), "{shown}");
}

#[test]
fn a_watched_query_runs_again_until_ctrl_c() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.run("SELECT 'tick' AS t;", "tick");
    terminal.enter("\\watch 0.1");
    terminal.wait("the third run", |text| text.matches("| tick |").count() >= 4);
    terminal.type_(CTRL_C);
    terminal.wait_for_prompt();
    terminal.run("SELECT 'done' AS t;", "done");
}

#[test]
fn a_query_that_waits_says_why() {
    let mut terminal = Terminal::open(&Workspace::new(""), &[]);
    terminal.wait_for_prompt();
    terminal.run(NUMBERS, "table created");
    terminal.enter("SELECT COUNT(*) AS c FROM numbers HAVING COUNT(*) < 0;");
    terminal.wait_for("waiting because the input has not ended yet");
    terminal.type_(CTRL_C);
    terminal.wait_for("stopped: 0 rows in");
}

#[test]
fn the_end_of_the_input_is_told_and_the_last_table_stays() {
    let workspace = Workspace::new("");
    let mut terminal = Terminal::open(&workspace, &[]);
    terminal.wait_for_prompt();
    let table = "CREATE TABLE few (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100', 'number-of-rows' = '150', 'fields.n.min' = '1', 'fields.n.max' = '1');";
    terminal.run(table, "table created");
    let shown = terminal.run("SELECT SUM(n) AS total FROM few;", "1 row in");
    assert!(shown.contains("|   150 |") && !terminal.is_full_screen(), "{shown}");
}

//! Lookup joins of the real program against real servers: a web server within the test, and PostgreSQL.

mod http;
pub mod postgres;
pub mod web_server;

use crate::process::Workspace;

/// A job that reads `orders/*.json` and writes `out/*.csv`, with a table to look rows up in and a query over both.
fn job(settings: &str, table: &str, out: &str, query: &str) -> String {
    format!(
        "SET 'table.local-time-zone' = 'UTC';
{settings}
CREATE TABLE orders (id INT, user_id INT, region STRING, pt AS PROCTIME())
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
{table}
CREATE TABLE out_rows ({out}) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO out_rows {query};
"
    )
}

/// Orders with these numbers, of the user with the same number modulo `users`.
fn orders(workspace: &Workspace, count: usize, users: usize) {
    let order = |id: usize| format!("{{\"id\": {id}, \"user_id\": {}, \"region\": \"e u/{}\"}}\n", id % users, id % 2);
    let text: String = (0..count).map(order).collect();
    workspace.write("orders/orders.json", &text);
}

/// What the program says when the job fails.
fn failure(workspace: &Workspace) -> String {
    let output = workspace.run_command(&[]).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

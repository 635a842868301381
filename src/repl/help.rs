//! How statements are written, for `\h`.

use tidemill_engine::suggestion::closest;

/// Name and form of each statement.
pub const STATEMENTS: &[(&str, &str)] = &[
    (
        "create table",
        "CREATE [TEMPORARY] TABLE [IF NOT EXISTS] name (
  column type [NOT NULL] [COMMENT 'text'],
  column AS expression,
  column type METADATA [FROM 'key'] [VIRTUAL],
  WATERMARK FOR column AS expression,
  PRIMARY KEY (column, ...) NOT ENFORCED
) [COMMENT 'text'] [PARTITIONED BY (column, ...)]
WITH ('connector' = 'name', 'option' = 'value', ...)
[LIKE table (INCLUDING | EXCLUDING | OVERWRITING ...)]

`tidemill connectors` lists connectors and their options; Tab completes them.",
    ),
    (
        "create view",
        "CREATE [OR REPLACE] [TEMPORARY] VIEW [IF NOT EXISTS] name [(column, ...)] [COMMENT 'text'] AS query",
    ),
    ("drop", "DROP [TEMPORARY] TABLE | VIEW [IF EXISTS] name"),
    (
        "select",
        "[WITH name AS (query), ...]
SELECT [DISTINCT] expression [AS name], ...
FROM table | (query) | TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
  [JOIN table ON condition] ...
[WHERE condition] [GROUP BY expression, ...] [HAVING condition] [QUALIFY condition]
[UNION [ALL] | INTERSECT | EXCEPT query]
[ORDER BY expression [ASC | DESC], ...] [LIMIT n]

Windows: TUMBLE(t, ts, size), HOP(t, ts, slide, size), CUMULATE(t, ts, step, size), SESSION(t, ts, gap).",
    ),
    ("values", "VALUES (expression, ...), ..."),
    ("insert", "INSERT INTO table [PARTITION (column = value, ...)] [(column, ...)] query"),
    ("statement set", "EXECUTE STATEMENT SET BEGIN INSERT ...; INSERT ...; END"),
    (
        "show",
        "SHOW TABLES | VIEWS | FUNCTIONS [LIKE 'pattern']\nSHOW COLUMNS FROM table [LIKE 'pattern']\nSHOW CREATE TABLE | VIEW name",
    ),
    ("describe", "DESCRIBE name"),
    (
        "explain",
        "EXPLAIN [PLAN FOR | CHANGELOG_MODE, PLAN_ADVICE, JSON_EXECUTION_PLAN, STATE] query | INSERT ... | STATEMENT SET ...",
    ),
    ("set", "SET ['key' = 'value']\n\nWithout a key: lists what was set."),
    ("reset", "RESET ['key']"),
];

/// The form of a statement, or the list of them; else what is wrong, and a hint.
pub fn about(topic: &str) -> Result<String, (String, String)> {
    let topic = topic.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let names: Vec<&str> = STATEMENTS.iter().map(|(name, _)| *name).collect();
    if topic.is_empty() {
        return Ok(format!("\\h followed by one of: {}\n", names.join(", ")));
    }
    let found: Vec<&str> =
        STATEMENTS.iter().filter(|(name, _)| name.starts_with(&topic)).map(|(_, form)| *form).collect();
    if found.is_empty() {
        let near = closest(&topic, names.iter().copied()).map(|near| format!("did you mean \\h {near}?"));
        return Err((format!("no help on `{topic}`"), near.unwrap_or_else(|| "\\h alone lists all".into())));
    }
    Ok(found.join("\n\n") + "\n")
}

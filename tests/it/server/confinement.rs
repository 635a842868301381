//! What jobs of a server may touch, and what nobody sees of their secrets.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::kit::{Server, lines_in};

fn reading(path: &str) -> String {
    format!(
        "CREATE TABLE i (a STRING) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'raw');
CREATE TABLE o (a STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO o SELECT a FROM i"
    )
}

fn writing(path: &str) -> String {
    format!(
        "CREATE TABLE i (a STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'raw');
CREATE TABLE o (a STRING) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv');
INSERT INTO o SELECT a FROM i"
    )
}

#[test]
fn jobs_reach_no_file_outside_the_allowed_folders() {
    let mut server = Server::prepare(&["--allow-path", "shared"], &[]);
    for folder in ["shared", "private"] {
        std::fs::create_dir(server.path(folder)).unwrap();
        std::fs::write(server.path(folder).join("x.txt"), format!("{folder} words\n")).unwrap();
    }
    server.go();
    server.feed("in", "a.txt", "own words\n");
    symlink(server.path("private"), server.file("link")).unwrap();
    let private = server.path("private").display().to_string();
    let shared = server.path("shared").display().to_string();
    for path in [
        private.as_str(),
        &format!("file://{private}/x.txt"),
        &format!("{shared}/../private/x.txt"),
        "../../private",
        "in/../../../private/x.txt",
        "link",
        "link/x.txt",
        "*/../../../private",
        "/etc/passwd",
        "/proc/self/environ",
    ] {
        for sql in [reading(path), writing(path)] {
            let refused = server.post("/api/v1/jobs", json!({ "name": "a", "sql": sql }));
            assert_eq!(refused.status, 422, "{path}: {}", refused.text);
            assert!(refused.text.contains("leads out of") || refused.text.contains("'..' behind"), "{}", refused.text);
            assert!(refused.json()["line"].as_u64().is_some(), "{}", refused.text);
        }
    }
    // A link among the files of a folder shows when they are listed.
    symlink(server.path("private/x.txt"), server.file("in/link.txt")).unwrap();
    server.post("/api/v1/jobs", json!({ "name": "listed", "sql": reading("in") })).expect(201);
    server.wait_for_phase("listed", "failed");
    let error = server.get("/api/v1/jobs/listed").expect(200)["last_error"].to_string();
    assert!(error.contains("leads out of the folders"), "{error}");
    assert!(lines_in(&server.file("out")).is_empty());
    std::fs::remove_file(server.file("in/link.txt")).unwrap();

    server.post("/api/v1/jobs", json!({ "name": "own", "sql": reading("in/*.txt") })).expect(201);
    server.wait_for_phase("own", "finished");
    server.post("/api/v1/jobs", json!({ "name": "shared", "sql": reading(&shared) })).expect(201);
    server.wait_for_phase("shared", "finished");
    assert_eq!(lines_in(&server.file("out")), ["own words", "shared words"]);
}

#[test]
fn jobs_reach_no_host_that_is_not_allowed() {
    let server = Server::start(&["--allow-host", "db.example.org:5432"]);
    let lookup = |url: &str| {
        format!(
            "CREATE TABLE s (id INT, t AS PROCTIME()) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE d (id INT, name STRING) WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'd');
SELECT s.id, d.name FROM s JOIN d FOR SYSTEM_TIME AS OF s.t AS d ON s.id = d.id"
        )
    };
    for (url, fine) in [
        ("jdbc:postgresql://db.example.org:5432/shop", true),
        ("jdbc:postgresql://localhost:5432/shop", true),
        ("jdbc:postgresql://db.example.org:5433/shop", false),
        ("jdbc:postgresql://evil.example.net:5432/shop", false),
    ] {
        let answer = server.post("/api/v1/sql/validate", json!({ "sql": lookup(url) }));
        assert_eq!(answer.status == 200, fine, "{url}: {}", answer.text);
        assert!(fine || answer.text.contains("may not reach the host"), "{}", answer.text);
    }
}

#[test]
fn secrets_are_used_and_never_shown() {
    const SECRET: &str = "hunter2-and-more";
    let mut server = Server::prepare(&["--secrets-dir", "secrets"], &[("TIDEMILL_SECRET_USER", "user-of-the-db")]);
    std::fs::create_dir(server.path("secrets")).unwrap();
    std::fs::write(server.path("secrets/DB_PASSWORD"), format!("{SECRET}\n")).unwrap();
    server.go();
    let sql = "CREATE TABLE s (id INT, t AS PROCTIME()) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE d (id INT, name STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:1/${secret:DB_PASSWORD}',
  'table-name' = 'd', 'username' = '${secret:USER}', 'password' = '${secret:DB_PASSWORD}', 'lookup.max-retries' = '0');
SET 'restart-strategy.type' = 'none';
SELECT s.id, d.name FROM s JOIN d FOR SYSTEM_TIME AS OF s.t AS d ON s.id = d.id";
    server.post("/api/v1/jobs", json!({ "name": "a", "sql": sql })).expect(201);
    server.wait_for_phase("a", "failed");
    let mut seen = server.post("/api/v1/sql/explain", json!({ "sql": sql, "format": "json" })).text;
    for path in ["jobs/a", "jobs/a/logs", "jobs/a/metrics", "catalog", "audit", "jobs"] {
        seen.push_str(&server.get(&format!("/api/v1/{path}")).text);
    }
    seen.push_str(&server.get("/metrics").text);
    seen.push_str(&server.log());
    assert!(seen.contains("${secret:DB_PASSWORD}"), "the reference is shown");
    for secret in [SECRET, "user-of-the-db"] {
        assert!(!seen.contains(secret), "{seen}");
    }
    assert!(seen.contains("******"), "the error names the address, starred: {seen}");
    server.terminate();
    let stored = walk(&server.path("data"));
    assert!(stored.len() >= 3, "the walk found {} files", stored.len());
    for file in stored {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "{}", file.display());
    }
    server.go();
    for (sql, expected) in [
        (sql.replace("DB_PASSWORD", "DB_PASSWROD"), "there is no secret 'DB_PASSWROD'"),
        (sql.replace("'number-of-rows' = '1'", "'fields.id.values' = '${secret:USER}'"), "cannot hold a secret"),
    ] {
        let refused = server.post("/api/v1/sql/validate", json!({ "sql": sql }));
        assert!(refused.problem(422).contains(expected), "{}", refused.text);
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else if path.is_file() {
                vec![path]
            } else {
                vec![]
            }
        })
        .collect()
}

#[test]
fn a_password_in_the_sql_is_not_given_back() {
    let server = Server::start(&[]);
    let sql = "CREATE TABLE s (id INT, t AS PROCTIME()) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE d (id INT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://localhost/x', 'table-name' = 'd', 'password' = 'plainly-here');
SELECT s.id FROM s JOIN d FOR SYSTEM_TIME AS OF s.t AS d ON s.id = d.id";
    let made = server.post("/api/v1/jobs", json!({ "name": "a", "sql": sql, "start": false })).expect(201);
    assert!(made["sql"].as_str().unwrap().contains("'password' = '************'"), "{made}");
    let catalog = server.get("/api/v1/catalog").text;
    assert!(catalog.contains("\"table-name\":\"d\"") && !catalog.contains("plainly-here"), "{catalog}");
}

//! Who may run queries, and what they may touch: exactly what jobs may.

use serde_json::json;

use super::super::kit::Server;
use super::super::security::server_with_tokens;
use super::kit::{LINES, QUERIES, Stream, WATCHED, generated, query, running};

#[test]
fn queries_with_tables_need_the_role_operate() {
    let (mut server, [read, operate, _]) = server_with_tokens(&[]);
    server.feed("in", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    let reading = query(&format!("{} SELECT n FROM d LIMIT 2", generated(1_000)));
    server.post(QUERIES, query("SELECT 1")).problem(401);
    server.token = Some(read.clone());
    assert_eq!(server.post(QUERIES, query("SELECT 1 AS n")).expect(200)["rows"], json!([[1]]));
    for sql in [format!("{} SELECT 1", generated(1)), format!("{WATCHED} DESCRIBE events"), generated(1)] {
        let refused = server.post(QUERIES, query(&sql));
        assert!(refused.problem(403).contains("needs the role operate"), "{}", refused.text);
    }
    server.post(QUERIES, reading.clone()).problem(403);
    server.token = Some(operate.clone());
    server.post(QUERIES, reading).expect(200);
    let body = query(&format!("{} SELECT n FROM d", generated(1)));
    let mut stream = Stream::open(&server, LINES, &body);
    let id = stream.next("schema")["query"].as_str().unwrap().to_string();
    server.token = Some(read);
    assert_eq!(server.get(QUERIES).expect(200)["queries"][0]["id"], json!(id));
    let refused = server.ask("DELETE", &format!("{QUERIES}/{id}"), None);
    assert!(refused.problem(403).contains("not yours"), "{}", refused.text);
    assert_eq!(running(&server), 1);
}

#[test]
fn queries_reach_what_jobs_may_reach_and_nothing_else() {
    let mut server = Server::prepare(&["--secrets-dir", "secrets"], &[("TIDEMILL_SECRET_PASS", "hunter-two-and-more")]);
    std::fs::create_dir(server.path("secrets")).unwrap();
    std::fs::write(server.path("private.txt"), "private words\n").unwrap();
    server.go();
    let private = server.path("private.txt").display().to_string();
    let files = |path: &str| {
        query(&format!(
            "CREATE TABLE t (a STRING) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'raw'); SELECT a FROM t"
        ))
    };
    for path in [private.as_str(), "../../private.txt", "/etc/passwd", "/proc/self/environ"] {
        let refused = server.post(QUERIES, files(path));
        assert_eq!(refused.status, 422, "{path}: {}", refused.text);
        assert!(refused.text.contains("leads out of") || refused.text.contains("'..' behind"), "{}", refused.text);
        assert!(!refused.text.contains("private words"));
    }
    // A link among the files of a folder shows when they are listed.
    std::fs::create_dir_all(server.file("in")).unwrap();
    std::os::unix::fs::symlink(&private, server.file("in/link.txt")).unwrap();
    let failed = server.post(QUERIES, files("in"));
    assert!(failed.problem(500).contains("leads out of the folders"), "{}", failed.text);
    for options in [
        "'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'kafka.example.org:9092', 'format' = 'json'",
        "'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'localhost:9092', 'format' = 'json', \
         'properties.plugin.library.paths' = 'x.so'",
        "'connector' = 'datagen', 'rows-per-second' = '${secret:PASS}'",
    ] {
        let refused =
            server.post(QUERIES, query(&format!("CREATE TABLE t (a STRING) WITH ({options}); SELECT a FROM t")));
        refused.problem(422);
        assert!(!refused.text.contains("hunter"), "{}", refused.text);
    }
    let table = "CREATE TABLE t (a STRING) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json', \
                 'properties.bootstrap.servers' = 'localhost:1', 'properties.sasl.password' = '${secret:PASS}');";
    for sql in [format!("{table} SHOW CREATE TABLE t"), format!("{table} SELECT 'hunter-two-and-more' AS a")] {
        let shown = server.post(QUERIES, query(&sql)).expect(200);
        assert!(!shown.to_string().contains("hunter"), "no secret leaves the server: {shown}");
    }
    assert!(!server.log().contains("hunter"));
}

#[test]
fn queries_are_in_the_audit_log_and_pages_of_other_origins_get_none() {
    let (mut server, [_, _, admin]) = server_with_tokens(&["--cors-origin", "https://board.example.org"]);
    server.token = Some(admin);
    server.post(QUERIES, query("SELECT 1")).expect(200);
    let audit = server.get("/api/v1/audit").expect(200);
    assert_eq!(audit["entries"][0]["what"], "POST /api/v1/queries");
    let from = |origin: &str| {
        let headers = [("origin", origin), ("content-type", "application/sql")];
        server.ask_with("POST", QUERIES, &headers, "SELECT 1".into())
    };
    assert_eq!(from("https://evil.example.org").status, 403);
    assert_eq!(from("https://board.example.org").status, 200);
}

//! Rows that are posted to a job: whole or refused, durable once they are answered, read exactly once whoever is killed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::kit::{Answer, Server, posted_job};

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const ROWS: &str = "/api/v1/tables/events/rows";

fn post(server: &Server, path: &str, body: &str) -> Answer {
    server.ask_with("POST", path, &[NDJSON], body.to_string())
}

fn start(server: &Server, name: &str, sql: &str) {
    server.post("/api/v1/jobs", json!({ "name": name, "sql": sql })).expect(201);
    server.wait_for_phase(name, "running");
}

fn copies(server: &Server) -> Vec<String> {
    server.lines("out")
}

/// The only posted table of the job.
fn figures(server: &Server, job: &str) -> Value {
    server.get(&format!("/api/v1/jobs/{job}/metrics")).expect(200)["posted"][0].clone()
}

#[test]
fn posted_rows_come_out_as_they_went_in_and_their_numbers_go_on() {
    let mut server = Server::start(&[]);
    start(&server, "p", &posted_job("50 ms"));
    let first = post(&server, ROWS, "{\"k\":\"a\",\"v\":1}\n{\"k\":\"ä,\\\"\",\"v\":2}\n").expect(200);
    let expected =
        json!({ "job": "p", "table": "events", "rows": 2, "first_sequence": 0, "last_sequence": 1, "repeated": false });
    assert_eq!(first, expected);
    let array = [("content-type", "application/json; charset=utf-8")];
    let second =
        server.ask_with("POST", "/api/v1/jobs/p/tables/events/rows", &array, "[{\"v\":3},\n{\"v\":-4}]".into());
    assert_eq!(second.expect(200)["last_sequence"], 3);
    let rows = ["\"ä,\"\"\",2,1", ",-4,3", ",3,2", "a,1,0"];
    server.wait_until("the rows are there", || copies(&server) == rows);
    server.wait_until("nothing is left to read", || figures(&server, "p")["backlog_bytes"] == 0);
    assert_eq!(figures(&server, "p")["rows"], 4);
    let page = server.get("/metrics").text;
    assert!(page.contains("tidemill_posted_rows_total{job=\"p\",table=\"events\"} 4\n"), "{page}");

    // A stopped job gets its rows when it goes on, whoever was killed meanwhile.
    server.post("/api/v1/jobs/p/stop", json!({})).expect(200);
    assert_eq!(post(&server, ROWS, "{\"k\":\"z\",\"v\":5}").expect(200)["first_sequence"], 4);
    server.kill();
    server.go();
    assert_eq!(post(&server, ROWS, "{\"k\":\"z\",\"v\":6}").expect(200)["first_sequence"], 5);
    assert_eq!(figures(&server, "p")["backlog_rows"], 2);
    server.post("/api/v1/jobs/p/start", json!({})).expect(200);
    server.wait_until("the rows are there", || copies(&server).len() == 6);
    server.wait_until("the totals are there", || server.lines("totals").contains(&"z,2,11".to_string()));
    server.post("/api/v1/jobs/p/cancel", json!({})).expect(200);
    server.ask("DELETE", "/api/v1/jobs/p", None).expect(204);
    post(&server, ROWS, "{\"v\":1}").problem(404);
}

#[test]
fn a_wrong_row_refuses_the_request_and_says_where() {
    let server = Server::start(&["--rows-size-max", "1kb"]);
    start(&server, "p", &posted_job("50 ms"));
    let bad = post(&server, ROWS, "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":\"x\"}\n");
    assert!(bad.problem(422).starts_with("line 2: column v: "), "{}", bad.text);
    let body = bad.json();
    assert_eq!((&body["type"], &body["line"]), (&json!("urn:tidemill:problem:wrong-rows"), &json!(2)), "{body}");
    assert_eq!(body["row"], "{\"k\":\"b\",\"v\":\"x\"}");
    let json_type = [("content-type", "application/json")];
    let bad = server.ask_with("POST", ROWS, &json_type, "[{\"v\":1},{\"k\":\"b\"}]".into());
    assert!(bad.problem(422).starts_with("element 2: column v: "), "{}", bad.text);
    assert_eq!(bad.json()["element"], 2);
    for (answer, status, expected) in [
        (post(&server, ROWS, ""), 422, "there are no rows in the body"),
        (post(&server, "/api/v1/tables/event/rows", "{}"), 404, "did you mean 'events'?"),
        (post(&server, "/api/v1/jobs/p/tables/copies/rows", "{}"), 404, "'connector' = 'http' and no 'url'"),
        (post(&server, "/api/v1/jobs/q/tables/events/rows", "{}"), 404, "there is no job 'q'"),
        (post(&server, ROWS, &" ".repeat(2_000)), 413, "larger than 1024 bytes"),
        (server.ask_with("POST", ROWS, &[("content-type", "text/csv")], "a,1".into()), 415, "application/x-ndjson"),
        (server.ask_with("POST", ROWS, &[("content-type", "text/plain")], "a".into()), 415, "text/csv"),
        (server.ask_with("POST", ROWS, &[NDJSON, ("idempotency-key", "")], "{\"v\":1}".into()), 400, "Idempotency-Key"),
    ] {
        let problem = answer.problem(status);
        assert!(problem.contains(expected), "{problem}");
    }
    assert_eq!(post(&server, ROWS, "{\"k\":\"c\",\"v\":7}").expect(200)["first_sequence"], 0, "nothing was stored");
    server.wait_until("the row is there", || copies(&server) == ["c,7,0"]);
    start(&server, "q", &posted_job("50 ms").replace("'out'", "'out2'").replace("'totals'", "'totals2'"));
    let problem = post(&server, ROWS, "{\"v\":1}").problem(400);
    assert!(problem.contains("read by the jobs p, q") && problem.contains("name the job"), "{problem}");
    post(&server, "/api/v1/jobs/q/tables/events/rows", "{\"v\":1}").expect(200);
}

#[test]
fn a_table_that_is_posted_to_is_declared_as_others_are() {
    let server = Server::start(&[]);
    let table =
        |options: &str| format!("CREATE TABLE t (v INT) WITH ('connector' = 'http', {options}); SELECT v FROM t");
    for (options, expected) in [
        ("'format' = 'json'", ""),
        ("'format' = 'csv', 'csv.field-delimiter' = ';'", ""),
        ("'format' = 'jsn'", "did you mean 'json'?"),
        ("'http.retention.time' = '1 h'", "'http' needs the option 'format'"),
        ("'format' = 'json', 'http.retention.tim' = '1 h'", "did you mean 'http.retention.time'?"),
        ("'format' = 'json', 'http.backlog.max-size' = 'much'", "a size such as '128MB'"),
        ("'format' = 'json', 'http.log.max-size' = '1mb'", "is less than 'http.backlog.max-size'"),
        ("'format' = 'json', 'json.ignore-parse-errors' = 'true'", "no option 'json.ignore-parse-errors'"),
        ("'format' = 'json', 'ulr' = 'http://h/{v}'", "did you mean 'url'?"),
        ("'format' = 'json', 'url' = 'http://localhost/{v}'", "can only be looked up by key"),
    ] {
        let answer = server.post("/api/v1/sql/validate", json!({ "sql": table(options) }));
        match expected {
            "" => drop(answer.expect(200)),
            _ => assert!(answer.text.contains(expected), "{options}: {}", answer.text),
        }
    }
    let csv = table("'format' = 'csv'").replace("SELECT", "INSERT INTO o SELECT").replace(
        "INSERT",
        "CREATE TABLE o (v INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv'); \
         SET 'execution.checkpointing.interval' = '50 ms'; INSERT",
    );
    start(&server, "c", &csv);
    let answer = server.ask_with("POST", "/api/v1/tables/t/rows", &[("content-type", "text/csv")], "1\n2".into());
    assert_eq!(answer.expect(200)["rows"], 2);
    server.wait_until("the rows are there", || copies(&server) == ["1", "2"]);

    // Without a server there is nobody to post to.
    std::fs::write(server.path("job.sql"), table("'format' = 'json'")).unwrap();
    let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_tidemill"));
    let output = run.args(["run", "job.sql"]).current_dir(server.path("")).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("only a server takes posts") && text.contains("tidemill serve"), "{text}");
}

/// Posts a request until it is answered with 200, whatever happens to the server meanwhile.
fn post_surely(server: &RwLock<Server>, key: &str, body: &str) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(5)))
        .build()
        .into();
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        assert!(Instant::now() < deadline, "the server takes nothing any more");
        let url = format!("{}{ROWS}", server.read().url);
        let request = agent.post(url).header(NDJSON.0, NDJSON.1).header("idempotency-key", key);
        match request.send(body) {
            Ok(answer) if answer.status() == 200 => return,
            Ok(mut answer) => {
                let text = answer.body_mut().read_to_string().unwrap_or_default();
                assert!([408, 429, 503].contains(&answer.status().as_u16()), "{} {text}", answer.status());
            }
            Err(_) => {}
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn no_acknowledged_row_is_lost_or_doubled_when_the_server_is_killed_while_four_clients_post() {
    const CLIENTS: usize = 4;
    const KILLS: usize = 8;
    let server = RwLock::new(Server::start(&[]));
    start(&server.read(), "p", &posted_job("50 ms"));
    let (over, posted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let rows: Mutex<Vec<i64>> = Mutex::default();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, over, rows, posted) = (&server, &over, &rows, &posted);
            scope.spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(client as u64);
                for request in 0.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let first = (client * 1_000_000 + request * 10) as i64;
                    let values: Vec<i64> = (first..first + rng.random_range(1..10)).collect();
                    let body: String = values.iter().map(|v| format!("{{\"k\":\"c{client}\",\"v\":{v}}}\n")).collect();
                    post_surely(server, &format!("{client}-{request}"), &body);
                    rows.lock().extend(values);
                    posted.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(99);
        for _ in 0..KILLS {
            let before = posted.load(Ordering::SeqCst);
            while posted.load(Ordering::SeqCst) < before + 20 {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(rng.random_range(0..200)));
            let mut server = server.write();
            server.kill();
            server.go();
        }
        over.store(true, Ordering::SeqCst);
    });
    let server = server.into_inner();
    let mut expected = rows.into_inner();
    expected.sort_unstable();
    server.wait_until("all rows are there", || copies(&server).len() >= expected.len());
    server.post("/api/v1/jobs/p/stop", json!({})).expect(200);
    let field = |line: &String, index: usize| line.split(',').nth(index).unwrap().parse::<i64>().unwrap();
    let mut values: Vec<i64> = copies(&server).iter().map(|line| field(line, 1)).collect();
    let mut numbers: Vec<i64> = copies(&server).iter().map(|line| field(line, 2)).collect();
    values.sort_unstable();
    numbers.sort_unstable();
    assert_eq!(values, expected, "no row is lost, none is doubled");
    assert_eq!(numbers, (0..expected.len() as i64).collect::<Vec<_>>(), "their numbers have no gap");
    let totals: i64 = server.lines("totals").iter().map(|line| field(line, 1)).sum();
    assert_eq!(totals, expected.len() as i64);
}

#[test]
fn a_repeated_request_gets_the_first_answer_also_after_a_restart() {
    let mut server = Server::start(&[]);
    start(&server, "p", &posted_job("50 ms"));
    let with_key = |server: &Server, body: &str| {
        server.ask_with("POST", ROWS, &[NDJSON, ("idempotency-key", "order-17")], body.to_string())
    };
    let first = with_key(&server, "{\"v\":1}").expect(200);
    post(&server, ROWS, "{\"v\":2}").expect(200);
    server.kill();
    server.go();
    let again = with_key(&server, "{\"v\":1}").expect(200);
    assert_eq!((&again["first_sequence"], &again["repeated"]), (&first["first_sequence"], &json!(true)));
    let other = with_key(&server, "{\"v\":2}");
    assert!(other.problem(422).contains("another body") && other.text.contains("key-of-other-rows"), "{}", other.text);
    assert_eq!(figures(&server, "p")["repeated_requests"], 1);
    server.wait_until("both rows are there", || copies(&server) == [",1,0", ",2,1"]);
}

#[test]
fn a_job_that_is_behind_refuses_rows_until_it_has_read_and_what_was_read_is_deleted() {
    let server = Server::start(&[]);
    let limits = "'http.backlog.max-size' = '40kb', 'http.log.max-size' = '80kb', 'format' = 'json'";
    let sql = posted_job("50 ms").replace("'format' = 'json'", limits);
    server.post("/api/v1/jobs", json!({ "name": "p", "sql": sql, "start": false })).expect(201);
    let body = format!("{{\"k\":\"{}\",\"v\":1}}", "x".repeat(4_970));
    let refused = (0..20).map(|_| post(&server, ROWS, &body)).find(|answer| answer.status != 200).expect("it fills up");
    assert!(refused.problem(429).contains("'http.backlog.max-size' is 40960"), "{}", refused.text);
    assert_eq!(refused.json()["type"], "urn:tidemill:problem:behind");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.post(format!("{}{ROWS}", server.url)).header(NDJSON.0, NDJSON.1).send(&body).expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    server.post("/api/v1/jobs/p/start", json!({})).expect(200);
    let mut taken = 8;
    server.wait_until("far more than the log holds was taken", || {
        taken += usize::from(post(&server, ROWS, &body).status == 200);
        taken > 60
    });
    server.wait_until("all rows are there", || copies(&server).len() == taken);
    server.wait_until("the log is short again", || {
        let held = figures(&server, "p")["log_bytes"].as_u64().unwrap();
        assert!(held <= 80 << 10, "{held}");
        held < 25_000
    });
    let id = server.get("/api/v1/jobs/p").json()["id"].as_str().unwrap().to_string();
    let folder = server.path("data/jobs").join(id).join("rows/events");
    let files = std::fs::read_dir(folder).unwrap().flatten();
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < 40_000, "{bytes} bytes are on disk");
}

#[test]
fn a_job_goes_on_from_a_savepoint_with_the_rows_that_came_after_it() {
    let server = Server::start(&[]);
    start(&server, "p", &posted_job("50 ms"));
    post(&server, ROWS, "{\"k\":\"a\",\"v\":1}").expect(200);
    server.wait_until("the row is there", || server.lines("totals") == ["a,1,1"]);
    server.post("/api/v1/jobs/p/savepoints", json!({ "name": "one" })).expect(201);
    post(&server, ROWS, "{\"k\":\"a\",\"v\":10}").expect(200);
    server.wait_until("the row is there", || server.lines("totals") == ["a,2,11"]);
    server.post("/api/v1/jobs/p/stop", json!({})).expect(200);
    server.post("/api/v1/jobs/p/start", json!({ "from_savepoint": "one" })).expect(200);
    post(&server, ROWS, "{\"k\":\"a\",\"v\":100}").expect(200);
    server.wait_until("both rows after the savepoint were read", || server.lines("totals") == ["a,3,111"]);
    // Another job has rows of its own.
    let other = posted_job("50 ms").replace("'out'", "'out2'").replace("'totals'", "'totals2'");
    server.post("/api/v1/jobs", json!({ "name": "q", "sql": other, "from_savepoint": "p/one" })).expect(201);
    post(&server, "/api/v1/jobs/q/tables/events/rows", "{\"k\":\"a\",\"v\":1000}").expect(200);
    server.wait_until("its row was read", || server.lines("totals2") == ["a,2,1001"]);
}

//! One job's trouble is its own: memory, panics, disks and sources that fail leave the server and the other jobs alone.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::kit::{Server, copying_job};
use crate::not_run::not_run;

/// Within this time a row of a healthy job is visible, whatever its neighbours do. On a free machine it takes 0.1 s.
const VISIBLE_WITHIN: Duration = Duration::from_secs(20);

/// A job that copies rows while its neighbours get into trouble.
struct Witness {
    rows: Vec<String>,
    slowest: Duration,
}

impl Witness {
    fn start(server: &Server) -> Self {
        server.feed("in/good", "000.json", "");
        server.post("/api/v1/jobs", json!({ "name": "good", "sql": copying_job("good") })).expect(201);
        Self { rows: Vec::new(), slowest: Duration::ZERO }
    }

    /// Feeds rows one after the other until it is so, and sees each of them come out.
    fn watch_until(&mut self, server: &Server, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(90), "waited in vain until {what}\n{}", server.log());
            self.row(server);
        }
        self.row(server);
    }

    fn row(&mut self, server: &Server) {
        let number = self.rows.len() + 1;
        server.feed("in/good", &format!("{number:03}.json"), &format!("{{\"k\":\"a\",\"v\":{number}}}\n"));
        self.rows.push(format!("a,{number}"));
        let fed = Instant::now();
        server.wait_until("a row is visible", || server.lines("out/good").len() >= self.rows.len());
        self.slowest = self.slowest.max(fed.elapsed());
    }

    /// All rows once, in time, without a restart.
    fn judge(mut self, server: &Server) {
        self.rows.sort();
        assert_eq!(server.lines("out/good"), self.rows);
        let job = server.get("/api/v1/jobs/good").expect(200);
        assert_eq!((&job["phase"], &job["restarts"]), (&json!("running"), &json!(0)), "{job}");
        println!("{} rows beside it, the slowest visible after {:?}", self.rows.len(), self.slowest);
        assert!(self.slowest < VISIBLE_WITHIN, "{:?}", self.slowest);
    }
}

fn error_of(server: &Server, job: &str) -> String {
    server.get(&format!("/api/v1/jobs/{job}")).expect(200)["last_error"].as_str().unwrap_or_default().to_string()
}

/// A list of one group can only be held as a whole.
#[test]
fn a_job_beyond_its_memory_budget_is_ended_with_what_to_do() {
    let server = Server::start(&[]);
    let mut witness = Witness::start(&server);
    let greedy = "SET 'execution.checkpointing.interval' = '1 h'; SET 'tidemill.memory.budget' = '20 mb'; SET 'tidemill.batch-rows' = '100';
CREATE TABLE s (id INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000', 'fields.id.min' = '1', 'fields.id.max' = '9');
CREATE TABLE o (n INT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT CARDINALITY(ARRAY_AGG(LPAD(CAST(id AS STRING), 20000, 'x'))) FROM s";
    server.post("/api/v1/jobs", json!({ "name": "greedy", "sql": greedy, "parallelism": 1 })).expect(201);
    witness.watch_until(&server, "the greedy job has failed", || server.phase("greedy") == "failed");
    let error = error_of(&server, "greedy");
    assert!(error.contains("beyond the job's memory budget of 20971520 bytes"), "{error}");
    assert!(error.contains("SET 'tidemill.memory.budget' to more"), "{error}");
    witness.judge(&server);
}

/// The failpoint strikes in the source of the only job that makes its rows up.
#[test]
fn a_job_that_panics_is_restarted_and_the_server_lives_on() {
    let mut server = Server::prepare(&["--log-format", "json"], &[("TIDEMILL_FAILPOINTS", "datagen.rows=panic@3")]);
    server.go();
    let mut witness = Witness::start(&server);
    let sql = "SET 'execution.checkpointing.interval' = '50 ms'; SET 'restart-strategy.exponential-delay.initial-backoff' = '10 ms';
CREATE TABLE s (id INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'number-of-rows' = '400', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '400');
CREATE TABLE o (id INT) WITH ('connector' = 'filesystem', 'path' = 'out/shaky', 'format' = 'csv');
INSERT INTO o SELECT id FROM s";
    server.post("/api/v1/jobs", json!({ "name": "shaky", "sql": sql, "parallelism": 1 })).expect(201);
    witness.watch_until(&server, "the job has finished", || server.phase("shaky") == "finished");
    let mut numbers: Vec<u32> = server.lines("out/shaky").iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=400).collect::<Vec<_>>(), "each row once in spite of the panic");
    let job = server.get("/api/v1/jobs/shaky").expect(200);
    assert_eq!(job["restarts"], 1, "{job}");
    let told = server.get("/api/v1/jobs/shaky/logs").text;
    let expected = "internal error in Source(s)[0]: TIDEMILL_FAILPOINTS asks for a panic at datagen.rows";
    assert!(told.contains(expected), "{told}");
    witness.judge(&server);
    let log = server.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect();
    let panicked = lines.iter().find(|line| line["message"] == "panicked").expect("the panic is an entry of the log");
    assert!(panicked["place"].as_str().unwrap().contains("failpoint.rs"), "{panicked}");
}

#[test]
fn a_job_that_panics_again_and_again_fails_as_its_strategy_says() {
    let faults = ["datagen.rows=panic@1"; 4].join(",");
    let mut server = Server::prepare(&[], &[("TIDEMILL_FAILPOINTS", &faults)]);
    server.go();
    let mut witness = Witness::start(&server);
    let sql = "SET 'restart-strategy.type' = 'fixed-delay'; SET 'restart-strategy.fixed-delay.attempts' = '2'; SET 'restart-strategy.fixed-delay.delay' = '10 ms';
CREATE TABLE s (id INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200');
SELECT id FROM s";
    server.post("/api/v1/jobs", json!({ "name": "shaky", "sql": sql, "parallelism": 1 })).expect(201);
    witness.watch_until(&server, "the job has failed", || server.phase("shaky") == "failed");
    let error = error_of(&server, "shaky");
    assert!(error.contains("gave up after 2 restarts"), "{error}");
    assert!(error.contains("asks for a panic at datagen.rows") && error.contains("please report it"), "{error}");
    // The fourth panic, then none: a start by hand is a new life.
    server.post("/api/v1/jobs/shaky/start", json!({})).expect(200);
    witness.watch_until(&server, "it runs", || {
        server.get("/api/v1/jobs/shaky").expect(200)["restarts"] == 1 && server.phase("shaky") == "running"
    });
    witness.judge(&server);
}

#[test]
fn a_job_whose_output_folder_or_source_is_gone_says_so_and_goes_on_when_it_is_back() {
    let server = Server::start(&[]);
    let mut witness = Witness::start(&server);
    server.feed("in/b", "1.json", "{\"k\":\"b\",\"v\":1}\n");
    server.post("/api/v1/jobs", json!({ "name": "b", "sql": copying_job("b") })).expect(201);
    witness.watch_until(&server, "the row is there", || server.lines("out/b") == ["b,1"]);
    // A file stands where the folder was.
    std::fs::rename(server.file("out/b"), server.file("kept")).unwrap();
    std::fs::write(server.file("out/b"), "in the way").unwrap();
    server.feed("in/b", "2.json", "{\"k\":\"b\",\"v\":2}\n");
    witness.watch_until(&server, "the job has failed", || server.phase("b") == "failed");
    let error = error_of(&server, "b");
    assert!(error.contains(&server.file("out/b").canonicalize().unwrap().display().to_string()), "{error}");
    std::fs::remove_file(server.file("out/b")).unwrap();
    std::fs::rename(server.file("kept"), server.file("out/b")).unwrap();
    server.post("/api/v1/jobs/b/start", json!({})).expect(200);
    witness.watch_until(&server, "the rows are there", || server.lines("out/b") == ["b,1", "b,2"]);

    std::fs::rename(server.file("in/b"), server.file("away")).unwrap();
    std::fs::write(server.file("in/b"), "no folder").unwrap();
    witness.watch_until(&server, "the job has failed", || server.phase("b") == "failed");
    let error = error_of(&server, "b");
    assert!(error.contains("in/b"), "{error}");
    std::fs::remove_file(server.file("in/b")).unwrap();
    std::fs::rename(server.file("away"), server.file("in/b")).unwrap();
    server.feed("in/b", "3.json", "{\"k\":\"b\",\"v\":4}\n");
    server.post("/api/v1/jobs/b/start", json!({})).expect(200);
    witness.watch_until(&server, "the rows are there", || server.lines("out/b") == ["b,1", "b,2", "b,4"]);
    assert_eq!(server.lines("totals/b"), ["b,3,7"]);
    witness.judge(&server);
}

fn filling_job(name: &str, rows: usize) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms'; SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms'; SET 'restart-strategy.exponential-delay.max-backoff' = '200 ms';
SET 'tidemill.restart.attempts-without-progress' = '100000';
CREATE TABLE s (id INT, t STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '4000', 'number-of-rows' = '{rows}',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{rows}', 'fields.t.length' = '1000');
CREATE TABLE o (id INT, t STRING) WITH ('connector' = 'filesystem', 'path' = 'out/{name}', 'format' = 'csv');
INSERT INTO o SELECT id, t FROM s"
    )
}

fn ids_of(server: &Server, job: &str) -> Vec<usize> {
    let lines = server.lines(&format!("out/{job}"));
    let mut ids: Vec<usize> = lines.iter().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Without a handler the signal of a file that grows too large ends the process.
#[test]
fn a_file_beyond_the_systems_limit_fails_its_job_and_not_the_server() {
    let mut server = Server::prepare(&[], &[]);
    server.wrap(&["sh", "-c", "ulimit -f 16384; exec \"$0\" \"$@\""]);
    server.go();
    let mut witness = Witness::start(&server);
    let sql = filling_job("big", 100_000)
        .replace("'200 ms';", "'1 h';")
        .replace("attempts-without-progress' = '100000'", "attempts-without-progress' = '1'")
        .replace("'4000'", "'1000000'");
    server.post("/api/v1/jobs", json!({ "name": "big", "sql": sql, "parallelism": 1 })).expect(201);
    witness.watch_until(&server, "the job has failed", || server.phase("big") == "failed");
    let error = error_of(&server, "big");
    assert!(error.contains("File too large") && error.contains("out/big"), "{error}");
    assert!(server.lines("out/big").is_empty(), "nothing of an epoch that failed is visible");
    witness.judge(&server);
}

/// A small disk below the server's data.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where nobody may mount.
    fn mount(server: &Server, size: &str) -> Option<Self> {
        let folder = server.path("data");
        let mount = |args: &[&str]| Command::new("mount").args(args).arg(&folder).output();
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tidemill-test"]).ok()?;
        if !mounted.status.success() {
            return None;
        }
        std::fs::create_dir_all(folder.join("files")).expect("a folder");
        Some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A full disk stops what needs space; when there is space again all goes on by itself, and no row is lost or doubled.
#[test]
fn a_full_disk_is_waited_for_and_the_store_of_jobs_goes_on_too() {
    let mut server = Server::prepare(&[], &[]);
    let Some(disk) = SmallDisk::mount(&server, "32m") else {
        not_run("a full disk", "only root may mount a small one");
        return;
    };
    server.go();
    server.feed("in/good", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    server.post("/api/v1/jobs", json!({ "name": "good", "sql": copying_job("good") })).expect(201);
    server.wait_until("the row is there", || server.lines("out/good") == ["a,1"]);
    let ballast = server.path("data/ballast");
    std::fs::write(&ballast, vec![0; 20 << 20]).unwrap();
    let rows = 20_000;
    server
        .post("/api/v1/jobs", json!({ "name": "big", "sql": filling_job("big", rows), "parallelism": 1 }))
        .expect(201);
    server.wait_until("the disk is full", || error_of(&server, "big").contains("No space left"));
    assert!(error_of(&server, "big").contains("free some space"), "{}", error_of(&server, "big"));

    // Changes may be refused now; the server answers, and knows what it knew.
    let _ = std::fs::write(server.path("data/rest"), vec![0; 8 << 20]);
    let mut refused = 0;
    for index in 0..20 {
        let made = server.post(
            "/api/v1/jobs",
            json!({ "name": format!("more{index}"), "sql": copying_job("good") + &"-- much\n".repeat(10_000), "start": false }),
        );
        assert!([201, 500].contains(&made.status), "{}", made.text);
        refused += usize::from(made.status == 500);
    }
    println!("{refused} of 20 changes were refused for want of space");
    assert_eq!(server.get("/livez").status, 200);

    std::fs::remove_file(&ballast).unwrap();
    let _ = std::fs::remove_file(server.path("data/rest"));
    server.wait_until("a job can be made again", || {
        let made = server.post("/api/v1/jobs", json!({ "name": "after", "sql": copying_job("after"), "start": false }));
        made.status == 201
    });
    server.wait_until("the job has finished", || server.phase("big") == "finished");
    assert_eq!(ids_of(&server, "big"), (1..=rows).collect::<Vec<_>>());
    server.feed("in/good", "2.json", "{\"k\":\"a\",\"v\":2}\n");
    server.wait_until("the other job goes on", || server.lines("totals/good") == ["a,2,3"]);
    server.kill();
    drop(disk);
}

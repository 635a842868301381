//! The `jdbc` connector against a real PostgreSQL server, started in a folder of its own.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{failure, job, orders};
use crate::not_run::not_run;
use crate::ports;
use crate::process::{Workspace, wait};

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "pass/word é";
/// Who runs the server where the test is run as root, which PostgreSQL refuses: nobody.
const UNPRIVILEGED: u32 = 65_534;

/// Stopped when it is dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

/// `None`, said loudly, where PostgreSQL is not installed.
fn programs() -> Option<PathBuf> {
    let installed = glob_versions("/usr/lib/postgresql");
    let in_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let found = in_path
        .unwrap_or_default()
        .into_iter()
        .chain(installed)
        .find(|folder| ["initdb", "pg_ctl", "psql"].iter().all(|program| folder.join(program).is_file()));
    if found.is_none() {
        not_run("a database", "PostgreSQL's initdb, pg_ctl and psql were not found (package postgresql)");
    }
    found
}

fn glob_versions(folder: &str) -> Vec<PathBuf> {
    let versions = fs::read_dir(folder).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).collect()
}

impl Postgres {
    /// With SCRAM for everybody, and TLS where a certificate is given.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Self { programs, folder, port: ports::free() };
        fs::write(server.path("password"), PASSWORD).expect("a written file");
        server.give_away(&["", "password"]);
        let data = server.path("data");
        let (password, data) = (server.path("password"), data.to_str().expect("a plain path"));
        let password = format!("--pwfile={}", password.display());
        server.run(
            "initdb",
            &["-D", data, "-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", &password],
        );
        server.boot();
        Some(server)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// To the user who runs the server.
    fn give_away(&self, names: &[&str]) {
        if is_root() {
            names.iter().for_each(|name| chown(self.path(name), Some(UNPRIVILEGED), None).expect("root may give away"));
        }
    }

    fn boot(&self) {
        let data = self.path("data");
        let log = self.path("log");
        let options =
            format!("-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off", self.port);
        let limit = START_TIMEOUT.as_secs().to_string();
        let (data, log) = (data.to_str().expect("a plain path"), log.to_str().expect("a plain path"));
        self.run("pg_ctl", &["-D", data, "-l", log, "-w", "-t", &limit, "-o", &options, "start"]);
    }

    fn stop(&self) {
        let data = self.path("data");
        self.run("pg_ctl", &["-D", data.to_str().expect("a plain path"), "-m", "fast", "-w", "stop"]);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let output = self.output(program, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {args:?}: {said}\n{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn output(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.programs.join(program));
        command.args(args).current_dir(self.folder.path()).env("PGPASSWORD", PASSWORD).stdin(Stdio::null());
        // A server that goes on in the background must not keep the pipes of this command open.
        if program == "pg_ctl" {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        if is_root() {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        match program {
            "pg_ctl" => {
                let status = command.status().expect("the program starts");
                Output { status, stdout: Vec::new(), stderr: Vec::new() }
            }
            _ => command.output().expect("the program starts"),
        }
    }

    /// Runs these statements, each in a transaction of its own.
    pub fn sql(&self, statements: &[&str]) {
        let port = self.port.to_string();
        let commands = statements.iter().flat_map(|statement| ["-c", statement]);
        let place = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1"];
        let args: Vec<&str> = place.into_iter().chain(commands).collect();
        self.run("psql", &args);
    }

    /// What a table's WITH clause says.
    pub fn options(&self, table: &str, more: &str) -> String {
        format!(
            "'connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:{}/postgres', 'table-name' = '{table}',
             'username' = 'postgres', 'password' = '{PASSWORD}'{more}",
            self.port
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.path("data");
        self.output("pg_ctl", &["-D", data.to_str().unwrap_or_default(), "-m", "immediate", "-w", "stop"]);
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0)
}

const TYPES: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE types (
  id int, b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric(20, 4), t text,
  v varchar(10), c char(4), y bytea, d date, tm time, ts timestamp, tz timestamptz, j json, jb jsonb, u uuid,
  m mood, ai int[], at text[], an numeric[], "Mixed ""Name" int);
INSERT INTO types VALUES
  (0, true, -2, 2147483647, -9223372036854775808, 1.5, 1e300, 1234567.8905, 'grüß', 'v', 'ab', '\x00ff',
   '2024-02-29', '12:34:56.789', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+02', '{"a": 1}', '{"b": [1]}',
   'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'happy', '{1,NULL,3}', '{"x y",NULL}', '{1.5,-2}', 7),
  (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL);
"#;

#[test]
fn values_of_every_type_come_over() {
    let Some(server) = Postgres::start() else { return };
    server.sql(&[TYPES]);
    let columns = "id INT, b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 FLOAT, f8 DOUBLE, n DECIMAL(12, 2), t STRING,
        v VARCHAR(10), c CHAR(4), y BYTES, d DATE, tm TIME(3), ts TIMESTAMP(3), tz TIMESTAMP_LTZ(3), j STRING, jb STRING,
        u STRING, m STRING, ai ARRAY<INT>, `at` ARRAY<STRING>, an ARRAY<DECIMAL(5, 1)>, `Mixed \"Name` INT";
    let table = format!("CREATE TABLE types ({columns}) WITH ({});", server.options("public.types", ""));
    let names = "b i2 i4 i8 f4 f8 n t v c y d tm ts tz j jb u m ai `at` an `Mixed \"Name`".replace("Mixed ", "Mixed_");
    let names =
        names.split(' ').map(|name| format!("t.{}", name.replace("Mixed_", "Mixed "))).collect::<Vec<_>>().join(", ");
    let query = format!(
        "SELECT o.id, {names} FROM orders AS o LEFT JOIN types FOR SYSTEM_TIME AS OF o.pt AS t ON o.user_id = t.id"
    );
    // Nested values need JSON.
    let sink = format!(
        "CREATE TABLE out_rows ({columns}) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');"
    );
    let script = job("", &table, "id INT", &query);
    let (start, end) = (script.find("CREATE TABLE out_rows").unwrap(), script.find("INSERT").unwrap());
    let workspace = Workspace::new(&format!("{}{sink}\n{}", &script[..start], &script[end..]));
    orders(&workspace, 3, 3);
    workspace.run_to_end(&["-p", "1"]);
    let lines = workspace.visible_lines("out");
    expect_test::expect![[r#"{"id":0,"b":true,"i2":-2,"i4":2147483647,"i8":-9223372036854775808,"f4":1.5,"f8":1e300,"n":1234567.89,"t":"grüß","v":"v","c":"ab  ","y":"AP8=","d":"2024-02-29","tm":"12:34:56.789","ts":"2024-02-29 12:34:56.789","tz":"2024-02-29 10:34:56.789Z","j":"{\"a\": 1}","jb":"{\"b\": [1]}","u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","m":"happy","ai":[1,null,3],"at":["x y",null],"an":[1.5,-2.0],"Mixed \"Name":7}"#]]
        .assert_eq(&lines[0]);
    let nulls = |id: usize| format!("{{\"id\":{id},\"b\":null,\"i2\":null,");
    assert!(lines[1].starts_with(&nulls(1)) && lines[1].matches("null").count() == 23, "{}", lines[1]);
    assert!(lines[2].starts_with(&nulls(2)) && lines[2].matches("null").count() == 23, "{}", lines[2]);
}

#[test]
fn keys_of_every_type_find_their_rows() {
    let Some(server) = Postgres::start() else { return };
    server.sql(&[
        "CREATE TABLE keys (id int, n numeric, c char(4), u uuid, d date, ts timestamp, y bytea, f real, b boolean, x text);
         INSERT INTO keys SELECT i, i + 0.50, 'c' || i, ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1' || i)::uuid,
           date '2024-01-01' + i, timestamp '2024-01-01 00:00:00.25' + i * interval '1 hour', ('\\x0' || i)::bytea,
           i + 0.25, i % 2 = 0, 'x''\"' || i FROM generate_series(0, 4) AS i;",
    ]);
    let columns =
        "id INT, n DECIMAL(10, 2), c STRING, u STRING, d DATE, ts TIMESTAMP(3), y BYTES, f FLOAT, b BOOLEAN, x STRING";
    for (key, value) in [
        ("id", "CAST(o.user_id AS BIGINT)"),
        ("n", "o.user_id + CAST(0.5 AS DECIMAL(10, 2))"),
        ("c", "'c' || CAST(o.user_id AS STRING)"),
        ("u", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A1' || CAST(o.user_id AS STRING)"),
        ("d", "CAST('2024-01-0' || CAST(o.user_id + 1 AS STRING) AS DATE)"),
        ("ts", "CAST('2024-01-01 0' || CAST(o.user_id AS STRING) || ':00:00.25' AS TIMESTAMP(3))"),
        ("f", "CAST(o.user_id + 0.25 AS FLOAT)"),
        ("x", "'x''\"' || CAST(o.user_id AS STRING)"),
    ] {
        let table = format!("CREATE TABLE keys ({columns}) WITH ({});", server.options("keys", ""));
        let query = format!(
            "SELECT o.id, k.id FROM (SELECT *, {value} AS v FROM orders AS o) AS o
             LEFT JOIN keys FOR SYSTEM_TIME AS OF o.pt AS k ON o.v = k.{key}"
        );
        let workspace = Workspace::new(&job("", &table, "id INT, found INT", &query));
        orders(&workspace, 7, 7);
        workspace.run_to_end(&["-p", "1"]);
        assert_eq!(workspace.visible_lines("out"), ["0,0", "1,1", "2,2", "3,3", "4,4", "5,", "6,"], "{key}");
    }
}

#[test]
fn many_keys_go_in_one_request_and_few_rows_come_back() {
    let Some(server) = Postgres::start() else { return };
    server.sql(&[
        "CREATE TABLE users (id int PRIMARY KEY, region text, name text)",
        "INSERT INTO users SELECT i, 'e u/' || i % 2, 'user ' || i FROM generate_series(0, 999) AS i",
        "ALTER SYSTEM SET log_statement = 'all'",
        "SELECT pg_reload_conf()",
    ]);
    let table = format!(
        "CREATE TABLE users (id INT, region STRING, name STRING) WITH ({});",
        server.options("users", ", 'lookup.cache' = 'PARTIAL'")
    );
    let query = "SELECT o.id, u.name FROM orders AS o JOIN users FOR SYSTEM_TIME AS OF o.pt AS u
        ON o.user_id = u.id AND o.region = u.region AND u.name <> 'user 4'";
    let workspace = Workspace::new(&job("", &table, "id INT, name STRING", query));
    orders(&workspace, 5_000, 1_200);
    workspace.run_to_end(&["-p", "1"]);
    let mut expected: Vec<String> = (0..5_000)
        .filter(|id| id % 1_200 < 1_000 && id % 1_200 != 4)
        .map(|id| format!("{id},user {}", id % 1_200))
        .collect();
    expected.sort();
    assert_eq!(workspace.visible_lines("out"), expected);
    let asked = server.log().matches("execute lookup").count();
    assert!((12..=60).contains(&asked), "{asked} requests for 1,200 keys");
    assert!(!server.log().contains(PASSWORD));
}

#[test]
fn a_server_that_restarts_is_found_again() {
    let Some(server) = Postgres::start() else { return };
    server.sql(&[
        "CREATE TABLE users (id int, name text)",
        "INSERT INTO users SELECT i, 'user ' || i FROM generate_series(0, 99) AS i",
    ]);
    let table = format!(
        "CREATE TABLE paced (id BIGINT, pt AS PROCTIME()) WITH ('connector' = 'datagen', 'number-of-rows' = '400',
           'rows-per-second' = '100', 'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '399');
         CREATE TABLE users (id INT, name STRING) WITH ({});",
        server.options("users", ", 'lookup.max-retries' = '20'")
    );
    let query = "SELECT CAST(o.id AS INT), u.name FROM paced AS o LEFT JOIN users FOR SYSTEM_TIME AS OF o.pt AS u ON o.id = u.id";
    let settings = "SET 'restart-strategy.type' = 'none';";
    let workspace = Workspace::new(&job(settings, &table, "id INT, name STRING", query));
    orders(&workspace, 1, 1);
    let mut child = workspace.run_command(&["-p", "1"]).spawn().expect("the program starts");
    std::thread::sleep(Duration::from_millis(1_500));
    let began = Instant::now();
    server.stop();
    server.boot();
    assert!(began.elapsed() < START_TIMEOUT);
    assert!(wait(&mut child).success());
    let mut expected: Vec<String> =
        (0..400).map(|id| if id < 100 { format!("{id},user {id}") } else { format!("{id},") }).collect();
    expected.sort();
    assert_eq!(workspace.visible_lines("out"), expected);
}

#[test]
fn what_is_wrong_with_a_table_is_said_at_the_start() {
    let Some(server) = Postgres::start() else { return };
    server.sql(&["CREATE TABLE users (id int, name text)"]);
    let said = |columns: &str, options: &str, select: &str, key: &str| {
        let table = format!("CREATE TABLE users ({columns}) WITH ({options});");
        let query = format!(
            "SELECT o.id, {select} FROM (SELECT *, {key} AS k FROM orders) AS o
             JOIN users FOR SYSTEM_TIME AS OF o.pt AS u ON o.k = u.id"
        );
        let workspace = Workspace::new(&job("", &table, "id INT, name STRING", &query));
        // There is no row: what is wrong is found before the first one.
        orders(&workspace, 0, 1);
        let began = Instant::now();
        let said = failure(&workspace);
        assert!(began.elapsed() < Duration::from_secs(20), "it is said at once: {said}");
        assert!(!said.contains(PASSWORD), "{said}");
        said
    };
    let (plain, options) = ("id INT, name STRING", server.options("users", ""));
    let missing = said(plain, &server.options("user", ""), "u.name", "user_id");
    assert!(missing.contains("relation \"user\" does not exist"), "{missing}");
    let column = said("id INT, nme STRING", &options, "u.nme", "user_id");
    assert!(column.contains("column t.nme does not exist"), "{column}");
    let wrong = said(plain, &options.replace(PASSWORD, "wrong"), "u.name", "user_id");
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let unfit = said("id INT, name INT", &options, "CAST(u.name AS STRING)", "user_id");
    assert!(unfit.contains("column name of \"users\" is text, which does not fit INT"), "{unfit}");
    let unfit_key = said("id STRING, name STRING", &options, "u.name", "CAST(user_id AS STRING)");
    assert!(unfit_key.contains("column id of \"users\" is integer, which does not fit STRING"), "{unfit_key}");
}

#[test]
fn certificates_are_checked() {
    let Some(server) = Postgres::start() else { return };
    if !make_certificates(server.folder.path()) {
        not_run("certificates", "openssl was not found, so no certificate could be made");
        return;
    }
    server.give_away(&["server.crt", "server.key"]);
    let folder = server.folder.path().display();
    server.sql(&[
        "CREATE TABLE users (id int, name text)",
        "INSERT INTO users VALUES (0, 'user 0')",
        &format!("ALTER SYSTEM SET ssl_cert_file = '{folder}/server.crt'"),
        &format!("ALTER SYSTEM SET ssl_key_file = '{folder}/server.key'"),
        "ALTER SYSTEM SET ssl = on",
    ]);
    server.stop();
    server.boot();
    let with = |parameters: &str| {
        let options = server.options("users", "").replace("/postgres'", &format!("/postgres?{parameters}'"));
        let table = format!("CREATE TABLE users (id INT, name STRING) WITH ({options});");
        let query =
            "SELECT o.id, u.name FROM orders AS o JOIN users FOR SYSTEM_TIME AS OF o.pt AS u ON o.user_id = u.id";
        let workspace = Workspace::new(&job("", &table, "id INT, name STRING", query));
        orders(&workspace, 1, 1);
        workspace
    };
    let authority = server.path("ca.crt");
    let trusted = with(&format!("sslmode=verify-full&sslrootcert={}", authority.display()));
    trusted.run_to_end(&[]);
    assert_eq!(trusted.visible_lines("out"), ["0,user 0"]);
    let stranger = failure(&with("sslmode=verify-full"));
    assert!(stranger.contains("TLS with 127.0.0.1") && stranger.contains("UnknownIssuer"), "{stranger}");
}

/// An authority, and a certificate of it for 127.0.0.1. False where there is no openssl.
fn make_certificates(folder: &Path) -> bool {
    let openssl = |args: &str| {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(folder).output();
        output.is_ok_and(|output| output.status.success())
    };
    fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .expect("a written file");
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt")
        && openssl("req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr")
        && openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
        )
}

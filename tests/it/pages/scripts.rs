//! Pages whose blocks are whole scripts: jobs, SQL tests, a client of the server.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::reader::Reader;
use super::text::Page;
use crate::kafka::broker::Broker;

const PATIENCE: Duration = Duration::from_secs(60);

/// Writes a number after the other, each once.
const NUMBERS: &str = "SET 'execution.checkpointing.interval' = '100 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000');
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO copies SELECT n FROM numbers;";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A command that goes on, ended by SIGKILL.
struct Running(Child);

impl Running {
    fn start(reader: &Reader, command: &str) -> Self {
        let mut shell = reader.shell(&format!("exec {command}"));
        Self(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("bash starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The benchmarks take hours: only their options are asked for.
pub fn benchmarks(page: &Page) -> Option<()> {
    let reader = Reader::with_tools("docs/benchmarks.md")?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/compare.py");
    let help = reader.run(&format!("PYTHONDONTWRITEBYTECODE=1 python3 {} --help", program.display()));
    let steps = page.blocks().flat_map(|block| &block.steps);
    let options: Vec<&str> =
        steps.flat_map(|step| step.command.split(' ')).filter(|word| word.starts_with("--")).collect();
    assert!(options.len() > 5, "{options:?}");
    for option in options {
        assert!(help.split([' ', '\n', '[', ']']).any(|word| word == option), "no {option} in\n{help}");
    }
    Some(())
}

pub fn readme(page: &Page) -> Option<()> {
    let mut reader = Reader::with_tools("README.md")?;
    let export = page.below("# Tidemill")[1];
    reader.follow(&[export]);
    // Both take twenty seconds: the job of the page, and the one that `make demo` runs.
    reader.write("job.sql", page.below("## A first job")[0].run());
    reader.write("demo.sql", &file("examples/first-windows/job.sql"));
    let printed = reader.run(
        "tidemill run job.sql > job.out 2> job.err & tidemill run demo.sql > demo.out; wait $! && cat job.out demo.out",
    );
    for machine in ["press", "lathe", "robot"] {
        let windows = printed.lines().filter(|line| line.contains(machine)).count();
        assert!(windows >= 2 * 19, "{windows} windows of {machine} in\n{printed}");
    }
    Some(())
}

/// How many numbers are in the job's output, each of which is there once.
fn numbers(reader: &Reader) -> usize {
    let text = reader.run("cat out/* 2> /dev/null");
    let mut numbers: Vec<usize> = text.lines().map(|line| line.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=numbers.len()), "no row is lost or doubled");
    numbers.len()
}

pub fn state(page: &Page) -> Option<()> {
    let reader = Reader::with_tools("docs/state.md")?;
    reader.write("job.sql", NUMBERS);
    let run = page.below("# State, checkpoints and recovery")[0].steps[0].run();
    let job = Running::start(&reader, run);
    wait_until("rows are visible", || numbers(&reader) > 0);
    drop(job);
    let before = numbers(&reader);
    // "The same command resumes it: [...] after `kill -9`."
    let job = Running::start(&reader, run);
    wait_until("the job goes on", || numbers(&reader) > before);

    let [save, resume] = &page.below("## Savepoints")[0].steps[..] else { panic!("two commands") };
    let here = |command: &str| command.replace("/backup", &reader.path().join("backup").display().to_string());
    let printed = reader.run(&here(save.run()));
    let folder = printed.lines().last().expect("the savepoint's folder");
    assert!(Path::new(folder).is_dir(), "{printed}");
    drop(job);
    let name = resume.run().split_whitespace().find_map(|word| word.strip_prefix("/backup/savepoints/"));
    let command = resume.command.replace(&format!("/backup/savepoints/{}", name.expect("a savepoint")), folder);
    let before = reader.run("cat out/* | wc -l");
    let job = Running::start(&reader, &command);
    wait_until("the job goes on from the savepoint", || reader.run("cat out/* | wc -l") != before);
    assert_eq!(reader.run("cat out/* | grep -cx 1"), "1", "it does not begin anew");
    drop(job);
    Some(())
}

pub fn sql_tests(page: &Page) -> Option<()> {
    let reader = Reader::new();
    reader.write("page.slt", page.below("# SQL tests")[0].run());
    reader.succeed("tidemill test page.slt");
    reader.succeed("tidemill test page.slt --worlds all");
    Some(())
}

pub fn python_client(page: &Page) -> Option<()> {
    let mut reader = Reader::with_tools("examples/python-client/README.md")?;
    for name in ["tidemill.py", "answer.sql"] {
        reader.write(name, &file(&format!("examples/python-client/{name}")));
    }
    reader.follow(&page.blocks().collect::<Vec<_>>());
    assert!(reader.run("tidemill logs answer").contains("42"));
    Some(())
}

pub fn kafka(page: &Page) -> Option<()> {
    let broker = Broker::shared("the job of docs/kafka.md")?;
    broker.ask(&["topics", "orders:1", "totals:1:cleanup.policy=compact"]);
    let order = |id: u32, shop: &str, amount: f64| {
        let value = json!({ "id": id, "shop": shop, "amount": amount }).to_string();
        format!("{}\n", json!({ "value": value }))
    };
    let orders = [order(1, "north", 2.5), order(2, "south", 4.0), order(3, "north", 1.0)].concat();
    broker.ask_with(&["produce", "orders"], &orders);
    let reader = Reader::new();
    let sql = page.below("# Apache Kafka")[0].run();
    let interval = "SET 'execution.checkpointing.interval' = '200 ms';\n";
    reader.write("job.sql", &(interval.to_string() + &sql.replace("localhost:9092", &broker.address())));
    let job = Running::start(&reader, "tidemill run job.sql --state-dir state");
    wait_until("the totals are there", || {
        let messages = broker.ask(&["read", "totals"]);
        let last = |shop: &str| -> Option<Value> {
            let messages = messages.as_array()?.iter().rev();
            let values = messages.filter_map(|message| serde_json::from_str::<Value>(message["value"].as_str()?).ok());
            values.into_iter().find(|row| row["shop"] == shop).map(|row| row["total"].clone())
        };
        last("north") == Some(json!(3.5)) && last("south") == Some(json!(4.0))
    });
    drop(job);
    Some(())
}

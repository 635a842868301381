//! The pages on the server do what they say: their commands are run against a real server, and what they print is compared.
//!
//! Ids, times and figures differ from run to run and are masked. Commands that only look are asked again until they show what the
//! page shows, as a reader would.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use regex::Regex;

/// What a reader waits for comes within this time, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
const PORT_OF_PAGES: &str = "8080";

/// A command of a page, and what the page says that it prints.
#[derive(Debug)]
struct Step {
    command: String,
    prints: Vec<String>,
}

/// A reader who types what a page says, in a folder of their own.
struct Reader {
    folder: tempfile::TempDir,
    port: u16,
    /// Variables that were set.
    variables: String,
    server: Option<Child>,
}

impl Reader {
    fn new() -> Self {
        // Free at this moment; nobody else on this machine is given it soon.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        Self { folder: tempfile::tempdir().expect("a folder"), port, variables: String::new(), server: None }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Does all that a text says: files that it shows with their names, commands one after the other.
    fn follow(&mut self, text: &str) {
        self.write_files(text);
        let steps = steps_of(text);
        assert!(!steps.is_empty(), "no command in: {text}");
        steps.iter().for_each(|step| self.take(step));
    }

    fn write_files(&self, text: &str) {
        for (name, content) in files_of(text) {
            std::fs::write(self.path().join(name), content).expect("written");
        }
    }

    fn take(&mut self, step: &Step) {
        println!("$ {}", step.command);
        if step.command.starts_with("tidemill serve") {
            return self.serve(step);
        }
        if step.command.starts_with("kill -9 $(pidof tidemill)") {
            let mut server = self.server.take().expect("a server runs");
            server.kill().and_then(|()| server.wait()).expect("killed");
            return;
        }
        if Regex::new("^[A-Z]+=\\S+$").expect("a pattern").is_match(&step.command) {
            self.variables += &format!("{}\n", self.own(&step.command));
            return;
        }
        let expected = masked(&step.prints.join("\n"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = self.run(&step.command);
            if masked(&printed) == expected {
                return;
            }
            let is_over = !only_looks(&step.command) || Instant::now() > deadline;
            assert!(!is_over, "$ {}\nprints\n{}\nthe page says\n{expected}", step.command, masked(&printed));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Addresses of the page are those of this server.
    fn own(&self, text: &str) -> String {
        text.replace(PORT_OF_PAGES, &self.port.to_string())
    }

    fn run(&self, command: &str) -> String {
        let output = self.shell(&format!("{}{}", self.variables, self.own(command))).output().expect("bash starts");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_string()
    }

    fn shell(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_tidemill"));
        let path =
            format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).current_dir(self.path()).stdin(Stdio::null());
        shell.env("PATH", path).env("TIDEMILL_SERVER", format!("http://127.0.0.1:{}", self.port));
        shell.env("TIDEMILL_LISTEN", format!("127.0.0.1:{}", self.port));
        shell
    }

    /// Starts the server and compares its first line.
    fn serve(&mut self, step: &Step) {
        assert!(self.server.is_none(), "a server runs already");
        let command = self.own(step.command.trim_end_matches(" &"));
        let mut shell = self.shell(&format!("{}exec {command}", self.variables));
        let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let mut errors = child.stderr.take().expect("piped");
        std::thread::spawn(move || std::io::copy(&mut errors.by_ref(), &mut std::io::sink()));
        self.server = Some(child);
        if let Some(expected) = step.prints.first() {
            assert_eq!(masked(line.trim_end()), masked(expected), "$ {}", step.command);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// True for commands that may be given again.
fn only_looks(command: &str) -> bool {
    let changes = ["-X", "--json", "--data", "submit", "stop", " > ", "echo ", "token new"];
    !changes.iter().any(|change| command.contains(change))
}

/// What differs from run to run, and how many blanks stand between columns.
fn masked(text: &str) -> String {
    let masks = [
        ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?", "TIME"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"data: \S+/data", "data: DATA"),
        (r"tm_(\.\.\.|[0-9a-f]+)", "TOKEN"),
        ("sha256:[0-9a-f]+", "HASH"),
        (r"\d+\.\d{3,}", "SECONDS"),
        (r"(starting|running)", "running"),
        (r"(running|stopped|failed)( +)\d+", "$1 EPOCH"),
        (r#""epoch":\d+"#, "\"epoch\":N"),
        (" {2,}", " "),
    ];
    let mask = |text: String, (pattern, name): &(&str, &str)| {
        Regex::new(pattern).expect("a pattern").replace_all(&text, *name).into_owned()
    };
    let whole = masks.iter().fold(text.to_string(), mask);
    let mut lines: Vec<&str> = whole.lines().map(str::trim_end).collect();
    // Starting and running are the same to a reader who may be slow.
    lines.dedup();
    lines.join("\n")
}

/// Blocks of this language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    text.split(&open).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

fn steps_of(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks(text, "sh").join("").lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_string(), prints: Vec::new() }),
            (None, Some(step)) => step.prints.push(line.to_string()),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    steps
}

/// A page says "This is `job.sql`:" in front of a block of SQL.
fn files_of(text: &str) -> Vec<(String, String)> {
    let starts = text.split("This is `").skip(1);
    let files = starts.filter_map(|rest| {
        let (name, rest) = rest.split_once('`')?;
        Some((name.to_string(), blocks(rest, "sql").first()?.to_string()))
    });
    files.collect()
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The part of a page from this heading to the next one of its rank or above.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("there is no heading {heading}"));
    let rank = heading.split(' ').next().expect("a rank");
    let rest = &text[start + heading.len()..];
    let end = rest.match_indices("\n#").find(|(at, _)| {
        let next = rest[at + 1..].split(' ').next().unwrap_or_default();
        next.len() <= rank.len()
    });
    &rest[..end.map_or(rest.len(), |(at, _)| at)]
}

/// The tools that the pages use.
fn has_tools() -> bool {
    let missing: Vec<&str> = ["bash", "curl", "jq"]
        .into_iter()
        .filter(|tool| Command::new(tool).arg("--version").output().is_err())
        .collect();
    if !missing.is_empty() {
        eprintln!("NOT RUN: the commands of the pages, since {} is not installed", missing.join(", "));
    }
    missing.is_empty()
}

#[test]
fn a_new_users_quarter_of_an_hour_goes_as_the_page_says() {
    if has_tools() {
        Reader::new().follow(&page("docs/first-server.md"));
    }
}

#[test]
fn the_servers_page_does_what_it_says() {
    if !has_tools() {
        return;
    }
    let text = page("docs/server.md");
    let mut reader = Reader::new();
    let orders = reader.path().join("data/files/orders");
    std::fs::create_dir_all(&orders).unwrap();
    std::fs::write(orders.join("1.json"), "{\"item\":\"pen\",\"amount\":3}\n{\"item\":\"ink\",\"amount\":7}\n")
        .unwrap();
    let from = text.find("```sh\n$ tidemill serve").expect("the first command");
    let until = text.find("### From the command line").expect("the heading");
    reader.follow(&text[from..until]);
    reader.follow(section(&text, "### Other SQL for a job"));
    reader.follow(section(&text, "## Operation"));
    let rows = section(&text, "## Rows over HTTP");
    std::fs::write(reader.path().join("posts.sql"), blocks(rows, "sql")[0]).unwrap();
    let submit = "tidemill submit posts.sql --name posts".to_string();
    reader.take(&Step { command: submit, prints: vec!["posts ID".into()] });
    reader.follow(rows.split("### ").next().unwrap());
    // A server on every address, with a certificate, is started by tests of its own (`security.rs`).
    let of_token = steps_of(section(&text, "## Security")).into_iter();
    of_token.filter(|step| !step.command.starts_with("tidemill serve")).for_each(|step| reader.take(&step));
    drop(reader);

    // The same job once more, by the program's own commands.
    let mut reader = Reader::new();
    reader.write_files(&text);
    reader.take(&Step { command: "tidemill serve --data-dir data".into(), prints: Vec::new() });
    // What `tidemill top` draws differs from moment to moment: it has tests of its own.
    let commands = blocks(section(&text, "### From the command line"), "sh")[0];
    reader.follow(&format!("```sh\n{commands}```"));
}

//! Asks a server for queries and reads their rows, quickly, slowly or not at all.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::kit::Server;

pub const QUERIES: &str = "/api/v1/queries";
pub const EVENTS: &str = "text/event-stream";
pub const LINES: &str = "application/x-ndjson";

/// A table whose rows come so fast.
pub fn generated(rows_per_second: u64) -> String {
    format!("CREATE TABLE d (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rows_per_second}');")
}

/// A table of the JSON lines below the folder `in`, read as files come.
pub const WATCHED: &str = "CREATE TABLE events (k STRING, v INT)
  WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json', 'source.monitor-interval' = '50 ms');";

/// An answer that comes bit by bit, line by line.
pub struct Stream {
    lines: BufReader<TcpStream>,
    chunk: Vec<u8>,
    pub head: String,
}

impl Stream {
    /// Reads the head of the answer, and nothing more.
    pub fn open(server: &Server, accept: &str, body: &Value) -> Self {
        let mut socket = connect(server);
        send(&mut socket, server, accept, body);
        let mut lines = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).expect("a head") > 0, "the connection ended: {head}");
        }
        Self { lines, chunk: Vec::new(), head }
    }

    /// The next line; `None` at the end of the answer.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.chunk.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.chunk.drain(..=end).collect();
                return Some(String::from_utf8(line).expect("UTF-8").trim_end().to_string());
            }
            let mut size = String::new();
            self.lines.read_line(&mut size).expect("a chunk");
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            if size == 0 {
                return None;
            }
            let mut chunk = vec![0; size + 2];
            std::io::Read::read_exact(&mut self.lines, &mut chunk).expect("a whole chunk");
            self.chunk.extend_from_slice(&chunk[..size]);
        }
    }

    /// The next object of NDJSON.
    pub fn object(&mut self) -> Option<Value> {
        self.line().map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The next object of this event; those in between are let go.
    pub fn next(&mut self, event: &str) -> Value {
        loop {
            let object = self.object().unwrap_or_else(|| panic!("the stream ended before '{event}'"));
            if object["event"] == event {
                return object;
            }
            assert!(object["event"] != "error" && object["event"] != "end", "{object}");
        }
    }
}

pub fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(address(server)).expect("the server listens");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    socket
}

pub fn address(server: &Server) -> &str {
    server.url.trim_start_matches("http://")
}

pub fn send(socket: &mut TcpStream, server: &Server, accept: &str, body: &Value) {
    let (host, body) = (address(server), body.to_string());
    let token = server.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "POST {QUERIES} HTTP/1.1\r\nHost: {host}\r\n{token}Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("sent");
}

/// Of queries that run.
pub fn running(server: &Server) -> usize {
    let all = server.get(QUERIES).expect(200);
    all["queries"].as_array().expect("a list").iter().filter(|query| query["state"] == "running").count()
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub threads: usize,
    pub descriptors: usize,
    pub memory_kb: u64,
}

pub fn held(server: &Server) -> Held {
    let process = format!("/proc/{}", server.pid());
    let count = |folder: &str| fs::read_dir(format!("{process}/{folder}")).expect("a running process").count();
    let status = fs::read_to_string(format!("{process}/status")).expect("a status");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let memory_kb = memory.trim().trim_end_matches(" kB").parse().expect("a number");
    Held { threads: count("task"), descriptors: count("fd"), memory_kb }
}

pub fn query(sql: &str) -> Value {
    json!({ "sql": sql })
}

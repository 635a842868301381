//! Thousands of requests that nobody should send, to the real server over raw sockets: none of them is the server's failure, none
//! makes it panic, leak or stop answering others.
//!
//! `TIDEMILL_SERVER_ABUSE` says how many; the long form is 10,000.

mod bodies;
mod heads;
mod sqls;
mod wire;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::kit::{Server, copying_job};
use wire::{Manner, Shot, fire, trickle};

const REQUESTS_DEFAULT: usize = 1_200;
/// Requests before leaks are looked for: threads, buffers and caches are there then.
const WARM_UP: usize = 300;
const ABUSERS: usize = 8;
/// Connections that send a byte now and then, from the beginning to their end by the server.
const SLOW_CLIENTS: usize = 24;
/// What may come and go with the moment: connections that are being closed, files of a checkpoint that is being taken.
const FILES_MARGIN: usize = 40;
const MEMORY_MARGIN_KB: u64 = 400 << 10;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    files: usize,
    threads: usize,
    memory_kb: u64,
}

impl Held {
    fn by(server: &Server) -> Self {
        let process = format!("/proc/{}", server.pid());
        let count = |folder: &str| std::fs::read_dir(format!("{process}/{folder}")).expect("the server lives").count();
        let status = std::fs::read_to_string(format!("{process}/status")).expect("the server lives");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let memory_kb = memory.trim().trim_end_matches(" kB").parse().expect("a number");
        Self { files: count("fd"), threads: count("task"), memory_kb }
    }
}

/// Asks in good order all the while, and measures how long it waits.
fn good_client(server: &Server, over: &AtomicBool) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match waits.len() % 3 {
            0 => assert_eq!(server.get("/api/v1/jobs").status, 200),
            1 => assert_eq!(server.get("/api/v1/jobs/good/metrics").status, 200),
            _ => assert_eq!(server.get("/readyz").status, 200),
        }
        waits.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    waits
}

/// A request of any kind.
fn any_shot(document: &Value, token: &str, rng: &mut ChaCha8Rng) -> Shot {
    match rng.random_range(0..100) {
        0..35 => bodies::any(document, token, rng),
        35..50 => bodies::mutated(document, token, rng),
        50..60 => sqls::any(token, rng),
        60..99 => heads::any(token, rng),
        _ => bodies::large(token, rng),
    }
}

struct Abuse<'a> {
    server: &'a Server,
    document: Value,
    token: String,
    refused: AtomicUsize,
    silent: AtomicUsize,
}

impl Abuse<'_> {
    fn shoot(&self, shot: &Shot) {
        let answer = fire(self.address(), shot);
        match answer.worst_status() {
            None => drop(self.silent.fetch_add(1, Ordering::Relaxed)),
            // So many at a time as are allowed: it says when to come again.
            Some(503) if answer.contains("urn:tidemill:problem:overloaded") => {}
            Some(status) => {
                assert!(status < 500, "{shot:?}\nanswered by\n{answer:?}\nlog: {}", tail(&self.server.log()));
                self.refused.fetch_add(usize::from(status >= 400), Ordering::Relaxed);
            }
        }
    }

    fn address(&self) -> &str {
        self.server.url.strip_prefix("http://").expect("no TLS here")
    }

    fn many(&self, count: usize, seed: u64) {
        std::thread::scope(|scope| {
            for abuser in 0..ABUSERS {
                let mut rng = ChaCha8Rng::seed_from_u64(seed + abuser as u64);
                scope.spawn(move || {
                    for _ in 0..count.div_ceil(ABUSERS) {
                        self.shoot(&any_shot(&self.document, &self.token, &mut rng));
                    }
                });
            }
        });
    }
}

fn tail(log: &str) -> String {
    log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn token_for(server: &Server) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["token", "new", "--role", "admin", "--name", "me", "--file", "tokens"]);
    let made = command.current_dir(server.path("")).output().expect("the program starts");
    String::from_utf8_lossy(&made.stdout).trim().to_string()
}

#[test]
fn no_request_is_the_servers_failure_and_others_are_served_all_the_while() {
    let asked = std::env::var("TIDEMILL_SERVER_ABUSE").ok();
    let count = asked.map_or(REQUESTS_DEFAULT, |text| text.parse().expect("TIDEMILL_SERVER_ABUSE is a number"));
    let mut server = Server::prepare(&["--tokens-file", "tokens", "--read-timeout", "3 s"], &[]);
    let token = token_for(&server);
    server.token = Some(token.clone());
    server.go();
    server.feed("in/good", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    server.post("/api/v1/jobs", json!({ "name": "good", "sql": copying_job("good") })).expect(201);
    let document = server.get("/api/v1/openapi.json").expect(200);
    let (refused, silent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let abuse = Abuse { server: &server, document, token, refused, silent };
    let (over, served) = (&AtomicBool::new(false), &server);
    let (before, mut waits) = std::thread::scope(|scope| {
        let good = scope.spawn(move || good_client(served, over));
        let slow: Vec<_> =
            (0..SLOW_CLIENTS).map(|number| scope.spawn(move || trickle(abuse_address(served), number))).collect();
        let listed: Vec<Shot> = heads::listed(&abuse.token).into_iter().chain(sqls::listed(&abuse.token)).collect();
        listed.iter().for_each(|shot| abuse.shoot(shot));
        abuse.many(WARM_UP, 1_000);
        let before = Held::by(&server);
        abuse.many(count.saturating_sub(WARM_UP + listed.len()), 2_000);
        for slow in slow {
            let lasted = slow.join().expect("no panic");
            assert!(lasted < Duration::from_secs(20), "a slow client was served for {lasted:?}");
        }
        over.store(true, Ordering::Relaxed);
        (before, good.join().expect("the good client was served"))
    });
    server.feed("in/good", "2.json", "{\"k\":\"a\",\"v\":2}\n");
    server.wait_until("the job goes on", || server.lines("out/good") == ["a,1", "a,2"]);
    let after = settled(&server, before);
    waits.sort_unstable();
    println!(
        "{count} requests: {} refused, {} without an answer; a good client asked {} times, p50 {:?}, p99 {:?}, slowest {:?}; {before:?}, {after:?}",
        abuse.refused.load(Ordering::Relaxed),
        abuse.silent.load(Ordering::Relaxed),
        waits.len(),
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
        waits[waits.len() - 1],
    );
    assert!(waits.len() > 20, "the good client was hardly served: {}", waits.len());
    let log = server.log();
    assert!(!log.contains("panicked"), "{}", tail(&log));
}

fn abuse_address(server: &Server) -> &str {
    server.url.strip_prefix("http://").expect("no TLS here")
}

/// What the server holds once it has let go of what it was asked: no more than before.
fn settled(server: &Server, before: Held) -> Held {
    let mut after = Held::by(server);
    server.wait_until(&format!("files and threads are given back: {before:?}"), || {
        after = Held::by(server);
        after.files <= before.files + FILES_MARGIN && after.threads <= before.threads + FILES_MARGIN
    });
    assert!(after.memory_kb < before.memory_kb + MEMORY_MARGIN_KB, "{before:?}, {after:?}");
    after
}

#[test]
fn one_name_is_given_once_however_many_ask_and_go() {
    let server = Server::start(&[]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |number: usize| {
            let server = &server;
            scope.spawn(move || {
                let body = json!({ "name": "one", "sql": copying_job("one"), "start": false }).to_string();
                let head = format!(
                    "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                // Half of them do not wait for the answer.
                let manner = if number.is_multiple_of(2) { Manner::Plain } else { Manner::Drop };
                let shot = Shot::new("same name", head + &body).manner(manner);
                fire(abuse_address(server), &shot).worst_status()
            })
        };
        let asked: Vec<_> = (0..24).map(ask).collect();
        asked.into_iter().filter_map(|one| one.join().expect("no panic")).collect()
    });
    // 503: so many at a time as wait for jobs.
    assert!(statuses.iter().all(|status| [201, 409, 503].contains(status)), "{statuses:?}");
    let jobs = server.get("/api/v1/jobs").expect(200);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
    server.wait_until("the others left nothing behind", || {
        std::fs::read_dir(server.path("data/jobs")).unwrap().count() == 1
    });
}

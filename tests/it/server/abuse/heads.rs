//! Heads that are wrong: methods, paths, versions, tokens, headers, lengths, chunks, and several requests in one.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

use super::wire::{Manner, Shot};

const METHODS: &[&str] = &[
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "GETT", "PROPFIND",
    "\u{7f}", "G ET",
];
const PATHS: &[&str] = &[
    "/",
    "*",
    "//",
    "/api/v1/jobs/..",
    "/api/v1/jobs/../../../../etc/passwd",
    "/api/v1/jobs/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/api/v1/jobs/..%2f..%2fjobs.redb",
    "/api/v1/jobs/%00",
    "/api/v1/jobs/a%00b/logs",
    "/api/v1/jobs/%ff%fe",
    "/api/v1/jobs/%",
    "/api/v1/jobs/%zz/metrics",
    "/api/v1/jobs/good%2fmetrics",
    "/api/v1/jobs//metrics",
    "/api/v1//jobs",
    "/api/v1/jobs/good/savepoints/..",
    "/api/v1/jobs/good/savepoints/%2e%2e%2fstate",
    "/api/v1/jobs/good/logs?after=-1",
    "/api/v1/jobs/good/logs?after=99999999999999999999999999",
    "/api/v1/jobs/good/logs?limit=0",
    "/api/v1/jobs/good/logs?limit=1e9&limit=2",
    "/api/v1/jobs/good/logs?%ff=%00",
    "/api/v1/jobs/good/logs?after=%31&=&&&;",
    "/api/v1/catalog?job=%27%20OR%201=1",
    "/docs/../docs",
    "/metrics#x",
    "http://localhost/livez",
    "http://example.org/api/v1/jobs",
    "/api/v1/jobs/\u{e4}\u{1f600}",
    "/api/v1/jobs/good\\..\\..",
    "/api/v1/audit?limit=18446744073709551616",
];
const VERSIONS: &[&str] =
    &["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.9", "HTTP/11", "http/1.1", "", "XYZ"];
const CHUNKS: &[&str] = &[
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nx",
    "fffffffffffffffff\r\nx",
    "-1\r\nx\r\n",
    "zz\r\nx\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "2;a=\"b\r\n{}\r\n0\r\n\r\n",
    "2\r\n{}\r\n0\r\nhost: evil\r\n\r\n",
    "\r\n\r\n",
];

/// Cases that each run meets.
pub fn listed(token: &str) -> Vec<Shot> {
    let auth = format!("authorization: Bearer {token}\r\n");
    let head = |line: &str, more: &str| format!("{line}\r\nhost: localhost\r\n{more}connection: close\r\n\r\n");
    let mut shots: Vec<Shot> =
        PATHS.iter().map(|path| Shot::new("path", head(&format!("GET {path} HTTP/1.1"), &auth))).collect();
    shots.extend(
        METHODS.iter().map(|method| Shot::new("method", head(&format!("{method} /api/v1/jobs HTTP/1.1"), &auth))),
    );
    shots.extend(
        VERSIONS.iter().map(|version| Shot::new("version", head(&format!("GET /api/v1/jobs {version}"), &auth))),
    );
    let delete = |path: &str| Shot::new("path of a savepoint", head(&format!("DELETE {path} HTTP/1.1"), &auth));
    shots.extend(PATHS.iter().filter(|path| path.contains("savepoints")).map(|path| delete(path)));
    for chunks in CHUNKS {
        let more = format!("{auth}transfer-encoding: chunked\r\ncontent-type: application/json\r\n");
        shots.push(Shot::new("chunks", head("POST /api/v1/jobs HTTP/1.1", &more) + chunks).manner(Manner::HalfClose));
    }
    for length in ["-1", "abc", "18446744073709551616", "99999999999", "0x10", "5, 6", " ", "+2"] {
        let more = format!("{auth}content-length: {length}\r\ncontent-type: application/json\r\n");
        shots.push(Shot::new("length", head("POST /api/v1/jobs HTTP/1.1", &more) + "{}").manner(Manner::HalfClose));
    }
    for twice in [
        "host: a\r\nhost: b\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "content-type: application/json\r\ncontent-type: application/sql\r\ncontent-length: 2\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "expect: 100-continue\r\ncontent-length: 2\r\ncontent-type: application/json\r\n",
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: x\r\n",
        "upgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        ": no name\r\n",
        "x\r\n y\r\n",
        "a\0b: c\r\n",
        "range: bytes=0-9999999999\r\n",
    ] {
        let more = format!("{auth}{twice}");
        shots.push(Shot::new("headers", head("POST /api/v1/jobs HTTP/1.1", &more) + "{}").manner(Manner::HalfClose));
    }
    for scheme in
        ["Bearer", "bearer ", "Basic dXNlcjpwYXNz", "Bearer tm_", "Bearer \u{e4}", "Bearer a b c", "", "Negotiate x"]
    {
        shots.push(Shot::new("token", head("GET /api/v1/jobs HTTP/1.1", &format!("authorization: {scheme}\r\n"))));
    }
    shots.push(Shot::new("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").manner(Manner::HalfClose));
    shots.push(Shot::new("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice()).manner(Manner::HalfClose));
    shots.push(Shot::new("an endless line", vec![b'A'; 300_000]).manner(Manner::HalfClose));
    shots.push(Shot::new("a long path", head(&format!("GET /{} HTTP/1.1", "x".repeat(60_000)), &auth)));
    shots
}

/// One of any kind.
pub fn any(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    match rng.random_range(0..8) {
        0 => mixed(token, rng),
        1 => pipelined(token, rng),
        2 => flood(token, rng),
        3 => tokens(token, rng),
        4 => noise(rng),
        5 => long_path(token, rng),
        6 => chunked(token, rng),
        _ => mixed(token, rng).manner(manner(rng)),
    }
}

fn pick<'a>(all: &[&'a str], rng: &mut ChaCha8Rng) -> &'a str {
    all[rng.random_range(0..all.len())]
}

fn manner(rng: &mut ChaCha8Rng) -> Manner {
    match rng.random_range(0..5) {
        0 => Manner::HalfClose,
        1 => Manner::Drop,
        2 => Manner::Pieces,
        3 => Manner::Cut(rng.random_range(0..200)),
        _ => Manner::Plain,
    }
}

fn mixed(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let (method, path) = (pick(METHODS, rng), pick(PATHS, rng));
    let version = if rng.random_bool(0.8) { "HTTP/1.1" } else { pick(VERSIONS, rng) };
    Shot::new(
        "method, path and version",
        format!(
            "{method} {path} {version}\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        ),
    )
}

fn pipelined(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let mut bytes = String::new();
    for _ in 0..rng.random_range(2..30) {
        let path = pick(PATHS, rng);
        bytes += &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    }
    let end = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    Shot::new("pipeline", bytes + end).manner(manner(rng))
}

fn flood(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let (count, length) = (rng.random_range(1..400), rng.random_range(1..300));
    let headers: String = (0..count).map(|number| format!("x-{number}: {}\r\n", "y".repeat(length))).collect();
    Shot::new(
        "many headers",
        format!(
            "GET /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{headers}connection: close\r\n\r\n"
        ),
    )
}

fn tokens(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let mut wrong = token.as_bytes().to_vec();
    match rng.random_range(0..4) {
        0 => wrong.truncate(rng.random_range(0..token.len())),
        1 => wrong.extend_from_slice(&vec![b'0'; rng.random_range(1..5_000)]),
        2 => {
            let place = rng.random_range(0..wrong.len());
            wrong[place] ^= 1;
        }
        _ => wrong = (0..67).map(|_| rng.random_range(33..255u8)).collect(),
    }
    let path = pick(&["/api/v1/jobs", "/api/v1/audit", "/metrics", "/api/v1/jobs/good"], rng);
    let mut bytes = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ").into_bytes();
    bytes.extend_from_slice(&wrong);
    bytes.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
    Shot::new("a wrong token", bytes)
}

fn noise(rng: &mut ChaCha8Rng) -> Shot {
    let mut bytes = vec![0; rng.random_range(1..2_000)];
    rng.fill_bytes(&mut bytes);
    if rng.random_bool(0.5) {
        bytes.splice(0..0, *b"GET / HTTP/1.1\r\n");
    }
    Shot::new("noise", bytes).manner(Manner::HalfClose)
}

fn long_path(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let part = pick(&["a", "../", "%2e%2e/", "%00", "\u{e4}", "?x=", "&x=y", "%"], rng);
    let path = part.repeat(rng.random_range(1..4_000));
    Shot::new(
        "a long path",
        format!(
            "GET /api/v1/jobs/{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        ),
    )
}

fn chunked(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let chunks: String = (0..rng.random_range(1..6)).map(|_| pick(CHUNKS, rng)).collect();
    Shot::new("chunks", format!(
        "POST /api/v1/sql/validate HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/sql\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{chunks}"
    ))
    .manner(if rng.random_bool(0.5) { Manner::HalfClose } else { Manner::Drop })
}

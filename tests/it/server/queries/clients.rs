//! Clients that go, that do not read, and that are left when the server ends.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::kit::Server;
use super::kit::{EVENTS, LINES, QUERIES, Stream, connect, generated, held, query, running, send};

/// Seen within a second or two, and this machine is busy.
const GONE_TIME: Duration = Duration::from_secs(5);

#[test]
fn a_query_ends_when_its_client_goes_also_while_no_row_comes() {
    let server = Server::start(&[]);
    let fast = query(&format!("{} SELECT n FROM d", generated(1_000_000)));
    let quiet = query(&format!("{} SELECT n FROM d WHERE n IS NULL", generated(1)));
    // The first query of a server starts what all later ones share.
    drop(Stream::open(&server, LINES, &fast));
    server.wait_until("no query runs", || running(&server) == 0);
    let before = held(&server);
    for body in [&fast, &quiet] {
        for accept in [EVENTS, LINES] {
            let mut stream = Stream::open(&server, accept, body);
            stream.line().expect("a line");
            assert_eq!(running(&server), 1);
            drop(stream);
            let gone = Instant::now();
            server.wait_until("no query runs", || running(&server) == 0);
            assert!(gone.elapsed() < GONE_TIME, "{:?}", gone.elapsed());
        }
    }
    // One that waits for a whole result goes too.
    let mut socket = connect(&server);
    let whole = query(&format!("{} SELECT n FROM d LIMIT 1000", generated(1)));
    send(&mut socket, &server, "application/json", &whole);
    server.wait_until("the query runs", || running(&server) == 1);
    drop(socket);
    server.wait_until("no query runs", || running(&server) == 0);
    server.wait_until("all is as before", || {
        let now = held(&server);
        now.threads <= before.threads + 2 && now.descriptors <= before.descriptors + 1
    });
    assert_eq!(std::fs::read_dir(server.path("data/queries")).unwrap().count(), 0, "nothing is left on disk");
}

#[test]
fn a_client_that_does_not_read_holds_its_query_back_and_is_cut_off_in_the_end() {
    let server = Server::start(&["--query-stall-timeout", "2 s"]);
    let before = held(&server);
    let mut socket = connect(&server);
    send(&mut socket, &server, LINES, &query(&format!("{} SELECT n FROM d", generated(100_000_000))));
    server.wait_until("the query runs", || running(&server) == 1);
    let read = || server.get(QUERIES).expect(200)["queries"][0]["rows"].as_u64();
    let mut last = None;
    server.wait_until("the query waits for its client", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = read();
        std::mem::replace(&mut last, now) == now
    });
    let grown = held(&server).memory_kb.saturating_sub(before.memory_kb);
    assert!(grown < 100_000, "a client that does not read costs {grown} KB");
    server.wait_until("the query was ended", || running(&server) == 0);
    server.wait_until("its connection is cut", || held(&server).descriptors <= before.descriptors + 1);
    // What had been written before is still there to be read, and then the connection ends.
    let mut rest = Vec::new();
    let ended = socket.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    assert!(!rest.is_empty());
}

#[test]
fn a_client_that_reads_again_too_late_is_told_why_its_query_ended() {
    let server = Server::start(&["--query-stall-timeout", "1 s"]);
    let mut stream = Stream::open(&server, LINES, &query(&format!("{} SELECT n FROM d", generated(100_000_000))));
    server.wait_until("the query was ended", || running(&server) == 0);
    let mut last = json!(null);
    while let Some(object) = stream.object() {
        last = object;
    }
    assert_eq!(last["event"], "error", "{last}");
    assert!(last["detail"].as_str().unwrap().contains("the client took nothing for 1s"), "{last}");
}

#[test]
fn a_slow_reader_gets_every_row_in_order() {
    let server = Server::start(&[]);
    let table = "CREATE TABLE s (n BIGINT, pad AS REPEAT('x', 200)) WITH ('connector' = 'datagen', 'number-of-rows' = '60000', \
                 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '60000', 'rows-per-second' = '10000000');";
    let mut stream = Stream::open(&server, LINES, &query(&format!("{table} SELECT n, pad FROM s")));
    let mut seen = 0;
    while let Some(object) = stream.object() {
        if object["event"] == "rows" {
            for row in object["rows"].as_array().unwrap() {
                seen += 1;
                assert_eq!(row[0], seen);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(seen, 60_000);
}

#[test]
fn streams_end_with_the_reason_when_they_are_cancelled_or_the_server_ends() {
    let mut server = Server::start(&[]);
    let body = query(&format!("{} SELECT n FROM d", generated(5)));
    let mut cancelled = Stream::open(&server, LINES, &body);
    let id = cancelled.next("schema")["query"].as_str().unwrap().to_string();
    let mut left = Stream::open(&server, LINES, &body);
    left.next("schema");
    server.ask("DELETE", &format!("{QUERIES}/{id}"), None).expect(204);
    assert_eq!(end_of(&mut cancelled), "cancelled");
    server.wait_until("only the other one runs", || running(&server) == 1);
    assert_eq!(server.terminate(), 0);
    assert_eq!(end_of(&mut left), "server-ending");
    assert!(left.line().is_none(), "the answer has its proper end");
}

fn end_of(stream: &mut Stream) -> String {
    loop {
        let object = stream.object().expect("an end");
        if object["event"] == "end" {
            return object["reason"].as_str().expect("a reason").to_string();
        }
    }
}

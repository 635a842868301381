//! Five hundred streams at once, and nothing of them left behind.

use std::time::{Duration, Instant};

use super::super::kit::Server;
use super::kit::{EVENTS, Held, Stream, generated, held, query, running};

const STREAMS: usize = 500;
/// A job, its one task, and the thread that reads its rows.
const THREADS_PER_QUERY: usize = 3;

#[test]
fn five_hundred_streams_are_opened_and_dropped_and_leave_nothing_behind() {
    let server = Server::start(&["--queries-max", "600", "--connections-max", "700", "--requests-max", "600"]);
    let body = query(&format!("{} SELECT n FROM d", generated(1)));
    let round = |streams: usize| -> (Held, Duration) {
        let begun = Instant::now();
        let mut all: Vec<Stream> = (0..streams).map(|_| Stream::open(&server, EVENTS, &body)).collect();
        for stream in &mut all {
            while stream.line().expect("a line") != "event: rows" {}
        }
        let took = begun.elapsed();
        assert_eq!(running(&server), streams);
        let during = held(&server);
        drop(all);
        server.wait_until("no query runs", || running(&server) == 0);
        (during, took)
    };
    round(20);
    let before = settled(&server);
    let (during, took) = round(STREAMS);
    let after = settled(&server);
    println!("{STREAMS} streams with a row each in {took:?}; before {before:?}, during {during:?}, after {after:?}");
    let threads = during.threads - before.threads;
    assert!(threads <= STREAMS * THREADS_PER_QUERY + 40, "{threads} threads for {STREAMS} queries");
    let again = {
        round(STREAMS);
        settled(&server)
    };
    println!("after a second round {again:?}");
    for held in [after, again] {
        assert!(held.threads <= before.threads + 4, "threads are left: {before:?} {held:?}");
        assert!(held.descriptors <= before.descriptors + 2, "descriptors are left: {before:?} {held:?}");
    }
    // The allocator gives pages back some ten seconds after they were last used.
    let bound = after.memory_kb + 30_000;
    server.wait_until("the memory of the second round is given back", || held(&server).memory_kb < bound);
    assert_eq!(std::fs::read_dir(server.path("data/queries")).unwrap().count(), 0);
}

/// What is held once nothing moves any more: threads that waited for work end after some seconds.
fn settled(server: &Server) -> Held {
    let mut last = held(server);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        std::thread::sleep(Duration::from_secs(3));
        let now = held(server);
        let still = now.threads == last.threads && now.descriptors == last.descriptors;
        if still || Instant::now() > deadline {
            return now;
        }
        last = now;
    }
}

//! Ports for servers whose address has to be known before they start, or that come back at the same address.
//!
//! They lie below those that the system gives to connections. A server that is down would lose a port of those: to the connection of
//! anybody, or to a client that tries again and again to reach it and is connected with itself in the end.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Below 32768, where Linux begins with the ports that it gives to connections (`net.ipv4.ip_local_port_range`).
const PORTS: Range<usize> = 12_000..32_000;
/// Test runs beside each other begin in different places.
const APART: usize = 311;

static GIVEN: AtomicUsize = AtomicUsize::new(0);

/// A port that nobody listens on. It is not given a second time.
pub fn free() -> u16 {
    free_neighbours(1)
}

/// The first of `count` neighbours that nobody listens on. They are not given a second time.
pub fn free_neighbours(count: usize) -> u16 {
    let begin = std::process::id() as usize * APART;
    for _ in PORTS.step_by(count) {
        let first = PORTS.start + (begin + GIVEN.fetch_add(count, Ordering::Relaxed)) % (PORTS.len() - count);
        if (first..first + count).all(is_free) {
            return u16::try_from(first).expect("of the range");
        }
    }
    panic!("none of the ports {PORTS:?} is free");
}

fn is_free(port: usize) -> bool {
    TcpListener::bind(("127.0.0.1", u16::try_from(port).expect("of the range"))).is_ok()
}

#[test]
fn ports_are_given_once_and_only_where_nobody_listens() {
    let ports: Vec<u16> = (0..20).map(|_| free_neighbours(3)).collect();
    let apart = |(at, one): (usize, &u16)| ports[at + 1..].iter().all(|other| one.abs_diff(*other) >= 3);
    assert!(ports.iter().enumerate().all(apart), "{ports:?}");
    let listener = TcpListener::bind(("127.0.0.1", free())).expect("it is free");
    assert!(!is_free(listener.local_addr().expect("it is bound").port().into()));
}

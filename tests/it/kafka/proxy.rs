//! Stands between the program and a broker, and makes their connections slow, or passes bytes one way only.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How often a stopped direction looks whether it may go on.
const LOOK: Duration = Duration::from_millis(10);

/// What the connections suffer now.
#[derive(Default)]
struct Weather {
    answers_lost: AtomicBool,
    requests_lost: AtomicBool,
    delay_ms: AtomicU64,
}

/// A proxy; its threads end with the test process, or when their connections do.
pub struct Proxy {
    weather: Arc<Weather>,
}

impl Proxy {
    pub fn start(listener: TcpListener, target: u16) -> Self {
        let weather = Arc::new(Weather::default());
        let shared = Arc::clone(&weather);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(broker) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let ends = || Some((client.try_clone().ok()?, broker.try_clone().ok()?));
                let (Some((client_in, broker_out)), Some((client_out, broker_in))) = (ends(), ends()) else { continue };
                let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
                thread::spawn(move || pass(client_in, broker_out, &one, |weather| &weather.requests_lost));
                thread::spawn(move || pass(broker_in, client_out, &other, |weather| &weather.answers_lost));
            }
        });
        Self { weather }
    }

    /// What the broker says does not arrive.
    pub fn lose_answers(&self, lose: bool) {
        self.weather.answers_lost.store(lose, Ordering::Relaxed);
    }

    /// What the program says does not arrive.
    pub fn lose_requests(&self, lose: bool) {
        self.weather.requests_lost.store(lose, Ordering::Relaxed);
    }

    /// Everything takes this much longer.
    pub fn delay(&self, delay: Duration) {
        self.weather.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

/// Bytes of a connection never go missing in between: what was held back breaks the connection in the end.
fn pass(mut from: TcpStream, mut to: TcpStream, weather: &Weather, lost: fn(&Weather) -> &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    let mut held_back = false;
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 {
            break;
        }
        while lost(weather).load(Ordering::Relaxed) {
            held_back = true;
            thread::sleep(LOOK);
        }
        thread::sleep(Duration::from_millis(weather.delay_ms.load(Ordering::Relaxed)));
        if held_back || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

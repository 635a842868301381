//! Bytes on a socket, and what comes back: no HTTP library stands between, which would refuse to send what is wrong.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// An answer that has not come by then does not come.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// An answer without an end, as the rows of a query are, is read for so long.
const STREAM_READ: Duration = Duration::from_secs(2);
const READ_SLICE: Duration = Duration::from_millis(500);

/// How the bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Manner {
    Plain,
    /// Nothing more will be sent: said before the answer is read.
    HalfClose,
    /// Nobody waits for the answer.
    Drop,
    /// In pieces, with pauses.
    Pieces,
    /// Only so many bytes, then the connection is closed.
    Cut(usize),
}

pub struct Shot {
    pub what: &'static str,
    pub bytes: Vec<u8>,
    pub manner: Manner,
}

impl Shot {
    pub fn new(what: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { what, bytes: bytes.into(), manner: Manner::Plain }
    }

    pub fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}

impl fmt::Debug for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.bytes[..self.bytes.len().min(1_500)];
        write!(f, "{} ({:?}, {} bytes): {}", self.what, self.manner, self.bytes.len(), String::from_utf8_lossy(shown))
    }
}

/// All that came back.
pub struct Answers(Vec<u8>);

impl Answers {
    /// The largest status of all answers.
    pub fn worst_status(&self) -> Option<u16> {
        let text = String::from_utf8_lossy(&self.0);
        let lines = text.split("HTTP/1.").skip(1).filter_map(|rest| rest.get(2..5)?.parse().ok());
        lines.max()
    }

    pub fn contains(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0).contains(text)
    }

    fn has_head(&self) -> bool {
        self.0.windows(4).any(|bytes| bytes == b"\r\n\r\n")
    }

    /// The first answer is there whole.
    fn is_whole(&self) -> bool {
        let text = String::from_utf8_lossy(&self.0).to_ascii_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        length.is_some_and(|length| self.0.len() >= head.len() + 4 + length)
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0[..self.0.len().min(2_000)]))
    }
}

pub fn fire(address: &str, shot: &Shot) -> Answers {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(READ_SLICE)).expect("a timeout");
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).expect("a timeout");
    // What the server does not read is its own affair: it may have answered already.
    let _ = send(&mut stream, shot);
    let mut answers = Answers(Vec::new());
    if matches!(shot.manner, Manner::Drop | Manner::Cut(_)) {
        return answers;
    }
    let mut buffer = [0; 16 << 10];
    let begun = Instant::now();
    while answers.0.len() < ANSWER_BYTES_MAX && !answers.is_whole() {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => answers.0.extend_from_slice(&buffer[..count]),
            Ok(0) => break,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(begun.elapsed() < ANSWER_TIMEOUT, "neither an answer nor an end: {shot:?}");
            }
            Err(_) => break,
        }
        if begun.elapsed() > STREAM_READ && answers.has_head() {
            break;
        }
    }
    answers
}

fn send(stream: &mut TcpStream, shot: &Shot) -> std::io::Result<()> {
    match shot.manner {
        Manner::Cut(count) => stream.write_all(&shot.bytes[..count.min(shot.bytes.len())]),
        Manner::Pieces => shot.bytes.chunks(shot.bytes.len() / 5 + 1).try_for_each(|piece| {
            stream.write_all(piece)?;
            std::thread::sleep(Duration::from_millis(5));
            Ok(())
        }),
        Manner::HalfClose => {
            stream.write_all(&shot.bytes)?;
            stream.shutdown(Shutdown::Write)
        }
        Manner::Plain | Manner::Drop => stream.write_all(&shot.bytes),
    }
}

/// Sends a head or a body byte by byte until the server has had enough; tells how long that took.
pub fn trickle(address: &str, number: usize) -> Duration {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let head: &[u8] = match number % 3 {
        0 => b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: ",
        1 => b"POST /api/v1/sql/validate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000\r\ncontent-type: application/sql\r\n\r\n",
        _ => b"",
    };
    let mut buffer = [0; 1024];
    if stream.write_all(head).is_err() {
        return begun.elapsed();
    }
    while begun.elapsed() < ANSWER_TIMEOUT {
        if stream.write_all(if number % 3 == 2 { b"G" } else { b"x" }).is_err() {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            // A status: the connection may still be open, but nobody works for it.
            Ok(_) => break,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    begun.elapsed()
}

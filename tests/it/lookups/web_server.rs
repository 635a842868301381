//! A small web server on the loopback interface: answers what a function says, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is answered, and after which pause.
pub struct Reply {
    pub status: u16,
    pub body: String,
    pub pause: Duration,
}

impl Reply {
    pub fn json(body: impl Into<String>) -> Self {
        Self { status: 200, body: body.into(), pause: Duration::ZERO }
    }

    pub fn status(status: u16, body: &str) -> Self {
        Self { status, body: body.into(), pause: Duration::ZERO }
    }

    pub fn after(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

#[derive(Default)]
pub struct Asked {
    /// Requests per path.
    pub paths: BTreeMap<String, usize>,
    /// The headers of the last request.
    pub headers: Vec<String>,
    /// Most requests that were answered at the same time.
    pub at_once: usize,
}

type Answer = dyn Fn(&str, usize) -> Reply + Send + Sync;

/// Ends with the process.
pub struct WebServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Asked>>,
}

struct Shared {
    answer: Box<Answer>,
    asked: Arc<Mutex<Asked>>,
    busy: AtomicUsize,
}

impl WebServer {
    /// `answer` is given a path and how often it was asked for before.
    pub fn start(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::<Mutex<Asked>>::default();
        let shared =
            Arc::new(Shared { answer: Box::new(answer), asked: Arc::clone(&asked), busy: AtomicUsize::new(0) });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests in all.
    pub fn requests(&self) -> usize {
        self.asked.lock().unwrap().paths.values().sum()
    }

    pub fn asked<T>(&self, look: impl FnOnce(&Asked) -> T) -> T {
        look(&self.asked.lock().unwrap())
    }
}

/// One connection, kept open as long as the client likes.
fn serve(stream: TcpStream, shared: &Shared) {
    stream.set_nodelay(true).expect("a socket");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut writer = stream;
    while let Some((path, headers)) = request(&mut reader) {
        let busy = shared.busy.fetch_add(1, Ordering::SeqCst) + 1;
        let before = {
            let mut asked = shared.asked.lock().unwrap();
            asked.at_once = asked.at_once.max(busy);
            asked.headers = headers;
            let count = asked.paths.entry(path.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let reply = (shared.answer)(&path, before);
        thread::sleep(reply.pause);
        shared.busy.fetch_sub(1, Ordering::SeqCst);
        let head = format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n\r\n", reply.status, reply.body.len());
        if writer.write_all((head + &reply.body).as_bytes()).is_err() {
            return;
        }
    }
}

/// Path and headers of the next request; `None` at the end of the connection.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<String>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_string();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|read| *read > 0)?;
        if header.trim().is_empty() {
            return Some((path, headers));
        }
        headers.push(header.trim().to_string());
    }
}

//! PostgreSQL's messages (protocol 3.0) on their way: a tag, a length, a body. What they mean is not known here.

use std::io::{BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tidemill_engine::lookup::LookupFailure;

use super::url::{Address, Tls};

/// The longest message that is taken, in bytes: more is no row of a reference table.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Asks for TLS instead of a session.
const TLS_REQUEST: i32 = 80_877_103;

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection as a sequence of messages.
pub struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    pub encrypted: bool,
}

/// What a server sent.
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Wire {
    /// `limit`: how long connecting, and later each answer, may take.
    pub fn open(address: &Address, limit: Duration) -> Result<Self, LookupFailure> {
        let place = format!("{}:{}", address.host, address.port);
        let passing = |error: std::io::Error| LookupFailure::Passing(format!("cannot reach {place}: {error}"));
        let found = (address.host.as_str(), address.port).to_socket_addrs().map_err(passing)?;
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        for socket_address in found {
            match TcpStream::connect_timeout(&socket_address, limit) {
                Ok(stream) => return Self::over(stream, address, limit),
                Err(error) => last = error,
            }
        }
        Err(passing(last))
    }

    fn over(mut stream: TcpStream, address: &Address, limit: Duration) -> Result<Self, LookupFailure> {
        let set = stream.set_nodelay(true);
        let set = set.and_then(|()| stream.set_read_timeout(Some(limit)));
        set.and_then(|()| stream.set_write_timeout(Some(limit))).map_err(|error| lost(&error))?;
        let Tls::Verified { authorities } = &address.tls else {
            return Ok(Self { stream: BufReader::new(Box::new(stream)), encrypted: false });
        };
        let mut request = 8i32.to_be_bytes().to_vec();
        request.extend(TLS_REQUEST.to_be_bytes());
        let mut answer = [0];
        stream.write_all(&request).and_then(|()| stream.read_exact(&mut answer)).map_err(|error| lost(&error))?;
        if answer != *b"S" {
            return Err(LookupFailure::Lasting(format!("{} takes no encrypted connections", address.host)));
        }
        let config = tls_config(authorities.as_deref())?;
        let lasting = |error: String| LookupFailure::Lasting(format!("TLS with {}: {error}", address.host));
        let name = ServerName::try_from(address.host.clone()).map_err(|error| lasting(error.to_string()))?;
        let connection = ClientConnection::new(config, name).map_err(|error| lasting(error.to_string()))?;
        let mut stream = StreamOwned::new(connection, stream);
        // The handshake happens here, so that a certificate that does not fit is told from a lost connection.
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidData => lasting(error.to_string()),
                _ => lost(&error),
            })?;
        }
        Ok(Self { stream: BufReader::new(Box::new(stream)), encrypted: true })
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), LookupFailure> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush()).map_err(|error| lost(&error))
    }

    pub fn receive(&mut self) -> Result<Message, LookupFailure> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).map_err(|error| lost(&error))?;
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let bytes = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
        let Some(bytes) = bytes.filter(|bytes| *bytes <= MESSAGE_BYTES_MAX) else {
            return Err(LookupFailure::Lasting(format!("the server sent a message of {length} bytes")));
        };
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body).map_err(|error| lost(&error))?;
        Ok(Message { tag: head[0], body })
    }
}

fn lost(error: &std::io::Error) -> LookupFailure {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    match error.kind() {
        TimedOut | WouldBlock => LookupFailure::Passing("the server did not answer in time".into()),
        _ => LookupFailure::Passing(format!("the connection was lost: {error}")),
    }
}

fn tls_config(authorities: Option<&std::path::Path>) -> Result<Arc<ClientConfig>, LookupFailure> {
    let lasting = |error: String| LookupFailure::Lasting(error);
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let unread = |error: String| lasting(format!("cannot read the authorities in {}: {error}", path.display()));
            let found = CertificateDer::pem_file_iter(path).map_err(|error| unread(error.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| unread(error.to_string()))?;
                roots.add(certificate).map_err(|error| unread(error.to_string()))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| lasting(error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A message that is being written.
pub struct Draft {
    bytes: Vec<u8>,
    length_at: usize,
}

impl Draft {
    pub fn new(tag: u8) -> Self {
        Self { bytes: vec![tag, 0, 0, 0, 0], length_at: 1 }
    }

    /// The first message of a session has no tag.
    pub fn without_tag() -> Self {
        Self { bytes: vec![0; 4], length_at: 0 }
    }

    pub fn text(mut self, text: &str) -> Self {
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        self
    }

    pub fn i16(mut self, value: i16) -> Self {
        self.bytes.extend(value.to_be_bytes());
        self
    }

    pub fn i32(mut self, value: i32) -> Self {
        self.bytes.extend(value.to_be_bytes());
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        let length = i32::try_from(self.bytes.len() - self.length_at).expect("keys of one question are few");
        self.bytes[self.length_at..self.length_at + 4].copy_from_slice(&length.to_be_bytes());
        self.bytes
    }
}

/// Reads a message's body from front to back; `None` where it is too short.
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(found)
    }

    pub fn i16(&mut self) -> Option<i16> {
        self.bytes(2).and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.bytes(4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes)
    }

    /// Up to a zero byte.
    pub fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(self.bytes(end)?).into_owned();
        self.bytes(1)?;
        Some(text)
    }
}

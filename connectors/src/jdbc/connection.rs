//! A session with a PostgreSQL server: signing in, preparing a statement, and asking it with arrays of keys.

use std::time::Duration;

use rand::Rng;
use rand::distr::Alphanumeric;
use tidemill_engine::lookup::LookupFailure;

use super::password::{Scram, md5_answer};
use super::url::Address;
use super::wire::{Cursor, Draft, Message, Wire};

/// Protocol 3.0.
const PROTOCOL: i32 = 196_608;
/// The longest answer to one question that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// OID of the type of a text.
const TEXT_TYPE: i32 = 25;
/// Characters of a nonce: about 140 bits.
const NONCE_CHARS: usize = 24;

/// Who signs in, and where.
pub struct Login {
    pub address: Address,
    pub user: String,
    /// Never shown.
    pub password: Option<String>,
    /// How long connecting, and each answer, may take.
    pub limit: Duration,
}

pub struct Connection {
    wire: Wire,
}

/// Rows as the server sent them.
pub struct RawRows {
    bytes: Vec<u8>,
    /// By row, then by column; `None` is NULL.
    cells: Vec<Option<(usize, usize)>>,
    columns: usize,
}

impl RawRows {
    /// The values of a column.
    pub fn column(&self, index: usize) -> Vec<Option<&[u8]>> {
        let cells = self.cells.iter().skip(index).step_by(self.columns);
        cells.map(|cell| cell.map(|(start, end)| &self.bytes[start..end])).collect()
    }
}

impl Connection {
    pub fn open(login: &Login) -> Result<Self, LookupFailure> {
        let mut connection = Self { wire: Wire::open(&login.address, login.limit)? };
        let mut start = Draft::without_tag().i32(PROTOCOL);
        for (name, value) in [
            ("user", login.user.as_str()),
            ("database", &login.address.database),
            ("application_name", "tidemill"),
            ("client_encoding", "UTF8"),
        ] {
            start = start.text(name).text(value);
        }
        connection.wire.send(&start.raw(&[0]).finish())?;
        connection.sign_in(login)?;
        connection.until_ready(|_| Ok(()))?;
        Ok(connection)
    }

    fn sign_in(&mut self, login: &Login) -> Result<(), LookupFailure> {
        let mut scram: Option<Scram> = None;
        loop {
            let message = self.next()?;
            if message.tag != b'R' {
                return Err(unexpected(&message));
            }
            let mut body = Cursor(&message.body);
            let method = body.i32().ok_or_else(too_short)?;
            let password =
                || login.password.as_deref().ok_or_else(|| lasting("the server asks for a password: add 'password'"));
            let answer = match method {
                0 => return Ok(()),
                3 if !self.wire.encrypted => {
                    return Err(lasting("the server asks for the password in clear text: use sslmode=verify-full"));
                }
                3 => Draft::new(b'p').text(password()?),
                5 => Draft::new(b'p').text(&md5_answer(&login.user, password()?, body.0)),
                10 => {
                    password()?;
                    let first = scram.insert(Scram::new(nonce())).first();
                    let length = i32::try_from(first.len()).map_err(|_| too_short())?;
                    Draft::new(b'p').text("SCRAM-SHA-256").i32(length).raw(first.as_bytes())
                }
                11 => {
                    let exchange = scram.as_mut().ok_or_else(|| unexpected(&message))?;
                    let challenge = String::from_utf8_lossy(body.0);
                    let proof = exchange.proof(&challenge, password()?).map_err(LookupFailure::Lasting)?;
                    Draft::new(b'p').raw(proof.as_bytes())
                }
                12 => {
                    let proved = scram.as_ref().is_some_and(|scram| scram.is_proved(&String::from_utf8_lossy(body.0)));
                    if !proved {
                        return Err(lasting("the server does not know the password itself"));
                    }
                    continue;
                }
                other => return Err(lasting(&format!("the server asks for an unknown way to sign in ({other})"))),
            };
            self.wire.send(&answer.finish())?;
        }
    }

    /// The OIDs of the types of the columns that a statement gives. `name` may be empty: then it is only looked at.
    pub fn prepare(&mut self, name: &str, sql: &str) -> Result<Vec<u32>, LookupFailure> {
        let mut bytes = Draft::new(b'P').text(name).text(sql).i16(0).finish();
        bytes.extend(Draft::new(b'D').raw(b"S").text(name).finish());
        bytes.extend(Draft::new(b'S').finish());
        self.wire.send(&bytes)?;
        let mut types = Vec::new();
        self.until_ready(|message| {
            if message.tag == b'T' {
                types = row_types(&message.body).ok_or_else(too_short)?;
            }
            Ok(())
        })?;
        Ok(types)
    }

    /// Asks a prepared statement whose parameters are arrays of texts. `formats`: 0 for text, 1 for binary, per column.
    pub fn ask(&mut self, name: &str, arrays: &[Vec<Vec<u8>>], formats: &[i16]) -> Result<RawRows, LookupFailure> {
        let count = |count: usize| i16::try_from(count).map_err(|_| lasting("there are too many columns"));
        let mut bind = Draft::new(b'B').text("").text(name).i16(1).i16(1).i16(count(arrays.len())?);
        for array in arrays {
            bind = array_of_texts(bind, array)?;
        }
        bind = bind.i16(count(formats.len())?);
        for format in formats {
            bind = bind.i16(*format);
        }
        let mut bytes = bind.finish();
        bytes.extend(Draft::new(b'E').text("").i32(0).finish());
        bytes.extend(Draft::new(b'S').finish());
        self.wire.send(&bytes)?;
        let mut rows = RawRows { bytes: Vec::new(), cells: Vec::new(), columns: formats.len() };
        self.until_ready(|message| match message.tag {
            b'D' => rows.push(&message.body),
            _ => Ok(()),
        })?;
        Ok(rows)
    }

    /// Messages up to the one that says that the server is ready; an error among them is given behind that.
    fn until_ready(
        &mut self,
        mut on_message: impl FnMut(&Message) -> Result<(), LookupFailure>,
    ) -> Result<(), LookupFailure> {
        let mut outcome = Ok(());
        loop {
            let message = self.wire.receive()?;
            match message.tag {
                b'Z' => return outcome,
                b'E' => outcome = Err(error_of(&message.body)),
                _ if outcome.is_ok() => outcome = on_message(&message),
                _ => {}
            }
        }
    }

    /// The next message that is neither a notice nor a setting.
    fn next(&mut self) -> Result<Message, LookupFailure> {
        loop {
            let message = self.wire.receive()?;
            match message.tag {
                b'N' | b'S' => {}
                b'E' => return Err(error_of(&message.body)),
                _ => return Ok(message),
            }
        }
    }
}

impl RawRows {
    fn push(&mut self, body: &[u8]) -> Result<(), LookupFailure> {
        let mut body = Cursor(body);
        let columns = body.i16().ok_or_else(too_short)?;
        if usize::try_from(columns) != Ok(self.columns) {
            return Err(LookupFailure::Passing("the server sent other columns than it said".into()));
        }
        for _ in 0..columns {
            let length = body.i32().ok_or_else(too_short)?;
            let cell = match usize::try_from(length) {
                Err(_) => None,
                Ok(length) => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(body.bytes(length).ok_or_else(too_short)?);
                    Some((start, self.bytes.len()))
                }
            };
            self.cells.push(cell);
        }
        if self.bytes.len() > ANSWER_BYTES_MAX {
            return Err(lasting("the rows of a few keys are more than memory should hold"));
        }
        Ok(())
    }
}

/// Appends a one-dimensional array of texts in binary form, with its length.
fn array_of_texts(draft: Draft, texts: &[Vec<u8>]) -> Result<Draft, LookupFailure> {
    let long = || lasting("a key is too long");
    let number = |count: usize| i32::try_from(count).map_err(|_| long());
    let bytes: usize = texts.iter().map(|text| 4 + text.len()).sum();
    let mut draft = draft.i32(number(20 + bytes)?);
    // Dimensions, no NULLs, type, length, and that it begins at 1.
    for value in [1, 0, TEXT_TYPE, number(texts.len())?, 1] {
        draft = draft.i32(value);
    }
    for text in texts {
        draft = draft.i32(number(text.len())?).raw(text);
    }
    Ok(draft)
}

/// Name, table, column, type, size, modifier and format per column.
fn row_types(body: &[u8]) -> Option<Vec<u32>> {
    let mut body = Cursor(body);
    let count = body.i16()?;
    (0..count)
        .map(|_| {
            body.text()?;
            body.bytes(6)?;
            let oid = body.i32()? as u32;
            body.bytes(8)?;
            Some(oid)
        })
        .collect()
}

fn error_of(body: &[u8]) -> LookupFailure {
    let (mut code, mut text, mut detail) = (String::new(), String::new(), String::new());
    let mut body = Cursor(body);
    while let Some([field]) = body.bytes(1) {
        let Some(value) = body.text() else { break };
        match field {
            b'C' => code = value,
            b'M' => text = value,
            b'H' => detail = format!(" ({value})"),
            _ => {}
        }
    }
    let reason = format!("{text}{detail} [SQLSTATE {code}]");
    // Connections, resources, somebody at work on the server, conflicts, the system, a plan that a change made stale.
    let passes = ["08", "53", "55", "57", "40", "58", "XX", "0A"].iter().any(|class| code.starts_with(class));
    if passes { LookupFailure::Passing(reason) } else { LookupFailure::Lasting(reason) }
}

fn nonce() -> String {
    rand::rng().sample_iter(Alphanumeric).take(NONCE_CHARS).map(char::from).collect()
}

fn unexpected(message: &Message) -> LookupFailure {
    lasting(&format!("the server does not speak PostgreSQL's protocol (message {:?})", char::from(message.tag)))
}

fn too_short() -> LookupFailure {
    lasting("the server sent a message that is too short")
}

fn lasting(reason: &str) -> LookupFailure {
    LookupFailure::Lasting(reason.to_string())
}

//! The terminal underneath: its size, its raw mode, and what is typed as keys.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::keys::{Decoder, Key};

/// Assumed where the terminal does not tell.
const SIZE_DEFAULT: (usize, usize) = (80, 24);
/// Bytes read at a time: a pasted text comes in several.
const READ_BYTES: usize = 4_096;

/// Columns and rows of the screen.
pub fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (usize::from(size.ws_col), usize::from(size.ws_row)),
        _ => SIZE_DEFAULT,
    }
}

/// Writes and flushes; a terminal that is gone has nobody to tell.
pub fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What reading the keyboard came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    Key(Key),
    Nothing,
    /// The terminal is gone.
    Gone,
}

/// Keys come one by one and unseen, until this is dropped. Ctrl-C stays a signal, and output stays as it is.
pub struct Keyboard {
    before: Termios,
    raw: Termios,
    decoder: Decoder,
    typed: VecDeque<Key>,
}

impl Keyboard {
    pub fn open() -> io::Result<Self> {
        let before = tcgetattr(io::stdin().as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        raw.local_modes |= LocalModes::ISIG;
        for unused in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP, SpecialCodeIndex::VMIN] {
            raw.special_codes[unused] = 0;
        }
        let mut keyboard = Self { before, raw, decoder: Decoder::default(), typed: VecDeque::new() };
        keyboard.waits(true)?;
        Ok(keyboard)
    }

    /// Reading waits about a tenth of a second for the first key, or not at all.
    fn waits(&mut self, waits: bool) -> io::Result<()> {
        self.raw.special_codes[SpecialCodeIndex::VTIME] = u8::from(waits);
        Ok(tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.raw)?)
    }

    /// The next key; `wait`: for a moment, if none is there.
    pub fn key(&mut self, wait: bool) -> Typed {
        if let Some(key) = self.typed.pop_front() {
            return Typed::Key(key);
        }
        if (self.raw.special_codes[SpecialCodeIndex::VTIME] > 0) != wait && self.waits(wait).is_err() {
            return Typed::Gone;
        }
        let mut bytes = [0; READ_BYTES];
        let keys = match rustix::io::read(io::stdin().as_fd(), &mut bytes) {
            Ok(0) => self.decoder.quiet(wait),
            Ok(length) => self.decoder.feed(&bytes[..length]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Vec::new(),
            Err(_) => return Typed::Gone,
        };
        self.typed.extend(keys);
        self.typed.pop_front().map_or(Typed::Nothing, Typed::Key)
    }

    /// Ctrl-C: the beginning of a sequence that was typed before it will have no end.
    pub fn forget_beginning(&mut self) {
        self.decoder = Decoder::default();
    }

    /// A key that is for whoever asks next.
    pub fn put_back(&mut self, typed: Typed) {
        if let Typed::Key(key) = typed {
            self.typed.push_front(key);
        }
    }

    /// More was typed than was asked for yet.
    pub fn has_more(&self) -> bool {
        !self.typed.is_empty()
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}

//! Compressed byte streams: gzip and zstd readers that open at an uncompressed offset, and writers that can end a
//! member, so that a file is whole at every checkpoint. Knows nothing of records.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tidemill_engine::{EngineError, Result};

/// Compressed bytes are read from the file in pieces of this size.
const READ_BUFFER_BYTES: usize = 256 * 1024;
/// Uncompressed bytes that are thrown away at once while a compressed stream is wound forward.
const SKIP_BUFFER_BYTES: usize = 64 * 1024;
/// zstd's own default: about the ratio of gzip at several times its speed.
const ZSTD_LEVEL: i32 = 3;

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// The names that [`Compression::parse`] takes, for documentation and hints.
    pub const NAMES: &[&str] = &["none", "gzip", "zstd"];

    /// By the option's value: `none`, `gzip` (or `gz`), `zstd` (or `zst`); upper or lower case.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "none" | "uncompressed" => Some(Self::None),
            "gzip" | "gz" => Some(Self::Gzip),
            "zstd" | "zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// By the file's name: `.gz`, `.gzip`, `.zst`, `.zstd`; anything else is not compressed.
    pub fn of_path(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::None,
        }
    }

    /// What a written file's name ends in, after the format's own extension: `""`, `".gz"`, `".zst"`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// Opens a file for reading behind its first `offset` uncompressed bytes. A plain file is sought; a compressed one
    /// has to be unpacked from its start, which costs as much as reading it.
    pub fn open(self, path: &Path, offset: u64) -> Result<Box<dyn Read + Send>> {
        let mut file = File::open(path).map_err(|error| EngineError::io("open", path, error))?;
        if self == Self::None {
            file.seek(SeekFrom::Start(offset)).map_err(|error| EngineError::io("seek in", path, error))?;
            return Ok(Box::new(file));
        }
        let mut unpacked = self.unpack(file).map_err(|error| EngineError::io("read", path, error))?;
        skip(&mut unpacked, offset).map_err(|error| read_error(path, 0, error))?;
        Ok(unpacked)
    }

    fn unpack(self, file: File) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_BUFFER_BYTES, file))),
            Self::Zstd => {
                Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(READ_BUFFER_BYTES, file))?)
            }
        })
    }
}

/// Damaged compressed data fails again on every attempt, so it is a bad record rather than a transient failure.
/// `offset` counts uncompressed bytes.
pub fn read_error(path: &Path, offset: u64, error: io::Error) -> EngineError {
    use io::ErrorKind;
    let damaged = matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof);
    // The zstd binding reports damage as `Other`.
    let damaged = damaged || (error.kind() == ErrorKind::Other && error.raw_os_error().is_none());
    if !damaged {
        return EngineError::io("read", path, error);
    }
    EngineError::BadRecord {
        place: path.display().to_string(),
        offset,
        reason: format!("the compressed data is damaged or cut short: {error}"),
        excerpt: String::new(),
        hint: "test the file with `gzip -t` or `zstd -t`; replace it or take it out of the table's path".into(),
    }
}

fn skip(reader: &mut dyn Read, count: u64) -> io::Result<()> {
    let mut scratch = vec![0; SKIP_BUFFER_BYTES];
    let mut left = count;
    while left > 0 {
        let wanted = scratch.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match reader.read(&mut scratch[..wanted]) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than the position")),
            Ok(read) => left -= read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes compressed bytes. A gzip or zstd file may consist of several members, one behind the other: ending one at a
/// barrier makes the file valid up to there, and the next write begins another.
pub struct CompressedWriter<W: Write> {
    compression: Compression,
    /// `None` only while a member is being opened or closed, or after a failure of the file below.
    state: Option<Member<W>>,
}

enum Member<W: Write> {
    Closed(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> CompressedWriter<W> {
    pub fn new(compression: Compression, inner: W) -> Self {
        Self { compression, state: Some(Member::Closed(inner)) }
    }

    /// Ends the current member, if any: everything written so far has reached the inner writer and can be unpacked.
    pub fn end_member(&mut self) -> io::Result<()> {
        let inner = match self.state.take().ok_or_else(lost)? {
            Member::Closed(inner) => inner,
            Member::Gzip(encoder) => encoder.finish()?,
            Member::Zstd(encoder) => encoder.finish()?,
        };
        self.state = Some(Member::Closed(inner));
        Ok(())
    }

    /// Ends the current member and gives the inner writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_member()?;
        match self.state.take() {
            Some(Member::Closed(inner)) => Ok(inner),
            _ => Err(lost()),
        }
    }

    /// `None` after an earlier write failed.
    pub fn inner(&self) -> Option<&W> {
        self.state.as_ref().map(|state| match state {
            Member::Closed(inner) => inner,
            Member::Gzip(encoder) => encoder.get_ref(),
            Member::Zstd(encoder) => encoder.get_ref(),
        })
    }

    fn begin_member(&mut self) -> io::Result<()> {
        let begun = match (self.state.take().ok_or_else(lost)?, self.compression) {
            (Member::Closed(inner), Compression::Gzip) => {
                Member::Gzip(GzEncoder::new(inner, flate2::Compression::default()))
            }
            (Member::Closed(inner), Compression::Zstd) => {
                Member::Zstd(zstd::stream::write::Encoder::new(inner, ZSTD_LEVEL)?)
            }
            (other, _) => other,
        };
        self.state = Some(begun);
        Ok(())
    }
}

impl<W: Write> Write for CompressedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin_member()?;
        match self.state.as_mut().ok_or_else(lost)? {
            Member::Closed(inner) => inner.write(bytes),
            Member::Gzip(encoder) => encoder.write(bytes),
            Member::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.state.as_mut().ok_or_else(lost)? {
            Member::Closed(inner) => inner.flush(),
            Member::Gzip(encoder) => encoder.flush(),
            Member::Zstd(encoder) => encoder.flush(),
        }
    }
}

fn lost() -> io::Error {
    io::Error::other("the compressed stream was lost by an earlier failure")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(compression: Compression, pieces: &[&[u8]]) -> Vec<u8> {
        let mut writer = CompressedWriter::new(compression, Vec::new());
        for piece in pieces {
            writer.write_all(piece).expect("a Vec takes any bytes");
            writer.end_member().expect("a Vec takes any bytes");
        }
        writer.finish().expect("a Vec takes any bytes")
    }

    #[test]
    fn members_read_back_as_one_stream_from_any_offset() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let path = folder.path().join(format!("x.json{}", compression.suffix()));
            std::fs::write(&path, written(compression, &[b"first\n", b"", b"second\n"])).expect("write");
            assert_eq!(Compression::of_path(&path), compression);
            for offset in 0..=13 {
                let mut text = String::new();
                let mut reader = compression.open(&path, offset).expect("open");
                reader.read_to_string(&mut text).expect("read");
                assert_eq!(text, "first\nsecond\n"[offset as usize..], "{compression:?} from {offset}");
            }
        }
    }

    #[test]
    fn every_cut_of_a_compressed_file_is_reported_or_gives_a_prefix() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for compression in [Compression::Gzip, Compression::Zstd] {
            let whole = written(compression, &[b"some text that is longer than nothing\n"]);
            for cut in 1..whole.len() {
                let path = folder.path().join("cut");
                std::fs::write(&path, &whole[..cut]).expect("write");
                let mut text = Vec::new();
                let error = compression.open(&path, 0).expect("open").read_to_end(&mut text).expect_err("cut short");
                let error = read_error(&path, 0, error);
                assert!(!error.is_transient(), "{compression:?} cut at {cut}: {error}");
            }
        }
    }
}

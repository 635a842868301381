//! The log of posted rows on disk: segments of entries, one behind the other, in a folder of their own.
//!
//! A segment's name says where it begins. Only the last one is written, and only at its end, so a crash can leave half an entry there and
//! nowhere else; it was acknowledged to nobody and is cut off.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tidemill_engine::{EngineError, Result};

use super::entry::{Entry, Mark};
use super::keys::Keys;
use crate::filesystem::durable::{create_file, create_folders, remove, replace_file, sync_folder};

const SUFFIX: &str = ".rows";
/// The log's own name: a position of another log means nothing here.
const ID_FILE: &str = "id";
/// How much of an entry is read to learn its length.
const LENGTH_BYTES: usize = 8;

/// A file of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub first: Mark,
    pub path: PathBuf,
}

impl Segment {
    fn new(folder: &Path, first: Mark) -> Self {
        Self { first, path: folder.join(format!("{:020}-{:020}{SUFFIX}", first.row, first.byte)) }
    }

    fn of(path: PathBuf) -> Option<Self> {
        let (row, byte) = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.split_once('-')?;
        let first = Mark { row: row.parse().ok()?, byte: byte.parse().ok()? };
        Some(Self { first, path })
    }
}

/// What a folder held.
pub struct Opened {
    pub id: String,
    /// At least one; the last is the one that is written.
    pub segments: Vec<Segment>,
    pub keys: Keys,
    pub end: Mark,
    pub writer: Writer,
}

/// Opens the log of a folder, or begins one. What a crash has cut off at its end is taken away.
pub fn open(folder: &Path) -> Result<Opened> {
    create_folders(folder)?;
    let id = id_of(folder)?;
    let mut segments = segments_in(folder)?;
    let (mut keys, kept) = Keys::load(folder)?;
    if segments.is_empty() {
        segments.push(create_segment(folder, kept)?);
    }
    // Entries in front of the mark have their keys in the file; the last segment is always read, since it may end torn.
    let last = segments.len() - 1;
    let begin = segments.iter().rposition(|segment| segment.first <= kept).unwrap_or(0).min(last);
    let (mut end, mut length) = (segments[begin].first, 0);
    for (index, segment) in segments.iter().enumerate().skip(begin) {
        if segment.first != end {
            return Err(damaged(segment, format!("it should begin at row {}", end.row)));
        }
        let scanned = scan(segment, |entry| keys.remember(&entry))?;
        if index < last && scanned.length < scanned.file_length {
            return Err(damaged(segment, format!("there is no sound entry at byte {}", scanned.length)));
        }
        (end, length) = (scanned.end, scanned.length);
    }
    let writer = Writer::open(&segments[last], length)?;
    Ok(Opened { id, segments, keys, end, writer })
}

fn id_of(folder: &Path) -> Result<String> {
    let path = folder.join(ID_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = uuid::Uuid::new_v4().to_string();
            replace_file(&path, id.as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(EngineError::io("read", path, error)),
    }
}

fn segments_in(folder: &Path) -> Result<Vec<Segment>> {
    let entries = fs::read_dir(folder).map_err(|error| EngineError::io("read folder", folder, error))?;
    let mut segments: Vec<Segment> = entries.flatten().filter_map(|entry| Segment::of(entry.path())).collect();
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

pub fn create_segment(folder: &Path, first: Mark) -> Result<Segment> {
    let segment = Segment::new(folder, first);
    // One that a crash left empty, or that could not be written, begins anew.
    remove(&segment.path)?;
    create_file(&segment.path)?;
    sync_folder(folder)?;
    Ok(segment)
}

struct Scanned {
    end: Mark,
    /// Of the sound entries.
    length: u64,
    file_length: u64,
}

/// Reads the entries of a segment up to its end, or to what is no sound entry.
fn scan(segment: &Segment, mut each: impl FnMut(Entry)) -> Result<Scanned> {
    let failed = |error| EngineError::io("read", &segment.path, error);
    let file = File::open(&segment.path).map_err(failed)?;
    let file_length = file.metadata().map_err(failed)?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut end, mut length, mut bytes) = (segment.first, 0, Vec::new());
    loop {
        bytes.clear();
        reader.by_ref().take(LENGTH_BYTES as u64).read_to_end(&mut bytes).map_err(failed)?;
        let Some(whole) = Entry::length(&bytes) else { break };
        if length + whole as u64 > file_length {
            break;
        }
        reader.by_ref().take((whole - LENGTH_BYTES) as u64).read_to_end(&mut bytes).map_err(failed)?;
        let Some((entry, _)) = Entry::read(&bytes).filter(|(entry, _)| entry.first == end) else { break };
        (end, length) = (entry.end(), length + whole as u64);
        each(entry);
    }
    Ok(Scanned { end, length, file_length })
}

fn damaged(segment: &Segment, reason: String) -> EngineError {
    EngineError::Connector {
        connector: "http".to_string(),
        reason: format!(
            "{} is damaged: {reason}\n  hint: restore the file from a backup, or delete the job to give its rows up",
            segment.path.display()
        ),
    }
}

/// Appends to the last segment.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    /// Of what is durable.
    pub length: u64,
}

impl Writer {
    /// `length`: of the sound entries; what is behind them goes.
    pub fn open(segment: &Segment, length: u64) -> Result<Self> {
        let failed = |error| EngineError::io("open", &segment.path, error);
        let mut file = OpenOptions::new().write(true).open(&segment.path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > length {
            tracing::warn!(path = %segment.path.display(), length, "cut off what a crash had left behind the last row");
            file.set_len(length).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(Self { file, path: segment.path.clone(), length })
    }

    /// All of `bytes` is durable when this returns `Ok`, and taken back as well as can be when not.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.take_back()?;
                Err(EngineError::io("write", &self.path, error))
            }
        }
    }

    fn take_back(&mut self) -> Result<()> {
        let back = self.file.set_len(self.length).and_then(|()| self.file.sync_all());
        let back = back.and_then(|()| self.file.seek(SeekFrom::Start(self.length)).map(drop));
        back.map_err(|error| EngineError::io("cut back", &self.path, error))
    }
}

/// Reads the entries of a segment, of which only durable ones are asked for.
#[derive(Debug)]
pub struct SegmentReader {
    file: File,
    segment: Segment,
    /// Of the next entry in the file.
    at: u64,
    pub next: Mark,
}

impl SegmentReader {
    pub fn open(segment: &Segment) -> Result<Self> {
        let file = File::open(&segment.path).map_err(|error| EngineError::io("open", &segment.path, error))?;
        Ok(Self { file, segment: segment.clone(), at: 0, next: segment.first })
    }

    /// The entry at `next`; `None` at the end of the file.
    pub fn read(&mut self) -> Result<Option<Entry>> {
        let failed = |error| EngineError::io("read", &self.segment.path, error);
        let mut bytes = vec![0; LENGTH_BYTES];
        match self.file.read_exact_at(&mut bytes, self.at) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other.map_err(failed)?,
        }
        let unsound = || damaged(&self.segment, format!("there is no sound entry at byte {}", self.at));
        let length = Entry::length(&bytes).ok_or_else(unsound)?;
        bytes.resize(length, 0);
        self.file.read_exact_at(&mut bytes[LENGTH_BYTES..], self.at + LENGTH_BYTES as u64).map_err(failed)?;
        let (entry, _) = Entry::read(&bytes).filter(|(entry, _)| entry.first == self.next).ok_or_else(unsound)?;
        self.at += length as u64;
        self.next = entry.end();
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: Mark, text: &str) -> Entry {
        let (key, rows) = (Some(text.to_string()), text.lines().count() as u32);
        Entry { first, received_ms: 0, rows, key, body_hash: 0, text: text.as_bytes().to_vec() }
    }

    #[test]
    fn whatever_a_crash_leaves_of_the_last_entry_is_cut_off_and_the_log_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let one = entry(Mark::default(), "a\nb\n");
        one.write(&mut first);
        entry(one.end(), "c\n").write(&mut second);
        for cut in 0..=second.len() {
            let folder = folder.path().join(cut.to_string());
            let mut log = open(&folder).unwrap();
            log.writer.append(&first).unwrap();
            fs::OpenOptions::new().append(true).open(&log.segments[0].path).unwrap().write_all(&second[..cut]).unwrap();
            let id = log.id.clone();
            drop(log);
            let mut log = open(&folder).unwrap();
            let rows = if cut == second.len() { 3 } else { 2 };
            assert_eq!((log.end.row, &log.id), (rows, &id), "cut at {cut}");
            assert!(log.keys.get("a\nb\n").is_some() && log.keys.get("c\n").is_some() == (rows == 3));
            let mut more = Vec::new();
            entry(log.end, "d\n").write(&mut more);
            log.writer.append(&more).unwrap();
            let mut reader = SegmentReader::open(&log.segments[0]).unwrap();
            let mut texts = Vec::new();
            while let Some(entry) = reader.read().unwrap() {
                texts.extend(entry.text);
            }
            let expected = if rows == 3 { "a\nb\nc\nd\n" } else { "a\nb\nd\n" };
            assert_eq!(String::from_utf8(texts).unwrap(), expected);
        }
    }

    #[test]
    fn damage_in_front_of_the_end_is_told_and_not_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path()).unwrap();
        let mut bytes = Vec::new();
        let one = entry(Mark::default(), "a\n");
        one.write(&mut bytes);
        log.writer.append(&bytes).unwrap();
        create_segment(folder.path(), one.end()).unwrap();
        bytes[20] ^= 1;
        fs::write(&log.segments[0].path, &bytes).unwrap();
        let refused = open(folder.path()).err().expect("refused").to_string();
        assert!(refused.contains("is damaged: there is no sound entry at byte 0"), "{refused}");
    }
}

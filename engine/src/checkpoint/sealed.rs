//! Small text files that notice any change: one header line (`MAGIC FORMAT HASH LENGTH`) and a body.
//!
//! HASH is the xxh3-128 of the body in lower-case hex, LENGTH its bytes in decimal. A header has exactly one
//! spelling, so any changed byte of the file, also within the header, is noticed.

use super::files;
use super::manifest::ContentHash;

/// No header is longer: magic, a version, 32 hex digits, a length, spaces.
const HEADER_BYTES_MAX: usize = 128;

/// The bytes of a file with this body.
pub(super) fn seal(magic: &str, format: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(magic, format, files::hash_bytes(body), body.len()).into_bytes();
    debug_assert!(bytes.len() <= HEADER_BYTES_MAX);
    bytes.extend_from_slice(body);
    debug_assert_eq!(unseal(magic, format, &bytes), Ok(body), "what is sealed can be unsealed");
    bytes
}

/// The body that was sealed; else the reason why these bytes cannot be trusted.
pub(super) fn unseal<'a>(magic: &str, format: u32, bytes: &'a [u8]) -> Result<&'a [u8], String> {
    let line_end = bytes.iter().take(HEADER_BYTES_MAX).position(|byte| *byte == b'\n');
    let (head, body) = bytes.split_at(line_end.ok_or("it does not begin with a header line")? + 1);
    let line = std::str::from_utf8(head).map_err(|_| "its header is not text")?;
    let mut words = line.trim_end_matches('\n').split(' ');
    if words.next() != Some(magic) {
        return Err(format!("it does not begin with {magic:?}"));
    }
    let found: u32 = words.next().and_then(|word| word.parse().ok()).ok_or("its header names no format")?;
    if found != format {
        return Err(format!(
            "another version of Tidemill wrote it (format {found}, this one reads {format}): go on with that one"
        ));
    }
    if head == header(magic, format, files::hash_bytes(body), body.len()).as_bytes() {
        return Ok(body);
    }
    Err(format!("its checksum or length is wrong ({} bytes follow the header)", body.len()))
}

fn header(magic: &str, format: u32, hash: ContentHash, length: usize) -> String {
    format!("{magic} {format} {hash} {length}\n")
}

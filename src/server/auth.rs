//! Who asks, and what they may: bearer tokens with roles.
//!
//! Only the SHA-256 of a token is kept. A token is 256 random bits, so a plain hash cannot be guessed back, which slow
//! password hashes are for. Hashes are compared in constant time, all of them, whoever asks.

use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidemill_engine::suggestion::closest;

/// Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Sees jobs, plans and metrics.
    Read,
    /// Makes, starts, stops, changes and deletes jobs.
    Operate,
    /// Also reads the audit log.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            let close = closest(text, Self::ALL.map(Self::name)).map(|close| format!(" (did you mean '{close}'?)"));
            format!("there is no role '{text}'{}", close.unwrap_or_default())
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub role: Role,
}

/// Begins every token, so that one that leaked is recognised.
const TOKEN_PREFIX: &str = "tm_";
const TOKEN_BYTES: usize = 32;
const HASH_PREFIX: &str = "sha256:";

/// A token's name, role and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    caller: Caller,
    hash: [u8; 32],
}

/// All tokens of a server.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<Known>);

impl Tokens {
    /// A token on each line: `NAME ROLE sha256:HASH`; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<Known> = Vec::new();
        for (index, line) in text.split(['\n', ';']).enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let known = parse_line(line).map_err(|error| format!("line {}: {error}", index + 1))?;
            if tokens.iter().any(|other| other.caller.name == known.caller.name) {
                return Err(format!("line {}: the name '{}' is taken", index + 1, known.caller.name));
            }
            tokens.push(known);
        }
        Ok(Self(tokens))
    }

    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who the token belongs to.
    pub fn find(&self, token: &str) -> Option<Caller> {
        let hash = hash_of(token);
        let mut found = None;
        for known in &self.0 {
            if bool::from(known.hash.ct_eq(&hash)) {
                found = Some(known.caller.clone());
            }
        }
        found
    }
}

fn parse_line(line: &str) -> Result<Known, String> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let [name, role, hash] = parts.as_slice() else {
        return Err("write NAME ROLE sha256:HASH (`tidemill token new` makes such a line)".to_string());
    };
    let hash = hash.strip_prefix(HASH_PREFIX).and_then(from_hex).ok_or("the hash is not sha256: and 64 hex digits")?;
    Ok(Known { caller: Caller { name: name.to_string(), role: Role::parse(role)? }, hash })
}

fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A new token, and the line that lets a server know it.
pub fn new_token(name: &str, role: Role) -> Result<(String, String), String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte)) {
        return Err(format!("'{name}' is no name of a token: letters, digits and -_.@ only"));
    }
    let random: [u8; TOKEN_BYTES] = rand::random();
    let token = format!("{TOKEN_PREFIX}{}", hex(&random));
    let line = format!("{name} {} {HASH_PREFIX}{}", role.name(), hex(&hash_of(&token)));
    Ok((token, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_known_by_its_line_alone() {
        let (token, line) = new_token("ci", Role::Operate).unwrap();
        let (other, other_line) = new_token("root", Role::Admin).unwrap();
        assert!(!line.contains(&token[3..]), "the line does not hold the token");
        let tokens = Tokens::parse(&format!("# tokens\n{line} # the robot\n\n{other_line}")).unwrap();
        assert_eq!(tokens.find(&token), Some(Caller { name: "ci".into(), role: Role::Operate }));
        assert_eq!(tokens.find(&other).map(|caller| caller.role), Some(Role::Admin));
        for wrong in ["", "tm_", &token[..token.len() - 1], &format!("{token}0"), &token.to_uppercase()] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
        assert!(Role::Read < Role::Operate && Role::Operate < Role::Admin);
    }

    #[test]
    fn lines_that_are_none_are_refused_with_their_number() {
        let (_, line) = new_token("a", Role::Read).unwrap();
        for (text, expected) in [
            (format!("{line}\n{line}"), "line 2: the name 'a' is taken"),
            (line.replace("read", "opearte"), "line 1: there is no role 'opearte' (did you mean 'operate'?)"),
            (line.replace("sha256:", "sha256:x"), "64 hex digits"),
            ("a read".to_string(), "write NAME ROLE"),
        ] {
            let error = Tokens::parse(&text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(new_token("a b", Role::Read).is_err());
    }
}

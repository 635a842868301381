//! How a password is proved to a PostgreSQL server: MD5 (old) and SCRAM-SHA-256 (RFC 5802, 7677). Pure.
//!
//! Passwords are taken as their bytes; those outside of ASCII must be in the normal form in which the server has them.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use ring::{digest, hmac, pbkdf2};

/// Rounds of hashing that a server may ask for: PostgreSQL asks for 4,096, and a million take a second.
const ROUNDS_MAX: u32 = 1_000_000;

/// What an MD5 challenge is answered with.
pub fn md5_answer(user: &str, password: &str, salt: &[u8]) -> String {
    let inner = hex(&Md5::digest([password.as_bytes(), user.as_bytes()].concat()));
    format!("md5{}", hex(&Md5::digest([inner.as_bytes(), salt].concat())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The client's side of a SCRAM exchange.
pub struct Scram {
    nonce: String,
    /// What the server must sign at the end, and the key that only it and the client know.
    to_prove: Option<(hmac::Key, Vec<u8>)>,
}

impl Scram {
    /// `nonce`: printable characters that were never used before.
    pub fn new(nonce: String) -> Self {
        Self { nonce, to_prove: None }
    }

    fn first_bare(&self) -> String {
        // The server knows the user already.
        format!("n=,r={}", self.nonce)
    }

    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    /// The proof, once the server has sent its challenge. Errors say what is wrong with that.
    pub fn proof(&mut self, challenge: &str, password: &str) -> Result<String, String> {
        let field = |name: char| {
            let found = challenge.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| format!("the server's challenge has no '{name}'"))
        };
        let nonce = field('r')?;
        let salt = STANDARD.decode(field('s')?).map_err(|_| "the server's salt is not base64".to_string())?;
        let rounds = field('i')?.parse().ok().and_then(NonZeroU32::new).filter(|rounds| rounds.get() <= ROUNDS_MAX);
        let rounds = rounds.ok_or("the server asks for an odd number of rounds")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's challenge answers to somebody else".into());
        }
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let without_proof = format!("c=biws,r={nonce}");
        let exchange = format!("{},{challenge},{without_proof}", self.first_bare());
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = sign(stored_key.as_ref(), exchange.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = sign(&salted, b"Server Key");
        self.to_prove = Some((hmac::Key::new(hmac::HMAC_SHA256, server_key.as_ref()), exchange.into_bytes()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// True where the server has shown that it knows the password, too.
    pub fn is_proved(&self, last: &str) -> bool {
        let Some((key, exchange)) = &self.to_prove else { return false };
        let given = last.split(',').find_map(|part| STANDARD.decode(part.strip_prefix("v=")?).ok());
        given.is_some_and(|given| hmac::verify(key, exchange, &given).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange in RFC 7677, but for the user's name, which PostgreSQL leaves out.
    #[test]
    fn the_exchange_proves_both_sides() {
        let mut scram = Scram::new("rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(scram.first(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = scram.proof(challenge, "pencil").unwrap();
        assert!(proof.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="));
        assert!(!scram.is_proved("v=AAAA") && !scram.is_proved("e=other-error"));
        let (key, exchange) = scram.to_prove.as_ref().unwrap();
        let signature = STANDARD.encode(hmac::sign(key, exchange).as_ref());
        assert!(scram.is_proved(&format!("v={signature}")));
    }

    #[test]
    fn odd_challenges_are_refused() {
        for challenge in ["", "r=abcX,s=AAAA", "r=abcX,s=AAAA,i=0", "r=abcX,s=AAAA,i=99999999", "r=abX,s=AAAA,i=1"] {
            assert!(Scram::new("abc".into()).proof(challenge, "x").is_err(), "{challenge}");
        }
    }

    #[test]
    fn md5_answers_as_the_server_expects() {
        assert_eq!(
            md5_answer("md5_user", "password", &[0x2a, 0x3d, 0x8f, 0xe0]),
            "md562af4dd09bbb41884907a838a3233294"
        );
    }
}

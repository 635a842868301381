//! Digests, as hexadecimal text.

use arrow::array::ArrayRef;
use datafusion_common::Result;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::call::{Call, failure};
use super::definition::{Arg::*, Category, FunctionDef, Returns};

const HASH: Category = Category::Hash;

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new("md5", HASH, &[TextOrBytes], Returns::Text, hex::<md5::Md5>)
        .doc("MD5(text or bytes)", "32 hexadecimal digits."),
    FunctionDef::new("sha1", HASH, &[TextOrBytes], Returns::Text, hex::<Sha1>)
        .doc("SHA1(text or bytes)", "40 hexadecimal digits."),
    FunctionDef::new("sha224", HASH, &[TextOrBytes], Returns::Text, hex::<Sha224>)
        .doc("SHA224(text or bytes)", "56 hexadecimal digits."),
    FunctionDef::new("sha256", HASH, &[TextOrBytes], Returns::Text, hex::<Sha256>)
        .doc("SHA256(text or bytes)", "64 hexadecimal digits."),
    FunctionDef::new("sha384", HASH, &[TextOrBytes], Returns::Text, hex::<Sha384>)
        .doc("SHA384(text or bytes)", "96 hexadecimal digits."),
    FunctionDef::new("sha512", HASH, &[TextOrBytes], Returns::Text, hex::<Sha512>)
        .doc("SHA512(text or bytes)", "128 hexadecimal digits."),
    FunctionDef::new("sha2", HASH, &[TextOrBytes, Integer], Returns::Text, sha2_of_length)
        .doc("SHA2(text or bytes, length)", "SHA-224, SHA-256, SHA-384 or SHA-512 by its length in bits."),
];

fn digits<D: Digest>(bytes: &[u8]) -> String {
    D::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex<D: Digest>(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| Ok(Some(digits::<D>(call.bytes(0, row)))))
}

fn sha2_of_length(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| {
        let bytes = call.bytes(0, row);
        match call.integer(1, row) {
            224 => Ok(Some(digits::<Sha224>(bytes))),
            256 | 0 => Ok(Some(digits::<Sha256>(bytes))),
            384 => Ok(Some(digits::<Sha384>(bytes))),
            512 => Ok(Some(digits::<Sha512>(bytes))),
            other => Err(failure(format!("SHA2 has lengths 224, 256, 384 and 512, not {other}"))),
        }
    })
}

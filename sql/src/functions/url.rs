//! Functions of web addresses.

use arrow::array::ArrayRef;
use datafusion_common::Result;

use super::call::Call;
use super::definition::{Arg::*, Category, FunctionDef, Returns};

const TEXT: Category = Category::Text;

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new("parse_url", TEXT, &[Text, Text, Text], Returns::Text, parse_url).optional_after(2).doc(
        "PARSE_URL(url, part [, key])",
        "HOST, PATH, QUERY, REF, PROTOCOL, AUTHORITY, FILE or USERINFO of an address; one parameter of QUERY with a key.",
    ),
    FunctionDef::new("url_encode", TEXT, &[Text], Returns::Text, |call| call.to_text(|row| Ok(Some(encode(call.text(0, row))))))
        .doc("URL_ENCODE(text)", "As in a web form: a blank is +, other special characters %XX."),
    FunctionDef::new("url_decode", TEXT, &[Text], Returns::Text, |call| call.to_text(|row| Ok(decode(call.text(0, row)))))
        .doc("URL_DECODE(text)", "What URL_ENCODE was given; NULL when the text is not encoded so."),
];

/// The parts of `scheme://user@host:port/path?query#ref`.
struct Address<'a> {
    protocol: &'a str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

fn address(url: &str) -> Option<Address<'_>> {
    let (protocol, rest) = url.split_once("://")?;
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, part)| (rest, Some(part)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, part)| (rest, Some(part)));
    let path_start = rest.find('/').unwrap_or(rest.len());
    Some(Address { protocol, authority: &rest[..path_start], path: &rest[path_start..], query, fragment })
}

impl Address<'_> {
    fn part(&self, name: &str, key: Option<&str>) -> Option<String> {
        let user_end = self.authority.rfind('@');
        let host = &self.authority[user_end.map_or(0, |at| at + 1)..];
        match name {
            "HOST" => Some(host.rsplit_once(':').map_or(host, |(host, _)| host).to_string()),
            "PATH" => Some(self.path.to_string()),
            "QUERY" => match key {
                None => self.query.map(str::to_string),
                Some(key) => self
                    .query?
                    .split('&')
                    .filter_map(|pair| pair.split_once('='))
                    .find(|p| p.0 == key)
                    .map(|p| p.1.to_string()),
            },
            "REF" => self.fragment.map(str::to_string),
            "PROTOCOL" => Some(self.protocol.to_string()),
            "AUTHORITY" => Some(self.authority.to_string()),
            "FILE" => Some(self.query.map_or(self.path.to_string(), |query| format!("{}?{query}", self.path))),
            "USERINFO" => user_end.map(|at| self.authority[..at].to_string()),
            _ => None,
        }
    }
}

fn parse_url(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| {
        let key = call.text_or_none(2, row);
        Ok(address(call.text(0, row)).and_then(|address| address.part(call.text(1, row), key)))
    })
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &tail[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

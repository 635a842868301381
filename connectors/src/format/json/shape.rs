//! Passes over what no column reads by comparing it with what stood there before: mostly only texts and numbers differ, and
//! what stands between those need not be read again to know that it is JSON.

use super::cursor::Cursor;

/// Text that is expected next. Most of them are short, and one comparison of two words is far cheaper than a call.
#[derive(Debug)]
pub(super) struct Literal {
    text: Box<[u8]>,
    /// Its first bytes, and which of these sixteen it has.
    head: u128,
    head_mask: u128,
}

/// Bytes of a literal that are compared at once.
const HEAD_BYTES: usize = size_of::<u128>();

impl Literal {
    pub(super) fn new(text: &[u8]) -> Self {
        let (mut head, mut head_mask) = ([0; HEAD_BYTES], [0; HEAD_BYTES]);
        for (place, byte) in text.iter().take(HEAD_BYTES).enumerate() {
            (head[place], head_mask[place]) = (*byte, 0xFF);
        }
        Self { text: text.into(), head: u128::from_le_bytes(head), head_mask: u128::from_le_bytes(head_mask) }
    }

    /// Takes the text if it comes next.
    #[inline(always)]
    pub(super) fn eat(&self, cursor: &mut Cursor<'_>) -> bool {
        let Some(found) = cursor.bytes[cursor.at..].first_chunk() else {
            // Nothing has no address, which a comparison would look at for long.
            return self.text.is_empty() || cursor.eat_all(&self.text);
        };
        let same = (u128::from_le_bytes(*found) ^ self.head) & self.head_mask == 0;
        if !same || self.text.len() > HEAD_BYTES {
            return same && cursor.eat_all(&self.text);
        }
        cursor.at += self.text.len();
        true
    }
}

/// What a value looked like, and all that stood behind it up to the next that is read.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// In their order; empty: nothing is known.
    parts: Vec<Part>,
    /// How far the shape is trusted; at zero it is learnt anew.
    trust: u8,
    /// How often it was learnt.
    learnt: u8,
}

#[derive(Debug)]
struct Part {
    literal: Literal,
    then: Then,
}

/// What stands behind a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// A text up to its closing quote.
    Text,
    Number,
    /// Whatever follows.
    End,
}

/// Trust in a shape that was just learnt; each text of the shape adds one, each other takes [`DOUBT`].
const TRUST_NEW: u8 = 4;
const TRUST_MAX: u8 = 64;
const DOUBT: u8 = 2;
/// Texts that come in more shapes than this are read each time.
const LEARN_MAX: u8 = 16;
/// Parts of the longest text that is learnt.
const PARTS_MAX: usize = 256;

impl Shape {
    /// Takes text of this shape if it comes next.
    #[inline]
    pub(super) fn eat(&mut self, cursor: &mut Cursor<'_>) -> bool {
        let start = cursor.at;
        for part in &self.parts {
            let found = part.literal.eat(cursor)
                && match part.then {
                    Then::Text => cursor.rest_of_string().is_ok(),
                    Then::Number => matches!(cursor.peek(), b'-' | b'0'..=b'9') && cursor.skip_number().is_ok(),
                    Then::End => {
                        self.trust = (self.trust + 1).min(TRUST_MAX);
                        return true;
                    }
                };
            if !found {
                break;
            }
        }
        cursor.at = start;
        false
    }

    /// False where it is not worth telling what came instead.
    pub(super) fn is_learning(&self) -> bool {
        self.learnt < LEARN_MAX || !self.parts.is_empty()
    }

    /// Other text came, in front of a value that is read or of the end of the object; it was read and is JSON. True where its shape
    /// takes the place of the one before.
    pub(super) fn meet(&mut self, text: &[u8]) -> bool {
        self.trust = self.trust.saturating_sub(DOUBT);
        if self.trust == 0 {
            self.learn(text);
            return true;
        }
        false
    }

    #[cold]
    fn learn(&mut self, text: &[u8]) {
        self.parts.clear();
        if self.learnt == LEARN_MAX {
            return;
        }
        self.learnt += 1;
        self.trust = TRUST_NEW;
        let mut cursor = Cursor::new(text);
        let mut literal = 0;
        while self.parts.len() < PARTS_MAX {
            let start = cursor.at;
            let (then, from) = match cursor.peek() {
                0 => {
                    self.parts.push(Part { literal: Literal::new(&text[literal..]), then: Then::End });
                    return;
                }
                b'"' => {
                    cursor.string().expect("it was read");
                    let end = cursor.at;
                    cursor.space();
                    // In front of a colon it is a key.
                    if cursor.peek() == b':' {
                        continue;
                    }
                    cursor.at = end;
                    (Then::Text, start + 1)
                }
                b'-' | b'0'..=b'9' => {
                    cursor.skip_number().expect("it was read");
                    (Then::Number, start)
                }
                _ => {
                    cursor.at += 1;
                    continue;
                }
            };
            self.parts.push(Part { literal: Literal::new(&text[literal..from]), then });
            literal = cursor.at;
        }
        // Longer than anything that is worth it.
        self.parts.clear();
        self.learnt = LEARN_MAX;
    }
}

#[cfg(test)]
mod tests {
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::format::json::cursor::Nesting;

    /// Where the value ends that `text` begins with, by the shape and without it.
    fn ends(shape: &mut Shape, text: &str) -> (Option<usize>, Option<usize>) {
        let mut plain = Cursor::new(text.as_bytes());
        let end = plain.skip(&mut Nesting::default()).ok().map(<[u8]>::len);
        let mut shaped = Cursor::new(text.as_bytes());
        if shape.eat(&mut shaped) {
            return (Some(shaped.at), end);
        }
        assert_eq!(shaped.at, 0, "{text}");
        if let Some(end) = end {
            shape.meet(&text.as_bytes()[..end]);
        }
        (end, end)
    }

    #[test]
    fn a_value_like_the_one_before_is_taken_and_any_other_is_read() {
        let mut shape = Shape::default();
        let like = [
            r#"{"a":1,"b":"x" , "c":[true,null,"y",{}],"d":-1.5e3}"#,
            r#"{"a":123456789012345678901234567890,"b":"\u00e9\"\\" , "c":[true,null,"",{}],"d":0}"#,
            r#"{"a":-0,"b":"a text of more than sixteen bytes" , "c":[true,null,"]",{}],"d":1}"#,
        ];
        assert!(shape.is_learning() && shape.meet(like[0].as_bytes()));
        for value in like {
            assert!(shape.eat(&mut Cursor::new(value.as_bytes())), "{value}");
            assert_eq!(ends(&mut shape, &format!("{value}, and more")), (Some(value.len()), Some(value.len())));
        }
        let unlike = [
            r#"{"a":1,"b":"x" , "c":[true,null,"y",{}],"d":-1.5e3"#,
            r#"{"a":1,"b":"x" , "c":[true,null,"y",{}],"d":-}"#,
            r#"{"a":01,"b":"x" , "c":[true,null,"y",{}],"d":1}"#,
            r#"{"a":null,"b":"x" , "c":[true,null,"y",{}],"d":1}"#,
            r#"{"a":1,"b":2 , "c":[true,null,"y",{}],"d":1}"#,
            r#"{"a":1,"b":"x","c":[true,null,"y",{}],"d":1}"#,
            r#"{"a":1,"b":"x" , "c":[true,null,"y",{}],"d":1,"e":2}"#,
            "{\"a\":1,\"b\":\"\t\" , \"c\":[true,null,\"y\",{}],\"d\":1}",
            r#"{"a":1,"b":"\x" , "c":[true,null,"y",{}],"d":1}"#,
            r#"{}"#,
            "{",
            "",
        ];
        for value in unlike {
            assert!(!shape.eat(&mut Cursor::new(value.as_bytes())), "{value}");
        }
    }

    #[test]
    fn keys_and_values_that_follow_one_another_are_taken_together() {
        let mut shape = Shape::default();
        assert!(shape.meet(br#"1,"b":"x", "c":[null,{"d":"y"}]"#));
        for (text, taken) in [
            (r#"-25,"b":"", "c":[null,{"d":"yy"}],"next":0}"#, 33),
            (r#"-25,"b":"", "c":[null,{"d":"yy"}]}"#, 33),
            (r#"-25,"b":"", "c":[null,{"d":2}]}"#, 0),
            (r#"-25,"b":"","c":[null,{"d":"yy"}]}"#, 0),
        ] {
            let mut cursor = Cursor::new(text.as_bytes());
            assert_eq!((shape.eat(&mut cursor), cursor.at), (taken > 0, taken), "{text}");
        }
    }

    #[test]
    fn values_of_ever_new_shapes_end_its_learning() {
        let mut shape = Shape::default();
        for number in 0..1_000 {
            let text = format!("{{\"key {number}\":0}}");
            assert_eq!(ends(&mut shape, &text).0, Some(text.len()));
        }
        assert!(!shape.is_learning());
        let long = format!("[{}0]", "0,".repeat(PARTS_MAX));
        let mut shape = Shape::default();
        assert_eq!(ends(&mut shape, &long).0, Some(long.len()));
        assert!(!shape.is_learning());
    }

    fn json(rng: &mut ChaCha8Rng, depth: usize) -> String {
        const LEAVES: &[&str] = &["null", "true", "0", "-12", "1.5", "1e9", r#""""#, r#""x""#, r#""\n""#, r#""]}""#];
        let kind = if depth == 0 { 0 } else { rng.random_range(0..4) };
        let space = |rng: &mut ChaCha8Rng| *["", "", "", " ", "\t "].choose(rng).expect("some");
        let length = rng.random_range(0..4);
        match kind {
            0 => (*LEAVES.choose(rng).expect("some")).to_owned(),
            1 => {
                let values: Vec<String> = (0..length).map(|_| space(rng).to_owned() + &json(rng, depth - 1)).collect();
                format!("[{}{}]", values.join(","), space(rng))
            }
            _ => {
                let pair = |key| format!("\"{key}\\\"\"{}:{}{}", space(rng), json(rng, depth - 1), space(rng));
                format!("{{{}}}", (0..length).map(pair).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// Values of a few shapes in turn, some of them cut off or with a byte changed.
    #[test]
    fn a_shape_takes_what_is_json_and_nothing_else() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..2_000 {
            let values: Vec<String> = (0..rng.random_range(1..4)).map(|_| json(&mut rng, 3)).collect();
            let mut shape = Shape::default();
            for round in 0..30 {
                let mut text = values[round % values.len()].clone().into_bytes();
                let place = rng.random_range(0..text.len());
                match rng.random_range(0..6) {
                    0 => text[place] = rng.random_range(0..128),
                    1 => text.truncate(place),
                    _ => {}
                }
                let text = String::from_utf8(text).expect("ASCII");
                taken += u32::from(shape.eat(&mut Cursor::new(text.as_bytes())));
                let (by_shape, plain) = ends(&mut shape, &text);
                assert_eq!(by_shape, plain, "{text}");
                refused += u32::from(plain.is_none());
            }
        }
        assert!(taken > 10_000 && refused > 5_000, "{taken} taken, {refused} refused");
    }
}

//! From a JSON array to lines of JSON: each element becomes a line. What the elements are is not looked at.

/// Why a text is no array: which element (from 1) and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct NoArray {
    pub element: u64,
    pub reason: &'static str,
}

/// The elements, each closed by a newline. `text` begins with '[', white space aside.
pub fn lines_of_array(text: &[u8]) -> Result<Vec<u8>, NoArray> {
    let text = text.trim_ascii();
    let mut elements = Elements { lines: Vec::with_capacity(text.len()), element: 1, begins: 0 };
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, byte) in text.iter().copied().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' if depth == 0 => {
                let is_empty = elements.element == 1 && elements.is_blank();
                match is_empty {
                    true => elements.lines.clear(),
                    false => elements.close()?,
                }
                return match at + 1 == text.len() {
                    true => Ok(elements.lines),
                    false => Err(elements.wrong("something stands behind the end of the array")),
                };
            }
            b']' | b'}' if depth == 0 => return Err(elements.wrong("'}' closes nothing")),
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                elements.close()?;
                continue;
            }
            _ => {}
        }
        // White space between tokens: in a string it cannot stand unescaped.
        elements.lines.push(if !quoted && matches!(byte, b'\n' | b'\r') { b' ' } else { byte });
    }
    Err(elements.wrong("the array is not closed"))
}

struct Elements {
    lines: Vec<u8>,
    /// Number of the current one.
    element: u64,
    /// Where its line begins.
    begins: usize,
}

impl Elements {
    fn is_blank(&self) -> bool {
        self.lines[self.begins..].trim_ascii().is_empty()
    }

    fn close(&mut self) -> Result<(), NoArray> {
        if self.is_blank() {
            return Err(self.wrong("an element is missing in front of ',' or ']'"));
        }
        self.lines.push(b'\n');
        self.begins = self.lines.len();
        self.element += 1;
        Ok(())
    }

    fn wrong(&self, reason: &'static str) -> NoArray {
        NoArray { element: self.element, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_become_lines() {
        for (text, expected) in [
            ("[]", Ok("")),
            (" [ ] ", Ok("")),
            ("[{\"a\":1}]", Ok("{\"a\":1}\n")),
            (
                "[{\"a\":\"],\\\"[\"},\n {\"b\":[1,{\"c\":2}]}\n]\n",
                Ok("{\"a\":\"],\\\"[\"}\n  {\"b\":[1,{\"c\":2}]} \n"),
            ),
            ("[1,2", Err((2, "the array is not closed"))),
            ("[1,,2]", Err((2, "an element is missing in front of ',' or ']'"))),
            ("[1,]", Err((2, "an element is missing in front of ',' or ']'"))),
            ("[,1]", Err((1, "an element is missing in front of ',' or ']'"))),
            ("[1]x", Err((2, "something stands behind the end of the array"))),
            ("[1}", Err((1, "'}' closes nothing"))),
        ] {
            let found = lines_of_array(text.as_bytes());
            let found = found.map(|lines| String::from_utf8(lines).unwrap());
            let expected = expected.map(str::to_string).map_err(|(element, reason)| NoArray { element, reason });
            assert_eq!(found, expected, "{text}");
        }
    }
}

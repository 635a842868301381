//! SQL/JSON paths: `$.a.b[0]['c d'][*]`, with `lax` (the default) or `strict` before them.

use serde_json::Value;

/// Steps from the root of a document to a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JsonPath {
    strict: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Member(String),
    Index(usize),
    /// All elements of an array.
    AnyElement,
    /// All members of an object.
    AnyMember,
}

/// In strict mode, a step that finds nothing is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing;

impl JsonPath {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("the JSON path '{text}' {what}");
        let trimmed = text.trim();
        let (strict, rest) = match (trimmed.strip_prefix("strict "), trimmed.strip_prefix("lax ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => (false, trimmed),
        };
        let mut rest = rest.trim().strip_prefix('$').ok_or_else(|| wrong("does not begin with $"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, tail) = step(rest).ok_or_else(|| wrong("is wrong; write it like $.a.b[0]['c']"))?;
            steps.push(step);
            rest = tail;
        }
        Ok(Self { strict, steps })
    }

    /// All values that the path leads to.
    pub fn find<'v>(&self, root: &'v Value) -> Result<Vec<&'v Value>, Missing> {
        let mut found = vec![root];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                let before = next.len();
                step.follow(value, self.strict, &mut next);
                if self.strict && next.len() == before {
                    return Err(Missing);
                }
            }
            found = next;
        }
        Ok(found)
    }
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        if let Some(rest) = rest.strip_prefix('*') {
            return Some((Step::AnyMember, rest));
        }
        if rest.starts_with('"') {
            let (name, rest) = quoted(rest, '"')?;
            return Some((Step::Member(name.to_string()), rest));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return (end > 0).then(|| (Step::Member(rest[..end].trim().to_string()), &rest[end..]));
    }
    let rest = text.strip_prefix('[')?.trim_start();
    let (step, rest) = match rest.chars().next()? {
        '*' => (Step::AnyElement, &rest[1..]),
        quote @ ('\'' | '"') => {
            let (name, rest) = quoted(rest, quote)?;
            (Step::Member(name.to_string()), rest)
        }
        _ => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            (Step::Index(rest[..end].parse().ok()?), &rest[end..])
        }
    };
    Some((step, rest.trim_start().strip_prefix(']')?))
}

fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    text[1..].split_once(quote)
}

impl Step {
    fn follow<'v>(&self, value: &'v Value, strict: bool, found: &mut Vec<&'v Value>) {
        match (self, value) {
            (Step::Member(name), Value::Object(members)) => found.extend(members.get(name)),
            (Step::AnyMember, Value::Object(members)) => found.extend(members.values()),
            (Step::Index(index), Value::Array(elements)) => found.extend(elements.get(*index)),
            (Step::AnyElement, Value::Array(elements)) => found.extend(elements),
            // Lax mode reads an array's elements where a member is asked for, and takes a single value for an array.
            (Step::Member(_) | Step::AnyMember, Value::Array(elements)) if !strict => {
                elements.iter().for_each(|element| self.follow(element, true, found));
            }
            (Step::Index(0) | Step::AnyElement, single) if !strict && !single.is_array() => found.push(single),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_values() {
        let document: Value =
            serde_json::from_str(r#"{"a":{"b":[1,{"c d":2},3]},"x":[{"y":1},{"y":2}]}"#).expect("JSON");
        for (path, expected) in [
            ("$", 1),
            ("$.a.b[0]", 1),
            ("$.a.b[1]['c d']", 1),
            ("$.a.b[*]", 3),
            ("$.x.y", 2),
            ("$.a.b[9]", 0),
            ("lax $.a[0].b[2]", 1),
            ("$.*", 2),
            ("$.\"a\".b", 1),
        ] {
            let found = JsonPath::parse(path).expect(path).find(&document).expect(path);
            assert_eq!(found.len(), expected, "{path}");
        }
        assert_eq!(JsonPath::parse("strict $.nothing").expect("right").find(&document), Err(Missing));
        for wrong in ["a.b", "$.", "$[", "$[x]", "$['a"] {
            assert!(JsonPath::parse(wrong).is_err(), "{wrong}");
        }
    }
}

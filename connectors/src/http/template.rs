//! URLs with columns in them: `http://host/users/{id}?lang={language}`.

/// A URL in which `{column}` stands for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// Names of the columns, each once, in the order in which they come.
    columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The column with this index.
    Column(usize),
}

impl Template {
    /// Errors say what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut template = Self { parts: Vec::new(), columns: Vec::new() };
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            if rest[start..].starts_with('}') {
                return Err("a '}' has no '{' in front of it".into());
            }
            let Some(length) = rest[start..].find('}') else { return Err("a '{' is not closed".into()) };
            template.parts.push(Part::Text(rest[..start].to_string()));
            let name = &rest[start + 1..start + length];
            if name.is_empty() || name.contains('{') {
                return Err("write a column's name between '{' and '}'".into());
            }
            let index = template.columns.iter().position(|column| column == name).unwrap_or_else(|| {
                template.columns.push(name.to_string());
                template.columns.len() - 1
            });
            template.parts.push(Part::Column(index));
            rest = &rest[start + length + 1..];
        }
        template.parts.push(Part::Text(rest.to_string()));
        Ok(template)
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The URL with these values, one per column.
    pub fn expand(&self, values: &[Vec<u8>]) -> String {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Column(index) => encode(&values[*index], &mut url),
            }
        }
        url
    }

    /// The URL for messages: what stands in the query beside columns may be secret, and is left out.
    pub fn show(&self, values: &[Vec<u8>]) -> String {
        let mut url = String::new();
        let mut in_query = false;
        for part in &self.parts {
            match part {
                Part::Column(index) => encode(&values[*index], &mut url),
                Part::Text(text) if in_query => show_query(text, &mut url),
                Part::Text(text) => {
                    let (path, query) = text.split_once('?').map_or((text.as_str(), None), |(p, q)| (p, Some(q)));
                    url.push_str(path);
                    if let Some(query) = query {
                        in_query = true;
                        url.push('?');
                        show_query(query, &mut url);
                    }
                }
            }
        }
        url
    }
}

/// `lang=de&key=` as `lang=…&key=`.
fn show_query(text: &str, url: &mut String) {
    for (index, piece) in text.split('&').enumerate() {
        if index > 0 {
            url.push('&');
        }
        match piece.split_once('=') {
            Some((name, value)) => {
                url.push_str(name);
                url.push('=');
                url.push_str(if value.is_empty() { "" } else { "…" });
            }
            // The rest of a value that began with a column.
            None if !piece.is_empty() => url.push('…'),
            None => {}
        }
    }
}

/// Percent-encodes everything but letters, digits and `-._~`, so that a value can stand anywhere in a URL.
fn encode(value: &[u8], url: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => url.push(char::from(*byte)),
            other => {
                url.push('%');
                url.push(char::from(HEX[usize::from(other >> 4)]));
                url.push(char::from(HEX[usize::from(other & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[&str]) -> Vec<Vec<u8>> {
        values.iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    #[test]
    fn values_are_encoded_wherever_they_stand() {
        let template = Template::parse("http://h/{a}/x/{b}?c={a}&d=1").unwrap();
        assert_eq!(template.columns(), ["a", "b"]);
        assert_eq!(
            template.expand(&values(&["a/b c", "é?&="])),
            "http://h/a%2Fb%20c/x/%C3%A9%3F%26%3D?c=a%2Fb%20c&d=1"
        );
    }

    #[test]
    fn messages_show_no_constants_of_the_query() {
        let template = Template::parse("http://h/p/{a}?key=s3cret&id={a}.x&t={b}&z").unwrap();
        assert_eq!(template.show(&values(&["7", "8"])), "http://h/p/7?key=…&id=7…&t=8&…");
    }

    #[test]
    fn braces_must_match() {
        for wrong in ["http://h/{a", "http://h/a}", "http://h/{}", "http://h/{a{b}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}

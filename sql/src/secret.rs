//! What nobody should read over a shoulder or in a log: options whose values are passwords and the like.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Such options, by their names, as Flink tells them.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let parts = ["password", "secret", "token", "jaas", "key.pem", "keystore.key", "http.headers."];
    parts.iter().any(|part| key.contains(part))
}

/// `'key' = 'value'` as far as it stands on one line; the value may lack its closing quote.
static OPTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"'([^']*)'(\s*=\s*')((?:[^']|'')*)").expect("the pattern is constant and sound"));

/// A line of a script with as many stars in the place of each secret as it has characters, so that columns stay.
pub fn without_secrets(line: &str) -> String {
    let shown = |option: &Captures<'_>| {
        let (key, equals, value) = (&option[1], &option[2], &option[3]);
        let value = if is_secret(key) { "*".repeat(value.chars().count()) } else { value.to_string() };
        format!("'{key}'{equals}{value}")
    };
    OPTION.replace_all(line, shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_starred_and_nothing_moves() {
        for (line, shown) in [
            (
                "WITH ('url' = 'u', 'password'='it''s é', 'x' = 'y')",
                "WITH ('url' = 'u', 'password'='*******', 'x' = 'y')",
            ),
            ("  'http.headers.Authorization' = 'Bearer abc',", "  'http.headers.Authorization' = '**********',"),
            ("  'password' = 'not closed", "  'password' = '**********"),
            ("'properties.sasl.jaas.config' = 'x y;',", "'properties.sasl.jaas.config' = '****',"),
            ("SELECT * FROM t WHERE a = 'b'", "SELECT * FROM t WHERE a = 'b'"),
        ] {
            assert_eq!(without_secrets(line), shown);
            assert_eq!(line.chars().count(), shown.chars().count());
        }
    }
}

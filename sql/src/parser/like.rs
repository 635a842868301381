//! The escape character of LIKE. A pattern has none unless ESCAPE names one; DataFusion's patterns always have the
//! backslash. So patterns are rewritten, and marked with `ESCAPE '\\'` so that this happens once.

use sqlparser::ast::{Expr, Ident, Spanned, Value, ValueWithSpan};

use super::expression::{function, string_literal};
use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;

const BACKSLASH: char = '\\';

pub(super) fn escape_with_backslash(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) -> Parsed<()> {
    let character = match escape {
        Some(escape) => Some(escape_character(escape)?),
        None => None,
    };
    if character == Some(BACKSLASH) {
        return Ok(());
    }
    let span = pattern.span();
    *pattern = match (&*pattern, character) {
        (Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }), _) => {
            let rewritten = rewritten(text, character).map_err(|message| Diagnostic::at(span, message))?;
            string_literal(rewritten, span)
        }
        (_, None) => {
            let double =
                [BACKSLASH.to_string(), BACKSLASH.to_string().repeat(2)].map(|text| string_literal(text, span));
            let [one, two] = double;
            function(Ident::with_span(span, "replace"), vec![pattern.clone(), one, two])
        }
        (_, Some(_)) => return Err(Diagnostic::at(span, "with ESCAPE the pattern must be a string literal")),
    };
    *escape = Some(ValueWithSpan { value: Value::SingleQuotedString(BACKSLASH.to_string()), span });
    Ok(())
}

fn escape_character(escape: &ValueWithSpan) -> Parsed<char> {
    let text = match &escape.value {
        Value::SingleQuotedString(text) => text.as_str(),
        _ => "",
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(Diagnostic::at(escape.span, "ESCAPE takes a string of one character")),
    }
}

/// The same pattern with the backslash as its escape character.
fn rewritten(pattern: &str, escape: Option<char>) -> Result<String, String> {
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let literal = match escape {
            Some(escape) if escape == character => match characters.next() {
                Some(next) if next == escape || next == '%' || next == '_' => next,
                _ => return Err(format!("behind the escape character `{escape}` stands none of `%`, `_`, `{escape}`")),
            },
            _ if character == BACKSLASH => BACKSLASH,
            _ => {
                text.push(character);
                continue;
            }
        };
        if matches!(literal, '%' | '_' | BACKSLASH) {
            text.push(BACKSLASH);
        }
        text.push(literal);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::rewritten;

    #[test]
    fn patterns_mean_the_same_with_the_backslash() {
        for (pattern, escape, expected) in [
            ("a%b_", None, "a%b_"),
            (r"a\%", None, r"a\\%"),
            ("50!%", Some('!'), r"50\%"),
            ("a!!b!_%", Some('!'), r"a!b\_%"),
            (r"\%%", Some('%'), r"\\\%"),
        ] {
            assert_eq!(rewritten(pattern, escape), Ok(expected.to_string()), "{pattern}");
        }
        assert!(rewritten("50!", Some('!')).is_err());
        assert!(rewritten("5!0", Some('!')).is_err());
    }
}

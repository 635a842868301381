//! How wide texts are on a terminal, and texts cut and filled to a width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for what was cut off.
const CUT: char = '…';

/// Columns of the terminal that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most `columns` columns; what is cut off is told by an ellipsis.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_string();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        kept.push(c);
        used += wide;
    }
    if columns > 0 {
        kept.push(CUT);
    }
    kept
}

/// The text in exactly `columns` columns: cut, or filled with blanks on one side.
pub fn fill(text: &str, columns: usize, to_the_right: bool) -> String {
    let text = cut(text, columns);
    let blanks = " ".repeat(columns.saturating_sub(width(&text)));
    if to_the_right { blanks + &text } else { text + &blanks }
}

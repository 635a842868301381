//! Draws the line that is being written: wrapped at the edge of the screen, coloured, with what stands below it.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

use super::super::format::cells::{cut, width};
use super::super::terminal;

const DIM: &str = "\x1b[2m";
const PROMPT: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// All that is to be seen.
pub struct Scene {
    pub prompt: String,
    /// In front of the lines behind the first.
    pub continued: String,
    pub text: String,
    /// In bytes of the text.
    pub cursor: usize,
    /// The colour of each piece of the text.
    pub pieces: Vec<(Range<usize>, &'static str)>,
    /// Behind the text, for the eye only.
    pub hint: String,
    pub below: Vec<String>,
}

/// What stands on the terminal now.
#[derive(Default)]
pub struct Screen {
    /// Of the cursor, below the first line drawn.
    cursor_row: usize,
    size: Option<(usize, usize)>,
}

/// Lines of the terminal, and the cursor's place in them.
struct Laid {
    rows: Vec<String>,
    cursor: (usize, usize),
}

impl Screen {
    /// The terminal has another size than when this was drawn.
    pub fn is_resized(&self) -> bool {
        self.size.is_some_and(|size| size != terminal::size())
    }

    /// Draws over what was drawn before.
    pub fn draw(&mut self, scene: &Scene) {
        let size = terminal::size();
        let laid = lay_out(scene, size.0);
        let (shown, cursor_row) = window(laid.rows.len(), laid.cursor.0, size.1);
        // A narrower terminal has wrapped what stood there: as many lines more lie above the cursor.
        let wrapped = match self.size {
            Some((before, _)) if before > size.0 && size.0 > 0 => self.cursor_row * before.div_ceil(size.0),
            _ => self.cursor_row,
        };
        let mut out = String::from("\x1b[?25l");
        if wrapped > 0 {
            out.push_str(&format!("\x1b[{wrapped}A"));
        }
        out.push_str("\r\x1b[J");
        out.push_str(&laid.rows[shown.clone()].join("\n"));
        let back = shown.len() - 1 - cursor_row;
        if back > 0 {
            out.push_str(&format!("\x1b[{back}A"));
        }
        out.push('\r');
        if laid.cursor.1 > 0 {
            out.push_str(&format!("\x1b[{}C", laid.cursor.1));
        }
        terminal::write(&(out + "\x1b[?25h"));
        self.cursor_row = cursor_row;
        self.size = Some(size);
    }

    /// Draws once more and goes on below.
    pub fn leave(&mut self, scene: &Scene) {
        let end = Scene { cursor: scene.text.len(), pieces: scene.pieces.clone(), ..blank_below(scene) };
        self.draw(&end);
        terminal::write("\n");
        *self = Self::default();
    }
}

fn blank_below(scene: &Scene) -> Scene {
    Scene {
        prompt: scene.prompt.clone(),
        continued: scene.continued.clone(),
        text: scene.text.clone(),
        cursor: scene.cursor,
        pieces: Vec::new(),
        hint: String::new(),
        below: Vec::new(),
    }
}

/// The rows that fit a screen of so many lines, with the cursor's among them, and its place there.
fn window(rows: usize, cursor_row: usize, lines: usize) -> (Range<usize>, usize) {
    let room = lines.max(2) - 1;
    let start = if rows <= room { 0 } else { (cursor_row + 1).saturating_sub(room) };
    (start..rows.min(start + room), cursor_row - start)
}

/// Writes characters into rows of so many columns.
struct Pen {
    rows: Vec<String>,
    column: usize,
    columns: usize,
    style: &'static str,
}

impl Pen {
    fn put(&mut self, c: char) {
        let wide = c.width().unwrap_or(0);
        if self.column + wide > self.columns {
            self.new_row();
        }
        if let Some(row) = self.rows.last_mut() {
            row.push(c);
        }
        self.column += wide;
    }

    fn new_row(&mut self) {
        self.push(PLAIN);
        self.rows.push(self.style.to_string());
        self.column = 0;
    }

    fn push(&mut self, sequence: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.push_str(sequence);
        }
    }

    fn set(&mut self, style: &'static str) {
        if style != self.style {
            self.push(PLAIN);
            self.push(style);
            self.style = style;
        }
    }

    /// Where the next character would stand.
    fn place(&self) -> (usize, usize) {
        (self.rows.len() - 1, self.column)
    }
}

fn lay_out(scene: &Scene, columns: usize) -> Laid {
    let mut pen = Pen { rows: vec![String::new()], column: 0, columns: columns.max(2), style: "" };
    pen.set(PROMPT);
    scene.prompt.chars().for_each(|c| pen.put(c));
    pen.set("");
    let mut cursor = None;
    for (at, c) in scene.text.char_indices() {
        let style = scene.pieces.iter().find(|(range, _)| range.contains(&at)).map_or("", |(_, style)| style);
        if at == scene.cursor {
            cursor = Some(pen.place());
        }
        if c == '\n' {
            pen.set("");
            pen.new_row();
            pen.set(DIM);
            scene.continued.chars().for_each(|c| pen.put(c));
            pen.set("");
        } else {
            pen.set(style);
            pen.put(c);
        }
    }
    pen.set("");
    let mut cursor = cursor.unwrap_or_else(|| pen.place());
    if cursor.1 >= pen.columns {
        // At the very edge the cursor stands in the next row.
        if cursor.0 + 1 == pen.rows.len() {
            pen.new_row();
        }
        cursor = (cursor.0 + 1, 0);
    }
    pen.set(DIM);
    // A hint does not break the line.
    let room = pen.columns.saturating_sub(pen.column + 1);
    let hint = if width(&scene.hint) <= room { scene.hint.clone() } else { cut(&scene.hint, room) };
    hint.chars().for_each(|c| pen.put(c));
    pen.set("");
    let mut rows = pen.rows;
    let below = scene.below.iter().map(|line| {
        if line.contains('\x1b') {
            line.clone()
        } else {
            format!("{DIM}{}{PLAIN}", cut(line, columns.saturating_sub(1)))
        }
    });
    rows.extend(below);
    Laid { rows, cursor }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(text: &str, cursor: usize) -> Scene {
        Scene {
            prompt: "> ".into(),
            continued: "- ".into(),
            text: text.into(),
            cursor,
            pieces: Vec::new(),
            hint: String::new(),
            below: Vec::new(),
        }
    }

    #[test]
    fn a_line_wraps_and_the_cursor_is_where_the_text_goes_on() {
        for (text, cursor, columns, rows, place) in [
            ("", 0, 10, 1, (0, 2)),
            ("abc", 1, 10, 1, (0, 3)),
            ("abcdefgh", 8, 10, 2, (1, 0)),
            ("abcdefghij", 10, 10, 2, (1, 2)),
            ("a\nb", 3, 10, 2, (1, 3)),
            ("日本語日本", 15, 10, 2, (1, 2)),
        ] {
            let laid = lay_out(&scene(text, cursor), columns);
            assert_eq!((laid.rows.len(), laid.cursor), (rows, place), "{text}");
        }
    }

    #[test]
    fn a_text_longer_than_the_screen_shows_what_is_around_the_cursor() {
        assert_eq!(window(3, 2, 24), (0..3, 2));
        assert_eq!(window(30, 29, 11), (20..30, 9));
        assert_eq!(window(30, 0, 11), (0..10, 0));
        assert_eq!(window(5, 4, 1), (4..5, 0));
    }
}

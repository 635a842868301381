//! Cuts what is typed or read into statements and backslash commands, each with its place in the text.

use tidemill_sql::Diagnostic;
use tidemill_sql::parser::{Statement, cut_statements, parse_script};

/// Text that comes line by line.
pub struct Input {
    name: String,
    /// Lines before the buffer.
    lines_before: u64,
    /// From the start of the line in which the next statement begins.
    buffer: String,
    /// What of the buffer is done with.
    done: usize,
}

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Statement(Piece),
    /// Without its backslash.
    Command(String),
}

/// A statement in its lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    name: String,
    lines_before: u64,
    /// Whole lines, of which the statement is a part.
    lines: String,
    start: usize,
    end: usize,
}

impl Piece {
    /// The statement as it was written.
    pub fn text(&self) -> &str {
        &self.lines[self.start..self.end]
    }

    /// Its statement, whose places are those in the lines.
    pub fn parse(&self) -> Result<Vec<Statement>, Vec<Diagnostic>> {
        parse_script(&self.padded())
    }

    /// The statement behind as many blanks as there is other text in front of it in its lines.
    pub fn padded(&self) -> String {
        let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
        let before: String = self.lines[..self.start].chars().map(blank).collect();
        before + self.text()
    }

    /// The finding with its place, as a terminal shows it.
    pub fn explain(&self, found: &Diagnostic) -> String {
        let mut found = found.clone();
        if !found.has_place() {
            return found.render(&self.name, "");
        }
        found.line += self.lines_before;
        let unseen = usize::try_from(self.lines_before).unwrap_or(0);
        found.render(&self.name, &("\n".repeat(unseen) + &self.lines))
    }
}

impl Input {
    /// `name` stands in front of the places of errors.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), lines_before: 0, buffer: String::new(), done: 0 }
    }

    /// What a further piece of text completes: any number of whole lines, the last perhaps without its newline.
    pub fn push(&mut self, text: &str) -> Vec<Item> {
        let mut items = Vec::new();
        for line in text.split_inclusive('\n') {
            self.push_line(line, &mut items);
        }
        items
    }

    /// What is left at the end of the text: a statement may lack its semicolon.
    pub fn finish(&mut self) -> Option<Item> {
        let cut = cut_statements(self.rest());
        let piece = (!cut.rest_is_blank).then(|| Item::Statement(self.piece(self.buffer.len())));
        self.done = self.buffer.len();
        piece
    }

    fn rest(&self) -> &str {
        &self.buffer[self.done..]
    }

    fn push_line(&mut self, line: &str, items: &mut Vec<Item>) {
        if let Some(command) = line.trim_start().strip_prefix('\\').filter(|_| self.rest().trim().is_empty()) {
            items.push(Item::Command(command.trim().trim_end_matches(';').trim_end().to_string()));
            self.buffer.push_str(line);
            self.done = self.buffer.len();
            return self.forget();
        }
        self.buffer.push_str(line);
        // Only a semicolon, or what closes a text in which one stood, completes anything.
        if !self.rest().contains(';') {
            return self.forget();
        }
        let start = self.done;
        for end in cut_statements(&self.buffer[start..]).ends {
            if self.buffer[self.done..start + end].trim() != ";" {
                items.push(Item::Statement(self.piece(start + end)));
            }
            self.done = start + end;
        }
        self.forget();
    }

    /// From where the last statement ended to `end`.
    fn piece(&self, end: usize) -> Piece {
        let whole = &self.buffer[self.done..end];
        let start = self.done + (whole.len() - whole.trim_start().len());
        let line_end = self.buffer[end..].find('\n').map_or(self.buffer.len(), |at| end + at);
        let statement_end = self.done + whole.trim_end().trim_end_matches(';').trim_end().len();
        Piece {
            name: self.name.clone(),
            lines_before: self.lines_before,
            lines: self.buffer[..line_end].to_string(),
            start,
            end: statement_end.max(start),
        }
    }

    /// Lets go of lines that are done with.
    fn forget(&mut self) {
        let blank = self.rest().trim().is_empty();
        let upto = if blank && self.buffer.ends_with('\n') { self.buffer.len() } else { self.done };
        let line_start = self.buffer[..upto].rfind('\n').map_or(0, |at| at + 1);
        self.lines_before += self.buffer[..line_start].matches('\n').count() as u64;
        self.buffer.drain(..line_start);
        self.done = self.done.max(upto) - line_start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(items: &[Item]) -> Vec<String> {
        let text = |item: &Item| match item {
            Item::Statement(piece) => piece.text().to_string(),
            Item::Command(command) => format!("\\{command}"),
        };
        items.iter().map(text).collect()
    }

    #[test]
    fn statements_and_commands_come_as_their_lines_do() {
        let mut input = Input::new("t.sql");
        assert_eq!(texts(&input.push("SELECT 1; SELECT\n")), ["SELECT 1"]);
        assert_eq!(texts(&input.push("'a;\n")), [""; 0]);
        assert_eq!(texts(&input.push("b' ; \n\\d t;\n;;\n")), ["SELECT\n'a;\nb'", "\\d t"]);
        assert_eq!(texts(&input.push("  -- nothing\nSELECT 3")), [""; 0]);
        assert_eq!(texts(&input.finish().into_iter().collect::<Vec<_>>()), ["-- nothing\nSELECT 3"]);
        assert_eq!(input.finish(), None);
    }

    #[test]
    fn an_error_has_its_place_in_the_whole_text() {
        let mut input = Input::new("t.sql");
        input.push("-- first\n\nSELECT 1;\n");
        let items = input.push("SELECT 'é'; SELEKT 2;\n");
        let Some(Item::Statement(piece)) = items.last() else { panic!("a statement") };
        let found = piece.parse().expect_err("no statement");
        let expected = "error: `SELEKT` does not start a statement\n --> t.sql:4:13\n  |\n4 | SELECT 'é'; SELEKT 2;\n  |             ^^^^^^\nhint: did you mean `SELECT`?\n";
        assert_eq!(piece.explain(&found[0]), expected);
    }
}

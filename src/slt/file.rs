//! Reads `.slt` files: a list of steps, each with the line where it stands.
//!
//! Steps are separated by blank lines; a line that starts with `#` is a comment. What a step means is decided by
//! its first line (see [`Step`]); docs/sql-tests.md shows each kind.

use std::fmt;

/// Between a query's SQL and its expected rows.
const DIVIDER: &str = "----";

/// One step of a test file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// 1-based line of the step's first line.
    pub line: usize,
    pub kind: StepKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// `statement`: SQL that must succeed.
    Statement { sql: String },
    /// `statement error TEXT`: SQL that must fail, with TEXT in its message.
    StatementError { sql: String, message: String },
    /// `rows TABLE [split NAME]`: what a table with connector 'script' will give.
    Rows { table: String, split: String, lines: Vec<ScriptLine> },
    /// `query [changelog]`: a SELECT and its answer.
    Query { sql: String, form: AnswerForm, expected: Expected },
    /// `query error TEXT`, `run error TEXT`: a job that is planned but fails while it runs.
    JobError { sql: String, message: String },
    /// `run`: INSERTs (one job), whose answers later `expect` steps read.
    Run { sql: String },
    /// `expect SINK [changelog]`: what a sink table holds after the last `run`.
    Expect { sink: String, form: AnswerForm, expected: Expected },
    /// `show`: a statement that answers with text or rows at once (SHOW, DESCRIBE, EXPLAIN).
    Show { sql: String, expected: Expected },
    /// `file NAME`: a file with these lines, in the folder that SQL calls `$files`.
    File { name: String, lines: Vec<String> },
    /// `only WORLD,...`: the next query or run is for these worlds alone.
    Only { worlds: Vec<String> },
}

impl StepKind {
    /// The SQL of the step, where it has some.
    pub fn sql_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Statement { sql }
            | Self::StatementError { sql, .. }
            | Self::Query { sql, .. }
            | Self::JobError { sql, .. }
            | Self::Run { sql }
            | Self::Show { sql, .. } => Some(sql),
            Self::Rows { .. } | Self::File { .. } | Self::Expect { .. } | Self::Only { .. } => None,
        }
    }
}

/// A line of a `rows` step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptLine {
    /// Comma-separated values in the order of the table's physical columns; NULL is the word.
    Row { line: usize, text: String },
    /// `watermark TIMESTAMP`: time is told to be here, whatever the rows say.
    Watermark { line: usize, text: String },
    /// `checkpoint`: take a checkpoint, then go on.
    Checkpoint,
    /// `restart`: take a checkpoint, end the job and start again from it.
    Restart,
    /// `kill`: end the job without a checkpoint and start again from the last one.
    Kill,
}

/// How the rows of an answer are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerForm {
    /// The table that the changes add up to; order does not matter.
    Folded,
    /// Every change, in order, with its kind. Only for worlds that keep the order.
    Changelog,
}

/// Expected rows and where they stand, so that `--update` can replace them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub rows: Vec<String>,
    /// 1-based line of the first expected row; rows stand on consecutive lines.
    pub line: usize,
}

/// A file that cannot be read as a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    pub line: usize,
    pub message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Splits a test file into its steps.
pub fn parse(text: &str) -> Result<Vec<Step>, FileError> {
    blocks(text).into_iter().map(|block| parse_block(&block)).collect()
}

/// Consecutive non-blank lines, comments left out.
struct Block<'a> {
    lines: Vec<(usize, &'a str)>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut current = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            push_block(&mut blocks, &mut current);
        } else if !line.starts_with('#') {
            current.push((index + 1, line.trim_end()));
        }
    }
    push_block(&mut blocks, &mut current);
    blocks
}

fn push_block<'a>(blocks: &mut Vec<Block<'a>>, lines: &mut Vec<(usize, &'a str)>) {
    if !lines.is_empty() {
        blocks.push(Block { lines: std::mem::take(lines) });
    }
}

fn parse_block(block: &Block<'_>) -> Result<Step, FileError> {
    let (line, head) = block.lines[0];
    let mut words = head.split_whitespace();
    let kind = match words.next().unwrap_or_default() {
        "statement" => statement(head, block)?,
        "rows" => rows(line, words, block)?,
        "query" => query(line, head, block)?,
        "file" => file(line, words, block)?,
        "run" => run(head, block),
        "expect" => expect(line, words, block)?,
        "show" => {
            let (sql, expected) = sql_and_rows(line, block)?;
            StepKind::Show { sql, expected }
        }
        "only" => StepKind::Only { worlds: words.flat_map(|w| w.split(',')).map(str::to_string).collect() },
        other => return Err(unknown_step(line, other)),
    };
    Ok(Step { line, kind })
}

fn unknown_step(line: usize, word: &str) -> FileError {
    let known = "statement, rows, file, query, run, expect, show, only";
    FileError { line, message: format!("'{word}' is not a step; a step starts with one of: {known}") }
}

fn statement(head: &str, block: &Block<'_>) -> Result<StepKind, FileError> {
    let sql = sql_of(&block.lines[1..]);
    match error_text(head, "statement error") {
        Some(message) => Ok(StepKind::StatementError { sql, message }),
        None => Ok(StepKind::Statement { sql }),
    }
}

fn run(head: &str, block: &Block<'_>) -> StepKind {
    let sql = sql_of(&block.lines[1..]);
    match error_text(head, "run error") {
        Some(message) => StepKind::JobError { sql, message },
        None => StepKind::Run { sql },
    }
}

fn error_text(head: &str, prefix: &str) -> Option<String> {
    head.strip_prefix(prefix).map(|rest| rest.trim().to_string())
}

fn rows<'a>(line: usize, mut words: impl Iterator<Item = &'a str>, block: &Block<'_>) -> Result<StepKind, FileError> {
    let Some(table) = words.next() else {
        return Err(FileError { line, message: "write `rows TABLE` or `rows TABLE split NAME`".into() });
    };
    let split = match (words.next(), words.next()) {
        (None, None) => "0",
        (Some("split"), Some(name)) => name,
        _ => return Err(FileError { line, message: "after the table only `split NAME` may follow".into() }),
    };
    let lines = block.lines[1..].iter().map(|(line, text)| script_line(*line, text)).collect();
    Ok(StepKind::Rows { table: table.to_string(), split: split.to_string(), lines })
}

fn file<'a>(line: usize, mut words: impl Iterator<Item = &'a str>, block: &Block<'_>) -> Result<StepKind, FileError> {
    let (Some(name), None) = (words.next(), words.next()) else {
        return Err(FileError { line, message: "write `file NAME`, and its lines below".into() });
    };
    let lines = block.lines[1..].iter().map(|(_, text)| text.to_string()).collect();
    Ok(StepKind::File { name: name.to_string(), lines })
}

fn script_line(line: usize, text: &str) -> ScriptLine {
    match text.trim() {
        "checkpoint" => ScriptLine::Checkpoint,
        "restart" => ScriptLine::Restart,
        "kill" => ScriptLine::Kill,
        other => match other.strip_prefix("watermark ") {
            Some(time) => ScriptLine::Watermark { line, text: time.trim().to_string() },
            None => ScriptLine::Row { line, text: text.to_string() },
        },
    }
}

fn query(line: usize, head: &str, block: &Block<'_>) -> Result<StepKind, FileError> {
    if let Some(message) = error_text(head, "query error") {
        return Ok(StepKind::JobError { sql: sql_of(&block.lines[1..]), message });
    }
    let form = answer_form(line, head.strip_prefix("query").unwrap_or_default())?;
    let (sql, expected) = sql_and_rows(line, block)?;
    Ok(StepKind::Query { sql, form, expected })
}

fn expect<'a>(line: usize, mut words: impl Iterator<Item = &'a str>, block: &Block<'_>) -> Result<StepKind, FileError> {
    let Some(sink) = words.next() else {
        return Err(FileError { line, message: "write `expect SINK`".into() });
    };
    let form = answer_form(line, &words.collect::<Vec<_>>().join(" "))?;
    let rows = block.lines[1..].iter().map(|(_, text)| text.to_string()).collect();
    Ok(StepKind::Expect { sink: sink.to_string(), form, expected: Expected { rows, line: line + 1 } })
}

fn answer_form(line: usize, text: &str) -> Result<AnswerForm, FileError> {
    match text.trim() {
        "" => Ok(AnswerForm::Folded),
        "changelog" => Ok(AnswerForm::Changelog),
        other => Err(FileError { line, message: format!("'{other}' is not known here; write `changelog` or nothing") }),
    }
}

fn sql_and_rows(line: usize, block: &Block<'_>) -> Result<(String, Expected), FileError> {
    let divider = block.lines.iter().position(|(_, text)| *text == DIVIDER);
    let Some(divider) = divider else {
        return Err(FileError { line, message: format!("no {DIVIDER} line between the SQL and its answer") });
    };
    let rows = block.lines[divider + 1..].iter().map(|(_, text)| text.to_string()).collect();
    let expected = Expected { rows, line: block.lines[divider].0 + 1 };
    Ok((sql_of(&block.lines[1..divider]), expected))
}

fn sql_of(lines: &[(usize, &str)]) -> String {
    lines.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_steps_with_their_lines() {
        let text = "# a comment\nstatement\nCREATE TABLE t (a INT)\n\nrows t split b\n1\nwatermark 2024-01-01 00:00:00\nrestart\n\nquery\nSELECT a\nFROM t\n----\n1\n2\n";
        let steps = parse(text).expect("well formed");
        assert_eq!(steps.iter().map(|step| step.line).collect::<Vec<_>>(), [2, 5, 10]);
        let StepKind::Query { sql, expected, .. } = &steps[2].kind else { panic!("{:?}", steps[2]) };
        assert_eq!(sql, "SELECT a\nFROM t");
        assert_eq!(expected, &Expected { rows: vec!["1".into(), "2".into()], line: 14 });
        let StepKind::Rows { table, split, lines } = &steps[1].kind else { panic!("{:?}", steps[1]) };
        assert_eq!((table.as_str(), split.as_str(), lines.len()), ("t", "b", 3));
        assert_eq!(lines[2], ScriptLine::Restart);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, word) in [
            ("\nquerry\nSELECT 1", 2, "is not a step"),
            ("query\nSELECT 1", 1, "no ---- line"),
            ("rows", 1, "rows TABLE"),
            ("query sideways\nSELECT 1\n----", 1, "'sideways'"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text}");
            assert!(error.message.contains(word), "{text}: {}", error.message);
        }
    }
}

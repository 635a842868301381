//! What could stand where the cursor is.

use super::super::command::{COMMANDS, OPTION_NAMES, format_names};
use super::super::help;
use super::context::Context;
use super::lexer::{Kind, pieces};
use super::vocabulary::{KEYWORDS, Known, Vocabulary, is_keyword};

/// A text to put in the place of the word under the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub text: String,
    pub about: String,
}

/// Candidates, and where the word begins that they would replace.
pub struct Completion {
    pub start: usize,
    pub candidates: Vec<Candidate>,
}

/// Words that statements begin with.
const BEGINNINGS: &[&str] =
    &["CREATE", "DESCRIBE", "DROP", "EXECUTE", "EXPLAIN", "INSERT", "RESET", "SELECT", "SET", "SHOW", "VALUES", "WITH"];

/// What fits the text before the cursor.
pub fn candidates(text: &str, cursor: usize, words: &Vocabulary) -> Completion {
    let before = &text[..cursor];
    if before.trim_start().starts_with('\\') {
        return of_command(before, words);
    }
    let cut = pieces(before);
    let last = cut.last();
    match last.map(|piece| (piece.kind, piece.range.start)) {
        Some((Kind::Comment, _)) => Completion { start: cursor, candidates: Vec::new() },
        Some((Kind::Text { closed: false }, start)) => quoted(text, start, cursor, words),
        Some((Kind::Name { closed: false }, start)) => {
            let typed = &before[start + 1..];
            let found =
                names(&Context::of(text, start), words).into_iter().filter(|known| known.word.starts_with(typed));
            Completion { start, candidates: found.map(|known| candidate(format!("`{}`", known.word), known)).collect() }
        }
        Some((Kind::Word | Kind::Number, start)) => plain(text, start, cursor, words),
        _ => plain(text, cursor, cursor, words),
    }
}

fn candidate(text: String, known: Known) -> Candidate {
    Candidate { text, about: known.about }
}

fn of_command(before: &str, words: &Vocabulary) -> Completion {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let typed = &before[start..];
    let plain = |names: Vec<String>| names.into_iter().map(|word| Known { word, about: String::new() }).collect();
    let command = before.split_whitespace().next().unwrap_or_default();
    let all: Vec<Known> = if before.trim_start() == typed {
        COMMANDS.iter().map(|c| Known { word: format!("\\{}", c.name), about: c.doc.to_string() }).collect()
    } else {
        match command {
            "\\d" | "\\dt" | "\\dv" => words.tables(),
            "\\df" => plain(words.functions().map(str::to_string).collect()),
            "\\format" => plain(format_names()),
            "\\set" => plain(OPTION_NAMES.iter().map(ToString::to_string).collect()),
            "\\h" => plain(help::STATEMENTS.iter().map(|(name, _)| name.to_string()).collect()),
            _ => Vec::new(),
        }
    };
    let fits = |known: &Known| known.word.to_lowercase().starts_with(&typed.to_lowercase());
    let found = all.into_iter().filter(fits).map(|known| candidate(known.word.clone(), known));
    Completion { start, candidates: found.collect() }
}

/// In quotes: options and their values.
fn quoted(text: &str, start: usize, cursor: usize, words: &Vocabulary) -> Completion {
    let context = Context::of(text, start);
    let typed = &text[start + 1..cursor];
    let of_session = context.begins_with(&["SET", "RESET"]);
    let (connector, format) = (context.option("connector"), context.option("format"));
    let is_value = context.back(0) == "=";
    let known = match (of_session, is_value) {
        (true, true) => words.setting_values(context.back(1).trim_matches('\'')),
        (true, false) => words.setting_keys(),
        (false, true) => words.option_values(connector, context.back(1).trim_matches('\'')),
        (false, false) if context.begins_with(&["CREATE"]) && context.is_behind(&["(", ","]) => {
            let written = |known: &Known| context.option(&known.word).is_some();
            words.option_keys(connector, format).into_iter().filter(|known| !written(known)).collect()
        }
        (false, false) => Vec::new(),
    };
    // A key has its `=` already where one is being changed.
    let behind = text[cursor..].trim_start_matches(|c: char| c.is_alphanumeric() || ".-_".contains(c));
    let end = match behind.strip_prefix('\'') {
        Some(_) => "",
        None if is_value || context.begins_with(&["RESET"]) => "'",
        None => "' = '",
    };
    let fits = known.into_iter().filter(|known| known.word.starts_with(typed));
    let found = fits.map(|known| candidate(format!("'{}{end}", known.word), known));
    Completion { start, candidates: found.collect() }
}

/// Tables, or columns, as the place asks for.
fn names(context: &Context<'_>, words: &Vocabulary) -> Vec<Known> {
    if context.back(0) == "." {
        let owner = context.back(1).trim_matches('`');
        let tables = context.tables();
        let table = tables.iter().find(|(_, alias)| *alias == owner).map_or(owner, |(table, _)| table);
        return words.columns(table).to_vec();
    }
    if context.is_behind(&["FROM", "JOIN", "INTO", "TABLE", "VIEW", "DESCRIBE", "DESC"])
        && !context.begins_with(&["CREATE"])
        || context.is_behind(&["FROM", "JOIN"])
    {
        return words.tables();
    }
    let read = context.tables();
    let mut names: Vec<Known> = read.iter().flat_map(|(table, _)| words.columns(table)).cloned().collect();
    // SELECT is written before FROM.
    if read.is_empty() && context.begins_with(&["SELECT", "WITH", "EXPLAIN", "INSERT"]) {
        names = words.all_columns();
    }
    names.sort();
    names.dedup();
    names
}

fn plain(text: &str, start: usize, cursor: usize, words: &Vocabulary) -> Completion {
    let typed = &text[start..cursor];
    let context = Context::of(text, start);
    let lower = typed.chars().any(char::is_lowercase);
    let in_case = |word: &str| if lower { word.to_lowercase() } else { word.to_string() };
    let mut found: Vec<Candidate> = Vec::new();
    for known in
        names(&context, words).into_iter().filter(|known| known.word.to_lowercase().starts_with(&typed.to_lowercase()))
    {
        found.push(candidate(written(&known.word), known));
    }
    let wants_name = context.back(0) == "."
        || (!found.is_empty() && context.is_behind(&["FROM", "JOIN", "INTO", "DESCRIBE", "DESC"]));
    if !wants_name {
        let fits = |word: &&&str| word.to_lowercase().starts_with(&typed.to_lowercase());
        let keywords = if context.is_empty() { BEGINNINGS } else { KEYWORDS };
        let keywords = keywords.iter().filter(fits);
        found.extend(keywords.map(|word| Candidate { text: in_case(word), about: String::new() }));
        if !context.is_empty() && !typed.is_empty() {
            let functions = words.functions().filter(|name| fits(&name) && !is_keyword(name));
            found.extend(functions.map(|name| Candidate {
                text: format!("{}(", in_case(name)),
                about: words.usage(name).unwrap_or_default().to_string(),
            }));
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|candidate| seen.insert(candidate.text.clone()));
    Completion { start, candidates: found }
}

/// A name as it has to be written.
fn written(name: &str) -> String {
    let plain =
        name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain && !is_keyword(name) { name.to_string() } else { format!("`{}`", name.replace('`', "``")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemill_connectors::registry::Registry;
    use tidemill_sql::parser::parse_script;
    use tidemill_sql::session::Session;
    use tidemill_sql::settings::Settings;

    use super::*;
    use crate::connect::RegistryConnectors;

    fn vocabulary() -> Vocabulary {
        let mut session = Session::new(Settings::new(), Arc::new(RegistryConnectors::new(Registry::standard())));
        let script = "CREATE TABLE bids (price BIGINT, pair STRING, `order` INT) WITH ('connector' = 'datagen');
                      CREATE VIEW best AS SELECT MAX(price) AS top FROM bids";
        for statement in parse_script(script).expect("statements") {
            session.execute(&statement).map(drop).expect("executed");
        }
        Vocabulary::of(&session)
    }

    /// The first candidates where `|` stands, as the text would be with each.
    fn completed(text: &str) -> Vec<String> {
        let cursor = text.find('|').expect("a cursor");
        let text = text.replace('|', "");
        let completion = candidates(&text, cursor, &vocabulary());
        completion.candidates.iter().take(3).map(|c| format!("{}{}", &text[..completion.start], c.text)).collect()
    }

    #[test]
    fn what_fits_the_place_is_offered() {
        for (text, expected) in [
            ("sel|", &["select"][..]),
            ("SEL|", &["SELECT"]),
            ("SELECT * FROM b|", &["SELECT * FROM best", "SELECT * FROM bids"]),
            ("SELECT p| FROM bids", &["SELECT pair", "SELECT price", "SELECT partition"]),
            ("SELECT pai|", &["SELECT pair"]),
            ("SELECT x.pr| FROM bids AS x", &["SELECT x.price"]),
            ("SELECT x.o| FROM bids x", &["SELECT x.`order`"]),
            ("SELECT top| FROM best", &["SELECT top"]),
            ("SELECT date_f|", &["SELECT date_format("]),
            ("DESCRIBE |", &["DESCRIBE best", "DESCRIBE bids"]),
            ("CREATE TABLE t (a INT) WITH ('con|", &["CREATE TABLE t (a INT) WITH ('connector' = '"]),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'da|",
                &["CREATE TABLE t (a INT) WITH ('connector' = 'datagen'"],
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'rows|",
                &["CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '"],
            ),
            (
                "CREATE TABLE t WITH ('connector' = 'filesystem', 'format' = 'js|",
                &["CREATE TABLE t WITH ('connector' = 'filesystem', 'format' = 'json'"],
            ),
            ("SET 'table.local|", &["SET 'table.local-time-zone' = '"]),
            ("SELECT 'con|", &[]),
            ("SELECT 1 -- sel|", &[]),
            ("\\ti|", &["\\timing"]),
            ("\\d b|", &["\\d best", "\\d bids"]),
            ("\\format m|", &["\\format markdown"]),
            ("SELECT 1; DES|", &["SELECT 1; DESCRIBE"]),
        ] {
            assert_eq!(completed(text), expected, "{text}");
        }
    }
}

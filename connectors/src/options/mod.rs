//! Options as data: one list per connector says which keys exist, what they take and what they mean.
//!
//! The same list checks a `WITH (...)` clause, gives the defaults and prints the documentation, so the three
//! cannot disagree. What depends on a table's columns is checked by the connector itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use tidemill_engine::suggestion::closest;

use crate::format::{FormatOption, FormatProblem};

pub mod values;

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptionType {
    Text,
    /// A whole number from `min` on.
    Integer {
        min: i64,
    },
    /// A number between 0 and 1.
    Fraction,
    Boolean,
    /// `10 s`, `500 ms`.
    Duration,
    /// `128MB`; in bytes.
    Size,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A value of the column that the key names; the connector checks it.
    ColumnValue,
    /// Said in these words; the format checks it.
    Described(&'static str),
}

/// On which side of a job an option says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Source,
    Sink,
    Both,
}

/// One option of a connector or format.
#[derive(Debug, Clone, Copy)]
pub struct OptionDef {
    /// `#` stands for a column, or a path to a nested field: `fields.#.kind`.
    pub key: &'static str,
    pub kind: OptionType,
    pub default: Option<&'static str>,
    pub required: bool,
    pub side: Side,
    /// One sentence for whoever writes the table.
    pub doc: &'static str,
}

impl OptionDef {
    pub const fn new(key: &'static str, kind: OptionType, doc: &'static str) -> Self {
        Self { key, kind, default: None, required: false, side: Side::Both, doc }
    }

    pub const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub const fn source(mut self) -> Self {
        self.side = Side::Source;
        self
    }

    pub const fn sink(mut self) -> Self {
        self.side = Side::Sink;
        self
    }

    /// What `#` stands for in `key`; `Some("")` where this option has no `#` and the keys are equal.
    pub fn matches<'a>(&self, key: &'a str) -> Option<&'a str> {
        match self.key.split_once('#') {
            None => (self.key == key).then_some(""),
            Some((before, after)) => {
                let field = key.strip_prefix(before)?.strip_suffix(after)?;
                (!field.is_empty()).then_some(field)
            }
        }
    }
}

impl From<&FormatOption> for OptionDef {
    fn from(option: &FormatOption) -> Self {
        let def = Self::new(option.key, OptionType::Described(option.value_type), option.description);
        Self { default: option.default, ..def }
    }
}

/// Why a table cannot be used as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblem {
    /// The key that the problem is about; `None` where it is about the table as a whole.
    pub option: Option<String>,
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl From<FormatProblem> for OptionProblem {
    fn from(problem: FormatProblem) -> Self {
        Self { option: problem.option, message: problem.message, hint: Some(problem.hint) }
    }
}

impl OptionProblem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { option: None, message: message.into(), hint: None }
    }

    pub fn at(option: impl Into<String>, message: impl Into<String>) -> Self {
        Self { option: Some(option.into()), message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn missing(option: &OptionDef, owner: &str) -> Self {
        Self::new(format!("'{owner}' needs the option '{}'", option.key))
            .hint(format!("add '{}' = '...' to WITH: {}", option.key, option.doc))
    }

    pub fn wrong_value(key: &str, value: &str, kind: &OptionType) -> Self {
        let problem = Self::at(key, format!("option '{key}' takes {kind}, not '{value}'"));
        match kind {
            OptionType::Choice(words) => match closest(value, words.iter().copied()) {
                Some(word) => problem.hint(format!("did you mean '{word}'?")),
                None => problem,
            },
            OptionType::Duration => problem.hint("write a number and a unit: 'ms', 's', 'min', 'h' or 'd'"),
            OptionType::Size => problem.hint("write a number and a unit: 'b', 'kb', 'mb' or 'gb'"),
            _ => problem,
        }
    }
}

impl fmt::Display for OptionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl fmt::Display for OptionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text"),
            Self::Integer { min: i64::MIN } => f.write_str("a whole number"),
            Self::Integer { min } => write!(f, "a whole number from {min} on"),
            Self::Fraction => f.write_str("a number from 0 to 1"),
            Self::Boolean => f.write_str("'true' or 'false'"),
            Self::Duration => f.write_str("a duration such as '10 s'"),
            Self::Size => f.write_str("a size such as '128MB'"),
            Self::Choice(words) => write!(f, "one of '{}'", words.join("', '")),
            Self::ColumnValue => f.write_str("a value of the column"),
            Self::Described(words) => f.write_str(words),
        }
    }
}

/// All that is wrong with `given`, by the list alone: unknown keys, wrong values, missing keys. `owner` is named in
/// the messages. Options of the other side are accepted, since one table may be read and written.
pub fn check(owner: &str, known: &[OptionDef], given: &BTreeMap<String, String>) -> Vec<OptionProblem> {
    let wrong = given.iter().filter_map(|(key, value)| check_one(owner, known, key, value));
    let missing = known.iter().filter(|option| option.required && !given.contains_key(option.key));
    wrong.chain(missing.map(|option| OptionProblem::missing(option, owner))).collect()
}

fn check_one(owner: &str, known: &[OptionDef], key: &str, value: &str) -> Option<OptionProblem> {
    match known.iter().find(|option| option.matches(key).is_some()) {
        Some(option) => check_value(key, value, &option.kind),
        None => Some(unknown(owner, known, key)),
    }
}

/// The problem with a value, by its type alone.
pub fn check_value(key: &str, value: &str, kind: &OptionType) -> Option<OptionProblem> {
    let fits = match kind {
        OptionType::Text | OptionType::ColumnValue | OptionType::Described(_) => true,
        OptionType::Integer { min } => values::integer(value).is_some_and(|number| number >= *min),
        OptionType::Fraction => values::fraction(value).is_some(),
        OptionType::Boolean => values::boolean(value).is_some(),
        OptionType::Duration => values::duration(value).is_some(),
        OptionType::Size => values::size(value).is_some(),
        OptionType::Choice(words) => words.contains(&value),
    };
    (!fits).then(|| OptionProblem::wrong_value(key, value, kind))
}

fn unknown(owner: &str, known: &[OptionDef], key: &str) -> OptionProblem {
    let problem = OptionProblem::at(key, format!("'{owner}' has no option '{key}'"));
    let candidates: Vec<String> = known.iter().map(|option| as_written_for(option, key)).collect();
    match closest(key, candidates.iter().map(String::as_str)) {
        Some(candidate) => problem.hint(format!("did you mean '{candidate}'?")),
        None => problem.hint(format!("`tidemill connectors {owner}` lists the options")),
    }
}

/// `fields.#.min` as the writer of `fields.price.mni` would have written it: `fields.price.min`.
fn as_written_for(option: &OptionDef, key: &str) -> String {
    let Some((before, after)) = option.key.split_once('#') else { return option.key.to_string() };
    let middle = key.strip_prefix(before).and_then(|rest| rest.rsplit_once('.')).map(|(field, _)| field);
    middle.map_or_else(|| option.key.to_string(), |field| format!("{before}{field}{after}"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const OPTIONS: &[OptionDef] = &[
        OptionDef::new("path", OptionType::Text, "where the files are").required(),
        OptionDef::new("rate", OptionType::Integer { min: 1 }, "rows per second").default("10"),
        OptionDef::new("every", OptionType::Duration, "how often"),
        OptionDef::new("limit", OptionType::Size, "how much"),
        OptionDef::new("deep", OptionType::Boolean, "with subfolders"),
        OptionDef::new("mode", OptionType::Choice(&["random", "sequence"]), "how"),
        OptionDef::new("fields.#.null-rate", OptionType::Fraction, "share of nulls"),
    ];

    fn check_options(given: &[(&str, &str)], expected: Expect) {
        let given = given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let problems: Vec<String> = check("files", OPTIONS, &given).iter().map(ToString::to_string).collect();
        expected.assert_eq(&problems.join("\n"));
    }

    #[test]
    fn problems_say_what_to_write_instead() {
        check_options(&[("path", "x"), ("fields.a.b.null-rate", "0.5"), ("every", "10 s")], expect![[""]]);
        check_options(
            &[("pth", "x"), ("colour", "red"), ("fields.a.nul-rate", "0.5")],
            expect![[r#"
                'files' has no option 'colour' (`tidemill connectors files` lists the options)
                'files' has no option 'fields.a.nul-rate' (did you mean 'fields.a.null-rate'?)
                'files' has no option 'pth' (did you mean 'path'?)
                'files' needs the option 'path' (add 'path' = '...' to WITH: where the files are)"#]],
        );
        check_options(
            &[
                ("path", ""),
                ("rate", "0"),
                ("every", "soon"),
                ("limit", "1 mile"),
                ("deep", "yes"),
                ("mode", "randon"),
                ("fields.a.null-rate", "2"),
            ],
            expect![[r#"
                option 'deep' takes 'true' or 'false', not 'yes'
                option 'every' takes a duration such as '10 s', not 'soon' (write a number and a unit: 'ms', 's', 'min', 'h' or 'd')
                option 'fields.a.null-rate' takes a number from 0 to 1, not '2'
                option 'limit' takes a size such as '128MB', not '1 mile' (write a number and a unit: 'b', 'kb', 'mb' or 'gb')
                option 'mode' takes one of 'random', 'sequence', not 'randon' (did you mean 'random'?)
                option 'rate' takes a whole number from 1 on, not '0'"#]],
        );
    }
}

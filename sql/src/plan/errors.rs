//! DataFusion's errors in plain words, with a place in the statement.

use std::sync::LazyLock;

use datafusion_common::{Column, DataFusionError, SchemaError};
use regex::{Captures, Regex};
use sqlparser::ast::{Expr, Query, Spanned, visit_expressions};
use sqlparser::tokenizer::{Location, Span};
use std::ops::ControlFlow;

use super::context::NameResolver;
use super::windows;
use crate::diagnostic::{Diagnostic, closest};

/// Names of columns that a message lists at most.
const COLUMNS_LISTED_MAX: usize = 30;

/// What went wrong, at the best place that is known: DataFusion's span, else where the statement has the name that the
/// message is about, else the statement itself.
pub(crate) fn diagnostic(error: DataFusionError, resolver: &NameResolver<'_>, query: &Query) -> Diagnostic {
    let span = span_of(&error);
    let finding = describe(&error, resolver);
    let named = finding.subject.as_deref().map_or_else(Span::empty, |name| place_of_name(query, name));
    finding.diagnostic.or_at(span).or_at(named).or_at(first_place(query))
}

/// Like [`diagnostic`], for an expression outside a query.
pub(crate) fn expression_diagnostic(
    error: DataFusionError,
    resolver: &NameResolver<'_>,
    expression: &Expr,
) -> Diagnostic {
    let span = span_of(&error);
    describe(&error, resolver).diagnostic.or_at(span).or_at(expression.span())
}

/// The message alone, for an error inside a view.
pub(crate) fn message_of(error: &DataFusionError, resolver: &NameResolver<'_>) -> String {
    describe(error, resolver).diagnostic.message
}

/// The message of an error outside any query.
pub(crate) fn plain_message(error: &DataFusionError) -> String {
    match root(error) {
        DataFusionError::External(inner) => inner.to_string(),
        other => plain(&other.message()),
    }
}

struct Finding {
    diagnostic: Diagnostic,
    /// The column or function that the finding is about.
    subject: Option<String>,
}

impl From<Diagnostic> for Finding {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, subject: None }
    }
}

fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        DataFusionError::Shared(inner) => root(inner),
        other => other,
    }
}

fn span_of(error: &DataFusionError) -> Span {
    let first = error.iter().next().unwrap_or(error);
    let Some(span) = first.diagnostic().and_then(|found| found.span) else { return Span::empty() };
    let location = |at: datafusion_common::Location| Location::new(at.line, at.column);
    Span::new(location(span.start), location(span.end))
}

fn describe(error: &DataFusionError, resolver: &NameResolver<'_>) -> Finding {
    match root(error) {
        DataFusionError::External(inner) => match inner.downcast_ref::<Diagnostic>() {
            Some(diagnostic) => diagnostic.clone().into(),
            None => Diagnostic::new(plain(&inner.to_string())).into(),
        },
        DataFusionError::SchemaError(inner, _) => describe_schema(inner),
        other => describe_text(&other.message(), resolver),
    }
}

fn describe_schema(error: &SchemaError) -> Finding {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => missing_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            let hint = match windows::meant(&field.name) {
                Some(name) => format!("rename the inner window's column: SELECT {name} AS inner_{name}, ..."),
                None => format!("write which table it is of: table.{}", field.name),
            };
            let message = format!("column `{}` is ambiguous: more than one input has it", field.name);
            Finding { diagnostic: Diagnostic::new(message).with_hint(hint), subject: Some(field.name.clone()) }
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("column `{name}` comes twice in one result");
            let hint = "give one of them another name with AS";
            Finding { diagnostic: Diagnostic::new(message).with_hint(hint), subject: Some(name.clone()) }
        }
    }
}

fn missing_column(field: &Column, valid: &[Column]) -> Finding {
    let name = &field.name;
    let place = field.relation.as_ref().map_or(String::new(), |relation| format!(" in `{}`", relation.table()));
    let diagnostic = Diagnostic::new(format!("column `{name}` does not exist{place}"));
    let names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).filter(|name| !is_internal(name)).collect();
    let hint = match (closest(name, names.iter().copied()), names.is_empty()) {
        (Some(candidate), _) => Some(format!("did you mean `{candidate}`? There are: {}", listed(&names))),
        (None, false) => Some(format!("there are: {}", listed(&names))),
        (None, true) => None,
    };
    let diagnostic = match hint {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic,
    };
    Finding { diagnostic, subject: Some(name.clone()) }
}

fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(COLUMNS_LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
    if names.len() > COLUMNS_LISTED_MAX { format!("{shown}, ...") } else { shown }
}

fn is_internal(name: &str) -> bool {
    name.starts_with("__")
}

static INVALID_FUNCTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"Invalid function '([^']*)'"));
static NO_MATCH: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)No function matches the given name and argument types '(\w+)\((.*?)\)'"));
static COERCE_CALL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)(?:call to|Function|function) '(\w+)'.*?coercion from \[?([^\]]*?)\]? to"));
static NOT_GROUPED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?s)column "([^"]+)" must appear in the GROUP BY|non-aggregate values: .*?Column:? ?`?([\w.$]+)"#)
});
static MISSING_COLUMN: LazyLock<Regex> = LazyLock::new(|| pattern(r"No field named ([^.\s]+(?:\.[^.\s]+)*)"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern is valid")
}

fn describe_text(message: &str, resolver: &NameResolver<'_>) -> Finding {
    if let Some(found) = INVALID_FUNCTION.captures(message) {
        return unknown_function(&found[1], resolver);
    }
    if let Some(found) = NO_MATCH.captures(message).or_else(|| COERCE_CALL.captures(message)) {
        return wrong_arguments(&found[1], &found[2]);
    }
    if let Some(found) = NOT_GROUPED.captures(message) {
        let column = found.get(1).or(found.get(2)).map_or("", |column| column.as_str());
        let name = column.rsplit('.').next().unwrap_or(column).to_owned();
        let diagnostic = Diagnostic::new(format!("column `{name}` is neither grouped nor inside an aggregate"));
        let diagnostic = diagnostic.with_hint(format!("add {name} to GROUP BY, or aggregate it: MAX({name})"));
        return Finding { diagnostic, subject: Some(name) };
    }
    if let Some(found) = MISSING_COLUMN.captures(message) {
        let name = found[1].trim_matches(['"', '\'']).to_owned();
        return Finding { diagnostic: Diagnostic::new(format!("column `{name}` does not exist")), subject: Some(name) };
    }
    Diagnostic::new(plain(message)).into()
}

fn unknown_function(name: &str, resolver: &NameResolver<'_>) -> Finding {
    let mut names = resolver.functions.names();
    names.extend(super::aggregates::names());
    let diagnostic = Diagnostic::new(format!("there is no function {}", name.to_uppercase()));
    let diagnostic = match closest(name, names.iter().map(String::as_str)) {
        Some(candidate) => diagnostic.with_hint(format!("did you mean {}?", candidate.to_uppercase())),
        None => diagnostic.with_hint("SHOW FUNCTIONS lists them all"),
    };
    Finding { diagnostic, subject: Some(name.to_owned()) }
}

fn wrong_arguments(name: &str, types: &str) -> Finding {
    let function = name.to_uppercase();
    let types = plain(types);
    let message = match types.trim() {
        "" => format!("{function} needs arguments"),
        types => format!("{function} cannot be called with ({types})"),
    };
    let hint = "check the number of arguments, or CAST them to the type that the function takes";
    Finding { diagnostic: Diagnostic::new(message).with_hint(hint), subject: Some(name.to_owned()) }
}

/// Words of DataFusion and Arrow that a user has never heard of, and what is said instead.
static WORDS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let words = [
        (r"Timestamp\((?:Millisecond|ms|s|Second), None\)|Timestamp\((?:ms|s)\)", "TIMESTAMP(3)"),
        (r"Timestamp\((?:Microsecond|µs|us), None\)|Timestamp\((?:µs|us)\)", "TIMESTAMP(6)"),
        (r"Timestamp\((?:Nanosecond|ns), None\)|Timestamp\(ns\)", "TIMESTAMP(9)"),
        (r#"Timestamp\((?:Millisecond|ms|s|Second), (?:Some\()?"[^"]*"\)?\)"#, "TIMESTAMP_LTZ(3)"),
        (r#"Timestamp\((?:Microsecond|µs|us), (?:Some\()?"[^"]*"\)?\)"#, "TIMESTAMP_LTZ(6)"),
        (r#"Timestamp\((?:Nanosecond|ns), (?:Some\()?"[^"]*"\)?\)"#, "TIMESTAMP_LTZ(9)"),
        (r"Interval\(\w+\)|Duration\(\w+\)", "INTERVAL"),
        (r"Time(?:32|64)\(\w+\)", "TIME"),
        (r"Decimal(?:32|64|128|256)\((\d+), (\d+)\)", "DECIMAL($1, $2)"),
        (r"\b(?:Large)?Utf8(?:View)?\b", "STRING"),
        (r"\b(?:Large)?Binary(?:View)?\b", "BYTES"),
        (r"\bInt8\b", "TINYINT"),
        (r"\bInt16\b", "SMALLINT"),
        (r"\bInt32\b", "INT"),
        (r"\bU?Int64\b", "BIGINT"),
        (r"\bFloat32\b", "FLOAT"),
        (r"\bFloat64\b", "DOUBLE"),
        (r"\bBoolean\b", "BOOLEAN"),
        (r"\bDate(?:32|64)\b", "DATE"),
        (r"\bNull\b", "NULL"),
    ];
    words.into_iter().map(|(regex, word)| (pattern(regex), word)).collect()
});
static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:Error during planning|This feature is not implemented|Execution error|Schema error|Arrow error|Optimizer rule '\w+' failed|type_coercion|Internal error|External error)(?::\s*|\n?caused by\n?|$)",
    )
});
static INTERNAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b__\w+"));

/// A message of DataFusion without prefixes, notes to its developers, Arrow's type names and our internal names.
pub(crate) fn plain(message: &str) -> String {
    let mut text = message.to_owned();
    while let Some(prefix) = PREFIX.find(&text).filter(|prefix| !prefix.is_empty()) {
        text.replace_range(..prefix.end(), "");
    }
    let text = text.split(".\nThis issue was likely").next().unwrap_or_default();
    let text = text.split("\n\nBacktrace").next().unwrap_or_default();
    let text = text.split("You might need to add explicit type casts").next().unwrap_or_default();
    let mut text = text.replace("DataFusion", "the planner").replace('\n', " ");
    for (regex, word) in WORDS.iter() {
        text = regex.replace_all(&text, *word).into_owned();
    }
    let text = INTERNAL.replace_all(&text, |_: &Captures<'_>| "expression");
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// Where the statement mentions a column or function of this name; empty if nowhere.
pub(crate) fn place_of_name(query: &Query, name: &str) -> Span {
    let matches = |ident: &sqlparser::ast::Ident| ident.value.eq_ignore_ascii_case(name);
    let found = visit_expressions(query, |expr| {
        let ident = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.iter().find(|part| matches(part)),
            Expr::Function(call) => call.name.0.last().and_then(|part| part.as_ident()),
            _ => None,
        };
        match ident.filter(|ident| matches(ident)) {
            Some(ident) => ControlFlow::Break(ident.span),
            None => ControlFlow::Continue(()),
        }
    });
    match found {
        ControlFlow::Break(span) => span,
        ControlFlow::Continue(()) => Span::empty(),
    }
}

/// The start of the query.
pub(crate) fn first_place(query: &Query) -> Span {
    let start = query.span().start;
    Span::new(start, start)
}

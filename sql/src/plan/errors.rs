//! DataFusion's errors in plain words, with a place in the statement.

use std::sync::LazyLock;

use arrow::datatypes::DataType;
use datafusion_common::{Column, DataFusionError, SchemaError};
use regex::Regex;
use sqlparser::ast::{Expr, Query, Spanned};
use sqlparser::tokenizer::{Location, Span};
use tidemill_engine::suggestion::closest;

use super::context::NameResolver;
use super::wording::pattern;
use super::{places, windows, wording};
use crate::diagnostic::Diagnostic;

/// Names of columns that a message lists at most.
const COLUMNS_LISTED_MAX: usize = 30;

/// What went wrong, at the best place that is known: DataFusion's span, else where the statement has the name or the
/// form that the message is about, else the statement itself.
pub(crate) fn diagnostic(error: DataFusionError, resolver: &NameResolver<'_>, query: &Query) -> Diagnostic {
    let span = span_of(&error);
    let finding = describe(&error, resolver);
    let named = finding.subject.as_deref().map_or_else(Span::empty, |name| places::of_name(query, name));
    let formed = places::of_form(query, &finding.diagnostic.message);
    finding.diagnostic.or_at(span).or_at(named).or_at(formed).or_at(places::first(query))
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
        other => wording::plain(&other.message()),
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
            None => Diagnostic::new(wording::plain(&inner.to_string())).into(),
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
            let name = &wording::sql_words(name);
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
    let mut names: Vec<&str> = Vec::new();
    for name in valid.iter().map(|column| column.name.as_str()).filter(|name| !is_computed(name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
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

/// True for names that no user gave.
fn is_computed(name: &str) -> bool {
    name.starts_with("__") || name.starts_with("EXPR$") || name.contains('(')
}

static INVALID_FUNCTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"Invalid function '([^']*)'"));
static NO_MATCH: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)No function matches the given name and argument types '(\w+)\((.*?)\)'"));
static COERCE_CALL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)(?:call to|Function|function) '(\w+)'.*?coercion from \[?([^\]]*?)\]? to"));
static COERCION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?s)user-defined coercion failed with: (.*?)\.? No function matches the given name and argument types '(\w+)\(",
    )
});
static ARITY: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"Function '(\w+)' expects (?:at least )?(\d+) arguments? but received (\d+)"));
static NOT_GROUPED: LazyLock<Regex> = LazyLock::new(|| pattern(r#"(?s)column "([^"]+)" must appear in the GROUP BY"#));
static MISSING_FIELD: LazyLock<Regex> = LazyLock::new(|| pattern(r"Field (\S+) not found in struct"));
static MISSING_COLUMN: LazyLock<Regex> = LazyLock::new(|| pattern(r"No field named ([^.\s]+(?:\.[^.\s]+)*)"));

/// Messages of DataFusion, what is said instead, and the hint.
static REWRITES: LazyLock<Vec<(Regex, &str, &str)>> = LazyLock::new(|| {
    let rewrites = [
        (
            r"(?s)Cannot coerce arithmetic expression (.+?) (\S+) (.+?) to valid types",
            "$1 $2 $3 cannot be computed",
            "CAST one side",
        ),
        (
            r"(?s)Cannot infer common argument type for (?:\w+ )+operation (.+?) (\S+) (.+)$",
            "$1 $2 $3: these types cannot be compared",
            "CAST one side",
        ),
        (
            r"(?s)Cannot create filter with non-boolean predicate '.*' returning (.+)$",
            "a condition must be BOOLEAN, but this one is $1",
            "compare it with a value",
        ),
        (
            r"(?s)Aggregate functions are not allowed in the WHERE clause.*",
            "an aggregate cannot stand in WHERE",
            "put the condition into HAVING",
        ),
        (
            r"(?s)Aggregate function calls cannot be nested.*",
            "an aggregate cannot stand inside another one",
            "compute the inner one in a subquery",
        ),
        (
            r"(?s)Failed to coerce then \((.+)\) and else \((.+)\) to common types in CASE.*",
            "the branches of CASE have types without a common one: $1; $2",
            "CAST the branches to one type",
        ),
        (
            r#"(?s)Projections require unique expression names but the expression ".*" at position \d+ and "(?:.* AS )?(?:\w+\.)?(.*?)" at position.*"#,
            "two columns of one SELECT are called $1",
            "give one of them another name with AS",
        ),
        (
            r"(?s)Incompatible inputs for Union: Previous inputs were of type (.+), but got incompatible type (.+) on column '(.+)'",
            "column `$3` of this UNION is $2, but $1 in the queries before",
            "CAST one of them",
        ),
        (
            r"(?s)(UNION) queries have different number of columns",
            "the queries of this $1 have different numbers of columns",
            "give them the same columns",
        ),
        (
            r"(?s)There isn't a common type to coerce (.+) and (.+) in I?LIKE expression",
            "$1 LIKE $2: LIKE takes texts",
            "CAST the value to STRING",
        ),
        (
            r"(?s)Can not find compatible types to compare (.+) with \[(.+)\]",
            "$1 cannot be compared with $2, the values of IN",
            "CAST them to one type",
        ),
        (
            r"(?s)Failed to coerce types (.+) and (.+) in BETWEEN expression",
            "$1 and $2 cannot be compared in BETWEEN",
            "CAST one of them",
        ),
        (
            r"(?s).*Failed to unify argument types of make_array: \[(.+)\]",
            "the elements of an ARRAY have types without a common one: $1",
            "CAST them to one type",
        ),
        (
            r"(?s)Cannot automatically convert (.+) to INTERVAL.*",
            "$1 cannot be computed with an interval",
            "write the length as an INTERVAL: n * INTERVAL '1' DAY",
        ),
        (r"(?s)Unsupported CAST from (.+) to (.+)$", "$1 cannot be cast to $2", "convert it with a function"),
        (r"(?s)Cannot cast string '(.*)' to value of (.+) type", "the text '$1' is no $2", "write values of one type"),
        (
            r"(?s)Cannot access field at argument 1: type (\S+) is not .*",
            "$1 has no fields or elements",
            "only ROW, MAP and ARRAY values have",
        ),
        (
            r"(?s)Dot access not supported.*",
            "a field cannot be taken here",
            "give the expression a name in a subquery first",
        ),
        (
            r"(?s)Correlated scalar subquery must be aggregated to return at most one row.*",
            "this subquery stands for one value, but may give more rows than one for a row around it",
            "aggregate it: MAX(x), or choose one: ORDER BY ... LIMIT 1",
        ),
        (
            r"(?s)Too many columns! The subquery should only return one column: (.+)",
            "a subquery in this place gives one column, not several: $1",
            "select one column; several are compared as (a, b) IN (SELECT x, y ...)",
        ),
        (
            r"(?s)Source table contains (\d+) columns but only (\d+) names given as column alias.*",
            "this table has $1 columns, but its alias names $2",
            "name all of its columns, or none: FROM t AS x",
        ),
        (
            r"(?s)(ANY|ALL) in I?LIKE expression.*",
            "LIKE takes one pattern, and not $1 of several",
            "write EXISTS (SELECT 1 FROM ... WHERE x LIKE pattern)",
        ),
        (
            r"(?s)In/Exist/SetComparison subquery can only be used in .* but was used in \[Sort.*",
            "IN, EXISTS, ANY and ALL cannot stand in ORDER BY",
            "give the value a name in an inner query and order by that",
        ),
        (
            r"(?s)Function 'replace' requires String, but received (\w+(?:\([^)]*\))?).*",
            "$1 as a pattern: LIKE takes texts",
            "CAST the pattern to STRING",
        ),
        (
            r"(?s)Order by column out of bounds, specified: (\d+), max: (\d+)",
            "ORDER BY $1: the query gives $2 column(s)",
            "write the column's name",
        ),
        (
            r"(?s)Cannot find column with position (\d+) in SELECT clause. Valid columns: 1 to (\d+)",
            "GROUP BY $1: the query gives $2 column(s)",
            "write the column's name",
        ),
        (
            r"(?s)Unary operator 'NOT' requires a boolean expression, got (.+)$",
            "a condition must be BOOLEAN, but this one is $1",
            "compare it with a value",
        ),
        (
            r"(?s)Unary operator '-' only supports signed numeric.*",
            "only numbers and intervals can be negative",
            "CAST the value to a number",
        ),
        (r"(?s)Unsupported ast node.*?: (.+)$", "this is not supported: $1", "write it in another way"),
    ];
    rewrites.into_iter().map(|(regex, text, hint)| (pattern(regex), text, hint)).collect()
});

fn describe_text(message: &str, resolver: &NameResolver<'_>) -> Finding {
    if let Some(found) = COERCION.captures(message) {
        return refused_arguments(&found[2], &found[1]);
    }
    if let Some(found) = ARITY.captures(message) {
        let text = format!("{} takes {} argument(s), not {}", found[1].to_uppercase(), &found[2], &found[3]);
        return Finding { diagnostic: Diagnostic::new(text), subject: Some(found[1].to_owned()) };
    }
    if let Some(found) = INVALID_FUNCTION.captures(message) {
        return unknown_function(&found[1], resolver);
    }
    if let Some(found) = NO_MATCH.captures(message).or_else(|| COERCE_CALL.captures(message)) {
        return wrong_arguments(&found[1], &found[2]);
    }
    if let Some(found) = NOT_GROUPED.captures(message) {
        let name = found[1].rsplit('.').next().unwrap_or(&found[1]).to_owned();
        let diagnostic = Diagnostic::new(format!("column `{name}` is neither grouped nor inside an aggregate"));
        let diagnostic = diagnostic.with_hint(format!("add {name} to GROUP BY, or aggregate it: MAX({name})"));
        return Finding { diagnostic, subject: Some(name) };
    }
    if let Some(found) = MISSING_COLUMN.captures(message) {
        let name = found[1].trim_matches(['"', '\'']).to_owned();
        return Finding { diagnostic: Diagnostic::new(format!("column `{name}` does not exist")), subject: Some(name) };
    }
    if let Some(found) = MISSING_FIELD.captures(message) {
        return missing_field(&found[1], resolver).into();
    }
    let message = wording::plain(message);
    let rewrite = REWRITES.iter().find(|(regex, ..)| regex.is_match(&message));
    match rewrite {
        Some((regex, text, hint)) => Diagnostic::new(regex.replace(&message, *text)).with_hint(*hint).into(),
        None => {
            // The engine's refusals bring their own hint.
            match message.split_once(" hint: ") {
                Some((text, hint)) => Diagnostic::new(text).with_hint(hint).into(),
                None => Diagnostic::new(message).into(),
            }
        }
    }
}

/// It is not said of which ROW, so the fields of all tables are looked at.
fn missing_field(name: &str, resolver: &NameResolver<'_>) -> Diagnostic {
    let mut fields = Vec::new();
    let columns = resolver.context.catalog.tables().flat_map(|table| &table.columns);
    columns.for_each(|column| add_fields(&column.data_type, &mut fields));
    let diagnostic = Diagnostic::new(format!("the ROW has no field `{name}`"));
    let diagnostic = diagnostic.with_hint("DESCRIBE the table to see its fields");
    diagnostic.with_suggestion(name, fields)
}

fn add_fields<'a>(data_type: &'a DataType, names: &mut Vec<&'a str>) {
    match data_type {
        DataType::Struct(fields) => {
            for field in fields {
                names.push(field.name());
                add_fields(field.data_type(), names);
            }
        }
        DataType::List(inner) | DataType::Map(inner, _) => add_fields(inner.data_type(), names),
        _ => {}
    }
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

/// A function said itself what is wrong with its arguments.
fn refused_arguments(name: &str, reason: &str) -> Finding {
    let reason = wording::plain(reason);
    if reason.starts_with("Fail to find the coerced type") {
        let text = format!("{}: the values have types without a common one", name.to_uppercase());
        let diagnostic = Diagnostic::new(text).with_hint("CAST them to one type");
        return Finding { diagnostic, subject: Some(name.to_owned()) };
    }
    if let Some((_, types)) = reason.split_once("Failed to unify argument types of make_array: ") {
        let types = types.trim_matches(['[', ']']);
        let text = format!("the elements of an ARRAY have types without a common one: {types}");
        return Diagnostic::new(text).with_hint("CAST them to one type").into();
    }
    let (text, hint) = match reason.split_once(" hint: ").or_else(|| reason.split_once("; ")) {
        Some((text, hint)) => (text, Some(hint)),
        None => (reason.as_str(), None),
    };
    let function = name.to_uppercase();
    let text = if text.starts_with(&function) { text.to_owned() } else { format!("{function}: {text}") };
    let diagnostic = Diagnostic::new(text);
    let diagnostic = match hint {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic,
    };
    Finding { diagnostic, subject: Some(name.to_owned()) }
}

fn wrong_arguments(name: &str, types: &str) -> Finding {
    let function = name.to_uppercase();
    let types = wording::plain(types);
    if name == "array_element" {
        let of = types.rsplit_once(", ").map_or(types.as_str(), |(of, _)| of);
        let diagnostic = Diagnostic::new(format!("{of} has no fields or elements"));
        return diagnostic.with_hint("only ROW, MAP and ARRAY values have").into();
    }
    let message = match types.trim() {
        "" => format!("{function} needs arguments"),
        types => format!("{function} cannot be called with ({types})"),
    };
    let hint = "check the number of arguments, or CAST them to the type that the function takes";
    Finding { diagnostic: Diagnostic::new(message).with_hint(hint), subject: Some(name.to_owned()) }
}

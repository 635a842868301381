//! Window table functions: `TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' MINUTES))` and its kin become the
//! derived table that [`crate::window_call`] describes.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, OrderByExpr, Query, Select,
    SelectItem, SetExpr, Spanned, TableAlias, TableFactor, TableWithJoins,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};
use tidemill_engine::time::window;

use super::expression::{bare_function, function, string_literal, subquery};
use super::tokens::{Parsed, accept, accept_token, expect_token, identifier, unexpected};
use super::window_kind::{Shape, window_kind};
use super::{interval, query_parts};
use crate::diagnostic::Diagnostic;
use crate::window_call::{
    WINDOW_END, WINDOW_END_MARKER, WINDOW_START, WINDOW_START_MARKER, WINDOW_TIME, WINDOW_TIME_MARKER, WindowCall,
};

/// Name of the function that carries a `TABLE x [PARTITION BY ...]` argument: the table as a subquery argument, the
/// partition keys as its WITHIN GROUP.
const DATA_MARKER: &str = "__table";

/// `TABLE x`, `TABLE(x)` or `TABLE(SELECT ...)`, with an optional PARTITION BY, as an expression.
pub(super) fn data_argument(parser: &mut Parser) -> Parsed<Expr> {
    let start = parser.next_token().span;
    let query = if accept_token(parser, &Token::LParen) {
        let query = if starts_query(parser) { parser.parse_query()? } else { table_query(parser)? };
        expect_token(parser, &Token::RParen)?;
        query
    } else {
        table_query(parser)?
    };
    let mut data = bare_function(Ident::with_span(start, DATA_MARKER), subquery(query));
    if accept(parser, &["PARTITION", "BY"]) {
        let parenthesized = accept_token(parser, &Token::LParen);
        data.within_group.push(OrderByExpr::from(identifier(parser, "a column to partition by")?));
        while !at_named_argument(parser) && accept_token(parser, &Token::Comma) {
            data.within_group.push(OrderByExpr::from(identifier(parser, "a column to partition by")?));
        }
        if parenthesized {
            expect_token(parser, &Token::RParen)?;
        }
    }
    Ok(Expr::Function(data))
}

fn starts_query(parser: &Parser) -> bool {
    use super::tokens::at_words;
    ["SELECT", "WITH", "VALUES"].iter().any(|word| at_words(parser, &[word]))
        || parser.peek_token_ref().token == Token::LParen
}

/// True before `, DESCRIPTOR(...)` and before `, NAME => ...`: there the list of partition keys ends.
fn at_named_argument(parser: &Parser) -> bool {
    parser.peek_token_ref().token == Token::Comma
        && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_))
        && matches!(parser.peek_nth_token_ref(2).token, Token::RArrow | Token::LParen)
}

fn table_query(parser: &mut Parser) -> Parsed<Box<Query>> {
    let mut parts = vec![identifier(parser, "the name of a table")?];
    while accept_token(parser, &Token::Period) {
        parts.push(identifier(parser, "a name")?);
    }
    if parser.peek_token_ref().token == Token::LParen {
        return Err(unexpected(parser, "`,`").with_hint("a window function reads a table, a view or TABLE(SELECT ...)"));
    }
    let from = query_parts::named_table(ObjectName::from(parts));
    Ok(query_parts::query(query_parts::select(vec![query_parts::wildcard()], vec![from])))
}

/// Rewrites a table factor that calls a window table function; leaves any other as it is.
pub(super) fn rewrite(factor: &mut TableFactor) -> Parsed<()> {
    let (call, alias) = match factor {
        TableFactor::TableFunction { expr: Expr::Function(call), alias } => (call.clone(), alias.take()),
        TableFactor::TableFunction { expr, .. } => return Err(not_a_table_function(expr.span())),
        TableFactor::Table { name, args: Some(args), alias, .. } if shape_of(name).is_some() => {
            let mut call = bare_function(Ident::new(""), FunctionArguments::None);
            call.name = name.clone();
            let list = sqlparser::ast::FunctionArgumentList {
                duplicate_treatment: None,
                args: args.args.clone(),
                clauses: vec![],
            };
            call.args = FunctionArguments::List(list);
            (call, alias.take())
        }
        _ => return Ok(()),
    };
    *factor = window_table(call, alias)?;
    Ok(())
}

fn not_a_table_function(span: Span) -> Diagnostic {
    Diagnostic::at(span, "this is not a table function").with_hint("TABLE(...) takes TUMBLE, HOP, CUMULATE or SESSION")
}

fn shape_of(name: &ObjectName) -> Option<Shape> {
    match name.0.as_slice() {
        [part] => Shape::named(&part.as_ident()?.value),
        _ => None,
    }
}

fn window_table(call: Function, alias: Option<TableAlias>) -> Parsed<TableFactor> {
    let span = call.name.span();
    let Some(shape) = shape_of(&call.name) else {
        let name = call.name.to_string();
        let names = Shape::ALL.iter().map(|shape| shape.name());
        return Err(Diagnostic::at(span, format!("there is no table function `{name}`")).with_suggestion(&name, names));
    };
    let FunctionArguments::List(list) = call.args else {
        return Err(Diagnostic::at(span, format!("{} needs arguments", shape.name())).with_hint(shape.usage()));
    };
    let arguments = Arguments::bind(shape, list.args, span)?;
    let data = arguments.data(span)?;
    let time = arguments.time_column(span)?;
    let kind = window_kind(shape, &arguments.intervals(span)?, span)?;
    let call = WindowCall { kind, partition_by: data.partition_by, line: span.start.line, column: span.start.column };
    Ok(marked_table(data.factor, &call, time, alias.or(data.alias)))
}

/// `(SELECT *, markers FROM factor) AS alias`.
pub(super) fn marked_table(
    factor: TableFactor,
    call: &WindowCall,
    time: Expr,
    alias: Option<TableAlias>,
) -> TableFactor {
    let from = TableWithJoins { relation: factor, joins: vec![] };
    let select = marked_select(vec![from], call, time);
    TableFactor::Derived { lateral: false, subquery: query_parts::query(select), alias, sample: None }
}

fn marked_select(from: Vec<TableWithJoins>, call: &WindowCall, time: Expr) -> Select {
    let place = query_parts::place(call.line, call.column);
    let json = serde_json::to_string(call).expect("a window call holds no map with keys that are not strings");
    let markers =
        [(WINDOW_START_MARKER, WINDOW_START), (WINDOW_END_MARKER, WINDOW_END), (WINDOW_TIME_MARKER, WINDOW_TIME)];
    let marked = markers.map(|(marker, name)| SelectItem::ExprWithAlias {
        expr: function(Ident::with_span(place, marker), vec![string_literal(json.clone(), place), time.clone()]),
        alias: query_parts::quoted(name, place),
    });
    let projection = std::iter::once(query_parts::wildcard()).chain(marked).collect();
    query_parts::select(projection, from)
}

/// The arguments of a window table function, by name.
struct Arguments {
    shape: Shape,
    values: Vec<(&'static str, Expr)>,
}

struct Data {
    factor: TableFactor,
    alias: Option<TableAlias>,
    partition_by: Vec<String>,
}

impl Arguments {
    fn bind(shape: Shape, args: Vec<FunctionArg>, span: Span) -> Parsed<Self> {
        let parameters = shape.parameters();
        let mut bound = Self { shape, values: vec![] };
        if args.len() > parameters.len() {
            let text = format!("{} takes at most {} arguments, not {}", shape.name(), parameters.len(), args.len());
            return Err(Diagnostic::at(span, text).with_hint(shape.usage()));
        }
        for (position, arg) in args.into_iter().enumerate() {
            let (name, value) = match arg {
                FunctionArg::Unnamed(value) => (parameters[position], value),
                FunctionArg::Named { name, arg, .. } => (bound.parameter(&name)?, arg),
                FunctionArg::ExprNamed { name, .. } => {
                    return Err(Diagnostic::at(name.span(), "expected the name of an argument"));
                }
            };
            let FunctionArgExpr::Expr(value) = value else {
                return Err(Diagnostic::at(span, "`*` is not an argument").with_hint(shape.usage()));
            };
            if bound.get(name).is_some() {
                return Err(Diagnostic::at(value.span(), format!("the argument {name} is given twice")).or_at(span));
            }
            bound.values.push((name, value));
        }
        Ok(bound)
    }

    fn parameter(&self, name: &Ident) -> Parsed<&'static str> {
        let parameters = self.shape.parameters();
        let found = parameters.iter().find(|parameter| parameter.eq_ignore_ascii_case(&name.value));
        found.copied().ok_or_else(|| {
            Diagnostic::at(name.span, format!("{} has no argument `{}`", self.shape.name(), name.value))
                .with_hint(self.shape.usage())
                .with_suggestion(&name.value, parameters.iter().copied())
        })
    }

    fn get(&self, name: &str) -> Option<&Expr> {
        self.values.iter().find(|(bound, _)| *bound == name).map(|(_, value)| value)
    }

    fn require(&self, name: &str, span: Span) -> Parsed<&Expr> {
        self.get(name).ok_or_else(|| {
            Diagnostic::at(span, format!("{} needs the argument {name}", self.shape.name()))
                .with_hint(self.shape.usage())
        })
    }

    fn data(&self, span: Span) -> Parsed<Data> {
        let argument = self.require("DATA", span)?;
        if let Expr::Subquery(query) = argument {
            let (factor, alias) = unwrap_table(query);
            return Ok(Data { factor, alias, partition_by: vec![] });
        }
        let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), within_group, .. }) = argument
        else {
            return Err(not_a_table(argument, self.shape).or_at(span));
        };
        if name.to_string() != DATA_MARKER {
            return Err(not_a_table(argument, self.shape).or_at(span));
        }
        let partition_by: Vec<String> = within_group.iter().map(|key| key_name(&key.expr)).collect();
        if !partition_by.is_empty() && self.shape != Shape::Session {
            let text = format!("{} does not take PARTITION BY", self.shape.name());
            return Err(Diagnostic::at(within_group[0].expr.span(), text)
                .with_hint("only SESSION windows have keys of their own; put the keys into GROUP BY"));
        }
        let (factor, alias) = unwrap_table(query);
        Ok(Data { factor, alias, partition_by })
    }

    fn time_column(&self, span: Span) -> Parsed<Expr> {
        let argument = self.require("TIMECOL", span)?;
        let place = argument.span();
        let problem = |text: &str| {
            let found = Diagnostic::at(place, text).or_at(span);
            Err(found.with_hint("name the time column as DESCRIPTOR(ts)"))
        };
        let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = argument else {
            return problem("the time column must be given as a DESCRIPTOR");
        };
        if !name.to_string().eq_ignore_ascii_case("DESCRIPTOR") {
            return problem("the time column must be given as a DESCRIPTOR");
        }
        match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(column @ Expr::Identifier(_)))] => Ok(column.clone()),
            [_] => problem("DESCRIPTOR takes the name of a column"),
            _ => problem("DESCRIPTOR takes exactly one column here"),
        }
    }

    /// The interval arguments that were given, by name, with their places.
    fn intervals(&self, span: Span) -> Parsed<Vec<(&'static str, window::Span, Span)>> {
        let mut found = vec![];
        for parameter in self.shape.intervals() {
            let Some(value) = self.get(parameter.name) else {
                if parameter.required {
                    self.require(parameter.name, span)?;
                }
                continue;
            };
            let place = value.span().union(&Span::empty());
            let Some(length) = interval::span_of_literal(value) else {
                let text = format!("the argument {} of {} must be an interval", parameter.name, self.shape.name());
                return Err(Diagnostic::at(place, text).or_at(span).with_hint("for example INTERVAL '10' MINUTE"));
            };
            found.push((parameter.name, length, if place == Span::empty() { span } else { place }));
        }
        Ok(found)
    }
}

fn not_a_table(argument: &Expr, shape: Shape) -> Diagnostic {
    let found = Diagnostic::at(argument.span(), format!("the first argument of {} must be a table", shape.name()));
    match argument {
        Expr::Identifier(name) => found.with_hint(format!("write TABLE {}", name.value)),
        _ => found.with_hint(shape.usage()),
    }
}

fn key_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        other => other.to_string(),
    }
}

/// `SELECT * FROM x` back to `x` with its own name as the alias; any other query stays a derived table.
fn unwrap_table(query: &Query) -> (TableFactor, Option<TableAlias>) {
    if let SetExpr::Select(select) = query.body.as_ref()
        && let [TableWithJoins { relation: TableFactor::Table { name, alias: None, args: None, .. }, joins }] =
            select.from.as_slice()
        && joins.is_empty()
        && select.selection.is_none()
        && matches!(select.projection.as_slice(), [SelectItem::Wildcard(_)])
        && *query == *query_parts::query(query_parts::select(vec![query_parts::wildcard()], select.from.clone()))
    {
        let last = name.0.last().and_then(|part| part.as_ident()).cloned();
        return (select.from[0].relation.clone(), last.map(query_parts::alias));
    }
    let subquery = Box::new(query.clone());
    (TableFactor::Derived { lateral: false, subquery, alias: None, sample: None }, None)
}

//! The older group windows: `GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)` with `TUMBLE_START` and its kin become the same
//! derived table as a window table function, grouped by its window columns.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, OrderByKind, Query, Select,
    SelectItem, SetExpr, Spanned, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;
use tidemill_engine::time::window;

use super::interval;
use super::query_parts;
use super::tokens::Parsed;
use super::window_kind::{Shape, window_kind};
use super::window_table::marked_table;
use crate::diagnostic::Diagnostic;
use crate::window_call::{WINDOW_END, WINDOW_START, WINDOW_TIME, WindowCall};

/// Rewrites the SELECT of a query (and those joined to it by UNION) if it groups by a window.
pub(super) fn rewrite(query: &mut Query) -> Parsed<()> {
    let windowed = rewrite_body(&mut query.body)?;
    let order_by = query.order_by.as_mut().map(|order_by| &mut order_by.kind);
    if let (Some(window), Some(OrderByKind::Expressions(keys))) = (windowed, order_by) {
        keys.iter_mut().try_for_each(|key| window.replace_properties(&mut key.expr))?;
    }
    Ok(())
}

fn rewrite_body(body: &mut SetExpr) -> Parsed<Option<GroupWindow>> {
    match body {
        SetExpr::Select(select) => rewrite_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            rewrite_body(left)?;
            rewrite_body(right)?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The group window of a SELECT.
#[derive(Clone)]
struct GroupWindow {
    shape: Shape,
    args: Vec<Expr>,
    span: Span,
}

fn rewrite_select(select: &mut Select) -> Parsed<Option<GroupWindow>> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return Ok(None) };
    let mut windows = vec![];
    for_each_key_list(keys, &mut |list| windows.extend(list.iter().filter_map(group_window)));
    let Some(window) = windows.first().cloned() else { return Ok(None) };
    if let Some(other) = windows.iter().find(|other| other.shape != window.shape || other.args != window.args) {
        return Err(Diagnostic::at(other.span, "a query can group by one window only"));
    }
    let partition_by = if window.shape == Shape::Session { session_keys(keys)? } else { vec![] };
    for_each_key_list(keys, &mut replace_by_columns);
    let call = window.call(partition_by)?;
    mark_from(select, &window, &call)?;
    window.replace_in_select(select)?;
    Ok(Some(window))
}

/// Calls `visit` with the list of keys and with each list inside GROUPING SETS, ROLLUP and CUBE.
fn for_each_key_list(keys: &mut Vec<Expr>, visit: &mut dyn FnMut(&mut Vec<Expr>)) {
    for key in keys.iter_mut() {
        if let Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) = key {
            sets.iter_mut().for_each(&mut *visit);
        }
    }
    visit(keys);
}

fn replace_by_columns(keys: &mut Vec<Expr>) {
    let columns = |span| [WINDOW_START, WINDOW_END, WINDOW_TIME].map(|name| window_column(name, span));
    let replaced = std::mem::take(keys).into_iter().flat_map(|key| match group_window(&key) {
        Some(window) => columns(window.span).to_vec(),
        None => vec![key],
    });
    *keys = replaced.collect();
}

fn window_column(name: &str, span: Span) -> Expr {
    Expr::Identifier(query_parts::quoted(name, span))
}

fn group_window(expr: &Expr) -> Option<GroupWindow> {
    let (name, args) = plain_call(expr)?;
    let shape = Shape::named(&name.value).filter(|shape| *shape != Shape::Cumulate)?;
    Some(GroupWindow { shape, args, span: name.span })
}

/// Name and arguments of a call without any clause.
fn plain_call(expr: &Expr) -> Option<(&Ident, Vec<Expr>)> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), filter: None, over: None, .. }) = expr
    else {
        return None;
    };
    let [part] = name.0.as_slice() else { return None };
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    Some((part.as_ident()?, list.args.iter().map(plain).collect::<Option<_>>()?))
}

/// A session window is per group: its other keys are its partition.
fn session_keys(keys: &[Expr]) -> Parsed<Vec<String>> {
    let mut names = vec![];
    for key in keys.iter().filter(|key| group_window(key).is_none()) {
        match key {
            Expr::Identifier(name) => names.push(name.value.clone()),
            Expr::CompoundIdentifier(parts) if parts.len() == 2 => names.push(parts[1].value.clone()),
            other => {
                return Err(Diagnostic::at(other.span(), "the other keys of a SESSION group must be columns")
                    .with_hint("compute the key in a subquery first: FROM (SELECT ..., expr AS k FROM t)"));
            }
        }
    }
    Ok(names)
}

/// Puts the markers around FROM, keeping the name by which its columns can be qualified.
fn mark_from(select: &mut Select, window: &GroupWindow, call: &WindowCall) -> Parsed<()> {
    let mut from = std::mem::take(&mut select.from);
    let (Some(table), true) = (from.pop(), from.is_empty()) else {
        return Err(Diagnostic::at(window.span, "a group window needs exactly one table in FROM")
            .with_hint("put the join into a subquery"));
    };
    if !table.joins.is_empty() {
        return Err(Diagnostic::at(window.span, "a group window cannot stand over a join")
            .with_hint("put the join into a subquery, or use TABLE(TUMBLE(TABLE ...))"));
    }
    let alias = match &table.relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(query_parts::alias(alias.name.clone()))
        }
        TableFactor::Table { name, .. } => {
            name.0.last().and_then(|part| part.as_ident()).cloned().map(query_parts::alias)
        }
        _ => None,
    };
    let relation = marked_table(table.relation, call, window.args[0].clone(), alias);
    select.from = vec![TableWithJoins { relation, joins: vec![] }];
    Ok(())
}

impl GroupWindow {
    fn call(&self, partition_by: Vec<String>) -> Parsed<WindowCall> {
        let names: &[&'static str] = match self.shape {
            Shape::Hop => &["SLIDE", "SIZE", "OFFSET"],
            Shape::Session => &["GAP"],
            _ => &["SIZE", "OFFSET"],
        };
        let given = self.args.len().saturating_sub(1);
        let required = if self.shape == Shape::Hop { 2 } else { 1 };
        if given < required || given > names.len() {
            return Err(Diagnostic::at(self.span, format!("wrong number of arguments for {}", self.shape.name()))
                .with_hint(self.usage()));
        }
        if !matches!(self.args[0], Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            let place = self.args[0].span();
            return Err(Diagnostic::at(
                place,
                format!("the first argument of {} must be a time column", self.shape.name()),
            )
            .or_at(self.span)
            .with_hint(self.usage()));
        }
        let mut intervals: Vec<(&'static str, window::Span, Span)> = vec![];
        for (name, arg) in names.iter().zip(&self.args[1..]) {
            let place = if arg.span() == Span::empty() { self.span } else { arg.span() };
            let Some(length) = interval::span_of_literal(arg) else {
                let text = format!("the {} of {} must be an interval", name.to_lowercase(), self.shape.name());
                return Err(Diagnostic::at(place, text).with_hint("for example INTERVAL '10' MINUTE"));
            };
            intervals.push((name, length, place));
        }
        let kind = window_kind(self.shape, &intervals, self.span)?;
        Ok(WindowCall { kind, partition_by, line: self.span.start.line, column: self.span.start.column })
    }

    fn usage(&self) -> &'static str {
        match self.shape {
            Shape::Hop => "GROUP BY HOP(ts, slide, size)",
            Shape::Session => "GROUP BY SESSION(ts, gap)",
            _ => "GROUP BY TUMBLE(ts, INTERVAL '10' MINUTE)",
        }
    }

    fn replace_in_select(&self, select: &mut Select) -> Parsed<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                self.replace_properties(expr)?;
            }
        }
        select.having.iter_mut().try_for_each(|having| self.replace_properties(having))
    }

    /// Replaces `TUMBLE_START(ts, size)` and its kin in an expression by the window's columns.
    fn replace_properties(&self, expr: &mut Expr) -> Parsed<()> {
        match expr.visit(&mut Properties(self)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn property(&self, expr: &Expr) -> Parsed<Option<Expr>> {
        let Some((name, args)) = plain_call(expr) else { return Ok(None) };
        let upper = name.value.to_ascii_uppercase();
        let Some((shape, property)) = upper.split_once('_') else { return Ok(None) };
        let column = match property {
            "START" => WINDOW_START,
            "END" => WINDOW_END,
            "ROWTIME" | "PROCTIME" => WINDOW_TIME,
            _ => return Ok(None),
        };
        let Some(shape) = Shape::named(shape).filter(|shape| *shape != Shape::Cumulate) else { return Ok(None) };
        if shape != self.shape || args != self.args {
            return Err(Diagnostic::at(name.span, format!("{upper} does not belong to the window in GROUP BY"))
                .with_hint(format!("its arguments must be those of {} in GROUP BY", self.shape.name())));
        }
        Ok(Some(window_column(column, name.span)))
    }
}

struct Properties<'a>(&'a GroupWindow);

impl VisitorMut for Properties<'_> {
    type Break = Diagnostic;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Diagnostic> {
        match self.0.property(expr) {
            Ok(None) => {}
            Ok(Some(column)) => *expr = column,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

//! `WINDOW w AS (...)`: each OVER that names a window gets its text in place of the name.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, Select, Spanned, Value, VisitMut, VisitorMut,
    WindowFrameBound, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Span;

use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;

/// Puts the windows of a SELECT where they are named.
pub(super) fn rewrite(select: &mut Select) -> Parsed<()> {
    let mut windows = Windows { known: Vec::new() };
    for NamedWindowDefinition(name, window) in std::mem::take(&mut select.named_window) {
        if windows.find(&name).is_ok() {
            return Err(Diagnostic::at(name.span, format!("there are two windows `{}`", name.value)));
        }
        let spec = match window {
            NamedWindowExpr::NamedWindow(other) => windows.find(&other)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => windows.complete(spec)?,
        };
        windows.known.push((name, spec));
    }
    match VisitMut::visit(select, &mut windows) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Windows {
    known: Vec<(Ident, WindowSpec)>,
}

impl Windows {
    fn find(&self, name: &Ident) -> Parsed<&WindowSpec> {
        let found = self.known.iter().find(|(known, _)| known.value == name.value);
        found.map(|(_, spec)| spec).ok_or_else(|| {
            let names = self.known.iter().map(|(name, _)| name.value.as_str());
            Diagnostic::at(name.span, format!("there is no window `{}`", name.value))
                .with_hint("name it behind the query: SELECT ... FROM ... WINDOW w AS (PARTITION BY ... ORDER BY ...)")
                .with_suggestion(&name.value, names)
        })
    }

    /// `OVER (w ORDER BY ts)`: what the window that it starts from says, and what is added to it.
    fn complete(&self, spec: WindowSpec) -> Parsed<WindowSpec> {
        let Some(name) = &spec.window_name else { return Ok(spec) };
        let base = self.find(name)?;
        if !spec.partition_by.is_empty() || (!base.order_by.is_empty() && !spec.order_by.is_empty()) {
            let message = format!("window `{}` says already how its rows are partitioned and ordered", name.value);
            return Err(Diagnostic::at(name.span, message).with_hint("write the whole window here"));
        }
        let order_by = if spec.order_by.is_empty() { base.order_by.clone() } else { spec.order_by };
        let window_frame = spec.window_frame.or_else(|| base.window_frame.clone());
        Ok(WindowSpec { window_name: None, partition_by: base.partition_by.clone(), order_by, window_frame })
    }

    fn resolve(&self, over: &mut WindowType) -> Parsed<()> {
        let spec = match over {
            WindowType::NamedWindow(name) => self.find(name)?.clone(),
            WindowType::WindowSpec(spec) => self.complete(spec.clone())?,
        };
        *over = WindowType::WindowSpec(spec);
        Ok(())
    }
}

impl VisitorMut for Windows {
    type Break = Diagnostic;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Diagnostic> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let place = call.name.span();
        match call.over.as_mut().map(|over| self.resolve(over).and_then(|()| check_frame(over, place))) {
            Some(Err(error)) => ControlFlow::Break(error),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// What planning would refuse without saying where.
fn check_frame(over: &WindowType, place: Span) -> Parsed<()> {
    let WindowType::WindowSpec(WindowSpec { window_frame: Some(frame), .. }) = over else { return Ok(()) };
    let hint = "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW";
    if matches!(frame.start_bound, WindowFrameBound::Following(None)) {
        return Err(Diagnostic::at(place, "a frame cannot start at UNBOUNDED FOLLOWING").with_hint(hint));
    }
    if matches!(frame.end_bound, Some(WindowFrameBound::Preceding(None))) {
        return Err(Diagnostic::at(place, "a frame cannot end at UNBOUNDED PRECEDING").with_hint(hint));
    }
    for bound in std::iter::once(&frame.start_bound).chain(&frame.end_bound) {
        let (WindowFrameBound::Preceding(Some(distance)) | WindowFrameBound::Following(Some(distance))) = bound else {
            continue;
        };
        if !is_distance(distance) {
            let message =
                format!("`{distance}` is no bound of a frame: it takes a constant number of rows, or an interval");
            let span = distance.span();
            let place = if span == Span::empty() { place } else { span };
            return Err(Diagnostic::at(place, message).with_hint(hint));
        }
    }
    Ok(())
}

/// A number or an interval, which are not negative.
fn is_distance(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::Interval(_) => true,
        _ => false,
    }
}

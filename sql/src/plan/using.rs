//! `JOIN ... USING (k)` and `NATURAL JOIN`: the common columns come once and first, and are those of whichever side has a
//! row. Both become conditions in ON before the query is planned, and what is called by a common column's name is what stands
//! for it: the left side's column, the right one's in a RIGHT JOIN, COALESCE of both in a FULL JOIN.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Join,
    JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, Spanned, TableFactor, TableWithJoins,
    Value, VisitMut, VisitorMut, WildcardAdditionalOptions, With,
};
use sqlparser::tokenizer::Span;
use tidemill_engine::suggestion::closest;

use super::context::NameResolver;
use crate::diagnostic::Diagnostic;

/// Rewrites every SELECT of the query.
pub(crate) fn apply(query: &mut Query, resolver: &NameResolver<'_>) -> Result<(), Diagnostic> {
    let mut visitor = Selects { resolver, withs: Vec::new(), last: Vec::new() };
    match VisitMut::visit(query, &mut visitor) {
        ControlFlow::Break(diagnostic) => Err(*diagnostic),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Selects<'a, 'b> {
    resolver: &'a NameResolver<'b>,
    /// Those of the queries around, outermost first.
    withs: Vec<Option<With>>,
    /// Common columns of the SELECT that was visited last.
    last: Vec<Merged>,
}

impl VisitorMut for Selects<'_, '_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.withs.push(query.with.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.withs.pop();
        let merged = std::mem::take(&mut self.last);
        if let (SetExpr::Select(select), Some(order)) = (query.body.as_ref(), &mut query.order_by) {
            // ORDER BY means columns of the result first.
            let is_result = |merged: &Merged| select.projection.iter().any(|item| is_called(item, &merged.name));
            let merged: Vec<Merged> = merged.into_iter().filter(|merged| !is_result(merged)).collect();
            let _: ControlFlow<std::convert::Infallible> =
                VisitMut::visit(order, &mut Names { merged: &merged, depth: 0 });
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        self.last.clear();
        if !select.from.iter().flat_map(|from| &from.joins).any(|join| common_of(&join.join_operator).is_some()) {
            return ControlFlow::Continue(());
        }
        match self.rewrite(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(diagnostic) => ControlFlow::Break(Box::new(diagnostic)),
        }
    }
}

/// The columns by which a join goes without saying.
enum Common<'a> {
    Using(&'a [ObjectName]),
    Natural,
}

fn constraint_of(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn keeps_right(operator: &JoinOperator) -> bool {
    use JoinOperator::{FullOuter, Right, RightOuter};
    common_of(operator).is_some() && matches!(operator, Right(_) | RightOuter(_) | FullOuter(_))
}

/// True for a table whose columns can be called by its name.
fn is_nameable(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { args, alias, .. } => args.is_none() || alias.is_some(),
        TableFactor::Derived { lateral, alias, .. } => !lateral && alias.is_some(),
        _ => false,
    }
}

fn is_bare(options: &WildcardAdditionalOptions) -> bool {
    options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
}

fn is_called(item: &SelectItem, name: &str) -> bool {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value == name,
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value == name,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().is_some_and(|last| last.value == name),
        _ => false,
    }
}

fn common_of(operator: &JoinOperator) -> Option<Common<'_>> {
    match constraint_of(operator)? {
        JoinConstraint::Using(names) => Some(Common::Using(names)),
        JoinConstraint::Natural => Some(Common::Natural),
        _ => None,
    }
}

/// A table of FROM.
struct Relation {
    name: Ident,
    columns: Vec<String>,
}

impl Relation {
    fn column(&self, name: &str) -> Expr {
        self.column_at(&Ident::new(name))
    }

    /// The column, called where this name stands.
    fn column_at(&self, name: &Ident) -> Expr {
        let quoted = |text: &str| Ident::with_quote_and_span('`', name.span, text);
        Expr::CompoundIdentifier(vec![quoted(&self.name.value), quoted(&name.value)])
    }
}

/// A column that several tables have in common.
#[derive(Clone)]
struct Merged {
    name: String,
    value: Expr,
    /// Of these tables.
    of: Vec<usize>,
}

/// Tables joined so far.
#[derive(Default)]
struct Joined {
    relations: Vec<Relation>,
    merged: Vec<Merged>,
}

impl Joined {
    /// What a name means on this side.
    fn find(&self, name: &str) -> Vec<Expr> {
        if let Some(merged) = self.merged.iter().find(|merged| merged.name == name) {
            return vec![merged.value.clone()];
        }
        let having = self.relations.iter().filter(|relation| relation.columns.iter().any(|column| column == name));
        having.map(|relation| relation.column(name)).collect()
    }

    /// Names in order, each once.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.merged.iter().map(|merged| merged.name.clone()).collect();
        for name in self.relations.iter().flat_map(|relation| &relation.columns) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    fn merge(&mut self, name: &str, value: Expr, right: usize) {
        if let Some(merged) = self.merged.iter_mut().find(|merged| merged.name == name) {
            merged.value = value;
            merged.of.push(right);
            return;
        }
        let left = (0..right).filter(|index| self.relations[*index].columns.iter().any(|column| column == name));
        let of = left.chain([right]).collect();
        self.merged.push(Merged { name: name.to_owned(), value, of });
    }

    /// `SELECT *`: the common columns, then what each table has beside them.
    fn all_columns(&self) -> Vec<SelectItem> {
        let item = |expr: Expr, name: &str| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('`', name) };
        let mut items: Vec<SelectItem> =
            self.merged.iter().map(|merged| item(merged.value.clone(), &merged.name)).collect();
        for (index, relation) in self.relations.iter().enumerate() {
            let is_merged =
                |name: &String| self.merged.iter().any(|merged| merged.name == *name && merged.of.contains(&index));
            let own = relation.columns.iter().filter(|name| !is_merged(name));
            items.extend(own.map(|name| SelectItem::UnnamedExpr(relation.column(name))));
        }
        items
    }
}

impl Selects<'_, '_> {
    fn rewrite(&mut self, select: &mut Select) -> Result<(), Diagnostic> {
        let all = |from: &TableWithJoins| {
            is_nameable(&from.relation) && from.joins.iter().all(|join| is_nameable(&join.relation))
        };
        let any_right = |from: &TableWithJoins| from.joins.iter().any(|join| keeps_right(&join.join_operator));
        if !select.from.iter().all(all) && !select.from.iter().any(any_right) {
            // The left side's columns are the common ones: so the planner has it without help.
            return Ok(());
        }
        let joined = select.from.iter_mut().map(|from| self.joined(from)).collect::<Result<Vec<_>, _>>()?;
        let items: Vec<SelectItem> = joined.iter().flat_map(Joined::all_columns).collect();
        // A name that yet another table has is ambiguous, and left to be found so.
        let named = |merged: &Merged| joined.iter().map(|joined| joined.find(&merged.name).len()).sum::<usize>() == 1;
        let alone = |joined: &Joined, merged: &Merged| {
            let having = joined.relations.iter().filter(|relation| relation.columns.contains(&merged.name)).count();
            having == merged.of.len()
        };
        let chosen = |joined: &Joined| {
            let merged = joined.merged.iter().filter(|merged| named(merged) && alone(joined, merged));
            merged.cloned().collect::<Vec<_>>()
        };
        let merged: Vec<Merged> = joined.iter().flat_map(chosen).collect();
        let mut projection = Vec::new();
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) if is_bare(&options) => projection.extend(items.iter().cloned()),
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                    let found = merged.iter().find(|merged| merged.name == name.value);
                    projection.push(match found {
                        Some(merged) => SelectItem::ExprWithAlias { expr: merged.value.clone(), alias: name },
                        None => SelectItem::UnnamedExpr(Expr::Identifier(name)),
                    });
                }
                other => projection.push(other),
            }
        }
        select.projection = projection;
        rename(select, &merged);
        self.last = merged;
        Ok(())
    }

    /// The tables of one item of FROM; conditions take the place of what says which columns are common.
    fn joined(&self, from: &mut TableWithJoins) -> Result<Joined, Diagnostic> {
        let mut joined = Joined { relations: vec![self.relation(&from.relation)?], merged: Vec::new() };
        for join in &mut from.joins {
            let right = self.relation(&join.relation)?;
            let names = match common_of(&join.join_operator) {
                None => Vec::new(),
                Some(Common::Using(names)) => names.iter().map(name_of).collect(),
                Some(Common::Natural) => {
                    let left = joined.names();
                    left.into_iter().filter(|name| right.columns.contains(name)).map(Ident::new).collect()
                }
            };
            let is_plain = common_of(&join.join_operator).is_none();
            joined.relations.push(right);
            if is_plain {
                continue;
            }
            let condition = names.iter().map(|name| meet(&mut joined, name, &join.join_operator));
            let condition = condition.collect::<Result<Vec<_>, _>>()?.into_iter().reduce(and);
            let place =
                |merged: &Merged| names.iter().position(|name| name.value == merged.name).unwrap_or(names.len());
            joined.merged.sort_by_key(place);
            let span = join.relation.span();
            set_condition(join, condition, span);
        }
        Ok(joined)
    }

    fn relation(&self, factor: &TableFactor) -> Result<Relation, Diagnostic> {
        let name = match factor {
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                alias.name.clone()
            }
            TableFactor::Table { name, .. } if is_nameable(factor) => name_of(name),
            _ => {
                let message = "a table beside a join with USING or NATURAL needs a name";
                return Err(Diagnostic::at(factor.span(), message).with_hint("name it: (SELECT ...) AS t"));
            }
        };
        let columns = self.columns(factor)?;
        Ok(Relation { name, columns })
    }

    /// The names of a table's columns, as `SELECT *` over it has them.
    fn columns(&self, factor: &TableFactor) -> Result<Vec<String>, Diagnostic> {
        let lateral =
            matches!(factor, TableFactor::Derived { lateral: true, .. } | TableFactor::Function { lateral: true, .. });
        if lateral {
            let message = "a lateral table cannot stand beside a join with USING or NATURAL";
            return Err(Diagnostic::at(factor.span(), message).with_hint("write the join with ON"));
        }
        let mut query = crate::parser::select_all_of(factor.clone());
        // Inner names hide outer ones.
        for with in self.withs.iter().rev().flatten() {
            query = match query.with {
                None => Query { with: Some(with.clone()), ..query },
                Some(_) => Query {
                    with: Some(with.clone()),
                    body: Box::new(SetExpr::Query(Box::new(query.clone()))),
                    ..crate::parser::select_all_of(factor.clone())
                },
            };
        }
        let planned = self.resolver.query_without_commons(&query);
        let plan = planned.map_err(|error| super::errors::diagnostic(error, self.resolver, &query))?;
        Ok(plan.schema().fields().iter().map(|field| field.name().clone()).collect())
    }
}

fn name_of(name: &ObjectName) -> Ident {
    name.0.last().and_then(|part| part.as_ident().cloned()).unwrap_or_else(|| Ident::new(name.to_string()))
}

/// The condition on one common column; from now on both sides have it as one.
fn meet(joined: &mut Joined, name: &Ident, operator: &JoinOperator) -> Result<Expr, Diagnostic> {
    let place = joined.relations.len() - 1;
    let left = {
        let right = joined.relations.pop();
        let found = joined.find(&name.value);
        let names = joined.names();
        joined.relations.extend(right);
        match <[Expr; 1]>::try_from(found) {
            Ok([left]) => left,
            Err(found) if found.is_empty() => return Err(missing(name, "left", &names)),
            Err(_) => {
                let message = format!("column `{}` is ambiguous: more than one table on the left has it", name.value);
                return Err(Diagnostic::at(name.span, message).with_hint("write the join with ON"));
            }
        }
    };
    let relation = &joined.relations[place];
    if !relation.columns.contains(&name.value) {
        return Err(missing(name, "right", &relation.columns));
    }
    let right = relation.column_at(name);
    let condition =
        Expr::BinaryOp { left: Box::new(left.clone()), op: BinaryOperator::Eq, right: Box::new(right.clone()) };
    let value = match operator {
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right,
        JoinOperator::FullOuter(_) => coalesce(left, right),
        _ => left,
    };
    joined.merge(&name.value, value, place);
    Ok(condition)
}

fn missing(name: &Ident, side: &str, columns: &[String]) -> Diagnostic {
    let message = format!("column `{}` of USING does not exist on the {side} side of the join", name.value);
    let names = columns.join(", ");
    let hint = match closest(&name.value, columns.iter().map(String::as_str)) {
        Some(candidate) => format!("did you mean `{candidate}`? There are: {names}"),
        None => format!("there are: {names}"),
    };
    Diagnostic::at(name.span, message).with_hint(hint)
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

fn coalesce(left: Expr, right: Expr) -> Expr {
    let args = [left, right].map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).to_vec();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("coalesce")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// Without common columns a NATURAL JOIN gives every pair.
fn set_condition(join: &mut Join, condition: Option<Expr>, span: Span) {
    let condition = condition.unwrap_or_else(|| Expr::Value(Value::Boolean(true).with_span(span)));
    let on = JoinConstraint::On(condition);
    match &mut join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => *constraint = on,
        _ => {}
    }
}

/// A common column's bare name becomes what it stands for; within subqueries names are looked up there first.
fn rename(select: &mut Select, merged: &[Merged]) {
    let from = std::mem::take(&mut select.from);
    let mut names = Names { merged, depth: 0 };
    let _: ControlFlow<std::convert::Infallible> = VisitMut::visit(select, &mut names);
    select.from = from;
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        let mut names = Names { merged, depth: 0 };
        let _: ControlFlow<std::convert::Infallible> = VisitMut::visit(&mut join.join_operator, &mut names);
    }
}

struct Names<'a> {
    merged: &'a [Merged],
    depth: usize,
}

impl VisitorMut for Names<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Identifier(name) = expr
            && self.depth == 0
            && let Some(merged) = self.merged.iter().find(|merged| merged.name == name.value)
        {
            *expr = merged.value.clone();
        }
        ControlFlow::Continue(())
    }
}

//! How many tables a query reads once its views and WITH queries stand in its place.
//!
//! Planning puts the query of a view wherever the view is named. Views that each name another one twice would double
//! the plan at every step; counting first keeps such a text from filling the memory.

use std::collections::HashMap;

use sqlparser::ast::{Query, Select, SetExpr, TableFactor, TableWithJoins};

use crate::catalog::{Catalog, Relation};
use crate::diagnostic::Diagnostic;

/// Reads of tables in one expanded query at most; a job has a few dozen.
const READS_MAX: usize = 2_000;
/// Views within views at most.
const VIEW_DEPTH_MAX: usize = 48;

/// Checks that the expanded query stays within bounds and, where `defining` is a view, does not name that view.
pub(crate) fn check(catalog: &Catalog, query: &Query, defining: Option<&str>) -> Result<(), Diagnostic> {
    let mut counter = Counter { catalog, defining, views: HashMap::new(), open: Vec::new() };
    match counter.query(query, &Scope::default(), 0) {
        Ok(reads) if reads <= READS_MAX => Ok(()),
        Ok(_) => Err(Diagnostic::new(format!(
            "with its views and WITH queries put in place, this reads more than {READS_MAX} tables"
        ))
        .with_hint("write what a view reads into a table first, or read it less often")),
        Err(error) => Err(error),
    }
}

/// Names that WITH gives, and the reads that each stands for.
type Scope = HashMap<String, usize>;

struct Counter<'a> {
    catalog: &'a Catalog,
    defining: Option<&'a str>,
    /// Reads of the views counted so far.
    views: HashMap<String, usize>,
    /// Views that are being counted, the outermost first.
    open: Vec<String>,
}

impl Counter<'_> {
    fn query(&mut self, query: &Query, outer: &Scope, depth: usize) -> Result<usize, Diagnostic> {
        let Some(with) = &query.with else { return self.body(&query.body, outer, depth) };
        let mut scope = outer.clone();
        for cte in &with.cte_tables {
            let reads = self.query(&cte.query, &scope, depth)?;
            scope.insert(cte.alias.name.value.clone(), reads);
        }
        self.body(&query.body, &scope, depth)
    }

    fn body(&mut self, body: &SetExpr, scope: &Scope, depth: usize) -> Result<usize, Diagnostic> {
        match body {
            SetExpr::Select(select) => self.select(select, scope, depth),
            SetExpr::Query(query) => self.query(query, scope, depth),
            SetExpr::SetOperation { left, right, .. } => {
                let left = self.body(left, scope, depth)?;
                Ok(left.saturating_add(self.body(right, scope, depth)?))
            }
            _ => Ok(1),
        }
    }

    fn select(&mut self, select: &Select, scope: &Scope, depth: usize) -> Result<usize, Diagnostic> {
        let mut reads = 1usize;
        for table in &select.from {
            reads = reads.saturating_add(self.tables(table, scope, depth)?);
        }
        Ok(reads)
    }

    fn tables(&mut self, table: &TableWithJoins, scope: &Scope, depth: usize) -> Result<usize, Diagnostic> {
        let mut reads = self.factor(&table.relation, scope, depth)?;
        for join in &table.joins {
            reads = reads.saturating_add(self.factor(&join.relation, scope, depth)?);
        }
        Ok(reads)
    }

    fn factor(&mut self, factor: &TableFactor, scope: &Scope, depth: usize) -> Result<usize, Diagnostic> {
        match factor {
            TableFactor::Derived { subquery, .. } => self.query(subquery, scope, depth),
            TableFactor::NestedJoin { table_with_joins, .. } => self.tables(table_with_joins, scope, depth),
            TableFactor::Table { name, .. } => {
                let Some(ident) = name.0.last().and_then(|part| part.as_ident()) else { return Ok(1) };
                match scope.get(&ident.value) {
                    Some(reads) => Ok(*reads),
                    None if self.defining == Some(ident.value.as_str()) => {
                        Err(Diagnostic::at(ident.span, format!("the view `{}` would read itself", ident.value)))
                    }
                    None => self.named(&ident.value, depth).map_err(|error| error.or_at(ident.span)),
                }
            }
            _ => Ok(1),
        }
    }

    fn named(&mut self, name: &str, depth: usize) -> Result<usize, Diagnostic> {
        let Some(Relation::View(view)) = self.catalog.resolve(name) else { return Ok(1) };
        if let Some(reads) = self.views.get(name) {
            return Ok(*reads);
        }
        if self.open.iter().any(|open| open == name) {
            return Err(Diagnostic::new(format!("view `{name}` refers to itself")));
        }
        if depth >= VIEW_DEPTH_MAX {
            return Err(Diagnostic::new(format!("views are nested more than {VIEW_DEPTH_MAX} levels deep")));
        }
        self.open.push(name.to_string());
        let counted = self.query(&view.query, &Scope::default(), depth + 1);
        self.open.pop();
        // A place in the view's own text would be looked up in this one.
        let reads = counted.map_err(|error| Diagnostic::new(format!("in view `{name}`: {}", error.message)))?;
        self.views.insert(name.to_string(), reads);
        Ok(reads)
    }
}

//! Which fields of ROW columns a job reads, so that a source leaves the others undecoded.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};
use datafusion_common::Result;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan, TableScan};
use datafusion_physical_expr::ScalarFunctionExpr;
use datafusion_physical_expr::expressions::Literal;

use super::physical::{Physical, column_index};

/// The function that takes a field out of a ROW; further arguments are fields of that field.
const GET_FIELD: &str = "get_field";

/// What is read of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldUse {
    Whole,
    /// These fields of a ROW.
    Fields(BTreeMap<String, FieldUse>),
}

impl Default for FieldUse {
    fn default() -> Self {
        Self::Fields(BTreeMap::new())
    }
}

impl FieldUse {
    /// Adds the field that the path ends at; an empty path is the value itself.
    pub fn add(&mut self, path: &[String]) {
        match (self, path) {
            (Self::Whole, _) => {}
            (used, []) => *used = Self::Whole,
            (Self::Fields(fields), [first, rest @ ..]) => fields.entry(first.clone()).or_default().add(rest),
        }
    }

    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Whole, _) => {}
            (used, Self::Whole) => *used = Self::Whole,
            (Self::Fields(fields), Self::Fields(others)) => {
                for (name, other) in others {
                    fields.entry(name).or_default().merge(other);
                }
            }
        }
    }

    /// The type with the fields that are read and no others, in their order.
    pub fn narrowed(&self, data_type: &DataType) -> DataType {
        match (self, data_type) {
            (Self::Fields(used), DataType::Struct(fields)) if !used.is_empty() => {
                let kept = fields.iter().filter_map(|field| {
                    let narrowed = used.get(field.name())?.narrowed(field.data_type());
                    Some(Field::new(field.name(), narrowed, field.is_nullable()))
                });
                DataType::Struct(kept.collect())
            }
            _ => data_type.clone(),
        }
    }
}

/// What is read of columns, by their names.
pub(crate) type ColumnUses = BTreeMap<String, FieldUse>;

/// Calls `used` with what the plan reads of each table.
pub(crate) fn of_plan(plan: &LogicalPlan, used: &mut impl FnMut(&TableScan, ColumnUses)) -> Result<()> {
    if let LogicalPlan::TableScan(scan) = plan {
        let names = scan.projected_schema.fields().iter().map(|field| field.name().clone());
        used(scan, names.map(|name| (name, FieldUse::Whole)).collect());
        return Ok(());
    }
    if let LogicalPlan::Projection(projection) = plan
        && let Some((scan, conditions)) = filtered_scan(&projection.input)
    {
        let mut columns = ColumnUses::new();
        for expr in projection.expr.iter().chain(conditions) {
            add_reads(expr, &mut columns)?;
        }
        used(scan, columns);
        return Ok(());
    }
    plan.inputs().into_iter().try_for_each(|input| of_plan(input, used))
}

/// The table at the end of a chain of filters, with their conditions.
fn filtered_scan(mut plan: &LogicalPlan) -> Option<(&TableScan, Vec<&Expr>)> {
    let mut conditions = Vec::new();
    loop {
        match plan {
            LogicalPlan::TableScan(scan) => {
                conditions.extend(&scan.filters);
                return Some((scan, conditions));
            }
            LogicalPlan::Filter(filter) => {
                conditions.push(&filter.predicate);
                plan = &filter.input;
            }
            // The names of columns stay, only the table's changes.
            LogicalPlan::SubqueryAlias(alias) => plan = &alias.input,
            _ => return None,
        }
    }
}

fn add_reads(expr: &Expr, columns: &mut ColumnUses) -> Result<()> {
    expr.apply(|part| {
        Ok(match path_of(part) {
            Some((column, path)) => {
                columns.entry(column.to_string()).or_default().add(&path);
                TreeNodeRecursion::Jump
            }
            None => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(())
}

/// The column, and the way from it to the field, where the expression is nothing else.
fn path_of(expr: &Expr) -> Option<(&str, Vec<String>)> {
    match expr {
        Expr::Column(column) => Some((&column.name, Vec::new())),
        Expr::ScalarFunction(call) if call.func.name() == GET_FIELD => {
            let (value, names) = call.args.split_first()?;
            let (column, mut path) = path_of(value)?;
            for name in names {
                let Expr::Literal(name, _) = name else { return None };
                path.push(name.try_as_str()??.to_string());
            }
            Some((column, path))
        }
        _ => None,
    }
}

/// Calls `read` with each column that the expression reads, by index, and the way from it to the field.
pub(crate) fn of_physical(expr: &Physical, read: &mut impl FnMut(usize, &[String])) -> Result<()> {
    expr.apply(|part| {
        Ok(match physical_path(part) {
            Some((column, path)) => {
                read(column, &path);
                TreeNodeRecursion::Jump
            }
            None => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(())
}

fn physical_path(expr: &Physical) -> Option<(usize, Vec<String>)> {
    if let Some(index) = column_index(expr) {
        return Some((index, Vec::new()));
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.fun().name() == GET_FIELD)?;
    let (value, names) = call.args().split_first()?;
    let (column, mut path) = physical_path(value)?;
    for name in names {
        path.push(name.downcast_ref::<Literal>()?.value().try_as_str()??.to_string());
    }
    Some((column, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: Vec<(&str, DataType)>) -> DataType {
        DataType::Struct(fields.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect())
    }

    fn used(paths: &[&[&str]]) -> FieldUse {
        let mut used = FieldUse::default();
        for path in paths {
            used.add(&path.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        }
        used
    }

    #[test]
    fn a_row_keeps_the_fields_that_are_read_in_their_order() {
        let inner = row(vec![("x", DataType::Int64), ("y", DataType::Utf8)]);
        let data_type = row(vec![("a", DataType::Int32), ("b", inner.clone()), ("c", DataType::Utf8)]);
        assert_eq!(
            used(&[&["c"], &["a"]]).narrowed(&data_type),
            row(vec![("a", DataType::Int32), ("c", DataType::Utf8)])
        );
        let y = row(vec![("b", row(vec![("y", DataType::Utf8)]))]);
        assert_eq!(used(&[&["b", "y"]]).narrowed(&data_type), y);
        assert_eq!(used(&[&["b", "y"], &["b"]]).narrowed(&data_type), row(vec![("b", inner)]));
        assert_eq!(used(&[&["b"], &[]]).narrowed(&data_type), data_type);
        // Only whether it is NULL is asked of a column of which no field is read: it stays whole.
        assert_eq!(used(&[]).narrowed(&data_type), data_type);
        assert_eq!(used(&[&["a"]]).narrowed(&DataType::Int32), DataType::Int32);
    }
}

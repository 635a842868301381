//! INSERT: the query's columns become the table's, with the casts that Flink makes by itself, and go to a sink.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_physical_expr::expressions::{IsNotNullExpr, Literal};
use sqlparser::ast::{Ident, SelectItem, SetExpr, Spanned};
use sqlparser::tokenizer::Span;
use tidemill_engine::graph::{ChangelogMode, Exchange, NodeKind};
use tidemill_engine::sink::{Guarantee, Sink};

use super::casts;
use super::graph_builder::{NodeDraft, detail};
use super::physical::{Physical, column_index};
use super::sink_check::{Demand, demand};
use super::sink_parallelism::Instances;
use super::stream::Stream;
use super::translate::Translator;
use super::{narrow_sums, table, upsert};
use crate::catalog::{OptionProblem, Relation, TableDefinition, Usage};
use crate::diagnostic::Diagnostic;
use crate::parser::statement::InsertQuery;
use crate::types::flink_name;

/// Where each persisted column of the table comes from.
enum Origin {
    /// Column of the query.
    Query(usize),
    /// Constant of PARTITION (...).
    Constant(Expr),
    /// Left out of the column list.
    Null,
}

/// Adds the sink of an INSERT behind its query.
pub(super) fn add_table_sink(
    translator: &mut Translator<'_>,
    insert: &InsertQuery,
    plan: &LogicalPlan,
    rows: Stream,
) -> Result<(), Diagnostic> {
    let definition = target(translator, insert)?;
    let origins = origins(translator, insert, definition, rows.schema.fields())?;
    let schema = definition.sink_schema();
    let plain = |error| Diagnostic::new(super::errors::plain_message(&error));
    let rows = Stream { whole_row: None, ..rows };
    let rows = without_nulls(translator, rows, &origins, &schema).map_err(plain)?;
    let target = Target { translator, plan, rows: &rows, table: definition };
    let mut columns = Vec::new();
    for (origin, field) in origins.iter().zip(schema.fields()) {
        let value = target.assigned(origin, field);
        columns.push(value.map_err(|found| found.or_at(origin_place(origin, insert)).or_at(insert.table.span))?);
    }
    let accepts = translator.resolver.context.connectors.sink_accepts(definition);
    let key = upsert::TargetKey::new(definition, &origins_of_query(&origins, &schema), plan);
    upsert::check(translator, &rows, accepts, definition, &key).map_err(|found| found.or_at(insert.table.span))?;
    let steady = accepts == ChangelogMode::Upsert
        && key.is_upsert_key
        && rows.unstable.as_ref().is_some_and(|unstable| !unstable.filters && !key.reads(unstable));
    let context = translator.resolver.context;
    let sink = context
        .connectors
        .sink(definition, Arc::clone(&schema), context.settings.time_zone())
        .map_err(|problem| option_diagnostic(definition, &problem).or_at(insert.table.span))?;
    let rows = rows.project(columns, Arc::clone(&schema)).map_err(plain)?;
    let event_time = event_time(definition, &schema);
    let instances = Instances::of(definition, &rows, &schema).map_err(|found| found.or_at(insert.table.span))?;
    let resolver = translator.resolver;
    let diagnostic = |error| super::errors::diagnostic(error, resolver, &insert.query);
    let settle = if steady { Translator::settle_as_computed } else { Translator::settle };
    let rows = settled(translator, rows, settle).map_err(diagnostic)?;
    let rows = match accepts {
        ChangelogMode::Upsert => upsert::add(translator, rows, &key).map_err(diagnostic)?,
        _ => rows,
    };
    if sink.takes_whole_table() {
        let rows = upsert::keep_table(translator, &rows, definition);
        add_sink(translator, &rows, sink, &definition.name, event_time, None);
        return Ok(());
    }
    add_sink(translator, &rows, sink, &definition.name, event_time, instances);
    Ok(())
}

/// Adds the sink that shows a bare query's rows.
pub(super) fn add_print_sink(translator: &mut Translator<'_>, rows: Stream) -> Result<()> {
    let context = translator.resolver.context;
    let sink = context.connectors.print_sink(Arc::clone(&rows.schema), rows.changelog);
    let rows = settled(translator, Stream { whole_row: None, ..rows }, Translator::settle)?;
    add_sink(translator, &rows, sink, "print", None, None);
    Ok(())
}

/// The rows as a node gives them, under the names that the sink knows.
fn settled<'a>(
    translator: &mut Translator<'a>,
    rows: Stream,
    settle: fn(&mut Translator<'a>, Stream) -> Result<Stream>,
) -> Result<Stream> {
    let schema = Arc::clone(&rows.schema);
    let rows = settle(translator, rows)?;
    // Same columns, other names: they are relabelled by a node of their own.
    if rows.base == schema { Ok(rows) } else { translator.relabel(rows, schema) }
}

fn add_sink(
    translator: &mut Translator<'_>,
    rows: &Stream,
    sink: Arc<dyn Sink>,
    name: &str,
    event_time: Option<String>,
    instances: Option<Instances>,
) {
    let mut details = vec![detail("guarantee", guarantee(sink.guarantee()))];
    details.extend(event_time.map(|column| detail("event time", column)));
    let (parallelism, keys) = instances.map_or((rows.parallelism, None), |asked| (asked.parallelism, asked.keys));
    let mut input = super::translate::edge(rows, parallelism);
    if let (Exchange::Rebalance, Some(keys)) = (&input.exchange, keys) {
        input.exchange = Exchange::Hash(keys);
    }
    let draft = NodeDraft {
        uid: format!("sink:{name}"),
        name: format!("Sink({name})"),
        kind: NodeKind::Sink(sink),
        inputs: vec![input],
        parallelism,
        schema: Arc::clone(&rows.base),
        changelog: rows.changelog,
        details,
        state_signature: None,
    };
    translator.graph.add(draft);
}

pub(crate) fn guarantee(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ExactlyOnce => "exactly once",
        Guarantee::AtLeastOnce => "at least once",
        Guarantee::None => "none",
    }
}

/// Where the query computes a column of the table; empty when that is not to be seen.
fn origin_place(origin: &Origin, insert: &InsertQuery) -> Span {
    let (Origin::Query(index), SetExpr::Select(select)) = (origin, insert.query.body.as_ref()) else {
        return Span::empty();
    };
    let before = select.projection.iter().take(index + 1);
    let wildcard =
        before.into_iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    match select.projection.get(*index) {
        Some(item) if !wildcard => item.span(),
        _ => Span::empty(),
    }
}

fn target<'t>(translator: &Translator<'t>, insert: &InsertQuery) -> Result<&'t TableDefinition, Diagnostic> {
    let catalog = translator.resolver.context.catalog;
    let definition = match catalog.require(&insert.table)? {
        Relation::Table(definition) => definition,
        Relation::View(_) => {
            let message = format!("`{}` is a view: rows cannot be inserted into it", insert.table.value);
            return Err(Diagnostic::at(insert.table.span, message));
        }
        Relation::Late(_) | Relation::Errors(_) => {
            let message = format!("`{}` can only be read", insert.table.value);
            return Err(Diagnostic::at(insert.table.span, message));
        }
    };
    translator.resolver.context.connectors.check(definition, Usage::Sink).map_err(|problems| {
        let problem = problems.into_iter().next();
        let found = problem.map(|problem| option_diagnostic(definition, &problem));
        found.unwrap_or_else(|| Diagnostic::new("this table cannot be written")).or_at(insert.table.span)
    })?;
    Ok(definition)
}

pub(crate) fn option_diagnostic(definition: &TableDefinition, problem: &OptionProblem) -> Diagnostic {
    let found = Diagnostic::new(format!("table `{}`: {problem}", definition.name));
    match &problem.hint {
        Some(hint) => found.with_hint(hint),
        None => found,
    }
}

/// For each column of the table, the query's column that goes there.
fn origins_of_query(origins: &[Origin], schema: &SchemaRef) -> Vec<(String, Option<usize>)> {
    let column = |origin: &Origin| match origin {
        Origin::Query(index) => Some(*index),
        Origin::Constant(_) | Origin::Null => None,
    };
    schema.fields().iter().zip(origins).map(|(field, origin)| (field.name().clone(), column(origin))).collect()
}

/// Which of the query's columns goes where.
fn origins(
    translator: &Translator<'_>,
    insert: &InsertQuery,
    definition: &TableDefinition,
    given: &Fields,
) -> Result<Vec<Origin>, Diagnostic> {
    let persisted: Vec<_> = definition.columns.iter().filter(|column| column.is_persisted()).collect();
    for name in insert.columns.iter().chain(insert.partition.iter().map(|(name, _)| name)) {
        check_target_column(definition, name)?;
    }
    let in_partition = |name: &str| insert.partition.iter().find(|(ident, _)| ident.value == name);
    let listed: Vec<&str> = match insert.columns.is_empty() {
        true => persisted.iter().map(|c| c.name.as_str()).filter(|name| in_partition(name).is_none()).collect(),
        false => insert.columns.iter().map(|ident| ident.value.as_str()).collect(),
    };
    check_count(insert, &listed, given)?;
    let mut origins = Vec::new();
    for column in &persisted {
        origins.push(match (listed.iter().position(|name| *name == column.name), in_partition(&column.name)) {
            (Some(_), Some((ident, _))) => {
                let message = format!("column `{}` has a value in PARTITION and in the column list", column.name);
                return Err(Diagnostic::at(ident.span, message));
            }
            (Some(index), None) => Origin::Query(index),
            (None, Some((_, value))) => Origin::Constant(constant(translator, value, definition)?),
            (None, None) if column.nullable => Origin::Null,
            (None, None) => {
                let message =
                    format!("column `{}` of `{}` is NOT NULL and gets no value", column.name, definition.name);
                return Err(Diagnostic::at(insert.table.span, message));
            }
        });
    }
    Ok(origins)
}

fn check_target_column(definition: &TableDefinition, name: &Ident) -> Result<(), Diagnostic> {
    match definition.column(&name.value) {
        Some(column) if column.is_persisted() => Ok(()),
        Some(_) => {
            let message = format!("column `{}` of `{}` is computed: it cannot be written", name.value, definition.name);
            Err(Diagnostic::at(name.span, message))
        }
        None => {
            let names = definition.columns.iter().map(|column| column.name.as_str());
            let message = format!("table `{}` has no column `{}`", definition.name, name.value);
            Err(Diagnostic::at(name.span, message).with_suggestion(&name.value, names))
        }
    }
}

fn check_count(insert: &InsertQuery, listed: &[&str], given: &Fields) -> Result<(), Diagnostic> {
    for (position, name) in listed.iter().enumerate() {
        if listed[..position].contains(name) {
            return Err(Diagnostic::at(insert.table.span, format!("column `{name}` is listed twice")));
        }
    }
    if listed.len() == given.len() {
        return Ok(());
    }
    let given_names = given.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
    let message = format!(
        "table `{}` takes {} columns here, but the query gives {}",
        insert.table.value,
        listed.len(),
        given.len()
    );
    let hint = format!("table: {}\n      query: {given_names}", listed.join(", "));
    Err(Diagnostic::at(super::places::first(&insert.query), message).with_hint(hint))
}

fn constant(
    translator: &Translator<'_>,
    value: &sqlparser::ast::Expr,
    definition: &TableDefinition,
) -> Result<Expr, Diagnostic> {
    let (expr, _) = table::bind_expression(translator.resolver, value, &[], definition)?;
    match expr {
        Expr::Literal(..) => Ok(expr),
        _ => Err(Diagnostic::at(value.span(), "PARTITION takes constants")),
    }
}

/// Under `'table.exec.sink.not-null-enforcer' = 'DROP'` the rows that have a NULL for a NOT NULL column are left out.
fn without_nulls(
    translator: &mut Translator<'_>,
    rows: Stream,
    origins: &[Origin],
    sink: &Schema,
) -> datafusion_common::Result<Stream> {
    if !translator.resolver.context.settings.drops_nulls() {
        return Ok(rows);
    }
    let conjuncts = origins.iter().zip(sink.fields()).filter_map(|(origin, field)| match origin {
        Origin::Query(index) if !field.is_nullable() && rows.schema.field(*index).is_nullable() => {
            let value = super::physical::column(rows.schema.field(*index).name(), *index);
            Some(Arc::new(IsNotNullExpr::new(value)) as Physical)
        }
        _ => None,
    });
    let conjuncts: Vec<Physical> = conjuncts.collect();
    if conjuncts.is_empty() {
        return Ok(rows);
    }
    let rows = if conjuncts.iter().any(|part| rows.reads_computed(part)) { translator.settle(rows)? } else { rows };
    rows.filter(&conjuncts)
}

/// Where values go to.
struct Target<'a, 't> {
    translator: &'a Translator<'t>,
    plan: &'a LogicalPlan,
    rows: &'a Stream,
    table: &'a TableDefinition,
}

/// What the query has for a column.
struct Given {
    value: Physical,
    data_type: DataType,
    nullable: bool,
    /// Its value is known, so that it is seen at once whether it fits.
    literal: bool,
}

impl Target<'_, '_> {
    /// A column's value in the sink's type, or why it does not fit.
    fn assigned(&self, origin: &Origin, field: &Field) -> Result<Physical, Diagnostic> {
        let plain = |error| Diagnostic::new(super::errors::plain_message(&error));
        let given = match origin {
            Origin::Query(index) => self.of_query(*index),
            Origin::Constant(expr) => {
                let value = self.translator.expr(expr, &DFSchema::empty()).map_err(plain)?;
                let data_type = value.data_type(&Schema::empty()).map_err(plain)?;
                Given { value, data_type, nullable: true, literal: true }
            }
            Origin::Null => return casts::null(field.data_type()).map_err(plain),
        };
        let nullable = given.nullable;
        let value = self.converted(origin, given, field)?;
        let value = self.cut(value, field);
        Ok(if nullable && !field.is_nullable() {
            demand(value, Demand::NotNull, field.name(), &self.table.name)
        } else {
            value
        })
    }

    /// Times lose the digits that the column's type does not have.
    fn cut(&self, value: Physical, field: &Field) -> Physical {
        let column = self.table.column(field.name());
        match column.filter(|column| column.sql_type.is_cut_short()).and_then(|column| column.sql_type.second_digits())
        {
            Some(digits) => demand(value, Demand::Digits(digits), field.name(), &self.table.name),
            None => value,
        }
    }

    fn of_query(&self, index: usize) -> Given {
        let source = self.rows.schema.field(index);
        Given {
            value: super::physical::column(source.name(), index),
            data_type: source.data_type().clone(),
            nullable: source.is_nullable(),
            literal: is_literal(self.plan, index, self.rows),
        }
    }

    fn converted(&self, origin: &Origin, given: Given, field: &Field) -> Result<Physical, Diagnostic> {
        let plain = |error| Diagnostic::new(super::errors::plain_message(&error));
        let (found, target) = (&given.data_type, field.data_type());
        if found == target {
            return Ok(given.value);
        }
        if fits(found, target) || (given.literal && literal_fits(found, target)) {
            let input = match origin {
                Origin::Query(_) => Arc::clone(&self.rows.schema),
                _ => Arc::new(Schema::empty()),
            };
            return casts::implicit(given.value, &input, target, &self.translator.resolver.options).map_err(plain);
        }
        if let Origin::Query(index) = origin
            && found == &DataType::Int64
            && let Some(flinks) = narrow_sums::of_column(self.plan, *index)
            && target.is_integer()
            && fits(&flinks, target)
        {
            return Ok(demand(given.value, Demand::Fits(target.clone()), field.name(), &self.table.name));
        }
        let (have, want) = (flink_name(found, true), flink_name(target, true));
        let message = format!("column `{}` is {want}, but the query gives {have}", field.name());
        let hint = format!("write CAST(... AS {want}) AS {}", field.name());
        Err(Diagnostic::new(message).with_hint(hint))
    }
}

/// True when a column of the query is a constant, whose value is known to fit or not when it is cast.
fn is_literal(plan: &LogicalPlan, index: usize, rows: &Stream) -> bool {
    let values = match plan {
        LogicalPlan::Values(values) => values.values.iter().all(|row| matches!(row[index], Expr::Literal(..))),
        LogicalPlan::Projection(projection) => match projection.expr.get(index).map(|expr| expr.clone().unalias()) {
            Some(Expr::Literal(..)) => true,
            Some(Expr::Column(column)) => {
                let inner = projection.input.schema().maybe_index_of_column(&column);
                inner.is_some_and(|inner| {
                    matches!(projection.input.as_ref(), LogicalPlan::Values(_))
                        && is_literal(&projection.input, inner, rows)
                })
            }
            _ => false,
        },
        _ => false,
    };
    values || rows.columns.get(index).is_some_and(|expr| column_index(expr).is_none() && expr.is::<Literal>())
}

/// Casts that Flink makes without being asked.
pub(crate) fn fits(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let exact_rank = |data_type: &DataType| match data_type {
        T::Int8 | T::UInt8 => Some(1),
        T::Int16 => Some(2),
        T::Int32 | T::UInt16 => Some(3),
        T::Int64 | T::UInt32 => Some(4),
        _ => None,
    };
    let numeric = |data_type: &DataType| data_type.is_numeric() || matches!(data_type, T::Decimal128(..));
    match (from, to) {
        (T::Null, _) => true,
        (a, b) if a == b => true,
        (a, b) if exact_rank(a).is_some() && exact_rank(b).is_some() => exact_rank(a) <= exact_rank(b),
        (a, T::Decimal128(..) | T::Float64) if numeric(a) => true,
        (T::Decimal128(..), T::Float32) => true,
        (a, T::Float32) if exact_rank(a).is_some() => true,
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8) => true,
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Binary) => true,
        (T::Timestamp(..), T::Timestamp(..) | T::Date32 | T::Time32(_)) => true,
        (T::Time32(_) | T::Time64(_), T::Time32(_)) => true,
        (T::Interval(_) | T::Duration(_), T::Duration(_)) => true,
        (T::List(a) | T::LargeList(a), T::List(b)) => fits(a.data_type(), b.data_type()),
        (T::Map(a, _), T::Map(b, _)) => fits(a.data_type(), b.data_type()),
        (T::Struct(a), T::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| fits(a.data_type(), b.data_type()))
        }
        _ => false,
    }
}

/// A constant may go into a narrower number: whether it fits is seen at once.
fn literal_fits(from: &DataType, to: &DataType) -> bool {
    (from.is_integer() && to.is_integer()) || (from.is_numeric() && to.is_floating())
}

/// The column by which a sink's rows tell time: what its table declares a watermark for.
fn event_time(definition: &TableDefinition, schema: &SchemaRef) -> Option<String> {
    let column = &definition.watermark.as_ref()?.column;
    schema.field_with_name(column).ok().map(|field| field.name().clone())
}

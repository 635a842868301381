//! From a CREATE TABLE statement to a table definition: LIKE merged in, everything checked that needs no connector.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::Ident;

use crate::catalog::{
    Catalog, Column, ColumnKind, Connectors, OptionProblem, Relation, TableDefinition, Usage, WatermarkDefinition,
};
use crate::diagnostic::Diagnostic;
use crate::parser::statement::{
    ColumnClause, ColumnDefinition, CreateTable, LikeClause, LikeFeature, Merging, PrimaryKey, WatermarkClause,
};
use crate::types::{SqlType, TypeKind};

/// The table that a statement declares. Types of computed columns are still unknown (NULL).
pub(crate) fn table(create: &CreateTable, catalog: &Catalog, time_zone: &str) -> Result<TableDefinition, Diagnostic> {
    let own = own_columns(create, time_zone)?;
    let mut table = match &create.like {
        Some(like) => inherited(create, like, catalog)?,
        None => empty(create),
    };
    merge_columns(&mut table, own, create.like.as_ref())?;
    if let Some(watermark) = &create.watermark {
        set_watermark(&mut table, watermark, create.like.as_ref())?;
    }
    if let Some(key) = &create.primary_key {
        table.primary_key = primary_key(&mut table, key)?;
    }
    if !create.partitioned_by.is_empty() {
        table.partitioned_by = partition_columns(&table, &create.partitioned_by)?;
    }
    add_options(&mut table, create)?;
    if table.columns.is_empty() {
        return Err(Diagnostic::at(create.name.span, "a table needs at least one column"));
    }
    Ok(table)
}

fn empty(create: &CreateTable) -> TableDefinition {
    TableDefinition {
        name: create.name.value.clone(),
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        partitioned_by: Vec::new(),
        options: BTreeMap::new(),
        temporary: create.temporary,
        comment: create.comment.clone(),
        span: create.name.span,
    }
}

fn own_columns(create: &CreateTable, time_zone: &str) -> Result<Vec<Column>, Diagnostic> {
    let mut names = BTreeSet::new();
    let columns = create.columns.iter().map(|definition| {
        if !names.insert(definition.name.value.as_str()) {
            let message = format!("column `{}` is declared twice", definition.name.value);
            return Err(Diagnostic::at(definition.name.span, message));
        }
        Ok(column(definition, time_zone))
    });
    columns.collect()
}

fn column(definition: &ColumnDefinition, time_zone: &str) -> Column {
    let unknown = SqlType::nullable(TypeKind::Null);
    let (kind, sql_type) = match &definition.kind {
        ColumnClause::Physical(sql_type) => (ColumnKind::Physical, sql_type.clone()),
        ColumnClause::Computed { expression, .. } => (ColumnKind::Computed(expression.clone()), unknown),
        ColumnClause::Metadata { sql_type, from, virtual_ } => {
            let key = from.as_ref().map_or_else(|| definition.name.value.clone(), |from| from.value.clone());
            (ColumnKind::Metadata { key, virtual_: *virtual_ }, sql_type.clone())
        }
    };
    Column {
        name: definition.name.value.clone(),
        data_type: sql_type.arrow(time_zone),
        nullable: sql_type.nullable,
        sql_type,
        kind,
        comment: definition.comment.clone(),
        span: definition.name.span,
    }
}

/// What LIKE takes over: everything, unless a rule excludes it.
fn inherited(create: &CreateTable, like: &LikeClause, catalog: &Catalog) -> Result<TableDefinition, Diagnostic> {
    let Relation::Table(source) = catalog.require(&like.table)? else {
        return Err(Diagnostic::at(like.table.span, format!("`{}` is not a table", like.table.value))
            .with_hint("LIKE copies the definition of a table"));
    };
    let keeps = |feature| merging(like, feature) != Merging::Excluding;
    let mut table = TableDefinition { columns: source.columns.clone(), ..empty(create) };
    table.columns.retain(|column| match column.kind {
        ColumnKind::Physical => true,
        ColumnKind::Computed(_) => keeps(LikeFeature::Generated),
        ColumnKind::Metadata { .. } => keeps(LikeFeature::Metadata),
    });
    if keeps(LikeFeature::Watermarks) {
        table.watermark = source.watermark.clone();
    }
    if keeps(LikeFeature::Constraints) {
        table.primary_key = source.primary_key.clone();
    }
    if keeps(LikeFeature::Partitions) {
        table.partitioned_by = source.partitioned_by.clone();
    }
    if keeps(LikeFeature::Options) {
        table.options = source.options.clone();
    }
    Ok(table)
}

/// The rule for a feature: its own, else that for ALL, else Flink's default (options may be overwritten).
fn merging(like: &LikeClause, feature: LikeFeature) -> Merging {
    let rule = |wanted| like.rules.iter().find(|rule| rule.feature == wanted).map(|rule| rule.merging);
    let default = if feature == LikeFeature::Options { Merging::Overwriting } else { Merging::Including };
    rule(feature).or(rule(LikeFeature::All)).unwrap_or(default)
}

fn merge_columns(table: &mut TableDefinition, own: Vec<Column>, like: Option<&LikeClause>) -> Result<(), Diagnostic> {
    for column in own {
        match table.columns.iter_mut().find(|known| known.name == column.name) {
            None => table.columns.push(column),
            Some(known) if may_overwrite(&column, like) => *known = column,
            Some(_) => {
                return Err(Diagnostic::at(column.span, format!("column `{}` comes from LIKE already", column.name))
                    .with_hint("OVERWRITING GENERATED or OVERWRITING METADATA replaces such columns"));
            }
        }
    }
    Ok(())
}

fn may_overwrite(column: &Column, like: Option<&LikeClause>) -> bool {
    let feature = match column.kind {
        ColumnKind::Physical => return false,
        ColumnKind::Computed(_) => LikeFeature::Generated,
        ColumnKind::Metadata { .. } => LikeFeature::Metadata,
    };
    like.is_some_and(|like| merging(like, feature) == Merging::Overwriting)
}

fn set_watermark(
    table: &mut TableDefinition,
    clause: &WatermarkClause,
    like: Option<&LikeClause>,
) -> Result<(), Diagnostic> {
    let overwrites = like.is_some_and(|like| merging(like, LikeFeature::Watermarks) == Merging::Overwriting);
    if table.watermark.is_some() && !overwrites {
        return Err(Diagnostic::at(clause.column.span, "the table has a watermark from LIKE already")
            .with_hint("write LIKE t (OVERWRITING WATERMARKS) or EXCLUDING WATERMARKS"));
    }
    table.watermark = Some(WatermarkDefinition {
        column: clause.column.value.clone(),
        expression: clause.expression.clone(),
        span: clause.column.span,
    });
    Ok(())
}

fn find<'t>(table: &'t TableDefinition, name: &Ident, what: &str) -> Result<&'t Column, Diagnostic> {
    table.column(&name.value).ok_or_else(|| {
        let names = table.columns.iter().map(|column| column.name.as_str());
        Diagnostic::at(name.span, format!("{what} `{}` is not a column of this table", name.value))
            .with_suggestion(&name.value, names)
    })
}

/// Key columns become NOT NULL, as in Flink.
fn primary_key(table: &mut TableDefinition, key: &PrimaryKey) -> Result<Vec<String>, Diagnostic> {
    for name in &key.columns {
        let column = find(table, name, "the primary key's")?;
        if !matches!(column.kind, ColumnKind::Physical) {
            return Err(Diagnostic::at(name.span, format!("`{}` is no physical column", name.value))
                .with_hint("a primary key is made of physical columns"));
        }
    }
    for column in &mut table.columns {
        if key.columns.iter().any(|name| name.value == column.name) {
            column.nullable = false;
            column.sql_type.nullable = false;
        }
    }
    Ok(key.columns.iter().map(|name| name.value.clone()).collect())
}

fn partition_columns(table: &TableDefinition, names: &[Ident]) -> Result<Vec<String>, Diagnostic> {
    for name in names {
        let column = find(table, name, "PARTITIONED BY")?;
        if !matches!(column.kind, ColumnKind::Physical) {
            return Err(Diagnostic::at(name.span, format!("`{}` is no physical column", name.value)));
        }
    }
    Ok(names.iter().map(|name| name.value.clone()).collect())
}

fn add_options(table: &mut TableDefinition, create: &CreateTable) -> Result<(), Diagnostic> {
    let keep = create.like.as_ref().is_some_and(|like| merging(like, LikeFeature::Options) == Merging::Including);
    let mut given = BTreeSet::new();
    for option in &create.options {
        let key = &option.key.value;
        if !given.insert(key) {
            return Err(Diagnostic::at(option.key.span, format!("option '{key}' is given twice")));
        }
        if keep && table.options.contains_key(key) {
            return Err(Diagnostic::at(option.key.span, format!("option '{key}' comes from LIKE already"))
                .with_hint("OVERWRITING OPTIONS replaces it"));
        }
        table.options.insert(key.clone(), option.value.value.clone());
    }
    Ok(())
}

/// Has the connector check the options; problems are shown at the option that they are about.
pub(crate) fn check_options(
    create: &CreateTable,
    table: &TableDefinition,
    connectors: &dyn Connectors,
) -> Result<(), Diagnostic> {
    let Err(problems) = connectors.check(table, Usage::Declared) else { return Ok(()) };
    match problems.first() {
        Some(problem) => Err(option_diagnostic(create, problem)),
        None => Ok(()),
    }
}

fn option_diagnostic(create: &CreateTable, problem: &OptionProblem) -> Diagnostic {
    let option = create.options.iter().find(|option| Some(&option.key.value) == problem.option.as_ref());
    let span = option.map_or(create.name.span, |option| option.key.span);
    let found = Diagnostic::at(span, problem.message.clone());
    match &problem.hint {
        Some(hint) => found.with_hint(hint.clone()),
        None => found,
    }
}

//! From a CREATE TABLE statement to a table definition: LIKE merged in, everything checked that needs no connector and
//! no planning.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::Ident;

use crate::catalog::{
    Catalog, Column, ColumnKind, Connectors, ERRORS_SUFFIX, LATE_SUFFIX, OptionProblem, Relation, TableDefinition,
    Usage, WatermarkDefinition,
};
use crate::diagnostic::Diagnostic;
use crate::parser::statement::{
    ColumnClause, ColumnDefinition, CreateTable, LikeClause, LikeFeature, LikeRule, Merging, PrimaryKey,
    WatermarkClause,
};
use crate::types::{SqlType, TypeKind};

/// The table that a statement declares. Types of computed columns are still unknown (NULL).
pub(crate) fn table(create: &CreateTable, catalog: &Catalog, time_zone: &str) -> Result<TableDefinition, Diagnostic> {
    free_name(&create.name)?;
    let rules = Rules::of(create.like.as_ref())?;
    let own = own_columns(create, time_zone)?;
    let mut table = match &create.like {
        Some(like) => inherited(create, like, &rules, catalog)?,
        None => empty(create),
    };
    merge_columns(&mut table, own, &rules)?;
    if table.columns.is_empty() {
        return Err(Diagnostic::at(create.name.span, "a table needs at least one column"));
    }
    if let Some(watermark) = &create.watermark {
        set_watermark(&mut table, watermark, &rules)?;
    }
    if let Some(key) = &create.primary_key {
        set_primary_key(&mut table, key)?;
    }
    if !create.partitioned_by.is_empty() {
        set_partition_columns(&mut table, &create.partitioned_by)?;
    }
    add_options(&mut table, create, &rules)?;
    Ok(table)
}

/// Names of side tables are taken: they belong to the table in front of the suffix.
pub(crate) fn free_name(name: &Ident) -> Result<(), Diagnostic> {
    match [LATE_SUFFIX, ERRORS_SUFFIX].iter().find(|suffix| name.value.ends_with(**suffix)) {
        Some(suffix) => Err(Diagnostic::at(name.span, format!("names that end in `{suffix}` belong to side tables"))
            .with_hint("choose another name")),
        None => Ok(()),
    }
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
    let (mut sql_type, mut expression_text) = (SqlType::nullable(TypeKind::Null), None);
    let kind = match &definition.kind {
        ColumnClause::Physical(declared) => {
            sql_type = declared.clone();
            ColumnKind::Physical
        }
        ColumnClause::Computed { expression, text } => {
            expression_text = Some(text.clone());
            ColumnKind::Computed(expression.clone())
        }
        ColumnClause::Metadata { sql_type: declared, from, virtual_ } => {
            sql_type = declared.clone();
            let key = from.as_ref().map_or_else(|| definition.name.value.clone(), |from| from.value.clone());
            ColumnKind::Metadata { key, virtual_: *virtual_ }
        }
    };
    Column {
        name: definition.name.value.clone(),
        data_type: sql_type.arrow(time_zone),
        nullable: sql_type.nullable,
        sql_type,
        kind,
        expression_text,
        comment: definition.comment.clone(),
        span: definition.name.span,
    }
}

/// What LIKE does with each feature: the feature's own rule, else that for ALL, else Flink's default.
struct Rules<'a>(&'a [LikeRule]);

impl<'a> Rules<'a> {
    fn of(like: Option<&'a LikeClause>) -> Result<Self, Diagnostic> {
        let rules = like.map_or(&[][..], |like| like.rules.as_slice());
        for (index, rule) in rules.iter().enumerate() {
            let fixed = matches!(rule.feature, LikeFeature::Constraints | LikeFeature::Partitions);
            if rule.merging == Merging::Overwriting && fixed {
                return Err(Diagnostic::at(rule.span, "constraints and partitions cannot be overwritten")
                    .with_hint("exclude them and declare them anew"));
            }
            if rules[..index].iter().any(|other| other.feature == rule.feature) {
                return Err(Diagnostic::at(rule.span, "there is a rule for this part already"));
            }
        }
        Ok(Self(rules))
    }

    fn merging(&self, feature: LikeFeature) -> Merging {
        let rule = |wanted| self.0.iter().find(|rule| rule.feature == wanted).map(|rule| rule.merging);
        let default = if feature == LikeFeature::Options { Merging::Overwriting } else { Merging::Including };
        rule(feature).or(rule(LikeFeature::All)).unwrap_or(default)
    }

    fn keep(&self, feature: LikeFeature) -> bool {
        self.merging(feature) != Merging::Excluding
    }

    fn overwrite(&self, feature: LikeFeature) -> bool {
        self.merging(feature) == Merging::Overwriting
    }
}

/// What LIKE takes over: everything, unless a rule excludes it.
fn inherited(
    create: &CreateTable,
    like: &LikeClause,
    rules: &Rules<'_>,
    catalog: &Catalog,
) -> Result<TableDefinition, Diagnostic> {
    let Relation::Table(source) = catalog.require(&like.table)? else {
        return Err(Diagnostic::at(like.table.span, format!("`{}` is not a table", like.table.value))
            .with_hint("LIKE copies the definition of a table"));
    };
    let mut table = TableDefinition { columns: source.columns.clone(), ..empty(create) };
    table.columns.retain(|column| match column.kind {
        ColumnKind::Physical => true,
        ColumnKind::Computed(_) => rules.keep(LikeFeature::Generated),
        ColumnKind::Metadata { .. } => rules.keep(LikeFeature::Metadata),
    });
    // What a diagnostic would mark stands in another statement now: mark the LIKE instead.
    table.columns.iter_mut().for_each(|column| column.span = like.table.span);
    if rules.keep(LikeFeature::Watermarks) {
        let watermark = source.watermark.clone();
        table.watermark = watermark.map(|watermark| WatermarkDefinition { span: like.table.span, ..watermark });
    }
    if rules.keep(LikeFeature::Constraints) {
        table.primary_key = source.primary_key.clone();
    }
    if rules.keep(LikeFeature::Partitions) {
        table.partitioned_by = source.partitioned_by.clone();
    }
    if rules.keep(LikeFeature::Options) {
        table.options = source.options.clone();
    }
    Ok(table)
}

fn merge_columns(table: &mut TableDefinition, own: Vec<Column>, rules: &Rules<'_>) -> Result<(), Diagnostic> {
    for column in own {
        let overwrite = match column.kind {
            ColumnKind::Physical => false,
            ColumnKind::Computed(_) => rules.overwrite(LikeFeature::Generated),
            ColumnKind::Metadata { .. } => rules.overwrite(LikeFeature::Metadata),
        };
        match table.columns.iter_mut().find(|known| known.name == column.name) {
            None => table.columns.push(column),
            Some(known) if overwrite && same_kind(known, &column) => *known = column,
            Some(_) => {
                return Err(Diagnostic::at(column.span, format!("column `{}` comes from LIKE already", column.name))
                    .with_hint("LIKE t (OVERWRITING GENERATED) or (OVERWRITING METADATA) replaces such columns"));
            }
        }
    }
    Ok(())
}

fn same_kind(known: &Column, column: &Column) -> bool {
    std::mem::discriminant(&known.kind) == std::mem::discriminant(&column.kind)
}

fn set_watermark(table: &mut TableDefinition, clause: &WatermarkClause, rules: &Rules<'_>) -> Result<(), Diagnostic> {
    if table.watermark.is_some() && !rules.overwrite(LikeFeature::Watermarks) {
        return Err(Diagnostic::at(clause.column.span, "the table has a watermark from LIKE already")
            .with_hint("write LIKE t (OVERWRITING WATERMARKS) or (EXCLUDING WATERMARKS)"));
    }
    find(table, &clause.column, "WATERMARK FOR")?;
    table.watermark = Some(WatermarkDefinition {
        column: clause.column.value.clone(),
        expression: clause.expression.clone(),
        text: clause.text.clone(),
        span: clause.column.span,
    });
    Ok(())
}

fn find<'t>(table: &'t TableDefinition, name: &Ident, what: &str) -> Result<&'t Column, Diagnostic> {
    table.column(&name.value).ok_or_else(|| {
        let names = table.columns.iter().map(|column| column.name.as_str());
        Diagnostic::at(name.span, format!("{what}: `{}` is not a column of this table", name.value))
            .with_suggestion(&name.value, names)
    })
}

/// Each name once, each a physical column.
fn physical_columns(table: &TableDefinition, names: &[Ident], what: &str) -> Result<Vec<String>, Diagnostic> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        let column = find(table, name, what)?;
        if !matches!(column.kind, ColumnKind::Physical) {
            return Err(Diagnostic::at(name.span, format!("{what}: `{}` is not a physical column", name.value)));
        }
        if found.contains(&name.value) {
            return Err(Diagnostic::at(name.span, format!("{what}: `{}` is named twice", name.value)));
        }
        found.push(name.value.clone());
    }
    Ok(found)
}

/// Key columns become NOT NULL, as in Flink.
fn set_primary_key(table: &mut TableDefinition, key: &PrimaryKey) -> Result<(), Diagnostic> {
    if !table.primary_key.is_empty() {
        return Err(Diagnostic::at(key.span, "the table has a primary key from LIKE already")
            .with_hint("write LIKE t (EXCLUDING CONSTRAINTS)"));
    }
    table.primary_key = physical_columns(table, &key.columns, "PRIMARY KEY")?;
    for column in &mut table.columns {
        if table.primary_key.contains(&column.name) {
            column.nullable = false;
            column.sql_type.nullable = false;
        }
    }
    Ok(())
}

fn set_partition_columns(table: &mut TableDefinition, names: &[Ident]) -> Result<(), Diagnostic> {
    if !table.partitioned_by.is_empty() {
        return Err(Diagnostic::at(names[0].span, "the table has partitions from LIKE already")
            .with_hint("write LIKE t (EXCLUDING PARTITIONS)"));
    }
    table.partitioned_by = physical_columns(table, names, "PARTITIONED BY")?;
    Ok(())
}

fn add_options(table: &mut TableDefinition, create: &CreateTable, rules: &Rules<'_>) -> Result<(), Diagnostic> {
    let keep = create.like.is_some() && rules.merging(LikeFeature::Options) == Merging::Including;
    for option in &create.options {
        let key = &option.key.value;
        if keep && table.options.contains_key(key) {
            return Err(Diagnostic::at(option.key.span, format!("the option `{key}` comes from LIKE already"))
                .with_hint("write LIKE t (OVERWRITING OPTIONS)"));
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

/// True where a message names this column, or a field in it.
fn is_about(message: &str, column: &str) -> bool {
    ["'", "`"].iter().any(|quote| {
        let named = format!("column {quote}{column}");
        [quote, "."].iter().any(|end| message.contains(&format!("{named}{end}")))
    })
}

fn option_diagnostic(create: &CreateTable, problem: &OptionProblem) -> Diagnostic {
    let option = create.options.iter().find(|option| Some(&option.key.value) == problem.option.as_ref());
    let column = || create.columns.iter().find(|column| is_about(&problem.message, &column.name.value));
    let column_span = || column().map_or(create.name.span, |column| column.name.span);
    let span = option.map_or_else(column_span, |option| option.key.span);
    let found = Diagnostic::at(span, problem.message.clone());
    match &problem.hint {
        Some(hint) => found.with_hint(hint.clone()),
        None => found,
    }
}

//! The `filesystem` connector: local files in, and files out exactly once.
//!
//! Reading: [`discover`] finds files, [`source`] cuts them into splits and reads them. Writing: [`writer`] fills hidden
//! [`part`] files, [`committer`] renames them when their epoch is durable; [`durable`] holds every call that makes
//! something survive a power cut.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Guarantee, Sink};
use tidemill_engine::source::Source;
use tidemill_engine::type_name::sql_type_name;

use crate::options::{OptionDef, OptionProblem};
use crate::registry::{Connector, MetadataDef, Usage};
use crate::table::TableSpec;

mod committer;
mod discover;
pub(crate) mod durable;
mod names;
mod options;
mod part;
mod partition;
mod partition_commit;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod writer;

use options::{FileTable, SinkOptions, SourceOptions, is_glob};
use sink::FileSink;
use source::{FileSource, Origin};

/// The connector.
pub struct Filesystem;

impl Connector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn doc(&self) -> &'static str {
        "reads local files, folders and globs, once or as they appear; writes files exactly once"
    }

    fn options(&self, spec: Option<&TableSpec>) -> Vec<OptionDef> {
        options::list(spec)
    }

    fn metadata(&self, _spec: Option<&TableSpec>) -> Vec<MetadataDef> {
        source::metadata()
    }

    fn reads(&self, _spec: Option<&TableSpec>) -> bool {
        true
    }

    fn guarantee(&self) -> Option<Guarantee> {
        Some(Guarantee::ExactlyOnce)
    }

    fn accepts(&self, spec: Option<&TableSpec>) -> ChangelogMode {
        spec.map_or(ChangelogMode::Retract, options::accepts)
    }

    fn takes_updates_with(&self) -> Option<&'static str> {
        Some(
            "write changes: 'format' = 'debezium-json' or 'changelog-json', or the table as it is: \
             'sink.changelog' = 'snapshot' with a PRIMARY KEY",
        )
    }

    fn gives(&self, spec: &TableSpec) -> ChangelogMode {
        options::changelog(spec)
    }

    fn reads_fields(&self, spec: &TableSpec) -> bool {
        FileTable::of(spec).is_ok_and(|table| table.format.reads_fields())
    }

    fn check(&self, spec: &TableSpec, usage: Usage) -> Vec<OptionProblem> {
        let table = match FileTable::of(spec) {
            Ok(table) => table,
            Err(problems) => return problems,
        };
        let mut problems = check_partitions(spec);
        if let (false, Some(column)) = (table.format.changelog() == ChangelogMode::Append, spec.metadata.first()) {
            let message = format!("column '{}': the old row of a change may stand in another file", column.name);
            problems.push(OptionProblem::new(message).hint("leave METADATA columns of files out of tables of changes"));
        }
        if usage != Usage::Sink {
            problems.extend(SourceOptions::of(spec).err());
        }
        if usage != Usage::Source {
            problems.extend(SinkOptions::of(spec, &table).err());
        }
        if usage == Usage::Sink && is_glob(&table.path) {
            let problem = OptionProblem::at("path", "rows cannot be written to a pattern");
            problems.push(problem.hint("give a folder without '*', '?' and '['"));
        }
        problems
    }

    fn source(&self, spec: &TableSpec, columns: &[String]) -> Result<Arc<dyn Source>, OptionProblem> {
        let table = FileTable::of(spec).map_err(first)?;
        let origins = columns.iter().map(|name| origin(spec, &table, name)).collect();
        let schema = spec.project(columns)?;
        Ok(Arc::new(FileSource { options: SourceOptions::of(spec)?, table, schema, origins }))
    }

    fn sink(&self, spec: &TableSpec, schema: SchemaRef) -> Result<Arc<dyn Sink>, OptionProblem> {
        let table = FileTable::of(spec).map_err(first)?;
        let options = SinkOptions::of(spec, &table)?;
        check_rows(spec, &schema)?;
        Ok(Arc::new(FileSink::new(table, options, spec.columns.clone())))
    }
}

fn first(problems: Vec<OptionProblem>) -> OptionProblem {
    problems.into_iter().next().expect("refused for a reason")
}

fn origin(spec: &TableSpec, table: &FileTable, name: &str) -> Origin {
    if let Ok(index) = table.file_schema.index_of(name) {
        return Origin::File(index);
    }
    match spec.metadata.iter().find(|column| column.name == name) {
        Some(column) => Origin::Metadata(column.key.clone()),
        None => Origin::Folder(name.to_string()),
    }
}

fn check_partitions(spec: &TableSpec) -> Vec<OptionProblem> {
    let mut problems = Vec::new();
    for key in &spec.partition_keys {
        match spec.columns.field_with_name(key) {
            Err(_) => problems.push(OptionProblem::new(format!("PARTITIONED BY: there is no physical column '{key}'"))),
            Ok(field) if !partition::is_partition_type(field.data_type()) => {
                let message = format!(
                    "PARTITIONED BY: column '{key}' of type {} makes no folders",
                    sql_type_name(field.data_type())
                );
                problems.push(OptionProblem::new(message).hint("use a text, a whole number, a date or a time"));
            }
            Ok(_) => {}
        }
    }
    if !spec.partition_keys.is_empty() && spec.partition_keys.len() >= spec.columns.fields().len() {
        problems.push(OptionProblem::new("PARTITIONED BY takes all columns: none is left to write into the files"));
    }
    problems
}

/// Rows are written by position under the table's column names.
fn check_rows(spec: &TableSpec, schema: &SchemaRef) -> Result<(), OptionProblem> {
    let types = |schema: &SchemaRef| {
        schema.fields().iter().map(|field| sql_type_name(field.data_type())).collect::<Vec<_>>().join(", ")
    };
    let (given, declared) = (types(schema), types(&spec.columns));
    if given == declared {
        return Ok(());
    }
    Err(OptionProblem::new(format!("the rows for table '{}' are ({given}), but it has ({declared})", spec.name)))
}

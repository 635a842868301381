//! The connector as a whole, over real files in temporary folders.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use tidemill_engine::source::{Position, Read, Rejected, Source, Split};

use crate::registry::{Registry, Usage};
use crate::table::{MetadataColumn, TableSpec};

mod completing;
mod reading;
mod running;
mod writing;

fn table(path: &Path, fields: &[(&str, DataType)], options: &[(&str, &str)]) -> TableSpec {
    let fields: Vec<Field> = fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    let path = path.to_str().expect("a text");
    TableSpec {
        name: "files".into(),
        columns: Arc::new(Schema::new(fields)),
        metadata: vec![],
        partition_keys: vec![],
        primary_key: vec![],
        options: [("connector", "filesystem"), ("path", path)]
            .iter()
            .chain(options)
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        time_zone: "UTC".into(),
    }
}

fn names(spec: &TableSpec) -> Vec<String> {
    spec.columns.fields().iter().map(|field| field.name().clone()).collect()
}

fn source(spec: &TableSpec, columns: &[String]) -> Arc<dyn Source> {
    Registry::standard().source(spec, columns).expect("a source")
}

/// All of a split from a position on, in batches of at most `batch` rows.
fn read(
    source: &Arc<dyn Source>,
    split: &Split,
    position: Option<&Position>,
    batch: usize,
) -> tidemill_engine::Result<(Vec<RecordBatch>, Vec<Rejected>)> {
    let mut reader = source.open(split, position)?;
    let (mut batches, mut all_rejected) = (vec![], vec![]);
    loop {
        match reader.next(batch)? {
            Read::Rows { rows, rejected } => {
                assert!(rows.num_rows() <= batch);
                assert_eq!(rows.schema(), source.schema());
                batches.push(rows.rows().clone());
                all_rejected.extend(rejected);
            }
            Read::Watermark(_) | Read::Wait(_) => unreachable!("files do not wait and know no watermark"),
            Read::End => return Ok((batches, all_rejected)),
        }
    }
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|rows| rows["id"].as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn problems(spec: &TableSpec, usage: Usage) -> String {
    let problems = Registry::standard().check(spec, usage).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

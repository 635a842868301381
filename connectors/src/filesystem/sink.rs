//! The sink as the engine sees it: makes writers and the committer.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use tidemill_engine::Result;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Committer, Guarantee, Sink, SinkWriter, WriterContext};

use super::committer::{FileCommitter, kept_files};
use super::durable;
use super::names::owner_tag;
use super::options::{FileTable, SinkOptions};
use super::part::PartFormat;
use super::writer::{PartWriter, Target};

#[derive(Debug)]
pub struct FileSink {
    target: Target,
}

impl FileSink {
    /// `schema`: the table's physical columns.
    pub fn new(table: FileTable, options: SinkOptions, schema: SchemaRef) -> Self {
        let index = |key: &String| schema.index_of(key).expect("partition keys were checked");
        let keys = table.partition_keys.iter().map(|key| (key.clone(), index(key))).collect();
        let part = PartFormat::of(&table);
        let target =
            Target { root: table.path, part, options, keys, default_partition: table.default_partition, schema };
        Self { target }
    }
}

impl Sink for FileSink {
    fn accepts(&self) -> ChangelogMode {
        if self.target.options.snapshot { ChangelogMode::Upsert } else { self.target.part.format.changelog() }
    }

    fn takes_whole_table(&self) -> bool {
        self.target.options.snapshot
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn writer(&self, context: &WriterContext, restored: Vec<serde_json::Value>) -> Result<Box<dyn SinkWriter>> {
        let restored = restored.iter().map(kept_files).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(PartWriter::new(self.target.clone(), context, restored)?))
    }

    fn committer(&self, job_id: &str) -> Result<Option<Box<dyn Committer>>> {
        durable::create_folders(&self.target.root)?;
        Ok(Some(Box::new(FileCommitter {
            root: self.target.root.clone(),
            owner: owner_tag(job_id),
            success_file: self.target.options.success_file.clone(),
            partition_commit: self.target.options.partition_commit.clone(),
            pending: BTreeMap::new(),
        })))
    }
}

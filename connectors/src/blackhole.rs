//! The `blackhole` sink: takes every row, keeps none. For measuring what happens before the sink.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::metrics::Counter;
use tidemill_engine::sink::{Committer, Guarantee, Prepared, Sink, SinkWriter, WriterContext};
use tidemill_engine::time::ProcessingTime;
use tidemill_engine::{Batch, Epoch, Result};

use crate::options::{OptionDef, OptionProblem};
use crate::registry::Connector;
use crate::table::TableSpec;

pub struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn doc(&self) -> &'static str {
        "takes every row and keeps none"
    }

    fn options(&self, _spec: Option<&TableSpec>) -> Vec<OptionDef> {
        Vec::new()
    }

    fn guarantee(&self) -> Option<Guarantee> {
        Some(Guarantee::None)
    }

    fn accepts(&self, _spec: Option<&TableSpec>) -> ChangelogMode {
        ChangelogMode::Retract
    }

    fn sink(&self, _spec: &TableSpec, _schema: SchemaRef) -> Result<Arc<dyn Sink>, OptionProblem> {
        Ok(Arc::new(BlackholeSink::default()))
    }
}

#[derive(Debug, Default)]
pub struct BlackholeSink {
    /// Rows taken by all writers.
    pub rows: Arc<Counter>,
}

impl Sink for BlackholeSink {
    fn accepts(&self) -> ChangelogMode {
        ChangelogMode::Retract
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn writer(&self, _context: &WriterContext, _restored: Vec<serde_json::Value>) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(BlackholeWriter { rows: self.rows.clone() }))
    }

    fn committer(&self, _job_id: &str) -> Result<Option<Box<dyn Committer>>> {
        Ok(None)
    }
}

struct BlackholeWriter {
    rows: Arc<Counter>,
}

impl SinkWriter for BlackholeWriter {
    fn write(&mut self, batch: &Batch, _now: ProcessingTime) -> Result<()> {
        self.rows.add(batch.num_rows());
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch, _last: bool) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        None
    }
}

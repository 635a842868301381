//! A stream under construction: a node's output, with the filter, columns and window still to be applied to it.
//!
//! Translation keeps them pending, so that a chain of projections and filters becomes one Calc, and so that an
//! aggregation can see the window function below it.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::Result;
use tidemill_engine::graph::{ChangelogMode, NodeId, Parallelism};
use tidemill_engine::operator::MAIN_PORT;
use tidemill_engine::operators::ordering::{RankFunction, SortColumn};
use tidemill_engine::time::window::{TimeDomain, WindowKind, WindowSpec};

use super::nodes::window::PROPERTIES;
use super::over_window::OverOrder;
use super::physical::{Physical, column, column_index, columns_read, identity, is_trivial, substitute};
use super::unstable::Unstable;

/// A window that is not applied yet. Its three columns stand behind those of the base.
#[derive(Clone)]
pub(crate) struct PendingWindow {
    pub spec: WindowSpec,
    /// Column of the base; in processing time it is not read.
    pub time: usize,
    /// Columns of the base.
    pub partition_by: Vec<usize>,
    /// So many of the stream's conjuncts were there before the window.
    pub conjuncts_below: usize,
}

/// A number of rows within their partitions that is not computed yet, since the conditions on it decide how. Its column
/// stands behind those of the base.
#[derive(Clone)]
pub(crate) struct PendingRank {
    pub function: RankFunction,
    /// Columns of the base.
    pub partition_by: Vec<usize>,
    pub order_by: Vec<SortColumn>,
    pub order: OverOrder,
}

/// An order that is not applied yet, since a LIMIT above it decides how.
#[derive(Clone)]
pub(crate) struct PendingSort {
    /// Columns of the base.
    pub order_by: Vec<SortColumn>,
    /// The first of them is a time attribute of appended rows, upwards.
    pub time: Option<TimeDomain>,
}

/// The whole row of a table that has a reader of its late rows, carried along to the window operators.
#[derive(Clone)]
pub(crate) struct WholeRow {
    pub table: String,
    /// Over the base.
    pub row: Physical,
}

#[derive(Clone)]
pub(crate) struct Stream {
    pub node: NodeId,
    pub port: usize,
    pub parallelism: Parallelism,
    pub changelog: ChangelogMode,
    pub bounded: bool,
    /// All splits are known from the start and none is ever passed over as idle, so that no row can come behind a
    /// watermark which its own split did not raise.
    pub steady: bool,
    /// The stream is updated because a grouping has one bound of a window but not the other.
    pub half_windowed: bool,
    /// What the node gives.
    pub base: SchemaRef,
    pub window: Option<PendingWindow>,
    /// Never together with a pending window.
    pub rank: Option<Box<PendingRank>>,
    pub sort: Option<Box<PendingSort>>,
    /// Over the base and the window's columns; all must be true.
    pub conjuncts: Vec<Physical>,
    /// Over the base and the window's columns.
    pub columns: Vec<Physical>,
    /// Of `columns`.
    pub schema: SchemaRef,
    pub whole_row: Option<WholeRow>,
    /// Columns of a stream of updates that have another value each time they are computed.
    pub unstable: Option<Unstable>,
}

impl Stream {
    /// The main output of a node, as it is.
    pub fn of(
        node: NodeId,
        schema: SchemaRef,
        parallelism: Parallelism,
        changelog: ChangelogMode,
        bounded: bool,
    ) -> Self {
        Self {
            node,
            port: MAIN_PORT,
            parallelism,
            changelog,
            bounded,
            steady: true,
            half_windowed: false,
            columns: identity(&schema),
            base: Arc::clone(&schema),
            window: None,
            rank: None,
            sort: None,
            conjuncts: Vec::new(),
            schema,
            whole_row: None,
            unstable: None,
        }
    }

    /// The base with the columns of the pending window.
    pub fn extended_base(&self) -> SchemaRef {
        match &self.window {
            None => Arc::clone(&self.base),
            Some(window) => extend(&self.base, &window.spec),
        }
    }

    /// Rows may be taken back.
    pub fn is_updated(&self) -> bool {
        self.changelog != ChangelogMode::Append
    }

    /// True when nothing is pending.
    pub fn is_plain(&self) -> bool {
        let whole_row = self.whole_row.iter().map(|whole| &whole.row);
        let given = self.columns.iter().chain(whole_row);
        let same = self.columns.len() + usize::from(self.whole_row.is_some()) == self.base.fields().len()
            && given.enumerate().all(|(index, expr)| column_index(expr) == Some(index));
        self.window.is_none() && self.rank.is_none() && self.sort.is_none() && self.conjuncts.is_empty() && same
    }

    /// True when columns that cost something to compute would be computed more than once by these expressions.
    pub fn repeats_work(&self, exprs: &[Physical]) -> bool {
        let mut uses = vec![0usize; self.columns.len()];
        for index in exprs.iter().flat_map(columns_read) {
            uses[index] += 1;
        }
        uses.iter().zip(&self.columns).any(|(count, expr)| *count > 1 && !is_trivial(expr))
    }

    /// True when an expression reads a column that costs something to compute.
    pub fn reads_computed(&self, expr: &Physical) -> bool {
        columns_read(expr).into_iter().any(|index| !is_trivial(&self.columns[index]))
    }

    /// The expression, given over this stream's columns, over the base.
    pub fn below(&self, expr: &Physical) -> Result<Physical> {
        substitute(expr, &self.columns)
    }

    /// True when an expression, given over this stream's columns, reads the pending rank.
    pub fn reads_rank(&self, expr: &Physical) -> bool {
        let rank = self.base.fields().len();
        let reads = |index: usize| columns_read(&self.columns[index]).contains(&rank);
        self.rank.is_some() && columns_read(expr).into_iter().any(reads)
    }

    /// True when an expression over the base reads the pending window's columns.
    pub fn reads_window(&self, expr: &Physical) -> bool {
        let inherited = self.base.fields().len();
        columns_read(expr).into_iter().any(|index| index >= inherited)
    }

    pub fn project(mut self, columns: Vec<Physical>, schema: SchemaRef) -> Result<Self> {
        self.columns = columns.iter().map(|expr| self.below(expr)).collect::<Result<_>>()?;
        self.schema = schema;
        Ok(self)
    }

    pub fn filter(mut self, conjuncts: &[Physical]) -> Result<Self> {
        let below = conjuncts.iter().map(|expr| self.below(expr)).collect::<Result<Vec<_>>>()?;
        self.conjuncts.extend(below);
        Ok(self)
    }

    /// Puts a window over the stream; the columns of `schema` are the stream's, then the window's.
    pub fn window(mut self, spec: WindowSpec, time: usize, partition_by: Vec<usize>, schema: SchemaRef) -> Self {
        let inherited = self.base.fields().len();
        let added = PROPERTIES.iter().enumerate().map(|(index, property)| column(property.name(), inherited + index));
        self.columns.extend(added);
        let conjuncts_below = self.conjuncts.len();
        self.window = Some(PendingWindow { spec, time, partition_by, conjuncts_below });
        self.schema = schema;
        self
    }
}

impl PendingWindow {
    pub fn is_session(&self) -> bool {
        matches!(self.spec.kind, WindowKind::Session { .. })
    }
}

/// A schema with the columns of a window behind its own.
pub(crate) fn extend(schema: &Schema, spec: &WindowSpec) -> SchemaRef {
    let own = schema.fields().iter().cloned();
    let added = PROPERTIES.iter().map(|property| Arc::new(property.field(spec.zone)));
    Arc::new(Schema::new(own.chain(added).collect::<Vec<_>>()))
}

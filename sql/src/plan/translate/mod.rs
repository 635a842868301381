//! From a logical plan to the nodes of the job's graph: one file per kind of logical node, registered in one list.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::LogicalPlan;
use tidemill_engine::operators::row_error::RowErrorPolicy;

use super::context::{NameResolver, external};
use super::graph_builder::GraphBuilder;
use super::physical::Physicals;
use super::stream::Stream;
use crate::diagnostic::Diagnostic;
use crate::settings::RowErrors;

mod aggregate;
mod calc;
mod emission;
mod fill;
mod group_by;
mod grouping_sets;
mod join;
mod late;
mod normalize;
mod numbered;
mod over;
mod over_frame;
mod rank_bound;
mod ranked;
mod refused;
mod scan;
mod set_operation;
mod settle;
mod single_row;
mod sort;
pub(crate) mod source;
mod time_join;
mod union;
mod unnest;
mod values;
mod window;
mod window_group;

pub(crate) use calc::{any, plain_schema};
pub(crate) use group_by::ttl_note;
pub(crate) use refused::check_query;
pub(crate) use settle::{edge, names, operator_draft, typed_names};
pub(crate) use union::reads_late_rows;

/// Translates one kind of node; `None` for all others.
type Translation = fn(&mut Translator<'_>, &LogicalPlan) -> Option<Result<Stream>>;

/// Every kind of logical node that can run over a stream. The last one says why the others cannot.
const TRANSLATIONS: &[Translation] = &[
    scan::translate,
    calc::translate_projection,
    calc::translate_filter,
    calc::translate_alias,
    window::translate,
    aggregate::translate,
    numbered::translate,
    sort::translate_sort,
    sort::translate_limit,
    time_join::translate,
    union::translate,
    join::translate,
    set_operation::translate,
    single_row::translate,
    unnest::translate,
    values::translate,
    refused::translate,
];

pub(crate) struct Translator<'a> {
    pub resolver: &'a NameResolver<'a>,
    pub physicals: Physicals,
    pub graph: GraphBuilder,
    /// What all statements of the job together read of each table.
    pub uses: source::TableUses,
    /// The source nodes so far, by table.
    pub sources: BTreeMap<String, source::TableStreams>,
    /// The side outputs of window operators so far, by table.
    pub late: BTreeMap<String, Vec<late::LateRows>>,
    pub warnings: Vec<String>,
}

impl<'a> Translator<'a> {
    pub fn new(resolver: &'a NameResolver<'a>, uses: source::TableUses) -> Self {
        let physicals = Physicals::new(Arc::clone(&resolver.options));
        let graph = GraphBuilder::default();
        let (sources, late, warnings) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { resolver, physicals, graph, uses, sources, late, warnings }
    }

    pub fn translate(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        let stream = self.translate_pending(plan)?;
        let stream = self.resolve_rank(stream)?;
        self.resolve_sort(stream)
    }

    /// The same, with a rank that is still waiting for conditions, or an order for a LIMIT.
    fn translate_pending(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        for translation in TRANSLATIONS {
            if let Some(stream) = translation(self, plan) {
                return stream;
            }
        }
        Err(external(Diagnostic::new("this query cannot run over a stream")))
    }

    pub fn row_errors(&self) -> RowErrorPolicy {
        match self.resolver.context.settings.row_errors() {
            RowErrors::Fail => RowErrorPolicy::Fail,
            RowErrors::Skip => RowErrorPolicy::Skip,
        }
    }
}

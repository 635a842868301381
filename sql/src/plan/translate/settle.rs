//! Turns what is pending on a stream into nodes.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::Result;
use tidemill_engine::graph::{Exchange, Input, NodeKind, Parallelism};
use tidemill_engine::operator::{MAIN_PORT, OperatorFactory};
use tidemill_engine::operators::calc::Calc;
use tidemill_engine::operators::session_assign::SessionAssign;
use tidemill_engine::operators::window_assign::WindowAssign;

use super::{Translator, calc, late};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::graph_builder::{NodeDraft, any_exchange, detail};
use crate::plan::nodes::window::describe_window;
use crate::plan::physical::{self, Physical, column, columns_read, identity, substitute};
use crate::plan::stream::{PendingWindow, Stream, WholeRow, extend};
use crate::plan::unstable::Unstable;

/// Attributes and values for EXPLAIN.
pub(crate) type Details = Vec<(String, String)>;

impl Translator<'_> {
    /// Adds what is pending as nodes of its own, so that the stream is a node's output as it is.
    pub fn settle(&mut self, stream: Stream) -> Result<Stream> {
        let stream = self.resolve_rank(stream)?;
        let stream = self.resolve_sort(stream)?;
        match Unstable::of_pending(&stream) {
            Some(unstable) => Err(unstable.refused()),
            None => self.settle_as_computed(stream),
        }
    }

    /// The same for rows whose old values nobody is told.
    pub fn settle_as_computed(&mut self, mut stream: Stream) -> Result<Stream> {
        stream.unstable = None;
        let stream = match stream.window.take() {
            None => stream,
            Some(window) if window.is_session() => self.add_session_assign(stream, window)?,
            Some(window) => self.add_window_assign(stream, window),
        };
        if stream.is_plain() { Ok(stream) } else { self.add_calc(stream) }
    }

    /// Filter and columns in one node.
    fn add_calc(&mut self, stream: Stream) -> Result<Stream> {
        let mut columns = stream.columns.clone();
        let mut fields: Vec<_> = stream.schema.fields().iter().cloned().collect();
        if let Some(whole) = &stream.whole_row {
            fields.push(Arc::new(late::whole_row_field(whole, &stream.base)?));
            columns.push(Arc::clone(&whole.row));
        }
        let schema = Arc::new(Schema::new(fields));
        let filter = physical::all_of(&stream.conjuncts);
        let mut details = vec![detail("select", calc::describe_columns(&columns, &schema))];
        details.extend(filter.as_ref().map(|filter| detail("where", display(filter))));
        let name = "Calc".to_owned();
        let on_error = self.row_errors();
        let operator = Calc { name, filter, columns: Some(columns), schema: Arc::clone(&schema), on_error };
        Ok(self.add_row_wise("Calc", Arc::new(operator), stream, schema, details))
    }

    /// The same columns under other names.
    pub fn relabel(&mut self, stream: Stream, schema: SchemaRef) -> Result<Stream> {
        self.add_calc(Stream { schema, ..stream })
    }

    /// TUMBLE, HOP and CUMULATE: the window's columns come to stand where they were pending.
    fn add_window_assign(&mut self, stream: Stream, window: PendingWindow) -> Stream {
        let schema = extend(&stream.base, &window.spec);
        let details = vec![detail("window", describe_window(&window.spec))];
        let operator = WindowAssign { spec: window.spec, time_column: window.time, schema: Arc::clone(&schema) };
        let draft = operator_draft("WindowAssign", Arc::new(operator), &stream, Arc::clone(&schema), details);
        let node = self.graph.add(draft);
        Stream { node, port: MAIN_PORT, base: schema, ..stream }
    }

    /// Adds an operator that works row by row and gives the stream's columns, then its whole row if it carries one.
    pub fn add_row_wise(
        &mut self,
        name: &str,
        operator: Arc<dyn OperatorFactory>,
        stream: Stream,
        schema: SchemaRef,
        details: Details,
    ) -> Stream {
        let node = self.graph.add(operator_draft(name, operator, &stream, Arc::clone(&schema), details));
        let visible = stream.schema.fields().len();
        let mut columns = identity(&schema);
        let hidden = columns.split_off(visible).pop();
        let whole_row = stream.whole_row.zip(hidden).map(|(whole, row)| WholeRow { row, ..whole });
        Stream { node, port: MAIN_PORT, base: schema, conjuncts: Vec::new(), columns, whole_row, ..stream }
    }

    /// SESSION: rows wait in state, so only the columns that are read later are kept.
    fn add_session_assign(&mut self, mut stream: Stream, window: PendingWindow) -> Result<Stream> {
        if stream.is_updated() {
            let message = "rows that are updated later cannot be put into SESSION windows by themselves: a row that is taken back may split a session";
            let hint = "aggregate the sessions, grouped by just their PARTITION BY columns, window_start and window_end; or use TUMBLE, HOP or CUMULATE";
            return Err(external(Diagnostic::new(message).with_hint(hint)));
        }
        let kept = columns_kept(&stream, &window);
        let above = stream.conjuncts.split_off(window.conjuncts_below);
        let pruned = Stream {
            columns: kept.iter().map(|index| column(stream.base.field(*index).name(), *index)).collect(),
            schema: Arc::new(stream.base.project(&kept)?),
            ..stream.clone()
        };
        let input = self.settle(pruned)?;
        let place = |index: usize| kept.iter().position(|kept| *kept == index).unwrap_or_default();
        let keys: Vec<usize> = window.partition_by.iter().map(|index| place(*index)).collect();
        let schema = extend(&input.base, &window.spec);
        let moved = moved_columns(&stream, &window, &kept, input.base.fields().len());
        let (exchange, parallelism) = by_key(&keys);
        let mut details = vec![detail("window", describe_window(&window.spec))];
        if !keys.is_empty() {
            details.push(detail("partition by", names(&input.base, &keys)));
        }
        details.push(detail("state", "rows by key and open session; freed when the session closes"));
        let signature = format!(
            "window {}; keys [{}]; by timer; rows of {}",
            describe_window(&window.spec),
            typed_names(&input.base, &keys),
            typed_names(&input.base, &(0..input.base.fields().len()).collect::<Vec<_>>())
        );
        let operator = SessionAssign {
            spec: window.spec,
            time_column: place(window.time),
            keys,
            input: Arc::clone(&input.base),
            schema: Arc::clone(&schema),
        };
        let mut draft = operator_draft("SessionAssign", Arc::new(operator), &input, Arc::clone(&schema), details);
        draft.inputs[0].exchange = reachable(exchange, input.parallelism);
        draft.parallelism = parallelism;
        draft.state_signature = Some(signature);
        let node = self.graph.add(draft);
        late::register(self, &input, node, parallelism);
        let over = |exprs: &[Physical]| exprs.iter().map(|expr| substitute(expr, &moved)).collect::<Result<Vec<_>>>();
        let (columns, conjuncts) = (over(&stream.columns)?, over(&above)?);
        Ok(Stream {
            node,
            port: MAIN_PORT,
            parallelism,
            columns,
            conjuncts,
            base: schema,
            whole_row: input.whole_row,
            ..stream
        })
    }
}

/// Columns of the base that the stream still needs, and the window's time column; in order.
fn columns_kept(stream: &Stream, window: &PendingWindow) -> Vec<usize> {
    let above = &stream.conjuncts[window.conjuncts_below..];
    let read = stream.columns.iter().chain(above).flat_map(columns_read);
    let read = read.chain(window.partition_by.iter().copied()).chain([window.time]);
    let mut kept: Vec<usize> = read.filter(|index| *index < stream.base.fields().len()).collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// For each column of the base and the window behind it: where it stands behind a session operator that was given
/// `width` columns, the first of which are `kept`.
fn moved_columns(stream: &Stream, window: &PendingWindow, kept: &[usize], width: usize) -> Vec<Physical> {
    let inherited = stream.base.fields().len();
    let extended = extend(&stream.base, &window.spec);
    let place = |index: usize| match index.checked_sub(inherited) {
        Some(property) => width + property,
        None => kept.iter().position(|kept| *kept == index).unwrap_or_default(),
    };
    extended.fields().iter().enumerate().map(|(index, field)| column(field.name(), place(index))).collect()
}

/// A stateless node of the stream's own parallelism.
pub(crate) fn operator_draft(
    name: &str,
    operator: Arc<dyn OperatorFactory>,
    stream: &Stream,
    schema: SchemaRef,
    details: Details,
) -> NodeDraft {
    NodeDraft {
        uid: uid_of(name),
        name: name.to_owned(),
        kind: NodeKind::Operator(operator),
        inputs: vec![edge(stream, stream.parallelism)],
        parallelism: stream.parallelism,
        schema,
        changelog: stream.changelog,
        details,
        state_signature: None,
    }
}

/// `WindowAggregate` becomes `window-aggregate`.
pub(super) fn uid_of(name: &str) -> String {
    let mut uid = String::new();
    for (position, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && position > 0 {
            uid.push('-');
        }
        uid.extend(letter.to_lowercase());
    }
    uid
}

/// An edge to a reader that does not care how rows are spread.
pub(crate) fn edge(stream: &Stream, to: Parallelism) -> Input {
    Input { from: stream.node, port: stream.port, exchange: any_exchange(stream.parallelism, to) }
}

/// Rows with equal keys meet; without keys all rows do.
pub(super) fn by_key(keys: &[usize]) -> (Exchange, Parallelism) {
    if keys.is_empty() {
        (Exchange::Single, Parallelism::One)
    } else {
        (Exchange::Hash(keys.to_vec()), Parallelism::Job)
    }
}

/// Between two nodes of one instance each there is nothing to exchange.
pub(super) fn reachable(exchange: Exchange, from: Parallelism) -> Exchange {
    if exchange == Exchange::Single && from == Parallelism::One { Exchange::Forward } else { exchange }
}

pub(crate) fn names(schema: &Schema, columns: &[usize]) -> String {
    columns.iter().map(|index| schema.field(*index).name().as_str()).collect::<Vec<_>>().join(", ")
}

pub(crate) fn typed_names(schema: &Schema, columns: &[usize]) -> String {
    let typed = columns.iter().map(|index| {
        let field = schema.field(*index);
        format!("{} {}", field.name(), crate::types::flink_name(field.data_type(), true))
    });
    typed.collect::<Vec<_>>().join(", ")
}

//! A window table function in the logical plan: the input's columns, then window_start, window_end, window_time.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion_common::{DFSchema, DFSchemaRef, Result, plan_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use tidemill_engine::operators::window_aggregate::WindowProperty;
use tidemill_engine::time::window::{Span, WindowKind, WindowSpec};

/// The three columns that a window adds, in this order.
pub(crate) const PROPERTIES: [WindowProperty; 3] = [WindowProperty::Start, WindowProperty::End, WindowProperty::Time];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowNode {
    pub input: Arc<LogicalPlan>,
    /// A column of the input: its time attribute.
    pub time: Expr,
    /// Columns of the input; only for sessions.
    pub partition_by: Vec<Expr>,
    pub spec: WindowSpec,
    pub schema: DFSchemaRef,
}

impl WindowNode {
    pub fn try_new(input: Arc<LogicalPlan>, time: Expr, partition_by: Vec<Expr>, spec: WindowSpec) -> Result<Self> {
        let inherited = input.schema().iter().map(|(relation, field)| (relation.cloned(), Arc::clone(field)));
        let added = PROPERTIES.iter().map(|property| (None, Arc::new(property.field(spec.zone))));
        let schema = DFSchema::new_with_metadata(inherited.chain(added).collect(), Default::default())?;
        Ok(Self { input, time, partition_by, spec, schema: Arc::new(schema) })
    }

    fn is_session(&self) -> bool {
        matches!(self.spec.kind, WindowKind::Session { .. })
    }

    fn column_names<'a>(&self, exprs: impl IntoIterator<Item = &'a Expr>) -> HashSet<String> {
        let columns = exprs.into_iter().filter_map(Expr::try_as_col);
        columns.map(|column| column.name.clone()).collect()
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(&self.partition_by).cloned().collect()
    }

    /// A filter may sink below a window unless it reads the window's own columns; below a session only when it
    /// keeps or drops whole sessions, that is when it reads partition columns alone.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let own = PROPERTIES.iter().map(|property| property.name().to_owned());
        if !self.is_session() {
            return own.collect();
        }
        let keys = self.column_names(&self.partition_by);
        let all = self.schema.fields().iter().map(|field| field.name().clone());
        all.filter(|name| !keys.contains(name)).chain(own).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window: {}, time={}", describe_window(&self.spec), self.time)?;
        if !self.partition_by.is_empty() {
            let keys: Vec<_> = self.partition_by.iter().map(ToString::to_string).collect();
            write!(f, ", partition by [{}]", keys.join(", "))?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (mut exprs, mut inputs) = (exprs.into_iter(), inputs.into_iter());
        match (exprs.next(), inputs.next()) {
            (Some(time), Some(input)) => Self::try_new(Arc::new(input), time, exprs.collect(), self.spec.clone()),
            _ => plan_err!("a window needs one input and its time column"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inherited = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|index| *index < inherited).collect()])
    }
}

/// The window as EXPLAIN shows it: `HOP(size 10 min, slide 1 min)`.
pub(crate) fn describe_window(spec: &WindowSpec) -> String {
    let offset = |ms: i64| if ms == 0 { String::new() } else { format!(", offset {}", describe_ms(ms)) };
    match spec.kind {
        WindowKind::Tumble { size, offset_ms } => format!("TUMBLE(size {}{})", describe_span(size), offset(offset_ms)),
        WindowKind::Hop { size, slide, offset_ms } => {
            format!("HOP(size {}, slide {}{})", describe_span(size), describe_span(slide), offset(offset_ms))
        }
        WindowKind::Cumulate { size, step, offset_ms } => {
            format!("CUMULATE(size {}, step {}{})", describe_span(size), describe_span(step), offset(offset_ms))
        }
        WindowKind::Session { gap_ms } => format!("SESSION(gap {})", describe_ms(gap_ms)),
    }
}

fn describe_span(span: Span) -> String {
    match span {
        Span::Millis(ms) => describe_ms(ms),
        Span::Months(months) => format!("{months} months"),
    }
}

/// The largest unit that divides the length, so that nothing is rounded.
pub(crate) fn describe_ms(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let unit = UNITS.iter().find(|(size, _)| ms != 0 && ms % size == 0);
    unit.map_or_else(|| format!("{ms} ms"), |(size, name)| format!("{} {name}", ms / size))
}

//! `<table>$late`: rows that a window operator found too late, whole as the table gave them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_physical_expr::ScalarFunctionExpr;
use datafusion_physical_expr::expressions::Literal;
use tidemill_engine::graph::{ChangelogMode, NodeId, Parallelism};
use tidemill_engine::operator::SIDE_PORT;

use super::Translator;
use super::source::WHOLE_ROW;
use crate::catalog::TableDefinition;
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::physical::{Physical, column, column_index};
use crate::plan::stream::{Stream, WholeRow};

/// The side output of a window operator.
#[derive(Clone)]
pub(crate) struct LateRows {
    node: NodeId,
    port: usize,
    parallelism: Parallelism,
    bounded: bool,
    /// What the operator is given, and so what its side output gives.
    schema: SchemaRef,
    /// Where the whole row stands in it.
    row: usize,
}

/// Notes that a window operator with this input has late rows, if the input carries its table's rows.
pub(super) fn register(translator: &mut Translator<'_>, input: &Stream, node: NodeId, parallelism: Parallelism) {
    register_port(translator, input, node, SIDE_PORT, parallelism);
}

/// The same for an operator that gives late rows of this input at a port of their own.
pub(super) fn register_port(
    translator: &mut Translator<'_>,
    input: &Stream,
    node: NodeId,
    port: usize,
    parallelism: Parallelism,
) {
    let Some(whole) = &input.whole_row else { return };
    let Some(row) = column_index(&whole.row) else { return };
    let schema = Arc::clone(&input.base);
    let rows = LateRows { node, port, parallelism, bounded: input.bounded, schema, row };
    translator.late.entry(whole.table.clone()).or_default().push(rows);
}

pub(super) fn whole_row_field(whole: &WholeRow, base: &Schema) -> Result<Field> {
    Ok(Field::new(WHOLE_ROW, whole.row.data_type(base)?, true))
}

impl Translator<'_> {
    /// The late rows of a table, reduced to these columns. The operators that find them must stand already.
    pub fn late_rows(&mut self, definition: &TableDefinition, columns: &[&str]) -> Result<Stream> {
        let operators = self.late.get(&definition.name).cloned().unwrap_or_default();
        if operators.is_empty() {
            let message = format!("nothing in this job finds late rows of `{}`", definition.name);
            let hint = format!(
                "put a query with a window over `{}` and the reader of `{0}$late` into one EXECUTE STATEMENT SET",
                definition.name
            );
            return Err(external(Diagnostic::new(message).with_hint(hint)));
        }
        let streams = operators.iter().map(|late| self.late_stream(late, definition, columns));
        let streams = streams.collect::<Result<Vec<_>>>()?;
        self.union(streams)
    }

    fn late_stream(&self, late: &LateRows, definition: &TableDefinition, columns: &[&str]) -> Result<Stream> {
        let DataType::Struct(fields) = late.schema.field(late.row).data_type() else {
            return Err(external(Diagnostic::new("late rows were lost in planning")));
        };
        let row: Physical = column(WHOLE_ROW, late.row);
        let mut exprs = Vec::new();
        let mut output = Vec::new();
        for name in columns {
            let Some((_, field)) = fields.find(name) else {
                return Err(external(Diagnostic::new(format!("`{}` has no column `{name}`", definition.name))));
            };
            output.push(Field::new(*name, field.data_type().clone(), true));
            exprs.push(self.field_of(&row, field));
        }
        let mut stream =
            Stream::of(late.node, Arc::clone(&late.schema), late.parallelism, ChangelogMode::Append, late.bounded);
        stream.port = late.port;
        Ok(Stream { columns: exprs, schema: Arc::new(Schema::new(output)), ..stream })
    }

    fn field_of(&self, row: &Physical, field: &Arc<Field>) -> Physical {
        let function = datafusion_functions::core::get_field();
        let name: Physical = Arc::new(Literal::new(ScalarValue::from(field.name().as_str())));
        let arguments = vec![Arc::clone(row), name];
        let nullable = Arc::new(field.as_ref().clone().with_nullable(true));
        let options = Arc::clone(&self.resolver.options);
        Arc::new(ScalarFunctionExpr::new("get_field", function, arguments, nullable, options))
    }
}

//! Tables as inputs: their rows, their late rows, their undecodable records.

use datafusion_common::Result;
use datafusion_expr::LogicalPlan;

use super::Translator;
use super::calc::plain_schema;
use crate::diagnostic::Diagnostic;
use crate::plan::context::{CatalogTable, TableStream, external};
use crate::plan::stream::Stream;

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::TableScan(scan) = plan else { return None };
    let Some(table) = scan.source.downcast_ref::<CatalogTable>() else {
        return Some(Err(external(Diagnostic::new(format!("`{}` cannot be read", scan.table_name)))));
    };
    let names: Vec<&str> = scan.projected_schema.fields().iter().map(|field| field.name().as_str()).collect();
    let stream = match table.stream {
        TableStream::Rows => translator.table_rows(&table.definition, &names),
        TableStream::Late => translator.late_rows(&table.definition, &names),
        TableStream::Errors => translator.table_errors(&table.definition).and_then(|errors| pick(errors, &names)),
    };
    Some(stream.map(|stream| Stream { schema: plain_schema(&scan.projected_schema), ..stream }))
}

/// The stream reduced to the columns of these names.
fn pick(stream: Stream, names: &[&str]) -> Result<Stream> {
    let places = names.iter().map(|name| Ok(stream.schema.index_of(name)?)).collect::<Result<Vec<_>>>()?;
    let columns = places.iter().map(|index| std::sync::Arc::clone(&stream.columns[*index])).collect();
    Ok(Stream { columns, ..stream })
}

//! CASE over fields of ROW columns, made to look at those fields alone.
//!
//! For each branch, CASE filters the columns that it reads: of a field, that is the whole ROW with all its texts. To take a field
//! out first costs next to nothing, since its values stand in an array of their own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::Result as DataFusionResult;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::expressions::{CaseExpr, Column, Literal};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::Result;

const GET_FIELD: &str = "get_field";

/// `expr` with every CASE that reads fields of columns replaced by one that is given these. For evaluation only: the result
/// does not show what it is made of.
pub fn narrowed(expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let narrowed = Arc::clone(expr).transform_down(|node| {
        if !node.is::<CaseExpr>() {
            return Ok(Transformed::no(node));
        }
        Ok(match NarrowCase::of(&node)? {
            Some(narrow) => Transformed::new(Arc::new(narrow) as _, true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })?;
    Ok(narrowed.data)
}

/// A CASE over what is computed in front of it.
#[derive(Debug, Eq)]
struct NarrowCase {
    /// Columns, and fields of columns.
    read: Vec<Arc<dyn PhysicalExpr>>,
    /// Reads column `n` for the nth of these.
    case: Arc<dyn PhysicalExpr>,
}

impl NarrowCase {
    /// `None` where the CASE reads no field.
    fn of(case: &Arc<dyn PhysicalExpr>) -> DataFusionResult<Option<Self>> {
        let (mut read, mut reads_fields) = (Vec::<Arc<dyn PhysicalExpr>>::new(), false);
        let narrow = Arc::clone(case).transform_down(|node| {
            let is_field = is_field(&node);
            if !is_field && !node.is::<Column>() {
                return Ok(Transformed::no(node));
            }
            reads_fields |= is_field;
            let place = read.iter().position(|known| known == &node).unwrap_or_else(|| {
                read.push(node);
                read.len() - 1
            });
            Ok(Transformed::new(column(place), true, TreeNodeRecursion::Jump))
        })?;
        Ok(reads_fields.then_some(Self { read, case: narrow.data }))
    }

    /// What is computed in front, as columns.
    fn schema(&self, input: &Schema) -> DataFusionResult<Schema> {
        let field = |(place, expr): (usize, &Arc<dyn PhysicalExpr>)| {
            Ok(Field::new(place.to_string(), expr.data_type(input)?, expr.nullable(input)?))
        };
        Ok(Schema::new(self.read.iter().enumerate().map(field).collect::<DataFusionResult<Vec<_>>>()?))
    }
}

fn column(place: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(&place.to_string(), place))
}

/// True for a field of a column, or of a field of one.
fn is_field(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.fun().name() == GET_FIELD) else {
        return false;
    };
    let Some((row, names)) = call.args().split_first() else { return false };
    (row.is::<Column>() || is_field(row)) && names.iter().all(|name| name.is::<Literal>())
}

// Derived, these would move the expressions.
impl PartialEq for NarrowCase {
    fn eq(&self, other: &Self) -> bool {
        self.read == other.read && self.case.as_ref() == other.case.as_ref()
    }
}

impl Hash for NarrowCase {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.read.hash(state);
        self.case.hash(state);
    }
}

impl PhysicalExpr for NarrowCase {
    fn data_type(&self, input: &Schema) -> DataFusionResult<DataType> {
        self.case.data_type(&self.schema(input)?)
    }

    fn nullable(&self, input: &Schema) -> DataFusionResult<bool> {
        self.case.nullable(&self.schema(input)?)
    }

    fn evaluate(&self, rows: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let count = rows.num_rows();
        let read = self.read.iter().map(|expr| expr.evaluate(rows)?.into_array(count));
        let read = read.collect::<DataFusionResult<Vec<_>>>()?;
        let schema = Arc::new(self.schema(&rows.schema())?);
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        self.case.evaluate(&RecordBatch::try_new_with_options(schema, read, &options)?)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.read.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { read: children, case: Arc::clone(&self.case) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.fmt_sql(f)
    }
}

impl fmt::Display for NarrowCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{Fields, Int64Type};
    use datafusion_common::ScalarValue;
    use datafusion_common::config::ConfigOptions;
    use datafusion_physical_expr::expressions::{binary, case, lit};

    use super::*;

    fn rows() -> RecordBatch {
        let fields: Fields =
            vec![Field::new("n", DataType::Int64, true), Field::new("text", DataType::Utf8, true)].into();
        let row = |numbers: Vec<Option<i64>>, valid: Vec<bool>| -> ArrayRef {
            let texts = StringArray::from(vec!["a long text"; numbers.len()]);
            let values: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(numbers)), Arc::new(texts)];
            Arc::new(StructArray::new(fields.clone(), values, Some(NullBuffer::from(valid))))
        };
        let columns = [
            ("kind", Arc::new(Int32Array::from(vec![Some(0), Some(1), None, Some(0), Some(7)])) as ArrayRef),
            ("one", row(vec![Some(1), Some(2), Some(3), None, None], vec![true, true, true, false, true])),
            ("two", row(vec![Some(10), None, Some(30), Some(40), Some(50)], vec![true; 5])),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn field_of(name: &str, schema: &Schema) -> Arc<dyn PhysicalExpr> {
        let row: Arc<dyn PhysicalExpr> = Arc::new(Column::new_with_schema(name, schema).unwrap());
        let function = datafusion_functions::core::get_field();
        let options = Arc::new(ConfigOptions::default());
        Arc::new(ScalarFunctionExpr::try_new(function, vec![row, lit("n")], schema, options).unwrap())
    }

    #[test]
    fn it_gives_what_the_case_itself_gives_and_reads_no_more() {
        let rows = rows();
        let schema = rows.schema();
        let kind: Arc<dyn PhysicalExpr> = Arc::new(Column::new_with_schema("kind", &schema).unwrap());
        let (one, two) = (field_of("one", &schema), field_of("two", &schema));
        let chosen = case(
            Some(Arc::clone(&kind)),
            vec![(lit(0), Arc::clone(&one)), (lit(1), Arc::clone(&two))],
            Some(Arc::clone(&two)),
        );
        let chosen = chosen.unwrap();
        let plus = datafusion_expr::Operator::Plus;
        let wide = binary(Arc::clone(&chosen), plus, lit(ScalarValue::Int64(Some(1))), &schema).unwrap();
        let narrow = narrowed(&wide).unwrap();
        let values = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&rows).unwrap().into_array(rows.num_rows()).unwrap();
        assert_eq!(&values(&narrow), &values(&wide));
        let expected = [Some(2), None, Some(31), None, Some(51)];
        assert!(values(&narrow).as_primitive::<Int64Type>().iter().eq(expected));
        assert_eq!(narrow.data_type(&schema).unwrap(), DataType::Int64);
        let case = narrow.children()[0].downcast_ref::<NarrowCase>().expect("the CASE was replaced");
        assert_eq!(case.read, [kind, one, two], "each once");
    }

    #[test]
    fn without_fields_it_stays_as_it_is() {
        let schema = rows().schema();
        let kind: Arc<dyn PhysicalExpr> = Arc::new(Column::new_with_schema("kind", &schema).unwrap());
        let plain = case(Some(Arc::clone(&kind)), vec![(lit(0), lit(5))], Some(kind)).unwrap();
        assert_eq!(&narrowed(&plain).unwrap(), &plain);
    }
}

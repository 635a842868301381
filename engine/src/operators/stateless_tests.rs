//! Calc, Expand and Unnest, row by row: what goes in, what comes out, what is counted.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int8Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::array::{Int64Builder, MapBuilder, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema, SchemaRef, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::Operator as BinaryOperator;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use expect_test::{Expect, expect};

use super::calc::Calc;
use super::expand::Expand;
use super::row_error::{RowErrorPolicy, show_row};
use super::unnest::Unnest;
use super::{current_watermark, values_source::ValuesSource};
use crate::keys::KeyGroupRange;
use crate::metrics::NodeMetrics;
use crate::operator::{OperatorContext, OperatorFactory, Subtask, VecCollector};
use crate::source::{Read, Source};
use crate::state::memory::MemoryState;
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, EngineError, Result};

type Expr = Arc<dyn PhysicalExpr>;

fn column(name: &str, index: usize) -> Expr {
    Arc::new(Column::new(name, index))
}

fn literal(value: impl Into<ScalarValue>) -> Expr {
    Arc::new(Literal::new(value.into()))
}

fn binary(left: Expr, operator: BinaryOperator, right: Expr) -> Expr {
    Arc::new(BinaryExpr::new(left, operator, right))
}

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>()))
}

fn context(watermark: i64, batch_rows: usize) -> OperatorContext {
    OperatorContext {
        subtask: Subtask { index: 0, parallelism: 1 },
        key_groups: KeyGroupRange::all(1),
        state: Box::new(MemoryState::default()),
        now: ProcessingTime(0),
        watermark: EventTime(watermark),
        input_watermarks: Vec::new(),
        batch_rows,
        cache_budget_bytes: 0,
        metrics: Arc::new(NodeMetrics::default()),
    }
}

fn run(factory: &dyn OperatorFactory, batch: Batch, ctx: &mut OperatorContext) -> Result<String> {
    let mut out = VecCollector::default();
    factory.create()?.on_batch(0, batch, ctx, &mut out)?;
    let rows = out.batches.iter().flat_map(|(_, batch)| {
        (0..batch.num_rows()).map(|row| format!("{}{}", batch.kind(row).symbol(), show_row(batch.rows(), row)))
    });
    let ends: Vec<String> = rows.collect();
    Ok(ends.join("\n"))
}

/// Columns id (1, 2, ...) and text.
fn numbers(texts: &[&str]) -> Batch {
    let schema = schema(&[("id", DataType::Int64), ("text", DataType::Utf8)]);
    let ids: Int64Array = (1..=texts.len() as i64).map(Some).collect();
    let texts = StringArray::from_iter(texts.iter().map(|text| Some(*text).filter(|text| !text.is_empty())));
    Batch::new(RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(texts)]).unwrap())
}

fn to_number(text: Expr) -> Expr {
    Arc::new(CastExpr::new(text, DataType::Int64, None))
}

/// SELECT CAST(text AS BIGINT) AS n, id WHERE id <> 2
fn parsing(on_error: RowErrorPolicy) -> Calc {
    Calc {
        name: "Calc(parse)".into(),
        filter: Some(binary(column("id", 0), BinaryOperator::NotEq, literal(2i64))),
        columns: Some(vec![to_number(column("text", 1)), column("id", 0)]),
        schema: schema(&[("n", DataType::Int64), ("id", DataType::Int64)]),
        on_error,
    }
}

#[track_caller]
fn check(factory: &dyn OperatorFactory, batch: Batch, expected: Expect) -> OperatorContext {
    let mut ctx = context(0, 8192);
    expected.assert_eq(&run(factory, batch, &mut ctx).unwrap());
    ctx
}

#[test]
fn what_the_filter_leaves_out_is_never_computed() {
    let ctx = check(
        &parsing(RowErrorPolicy::Fail),
        numbers(&["10", "oops", "", "40"]),
        expect![[r#"
        +I{n=10, id=1}
        +I{n=NULL, id=3}
        +I{n=40, id=4}"#]],
    );
    assert_eq!(ctx.metrics.filtered.get(), 1);
}

#[test]
fn a_failing_row_is_shown_with_its_values() {
    let mut ctx = context(0, 8192);
    let error = run(&parsing(RowErrorPolicy::Fail), numbers(&["1", "2", "3", "4x", "5x"]), &mut ctx).unwrap_err();
    assert!(matches!(&error, EngineError::BadRow { row, .. } if row == "{id=4, text=4x}"), "{error}");
    assert!(error.to_string().contains("Calc(parse)") && error.to_string().contains("TRY_CAST"), "{error}");
}

#[test]
fn skipping_leaves_out_the_failing_rows_and_no_others() {
    for bad in [vec![], vec![1], vec![3, 4], vec![1, 5, 6], vec![1, 3, 4, 5, 6, 7]] {
        let texts: Vec<String> =
            (1..=7).map(|id| if bad.contains(&id) { "x".to_string() } else { format!("{}", id * 10) }).collect();
        let mut ctx = context(0, 8192);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows = run(&parsing(RowErrorPolicy::Skip), numbers(&texts), &mut ctx).unwrap();
        let good = (1..=7).filter(|id| *id != 2 && !bad.contains(id));
        let good: Vec<String> = good.map(|id| format!("+I{{n={}, id={id}}}", id * 10)).collect();
        assert_eq!(rows, good.join("\n"), "{bad:?}");
        let counts = (ctx.metrics.errors.get(), ctx.metrics.filtered.get());
        assert_eq!(counts, (bad.len() as u64, 1), "{bad:?}");
    }
}

#[test]
fn kinds_and_watermarks_stay_with_their_rows() {
    let rows = numbers(&["1", "2", "3"]).rows().clone();
    let batch = Batch::with_kinds(rows, Int8Array::from(vec![1, 2, 3])).with_watermarks(vec![7, 8, 9].into());
    let mut out = VecCollector::default();
    parsing(RowErrorPolicy::Fail).create().unwrap().on_batch(0, batch, &mut context(0, 8), &mut out).unwrap();
    let given = &out.batches[0].1;
    // The first row has lost the other half of its update.
    assert_eq!(given.kinds().unwrap().values(), &[3, 3]);
    assert_eq!(given.watermarks().unwrap().values(), &[7, 9]);
}

#[test]
fn a_calc_without_work_only_renames() {
    let schema = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    let calc = Calc { name: "Union".into(), filter: None, columns: None, schema, on_error: RowErrorPolicy::Fail };
    check(&calc, numbers(&["x"]), expect!["+I{a=1, b=x}"]);
}

#[test]
fn values_take_the_declared_type_and_no_column_is_a_row_too() {
    let wide = schema(&[("id", DataType::Utf8)]);
    let on_error = RowErrorPolicy::Fail;
    let columns = Some(vec![column("id", 0)]);
    let calc = Calc { name: "Calc".into(), filter: None, columns, schema: wide, on_error };
    check(&calc, numbers(&["x"]), expect!["+I{id=1}"]);
    let none = Calc { columns: Some(vec![]), schema: schema(&[]), ..calc };
    check(
        &none,
        numbers(&["x", "y"]),
        expect![[r#"
        +I{}
        +I{}"#]],
    );
}

#[test]
fn current_watermark_is_that_of_the_operator_and_null_before_the_first() {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let result = Arc::new(Field::new("w", time.clone(), true));
    let args = vec![column("id", 0)];
    let function = Arc::new(current_watermark::function());
    let call = ScalarFunctionExpr::new("current_watermark", function, args, result, Arc::new(ConfigOptions::new()));
    let calc = Calc {
        name: "Calc".into(),
        filter: None,
        columns: Some(vec![Arc::new(call)]),
        schema: schema(&[("w", time)]),
        on_error: RowErrorPolicy::Fail,
    };
    for (watermark, shown) in [(i64::MIN, "+I{w=NULL}"), (1500, "+I{w=1970-01-01T00:00:01.500}")] {
        assert_eq!(run(&calc, numbers(&["x"]), &mut context(watermark, 1)).unwrap(), shown);
    }
}

#[test]
fn expand_gives_each_row_once_per_grouping_set() {
    let set = |text: Expr, id: i64| vec![column("id", 0), text, literal(id)];
    let fields = [("id", DataType::Int64), ("text", DataType::Utf8), ("set", DataType::Int64)];
    let expand = Expand {
        projections: vec![set(column("text", 1), 0), set(literal(ScalarValue::Utf8(None)), 1)],
        schema: schema(&fields),
    };
    check(
        &expand,
        numbers(&["a", "b"]),
        expect![[r#"
        +I{id=1, text=a, set=0}
        +I{id=2, text=b, set=0}
        +I{id=1, text=NULL, set=1}
        +I{id=2, text=NULL, set=1}"#]],
    );
}

/// Columns id and list, one list per row.
fn with_list(list: ArrayRef) -> Batch {
    let schema = schema(&[("id", DataType::Int64), ("list", list.data_type().clone())]);
    let ids: Int64Array = (1..=list.len() as i64).map(Some).collect();
    Batch::new(RecordBatch::try_new(schema, vec![Arc::new(ids), list]).unwrap())
}

fn unnest(batch: &Batch, outer: bool, elements: &[(&str, DataType)]) -> Unnest {
    let fields = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
    let added = elements.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
    let fields: Vec<Field> = fields.into_iter().chain(added).collect();
    let ordinality = elements.last().is_some_and(|(name, _)| *name == "place");
    Unnest { column: 1, outer, ordinality, schema: Arc::new(Schema::new(fields)) }
}

fn lists() -> Batch {
    let rows = [Some(vec![Some(7), None]), None, Some(vec![]), Some(vec![Some(9)])];
    with_list(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows)))
}

#[test]
fn unnest_gives_a_row_per_element() {
    let elements = [("e", DataType::Int32), ("place", DataType::Int32)];
    check(
        &unnest(&lists(), false, &elements),
        lists(),
        expect![[r#"
            +I{id=1, list=[7, NULL], e=7, place=1}
            +I{id=1, list=[7, NULL], e=NULL, place=2}
            +I{id=4, list=[9], e=9, place=1}"#]],
    );
}

#[test]
fn an_outer_unnest_keeps_rows_without_elements() {
    let sliced = lists().slice(1, 3);
    let unnest = unnest(&sliced, true, &[("e", DataType::Int32), ("place", DataType::Int32)]);
    check(
        &unnest,
        sliced,
        expect![[r#"
        +I{id=2, list=NULL, e=NULL, place=NULL}
        +I{id=3, list=[], e=NULL, place=NULL}
        +I{id=4, list=[9], e=9, place=1}"#]],
    );
}

#[test]
fn the_fields_of_a_row_become_columns_and_a_null_row_has_null_fields() {
    let fields = Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1, 2, 3])), Arc::new(StringArray::from(vec!["x", "y", "z"]))];
    let rows = StructArray::new(fields.clone(), columns, Some(NullBuffer::from(vec![true, false, true])));
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    let list = ListArray::new(item, OffsetBuffer::new(vec![0, 2, 3].into()), Arc::new(rows), None);
    let batch = with_list(Arc::new(list));
    let mut narrow = unnest(&batch, false, &[("a", DataType::Int32), ("b", DataType::Utf8)]);
    narrow.column = 1;
    let shown = run(&narrow, batch, &mut context(0, 8192)).unwrap();
    let ends: Vec<&str> = shown.lines().map(|line| &line[line.rfind(", a=").unwrap() + 2..]).collect();
    assert_eq!(ends, ["a=1, b=x}", "a=NULL, b=NULL}", "a=3, b=z}"]);
}

#[test]
fn a_map_gives_keys_and_values() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for (key, value) in [("a", 1), ("b", 2)] {
        maps.keys().append_value(key);
        maps.values().append_value(value);
    }
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let batch = with_list(Arc::new(maps.finish()));
    let unnest = unnest(&batch, false, &[("k", DataType::Utf8), ("v", DataType::Int64)]);
    let shown = run(&unnest, batch, &mut context(0, 8192)).unwrap();
    let ends: Vec<&str> = shown.lines().map(|line| &line[line.rfind(", k=").unwrap() + 2..]).collect();
    assert_eq!(ends, ["k=a, v=1}", "k=b, v=2}"]);
}

#[test]
fn long_arrays_are_given_in_several_batches() {
    let rows = (0..10).map(|row| Some((0..row).map(Some).collect::<Vec<_>>()));
    let batch = with_list(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows)));
    let factory = unnest(&batch, false, &[("e", DataType::Int32)]);
    let mut out = VecCollector::default();
    factory.create().unwrap().on_batch(0, batch, &mut context(0, 10), &mut out).unwrap();
    let sizes: Vec<usize> = out.batches.iter().map(|(_, batch)| batch.num_rows()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 45);
    assert!(sizes.iter().all(|size| *size < 20), "{sizes:?}");
}

#[test]
fn values_are_read_on_from_any_row() {
    let rows = [numbers(&["a", "b", "c"]), numbers(&["d"])].map(|batch| batch.rows().clone());
    let source = ValuesSource::new(rows[0].schema(), rows.to_vec());
    let split = &source.discover().unwrap()[0];
    for start in 0..=4 {
        let mut reader = source.open(split, (start > 0).then(|| start.into()).as_ref()).unwrap();
        let mut count = 0;
        while let Read::Rows { rows, .. } = reader.next(2).unwrap() {
            count += rows.num_rows();
        }
        assert_eq!((start as usize + count, reader.position()), (4, 4.into()));
    }
}

//! Joins each row with the reference rows that have its key when it comes. Keeps no state: reference rows are read by a
//! [`LookupTable`].

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion_common::JoinType;
use datafusion_physical_expr::PhysicalExpr;

use super::join_rows::{JoinInput, JoinedRows, LEFT, RIGHT, Side, pick};
use super::key_table::KeyTable;
use crate::lookup::LookupTable;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::{Batch, EngineError, Result};

/// Output: left columns, then the reference table's.
#[derive(Clone)]
pub struct LookupJoin {
    /// INNER or LEFT.
    pub kind: JoinType,
    /// The left side, then the reference table.
    pub inputs: [JoinInput; 2],
    pub table: Arc<dyn LookupTable>,
    /// Beyond the keys; over the left columns, then the table's.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
}

impl OperatorFactory for LookupJoin {
    fn create(&self) -> Result<Box<dyn Operator>> {
        if !matches!(self.kind, JoinType::Inner | JoinType::Left) {
            return Err(EngineError::Unsupported(format!("a lookup join cannot be a {} JOIN", self.kind)));
        }
        let [left, right] = &self.inputs;
        let schemas = [left.schema.clone(), right.schema.clone()];
        Ok(Box::new(LookupJoinOperator {
            sides: [Side::new(left)?, Side::new(right)?],
            joined: JoinedRows::new(self.kind, schemas, self.condition.clone(), self.schema.clone())?,
            table: self.table.clone(),
            index: None,
            kind: self.kind,
        }))
    }
}

struct LookupJoinOperator {
    kind: JoinType,
    sides: [Side; 2],
    joined: JoinedRows,
    table: Arc<dyn LookupTable>,
    index: Option<Index>,
}

/// Reference rows by key.
struct Index {
    rows: Arc<RecordBatch>,
    keys: KeyTable,
    /// Rows of each key.
    of_key: Vec<Vec<u32>>,
}

impl Index {
    fn new(rows: Arc<RecordBatch>, side: &Side) -> Result<Self> {
        let (keys, null_keys) = (side.encode_keys(&rows)?, side.null_keys(&rows));
        let mut index = Self { keys: KeyTable::default(), of_key: Vec::new(), rows: rows.clone() };
        for row in (0..rows.num_rows()).filter(|row| !null_keys[*row]) {
            let slot = index.keys.intern(keys.hash(row), keys.key(row)) as usize;
            index.of_key.resize(index.of_key.len().max(slot + 1), Vec::new());
            index.of_key[slot].push(row as u32);
        }
        Ok(index)
    }
}

impl LookupJoinOperator {
    /// The reference rows as they are now.
    fn refresh(&mut self, ctx: &OperatorContext) -> Result<()> {
        let rows = self.table.rows(ctx.now)?;
        let is_known = self.index.as_ref().is_some_and(|index| Arc::ptr_eq(&index.rows, &rows));
        if !is_known {
            self.index = Some(Index::new(rows, &self.sides[RIGHT])?);
        }
        Ok(())
    }

    /// Joins `rows`, at most about `pairs_max` pairs at a time.
    fn join(&self, index: &Index, batch: &Batch, pairs_max: usize, out: &mut dyn Collector) -> Result<()> {
        let rows = batch.rows();
        let (keys, null_keys) = (self.sides[LEFT].encode_keys(rows)?, self.sides[LEFT].null_keys(rows));
        let mut unmatched = vec![true; rows.num_rows()];
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for row in (0..rows.num_rows()).filter(|row| !null_keys[*row]) {
            let Some(slot) = index.keys.find(keys.hash(row), keys.key(row)) else { continue };
            let found = &index.of_key[slot as usize];
            left.extend(std::iter::repeat_n(row as u32, found.len()));
            right.extend_from_slice(found);
            if left.len() >= pairs_max {
                self.emit_pairs(index, batch, &left, &right, &mut unmatched, out)?;
                left.clear();
                right.clear();
            }
        }
        self.emit_pairs(index, batch, &left, &right, &mut unmatched, out)?;
        if self.kind != JoinType::Left {
            return Ok(());
        }
        let alone: Vec<u32> = (0..rows.num_rows() as u32).filter(|row| unmatched[*row as usize]).collect();
        emit(self.joined.alone(LEFT, &pick(rows, &alone)?)?, &alone, batch.watermarks(), out)
    }

    fn emit_pairs(
        &self,
        index: &Index,
        batch: &Batch,
        left: &[u32],
        right: &[u32],
        unmatched: &mut [bool],
        out: &mut dyn Collector,
    ) -> Result<()> {
        if left.is_empty() {
            return Ok(());
        }
        let (pairs, keep) = self.joined.pair(&pick(batch.rows(), left)?, &pick(&index.rows, right)?)?;
        let kept = |pair: &usize| keep.as_ref().is_none_or(|keep| keep.value(*pair));
        let numbers: Vec<u32> = (0..left.len()).filter(kept).map(|pair| left[pair]).collect();
        numbers.iter().for_each(|row| unmatched[*row as usize] = false);
        emit(self.joined.matched(pairs, keep.as_ref())?, &numbers, batch.watermarks(), out)
    }
}

/// Emits output rows, each made of the left row with this number, whose watermark goes along.
fn emit(rows: RecordBatch, left: &[u32], marks: Option<&Int64Array>, out: &mut dyn Collector) -> Result<()> {
    assert_eq!(rows.num_rows(), left.len(), "every output row has a left row");
    if left.is_empty() {
        return Ok(());
    }
    let batch = Batch::new(rows);
    let batch = match marks {
        None => batch,
        Some(marks) => batch.with_watermarks(left.iter().map(|row| marks.value(*row as usize)).collect()),
    };
    out.emit(MAIN_PORT, batch)
}

impl Operator for LookupJoinOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.refresh(ctx)
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        self.refresh(ctx)?;
        let index = self.index.as_ref().expect("refreshing makes an index");
        self.join(index, &batch, ctx.batch_rows.max(1), out)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use expect_test::expect;
    use parking_lot::Mutex;

    use super::*;
    use crate::operators::join_rows::joined_schema;
    use crate::operators::testing::World;
    use crate::time::ProcessingTime;

    struct Memory(Mutex<Arc<RecordBatch>>);

    impl LookupTable for Memory {
        fn schema(&self) -> SchemaRef {
            schema()
        }

        fn rows(&self, _now: ProcessingTime) -> Result<Arc<RecordBatch>> {
            Ok(self.0.lock().clone())
        }
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Utf8, true)]))
    }

    fn rows(rows: &[(Option<&str>, &str)]) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
        ];
        RecordBatch::try_new(schema(), columns).unwrap()
    }

    #[test]
    fn each_row_meets_the_rows_that_are_there_when_it_comes() {
        let table = Arc::new(Memory(Mutex::new(Arc::new(rows(&[(Some("a"), "1"), (Some("a"), "2"), (None, "3")])))));
        let one = JoinInput { schema: schema(), keys: vec![0] };
        let plan = LookupJoin {
            kind: JoinType::Left,
            inputs: [one.clone(), one],
            table: table.clone(),
            condition: None,
            schema: joined_schema(JoinType::Left, &schema(), &schema()),
        };
        let mut world = World::new(&plan, &[0], &schema(), usize::MAX, 1);
        let left = rows(&[(Some("a"), "x"), (Some("b"), "y"), (None, "z")]);
        let batch = Batch::new(left).with_watermarks(Int64Array::from(vec![7, 8, 9]));
        world.batch(&batch);
        expect![[r#"
            a|x|a|1
            a|x|a|2
            b|y|NULL|NULL
            NULL|z|NULL|NULL"#]]
        .assert_eq(&world.rows(MAIN_PORT).join("\n"));
        let marks = world.out.batches.iter().flat_map(|(_, batch)| batch.watermarks().unwrap().values().to_vec());
        assert_eq!(marks.collect::<Vec<_>>(), [7, 7, 8, 9]);
        world.take_output();
        *table.0.lock() = Arc::new(rows(&[(Some("b"), "4")]));
        world.batch(&batch);
        expect![[r#"
            b|y|b|4
            a|x|NULL|NULL
            NULL|z|NULL|NULL"#]]
        .assert_eq(&world.rows(MAIN_PORT).join("\n"));
    }
}

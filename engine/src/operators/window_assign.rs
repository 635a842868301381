//! Puts rows into TUMBLE, HOP and CUMULATE windows: each row once per window, with the window's bounds.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;

use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::operators::row_times::row_times;
use crate::operators::window_aggregate::{WindowProperty, property_column};
use crate::time::assign::{Window, WindowGrid};
use crate::time::window::{TimeDomain, WindowKind, WindowSpec};
use crate::time::zone::{all_to_local, to_local};
use crate::{Batch, EngineError, Result};

/// Output: input columns, window_start, window_end, window_time. Keeps no state and drops no late row.
#[derive(Clone)]
pub struct WindowAssign {
    /// Not a session window.
    pub spec: WindowSpec,
    /// Not read in processing time.
    pub time_column: usize,
    pub schema: SchemaRef,
}

impl OperatorFactory for WindowAssign {
    fn create(&self) -> Result<Box<dyn Operator>> {
        self.spec.validate().map_err(EngineError::Unsupported)?;
        if matches!(self.spec.kind, WindowKind::Session { .. }) {
            return Err(EngineError::Unsupported("sessions need SessionAssign: they depend on other rows".into()));
        }
        Ok(Box::new(WindowAssignOperator { grid: WindowGrid::new(&self.spec), plan: self.clone() }))
    }
}

struct WindowAssignOperator {
    plan: WindowAssign,
    grid: WindowGrid,
}

impl WindowAssignOperator {
    fn local_times(&self, batch: &Batch, ctx: &OperatorContext) -> Result<Vec<i64>> {
        let zone = self.plan.spec.zone;
        if self.plan.spec.domain == TimeDomain::Processing {
            return Ok(vec![to_local(zone, ctx.now.0); batch.num_rows()]);
        }
        let mut times = row_times("WindowAssign", batch.rows(), self.plan.time_column)?;
        all_to_local(zone, &mut times);
        Ok(times)
    }

    /// Each row with its windows, at most about `rows_max` at a time: a row of a HOP can have thousands.
    fn emit_chunks(&self, batch: &Batch, times: &[i64], rows_max: usize, out: &mut dyn Collector) -> Result<usize> {
        let (mut rows, mut windows, mut outside) = (Vec::new(), Vec::new(), 0);
        for (row, time) in times.iter().enumerate() {
            for window in self.grid.windows_of(*time) {
                windows.push(window);
                rows.push(row as u32);
                if rows.len() >= rows_max {
                    self.emit(batch, std::mem::take(&mut rows), &std::mem::take(&mut windows), out)?;
                }
            }
            outside += usize::from(self.grid.slice_of(*time).is_none());
        }
        if !rows.is_empty() {
            self.emit(batch, rows, &windows, out)?;
        }
        Ok(outside)
    }

    fn emit(&self, batch: &Batch, rows: Vec<u32>, windows: &[Window], out: &mut dyn Collector) -> Result<()> {
        let one_to_one = rows.len() == batch.num_rows() && rows.iter().zip(0..).all(|(row, position)| *row == position);
        let repeated = if one_to_one { batch.clone() } else { batch.take(&UInt32Array::from(rows))? };
        let mut columns = repeated.rows().columns().to_vec();
        for property in [WindowProperty::Start, WindowProperty::End, WindowProperty::Time] {
            let kind = self.plan.schema.field(columns.len()).data_type().clone();
            columns.push(property_column(property, &kind, self.plan.spec.zone, windows));
        }
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        out.emit(MAIN_PORT, repeated.replace_rows(rows))
    }
}

impl Operator for WindowAssignOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let times = self.local_times(&batch, ctx)?;
        // Tumbling windows keep batches as they are, so that nothing is copied.
        let rows_max = ctx.batch_rows.max(batch.num_rows()).max(1);
        let outside = self.emit_chunks(&batch, &times, rows_max, out)?;
        ctx.metrics.filtered.add(outside);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::TimestampMillisecondArray;
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use chrono_tz::Tz;
    use expect_test::{Expect, expect};

    use super::*;
    use crate::operators::testing::World;
    use crate::time::window::Span;

    const MINUTE_MS: i64 = 60_000;

    fn check(kind: WindowKind, zone: Option<Tz>, times: &[i64], expected: Expect) {
        let kind_of =
            |zone: Option<Tz>| DataType::Timestamp(TimeUnit::Millisecond, zone.map(|zone| zone.name().into()));
        let time = Field::new("time", kind_of(zone), true);
        let input = Arc::new(Schema::new(vec![time.clone()]));
        let properties = [WindowProperty::Start, WindowProperty::End, WindowProperty::Time];
        let fields = [time].into_iter().chain(properties.map(|property| property.field(zone)));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let plan = WindowAssign { spec: WindowSpec { kind, domain: TimeDomain::Event, zone }, time_column: 0, schema };
        let mut world = World::new(&plan, &[], &input, usize::MAX, 1);
        let column = TimestampMillisecondArray::from(times.to_vec()).with_timezone_opt(zone.map(Tz::name));
        world.batch(&Batch::new(RecordBatch::try_new(input, vec![Arc::new(column)]).unwrap()));
        expected.assert_eq(&world.rows(MAIN_PORT).join("\n"));
    }

    #[test]
    fn each_row_comes_once_per_window() {
        let hop =
            WindowKind::Hop { size: Span::Millis(10 * MINUTE_MS), slide: Span::Millis(5 * MINUTE_MS), offset_ms: 0 };
        check(
            hop,
            None,
            &[-1, 7 * MINUTE_MS],
            expect![[r#"
                1969-12-31T23:59:59.999|1969-12-31T23:50:00|1970-01-01T00:00:00|1969-12-31T23:59:59.999
                1969-12-31T23:59:59.999|1969-12-31T23:55:00|1970-01-01T00:05:00|1970-01-01T00:04:59.999
                1970-01-01T00:07:00|1970-01-01T00:00:00|1970-01-01T00:10:00|1970-01-01T00:09:59.999
                1970-01-01T00:07:00|1970-01-01T00:05:00|1970-01-01T00:15:00|1970-01-01T00:14:59.999"#]],
        );
    }

    #[test]
    fn days_follow_the_zone() {
        let day = WindowKind::Tumble { size: Span::Millis(24 * 60 * MINUTE_MS), offset_ms: 0 };
        check(
            day,
            Some(Tz::America__New_York),
            // 2021-11-07 03:59:59.999 UTC is still the day before; the day itself has 25 hours.
            &[1_636_257_599_999, 1_636_257_600_000],
            expect![[r#"
                2021-11-06T23:59:59.999-04:00|2021-11-06T00:00:00|2021-11-07T00:00:00|2021-11-06T23:59:59.999-04:00
                2021-11-07T00:00:00-04:00|2021-11-07T00:00:00|2021-11-08T00:00:00|2021-11-07T23:59:59.999-05:00"#]],
        );
    }
}

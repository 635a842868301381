//! From rows with kinds to envelopes, one record each.

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use tidemill_engine::{Result, RowKind};

use super::{ChangeOptions, Envelope};
use crate::format::json::encode::JsonEncoder;
use crate::format::{Ends, RowEncoder};

pub(super) struct ChangeEncoder {
    envelope: Envelope,
    rows: JsonEncoder,
}

impl ChangeEncoder {
    pub(super) fn new(options: &ChangeOptions, schema: &SchemaRef) -> Self {
        Self { envelope: options.envelope, rows: JsonEncoder::new(&options.json, schema) }
    }
}

impl RowEncoder for ChangeEncoder {
    fn header(&self, _out: &mut Vec<u8>) {}

    fn write_records(
        &mut self,
        rows: &RecordBatch,
        kinds: Option<&Int8Array>,
        ends: &mut Ends<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let objects = self.rows.objects(rows)?;
        for row in 0..rows.num_rows() {
            let kind = kinds.map_or(RowKind::Insert, |kinds| RowKind::from_code(kinds.value(row)));
            let (before, behind) = around(self.envelope, kind);
            out.extend_from_slice(before);
            objects.write(row, out)?;
            out.extend_from_slice(behind);
            ends.close(out);
        }
        Ok(())
    }
}

/// What stands before and behind a row.
fn around(envelope: Envelope, kind: RowKind) -> (&'static [u8], &'static [u8]) {
    match (envelope, kind) {
        // Half of an update cannot be told: Flink writes it as a delete and an insert.
        (Envelope::Debezium { .. }, RowKind::Insert | RowKind::UpdateAfter) => {
            (br#"{"before":null,"after":"#, b",\"op\":\"c\"}")
        }
        (Envelope::Debezium { .. }, RowKind::UpdateBefore | RowKind::Delete) => {
            (br#"{"before":"#, b",\"after\":null,\"op\":\"d\"}")
        }
        (Envelope::Canal, RowKind::Insert | RowKind::UpdateAfter) => (br#"{"data":["#, b"],\"type\":\"INSERT\"}"),
        (Envelope::Canal, RowKind::UpdateBefore | RowKind::Delete) => (br#"{"data":["#, b"],\"type\":\"DELETE\"}"),
        (Envelope::Maxwell, RowKind::Insert | RowKind::UpdateAfter) => (br#"{"data":"#, b",\"type\":\"insert\"}"),
        (Envelope::Maxwell, RowKind::UpdateBefore | RowKind::Delete) => (br#"{"data":"#, b",\"type\":\"delete\"}"),
        (Envelope::Changelog, RowKind::Insert) => (br#"{"data":"#, b",\"op\":\"+I\"}"),
        (Envelope::Changelog, RowKind::UpdateBefore) => (br#"{"data":"#, b",\"op\":\"-U\"}"),
        (Envelope::Changelog, RowKind::UpdateAfter) => (br#"{"data":"#, b",\"op\":\"+U\"}"),
        (Envelope::Changelog, RowKind::Delete) => (br#"{"data":"#, b",\"op\":\"-D\"}"),
    }
}

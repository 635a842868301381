//! What each record of a batch stands for: which rows, and what happens to them.

use std::ops::Range;

use arrow::array::{Array, AsArray, ListArray, RecordBatch, StringArray, StructArray};
use regex::Regex;
use tidemill_engine::{Result, RowKind};

use super::old_values::OldValues;
use super::{Envelope, SCHEMA_INCLUDE};
use crate::format::flaw::{Flaw, Parsed};

/// Which of the arrays of rows: an index into [`Records::rows`].
pub(super) type Side = usize;

/// One row that a record stands for.
pub(super) type Part = (Side, usize, RowKind);

/// Rows of changes that stand as they are; where there are two sides, those before the change.
const BEFORE: Side = 0;
const AFTER: Side = 1;

/// The columns of a batch of envelopes.
pub(super) struct Records {
    envelope: Envelope,
    /// `before` and `after`, or `data` alone.
    pub(super) rows: Vec<StructArray>,
    ops: StringArray,
    /// Present or not, where records have a payload.
    payload: Option<StructArray>,
    changed: Option<Changed>,
}

/// Of formats that tell of an old row only what changed.
struct Changed {
    /// Of each record: its new rows.
    new: Vec<Range<usize>>,
    /// Whether each record has data.
    has_data: Vec<bool>,
    /// Of each record: the first of its old rows, if it is an update.
    old: Vec<Option<Parsed<usize>>>,
    /// Whether each record is of a database and table that are read.
    is_read: Vec<bool>,
}

/// Records of these databases and tables are read.
#[derive(Default)]
pub(super) struct Included {
    pub database: Option<Regex>,
    pub table: Option<Regex>,
}

impl Records {
    pub(super) fn of(
        envelope: Envelope,
        batch: &RecordBatch,
        old: Option<&mut OldValues>,
        included: &Included,
    ) -> Result<Self> {
        let (payload, columns) = match envelope {
            Envelope::Debezium { schema_include: true } => {
                let payload = batch.column(0).as_struct();
                (Some(payload.clone()), payload.columns())
            }
            _ => (None, batch.columns()),
        };
        let (op, rows) = columns.split_last().expect("an envelope ends with its op");
        let ops = op.as_string().clone();
        let Some(old) = old else {
            let rows = rows.iter().map(|row| row.as_struct().clone()).collect();
            return Ok(Self { envelope, rows, ops, payload, changed: None });
        };
        let (new, changed) = match envelope {
            Envelope::Canal => {
                let (data, told) = (rows[0].as_list::<i32>(), rows[1].as_list::<i32>());
                let changed = Changed {
                    new: (0..data.len()).map(|record| range(data, record)).collect(),
                    has_data: (0..data.len()).map(|record| data.is_valid(record)).collect(),
                    old: Vec::new(),
                    is_read: included.of(rows[2].as_string(), rows[3].as_string()),
                };
                let texts = |record: usize| {
                    let values = told.values().as_string::<i32>();
                    let present = told.is_valid(record);
                    present
                        .then(|| range(told, record).map(|at| values.is_valid(at).then(|| values.value(at))).collect())
                };
                let old = changed.old_rows(&ops, "UPDATE", &texts, old);
                (data.values().as_struct().clone(), Changed { old, ..changed })
            }
            _ => {
                let (data, told) = (rows[0].as_struct(), rows[1].as_string::<i32>());
                let changed = Changed {
                    new: (0..data.len()).map(|record| record..record + 1).collect(),
                    has_data: (0..data.len()).map(|record| data.is_valid(record)).collect(),
                    old: Vec::new(),
                    is_read: vec![true; data.len()],
                };
                let texts = |record: usize| told.is_valid(record).then(|| vec![Some(told.value(record))]);
                let old = changed.old_rows(&ops, "update", &texts, old);
                (data.clone(), Changed { old, ..changed })
            }
        };
        let before = old.finish(&new)?;
        Ok(Self { envelope, rows: vec![before, new], ops, payload, changed: Some(changed) })
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// The rows that a record stands for.
    pub(super) fn parts(&self, record: usize) -> Parsed<Vec<Part>> {
        let op = self.op(record)?;
        if let Some(changed) = &self.changed {
            return self.parts_of_changed(changed, record, op);
        }
        let parts: &[(Side, RowKind)] = match (self.envelope, op) {
            (Envelope::Debezium { .. }, "c" | "r") => &[(AFTER, RowKind::Insert)],
            (Envelope::Debezium { .. }, "u") => &[(BEFORE, RowKind::UpdateBefore), (AFTER, RowKind::UpdateAfter)],
            (Envelope::Debezium { .. }, "d") => &[(BEFORE, RowKind::Delete)],
            (Envelope::Changelog, "+I") => &[(0, RowKind::Insert)],
            (Envelope::Changelog, "-U") => &[(0, RowKind::UpdateBefore)],
            (Envelope::Changelog, "+U") => &[(0, RowKind::UpdateAfter)],
            (Envelope::Changelog, "-D") => &[(0, RowKind::Delete)],
            (Envelope::Changelog, _) => return Err(unknown_op("op", op, "+I, -U, +U and -D")),
            _ => return Err(unknown_op("op", op, "c, r, u and d")),
        };
        let missing = |side: Side| self.rows[side].is_null(record).then(|| self.missing(side, op));
        match parts.iter().find_map(|(side, _)| missing(*side)) {
            Some(flaw) => Err(flaw),
            None => Ok(parts.iter().map(|(side, kind)| (*side, record, *kind)).collect()),
        }
    }

    fn parts_of_changed(&self, changed: &Changed, record: usize, op: &str) -> Parsed<Vec<Part>> {
        let kinds: &[(Side, RowKind)] = match (self.envelope, op) {
            _ if !changed.is_read[record] => return Ok(Vec::new()),
            (Envelope::Canal, "INSERT") | (Envelope::Maxwell, "insert") => &[(AFTER, RowKind::Insert)],
            (Envelope::Canal, "UPDATE") | (Envelope::Maxwell, "update") => {
                &[(BEFORE, RowKind::UpdateBefore), (AFTER, RowKind::UpdateAfter)]
            }
            (Envelope::Canal, "DELETE") | (Envelope::Maxwell, "delete") => &[(AFTER, RowKind::Delete)],
            // A table that was created has no rows yet.
            (Envelope::Canal, "CREATE") => return Ok(Vec::new()),
            (Envelope::Canal, _) => return Err(unknown_op("type", op, "INSERT, UPDATE, DELETE and CREATE")),
            _ => return Err(unknown_op("type", op, "insert, update and delete")),
        };
        if !changed.has_data[record] {
            return Err(Flaw::new(format!("the record has no \"data\", which type {op:?} needs")));
        }
        let first_old = match &changed.old[record] {
            Some(Ok(first)) => *first,
            Some(Err(flaw)) => return Err(Flaw::new(flaw.to_string())),
            None => 0,
        };
        let new = changed.new[record].clone();
        let place = |side: Side, index: usize| if side == BEFORE { first_old + index } else { new.start + index };
        Ok((0..new.len())
            .flat_map(|index| kinds.iter().map(move |(side, kind)| (*side, place(*side, index), *kind)))
            .collect())
    }

    fn op(&self, record: usize) -> Parsed<&str> {
        if self.payload.as_ref().is_some_and(|payload| payload.is_null(record)) {
            let hint = format!("where records have none, leave '{SCHEMA_INCLUDE}' out");
            return Err(Flaw::new(format!("the record has no \"payload\": {hint}")));
        }
        if self.ops.is_valid(record) {
            return Ok(self.ops.value(record));
        }
        Err(Flaw::new(match self.envelope {
            Envelope::Debezium { schema_include: false } => {
                format!("the record has no \"op\": where it stands in a \"payload\", set '{SCHEMA_INCLUDE}' = 'true'")
            }
            Envelope::Canal | Envelope::Maxwell => "the record has no \"type\"".to_string(),
            _ => "the record has no \"op\"".to_string(),
        }))
    }

    #[cold]
    fn missing(&self, side: Side, op: &str) -> Flaw {
        match (self.envelope, side) {
            (Envelope::Debezium { .. }, BEFORE) => Flaw::new(format!(
                "the record has no \"before\", which op \"{op}\" needs: let the source tell whole old rows \
                 (in PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL)"
            )),
            (Envelope::Debezium { .. }, _) => {
                Flaw::new(format!("the record has no \"after\", which op \"{op}\" needs"))
            }
            _ => Flaw::new(format!("the record has no \"data\", which op \"{op}\" needs")),
        }
    }
}

impl Changed {
    /// Per record that updates: the first of its old rows.
    fn old_rows<'a>(
        &self,
        ops: &StringArray,
        update: &str,
        texts: &dyn Fn(usize) -> Option<Vec<Option<&'a str>>>,
        old: &mut OldValues,
    ) -> Vec<Option<Parsed<usize>>> {
        let is_update = |record: usize| ops.is_valid(record) && ops.value(record) == update;
        let of = |record: usize| is_update(record).then(|| self.old_rows_of(record, texts(record), old));
        (0..ops.len()).map(of).collect()
    }

    fn old_rows_of(&self, record: usize, told: Option<Vec<Option<&str>>>, old: &mut OldValues) -> Parsed<usize> {
        let new = self.new[record].clone();
        let told = told.ok_or_else(|| Flaw::new("the record has no \"old\", which an update needs"))?;
        if told.len() != new.len() && self.has_data[record] {
            return Err(Flaw::new(format!("\"old\" has {} rows and \"data\" {}", told.len(), new.len())));
        }
        let mut first = None;
        for (told, new) in told.into_iter().zip(new) {
            // Nothing told is nothing changed.
            let number = old.push(told.unwrap_or("{}"), new)?;
            first.get_or_insert(number);
        }
        Ok(first.unwrap_or(0))
    }
}

impl Included {
    pub(super) fn is_everything(&self) -> bool {
        self.database.is_none() && self.table.is_none()
    }

    fn of(&self, databases: &StringArray, tables: &StringArray) -> Vec<bool> {
        if self.is_everything() {
            return vec![true; databases.len()];
        }
        let fits = |pattern: &Option<Regex>, names: &StringArray, record: usize| {
            pattern.as_ref().is_none_or(|pattern| names.is_valid(record) && pattern.is_match(names.value(record)))
        };
        let is_read = |record| fits(&self.database, databases, record) && fits(&self.table, tables, record);
        (0..databases.len()).map(is_read).collect()
    }
}

fn range(list: &ListArray, record: usize) -> Range<usize> {
    let offsets = list.value_offsets();
    if list.is_null(record) { 0..0 } else { offsets[record] as usize..offsets[record + 1] as usize }
}

#[cold]
fn unknown_op(field: &str, op: &str, known: &str) -> Flaw {
    Flaw::new(format!("{field} {op:?} is none of {known}"))
}

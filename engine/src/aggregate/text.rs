//! LISTAGG: the strings of a group, joined in order of arrival.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, StringArray, StringBuilder};
use arrow::datatypes::DataType;

use super::factory::{Factory, state_field};
use super::selection::{for_each_row, select};
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::Result;

/// What LISTAGG puts between strings unless told otherwise, as in Flink.
pub(super) const SEPARATOR_DEFAULT: &str = ",";

pub(super) fn factory(separator: String) -> Arc<dyn AggregateFactory> {
    Factory::shared(DataType::Utf8, vec![state_field("joined", DataType::Utf8)], move || {
        Ok(Box::new(Joined { texts: Vec::new(), heap_bytes: 0, separator: separator.clone() }))
    })
}

/// The state is the text so far, so merging is updating.
struct Joined {
    /// `None` before the first string; the empty string is a string.
    texts: Vec<Option<String>>,
    heap_bytes: usize,
    separator: String,
}

impl Joined {
    fn append(&mut self, slot: usize, text: &str) {
        match &mut self.texts[slot] {
            Some(joined) => {
                let before = joined.capacity();
                joined.push_str(&self.separator);
                joined.push_str(text);
                self.heap_bytes += joined.capacity() - before;
            }
            empty => {
                self.heap_bytes += text.len();
                *empty = Some(text.to_owned());
            }
        }
    }
}

impl Accumulators for Joined {
    fn resize(&mut self, slots: usize) {
        self.texts.resize(slots, None);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let column = args[0].as_string::<i32>();
        for_each_row(slots, &select(&args[..1], keep), |slot, row| self.append(slot, column.value(row)));
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let (column, selection) = (input.args[0].as_string::<i32>(), select(&input.args[..1], input.keep));
        let mut running = StringBuilder::new();
        for (slot, rows) in input.stretches(&selection) {
            rows.for_each(|row| self.append(slot, column.value(row)));
            running.append_option(self.texts[slot].as_deref());
        }
        Ok(Arc::new(running.finish()))
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.update(slots, state, None)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let texts = slots.iter().map(|slot| self.texts[*slot as usize].as_deref());
        Ok(Arc::new(texts.collect::<StringArray>()))
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            let text = self.texts[*slot as usize].take();
            self.heap_bytes -= text.map_or(0, |text| text.capacity());
        }
    }

    fn size_bytes(&self) -> usize {
        self.texts.capacity() * size_of::<Option<String>>() + self.heap_bytes
    }
}

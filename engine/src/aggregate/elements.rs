//! Values as bytes in order of arrival; one such list per group. Of equal ones, the one that came first is taken back first.
//!
//! What is taken back is marked, and cut out when it is the last or has become the greater part. The first time that a
//! long list gives something back, its equal values are linked, so that the next ones are found at once.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::kept_values::{INLINE_VALUES_MAX, StoredValues, WriteEntry};
use crate::{EngineError, Result};

/// Up to this many values are searched one by one.
const UNLINKED_MAX: usize = 16;
/// Fewer marked values than this are not worth a clean-up.
const GONE_MIN: usize = 16;
/// No further equal value.
const END: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Elements {
    bytes: Vec<u8>,
    /// Where each value ends in `bytes`.
    ends: Vec<usize>,
    /// Values that were taken back; may be shorter than `ends`. Neither the one at `first` nor the last value is marked.
    gone: Vec<bool>,
    gone_count: usize,
    /// All values before have gone.
    first: usize,
    equals: Option<Box<Equals>>,
    /// Of a group whose values are apart.
    apart: Option<Box<Apart>>,
}

/// Links equal values that are there, in order.
#[derive(Default)]
struct Equals {
    /// First and last of each chain.
    chains: HashTable<(u32, u32)>,
    /// The next one in the chain of each value.
    next: Vec<u32>,
}

/// What a list knows of its values in state, which are numbered in order of arrival.
#[derive(Default)]
struct Apart {
    /// All of them are in the list.
    is_loaded: bool,
    /// Of each value in the list.
    numbers: Vec<u64>,
    next_number: u64,
    /// Lower numbers are in state.
    written_to: u64,
    /// Numbers in state whose values have gone.
    gone: Vec<u64>,
}

impl Elements {
    pub(super) fn len(&self) -> usize {
        self.ends.len() - self.gone_count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, element: &[u8]) {
        self.bytes.extend_from_slice(element);
        self.ends.push(self.bytes.len());
        if let Some(apart) = &mut self.apart {
            apart.numbers.push(apart.next_number);
            apart.next_number += 1;
        }
        if let Some(mut equals) = self.equals.take() {
            equals.link(self, self.ends.len() - 1);
            self.equals = Some(equals);
        }
    }

    /// Takes back the first of the values that are equal to this one; nothing where there is none.
    pub(super) fn remove(&mut self, element: &[u8]) {
        let Some(at) = self.find(element) else { return };
        if let Some(apart) = self.apart.as_mut().filter(|apart| apart.numbers[at] < apart.written_to) {
            apart.gone.push(apart.numbers[at]);
        }
        if self.gone.len() <= at {
            self.gone.resize(at + 1, false);
        }
        self.gone[at] = true;
        self.gone_count += 1;
        while self.is_gone(self.first) {
            self.first += 1;
        }
        while self.ends.len().checked_sub(1).is_some_and(|last| self.is_gone(last)) {
            self.cut_last();
        }
        if self.gone_count >= GONE_MIN && self.gone_count * 2 > self.ends.len() {
            self.clean_up();
        }
    }

    /// The place of the first value that is equal to this one, which leaves its chain.
    fn find(&mut self, element: &[u8]) -> Option<usize> {
        if self.equals.is_none() && self.len() <= UNLINKED_MAX {
            return (self.first..self.ends.len()).find(|at| !self.is_gone(*at) && self.get(*at) == element);
        }
        let mut equals = self.equals.take().unwrap_or_else(|| Equals::of(self));
        let at = equals.unlink_first(self, element);
        self.equals = Some(equals);
        at
    }

    fn is_gone(&self, at: usize) -> bool {
        self.gone.get(at).copied().unwrap_or_default()
    }

    fn cut_last(&mut self) {
        self.ends.pop();
        let last = self.ends.len();
        self.bytes.truncate(self.ends.last().copied().unwrap_or_default());
        self.gone.truncate(last);
        self.gone_count -= 1;
        self.first = self.first.min(last);
        if let Some(equals) = &mut self.equals {
            equals.next.truncate(last);
        }
        if let Some(apart) = &mut self.apart {
            apart.numbers.truncate(last);
        }
    }

    fn clean_up(&mut self) {
        let mut kept = Self { apart: self.apart.take(), ..Self::default() };
        if let Some(apart) = &mut kept.apart {
            let numbers = std::mem::take(&mut apart.numbers).into_iter().enumerate();
            apart.numbers = numbers.filter(|(at, _)| !self.is_gone(*at)).map(|(_, number)| number).collect();
        }
        for element in self.iter() {
            kept.bytes.extend_from_slice(element);
            kept.ends.push(kept.bytes.len());
        }
        *self = kept;
    }

    /// The values that are there, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (self.first..self.ends.len()).filter(|at| !self.is_gone(*at)).map(|at| self.get(at))
    }

    pub(super) fn first(&self) -> Option<&[u8]> {
        (self.first < self.ends.len()).then(|| self.get(self.first))
    }

    pub(super) fn last(&self) -> Option<&[u8]> {
        self.ends.len().checked_sub(1).map(|last| self.get(last))
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    /// All memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let equals = |equals: &Equals| equals.chains.allocation_size() + equals.next.capacity() * size_of::<u32>();
        let numbers = |apart: &Apart| (apart.numbers.capacity() + apart.gone.capacity()) * size_of::<u64>();
        self.bytes.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.gone.capacity()
            + self.equals.as_deref().map_or(0, equals)
            + self.apart.as_deref().map_or(0, numbers)
    }
}

impl Equals {
    fn of(elements: &Elements) -> Box<Self> {
        let mut equals = Box::<Self>::default();
        for at in 0..elements.ends.len() {
            match elements.is_gone(at) {
                true => equals.next.push(END),
                false => equals.link(elements, at),
            }
        }
        equals
    }

    fn link(&mut self, elements: &Elements, at: usize) {
        let (element, at) = (elements.get(at), at as u32);
        self.next.push(END);
        let equal = |(head, _): &(u32, u32)| elements.get(*head as usize) == element;
        match self.chains.find_mut(xxh3_64(element), equal) {
            Some((_, last)) => self.next[std::mem::replace(last, at) as usize] = at,
            None => {
                let hash = |(head, _): &(u32, u32)| xxh3_64(elements.get(*head as usize));
                self.chains.insert_unique(xxh3_64(element), (at, at), hash);
            }
        }
    }

    fn unlink_first(&mut self, elements: &Elements, element: &[u8]) -> Option<usize> {
        let equal = |(head, _): &(u32, u32)| elements.get(*head as usize) == element;
        let mut chain = self.chains.find_entry(xxh3_64(element), equal).ok()?;
        let first = chain.get().0;
        match self.next[first as usize] {
            END => drop(chain.remove()),
            next => chain.get_mut().0 = next,
        }
        Some(first as usize)
    }
}

/// The values of a large group: an entry of state each, by number.
impl Elements {
    pub(super) fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// What stands for the whole list: the next number.
    pub(super) fn head(&self) -> Option<u64> {
        self.apart.as_ref().map(|apart| apart.next_number)
    }

    /// Makes an empty list stand for values in state; `None` where it is not empty.
    pub(super) fn restore(&mut self, next_number: u64) -> Option<()> {
        if !self.ends.is_empty() || self.apart.is_some() {
            return None;
        }
        self.apart = Some(Box::new(Apart { next_number, written_to: next_number, ..Apart::default() }));
        Some(())
    }

    /// Reads all values, if that was not done.
    pub(super) fn load(&mut self, slot: u32, stored: &dyn StoredValues) -> Result<()> {
        let Some(mut apart) = self.apart.take_if(|apart| !apart.is_loaded) else { return Ok(()) };
        stored.scan(slot, None, &mut |number, element| {
            apart.numbers.push(number.try_into().map(u64::from_be_bytes).map_err(|_| damaged())?);
            self.push(element);
            Ok(true)
        })?;
        apart.is_loaded = true;
        self.apart = Some(apart);
        Ok(())
    }

    /// Hands over the values that differ from state, if they are many.
    pub(super) fn write_changed(&mut self, write: &mut WriteEntry<'_>) -> Result<()> {
        if self.apart.is_none() && self.len() <= INLINE_VALUES_MAX {
            return Ok(());
        }
        let mut apart = self.apart.take().unwrap_or_else(|| {
            let numbers: Vec<u64> = (0..self.ends.len() as u64).collect();
            Box::new(Apart { is_loaded: true, next_number: numbers.len() as u64, numbers, ..Apart::default() })
        });
        for number in std::mem::take(&mut apart.gone) {
            write(&number.to_be_bytes(), None)?;
        }
        let new = apart.numbers.partition_point(|number| *number < apart.written_to);
        for at in (new..self.ends.len()).filter(|at| !self.is_gone(*at)) {
            write(&apart.numbers[at].to_be_bytes(), Some(self.get(at)))?;
        }
        apart.written_to = apart.next_number;
        self.apart = Some(apart);
        Ok(())
    }
}

fn damaged() -> EngineError {
    EngineError::Internal { place: "collected values".into(), reason: "an entry of state cannot be read".into() }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_list_gives_back_the_first_of_equal_values() {
        for seed in 0..60u64 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (values, grows) = (rng.random_range(1..40u8), rng.random_range(0.4..0.7));
            let (mut elements, mut twin) = (Elements::default(), Vec::<Vec<u8>>::new());
            for _ in 0..600 {
                let value = vec![rng.random_range(0..values); rng.random_range(0..3)];
                if rng.random_bool(grows) {
                    elements.push(&value);
                    twin.push(value);
                } else {
                    elements.remove(&value);
                    let at = twin.iter().position(|own| *own == value);
                    at.map(|at| twin.remove(at));
                }
                assert_eq!(elements.first(), twin.first().map(Vec::as_slice), "seed {seed}");
                assert_eq!(elements.last(), twin.last().map(Vec::as_slice), "seed {seed}");
                assert_eq!(elements.len(), twin.len());
            }
            assert!(elements.iter().eq(twin.iter().map(Vec::as_slice)), "seed {seed}");
        }
    }
}

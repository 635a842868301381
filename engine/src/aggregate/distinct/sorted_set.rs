//! The values of a small group, sorted: without an index they take little memory, and neighbours take little in state.
//!
//! What is written of a set goes into *segments*: lists of values, of which a later one knows better than an earlier one.
//! A barrier adds a segment with what is new. It takes in the segments before it that are not more than
//! [`GROWTH`] times as large, so that there are few, and a value is written about as often as their sizes double.

use super::value::{Change, Key, Tally, read_entries, write_entries};
use crate::Result;
use crate::aggregate::kept_values::WriteEntry;

/// Each segment is more than this many times as large as the one behind it: of 1,024 values there are eleven at most.
const GROWTH: usize = 2;

/// Stands for the segment of a value that differs from state.
const UNSAVED: u8 = u8::MAX;

/// What is known of a value beside itself.
#[derive(Clone, Copy)]
struct Mark<T> {
    tally: T,
    /// The segment that knows best.
    segment: u8,
}

pub(super) struct SortedSet<K, T> {
    keys: Vec<K>,
    /// Of each key.
    marks: Vec<Mark<T>>,
    /// Once there are any.
    segments: Option<Box<Segments>>,
}

/// What state has of a set.
struct Segments {
    /// Number of values in each, with those that a later one knows better.
    sizes: Vec<usize>,
    /// False as long as the values are there only.
    loaded: bool,
}

/// A value that was read from a segment.
pub(super) struct Loaded<K, T> {
    key: K,
    mark: Mark<T>,
}

impl<K, T> Default for SortedSet<K, T> {
    fn default() -> Self {
        Self { keys: Vec::new(), marks: Vec::new(), segments: None }
    }
}

impl<K: Key, T: Tally> SortedSet<K, T> {
    /// Number of values, with those that went and must be deleted from state.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Changes what is counted of a value, and `size_bytes` by what memory that takes.
    #[inline]
    pub(super) fn apply(
        &mut self,
        key: K::Ref<'_>,
        size_bytes: &mut usize,
        change: impl FnOnce(&mut T) -> Change,
    ) -> Change {
        debug_assert!(self.is_loaded());
        match self.find(key) {
            Ok(place) => {
                let mark = &mut self.marks[place];
                let before = mark.tally;
                let made = change(&mut mark.tally);
                if mark.tally != before {
                    mark.segment = UNSAVED;
                    if mark.tally.is_dead() && self.segments.is_none() {
                        self.remove(place, size_bytes);
                    }
                }
                made
            }
            Err(place) => {
                let mut tally = T::default();
                let made = change(&mut tally);
                if !tally.is_dead() {
                    self.insert(place, K::own(key), tally, size_bytes);
                }
                made
            }
        }
    }

    /// Where a value is, or belongs. Values often come in order.
    #[inline]
    fn find(&self, key: K::Ref<'_>) -> std::result::Result<usize, usize> {
        match self.keys.last() {
            Some(last) if last.order(key).is_ge() => self.keys.binary_search_by(|own| own.order(key)),
            _ => Err(self.keys.len()),
        }
    }

    fn insert(&mut self, place: usize, key: K, tally: T, size_bytes: &mut usize) {
        let before = self.shallow_bytes();
        *size_bytes += key.heap_bytes();
        if self.keys.len() == self.keys.capacity() {
            // Many sets of a few hundred values: doubling would waste a third of all memory.
            let more = self.keys.len() / 8 + 4;
            self.keys.reserve_exact(more);
            self.marks.reserve_exact(more);
        }
        self.keys.insert(place, key);
        self.marks.insert(place, Mark { tally, segment: UNSAVED });
        *size_bytes = *size_bytes + self.shallow_bytes() - before;
    }

    fn remove(&mut self, place: usize, size_bytes: &mut usize) {
        *size_bytes -= self.keys.remove(place).heap_bytes();
        self.marks.remove(place);
    }

    /// Memory of the lists, in bytes, without what values hold themselves.
    fn shallow_bytes(&self) -> usize {
        let segments = |segments: &Segments| size_of::<Segments>() + segments.sizes.capacity() * size_of::<usize>();
        self.keys.capacity() * size_of::<K>()
            + self.marks.capacity() * size_of::<Mark<T>>()
            + self.segments.as_deref().map_or(0, segments)
    }

    /// All memory held, in bytes; walks over the values.
    pub(super) fn heap_bytes(&self) -> usize {
        self.shallow_bytes() + self.keys.iter().map(K::heap_bytes).sum::<usize>()
    }

    fn entries(&self) -> impl Iterator<Item = (&K, Mark<T>)> {
        self.keys.iter().zip(self.marks.iter().copied())
    }

    /// Writes all values.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        debug_assert!(self.is_loaded());
        write_entries(self.entries().map(|(key, mark)| (key, mark.tally)), out);
    }

    /// All values with what is counted of them, without the dead; in order.
    pub(super) fn into_entries(self) -> Vec<(K, T)> {
        let tallies = self.marks.into_iter().map(|mark| mark.tally);
        self.keys.into_iter().zip(tallies).filter(|(_, tally)| !tally.is_dead()).collect()
    }
}

/// What is in state.
impl<K: Key, T: Tally> SortedSet<K, T> {
    /// Stands for values that are in segments of these sizes.
    pub(super) fn stored(sizes: Vec<usize>) -> Self {
        Self { segments: Some(Box::new(Segments { sizes, loaded: false })), ..Self::default() }
    }

    /// The sizes of the segments; `None` before there are any.
    pub(super) fn segments(&self) -> Option<&[usize]> {
        self.segments.as_deref().map(|segments| segments.sizes.as_slice())
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.segments.as_deref().is_none_or(|segments| segments.loaded)
    }

    /// Reads a segment; `None` where it is damaged.
    pub(super) fn read(segment: u8, bytes: &[u8], loaded: &mut Vec<Loaded<K, T>>) -> Option<()> {
        read_entries::<K, T>(bytes, |key, tally| {
            loaded.push(Loaded { key: K::own(key), mark: Mark { tally, segment } });
        })
    }

    /// Takes in what was read of all segments.
    pub(super) fn load(&mut self, mut values: Vec<Loaded<K, T>>, size_bytes: &mut usize) {
        let Some(segments) = self.segments.as_deref_mut() else { return };
        debug_assert!(!segments.loaded && self.keys.is_empty());
        segments.loaded = true;
        let before = self.shallow_bytes();
        // Each segment is sorted, which this sort makes use of.
        values.sort_by(|one, other| one.key.order(other.key.borrow()).then(other.mark.segment.cmp(&one.mark.segment)));
        values.dedup_by(|later, best| later.key.same(best.key.borrow()));
        self.keys.reserve_exact(values.len());
        self.marks.reserve_exact(values.len());
        for Loaded { key, mark } in values {
            *size_bytes += key.heap_bytes();
            self.keys.push(key);
            self.marks.push(mark);
        }
        *size_bytes = *size_bytes + self.shallow_bytes() - before;
    }

    /// Hands over what differs from state.
    pub(super) fn write_changed(&mut self, size_bytes: &mut usize, write: &mut WriteEntry<'_>) -> Result<()> {
        let unsaved = self.marks.iter().filter(|mark| mark.segment == UNSAVED).count();
        if unsaved == 0 && self.segments.is_some() {
            return Ok(());
        }
        let before = self.shallow_bytes();
        let mut segments = self.segments.take().unwrap_or(Box::new(Segments { sizes: Vec::new(), loaded: true }));
        let number = number_of_next(&segments.sizes, unsaved);
        if number == 0 {
            // No earlier segment knows of the dead.
            self.remove_dead(size_bytes);
        }
        let is_new = |mark: &Mark<T>| usize::from(mark.segment) >= number;
        let size = self.marks.iter().filter(|mark| is_new(mark)).count();
        let mut bytes = Vec::new();
        let new = self.entries().filter(|(_, mark)| is_new(mark));
        write_entries(new.map(|(key, mark)| (key, mark.tally)), &mut bytes);
        write(&[number as u8], Some(&bytes))?;
        for taken_in in number + 1..segments.sizes.len() {
            write(&[taken_in as u8], None)?;
        }
        self.marks.iter_mut().filter(|mark| is_new(mark)).for_each(|mark| mark.segment = number as u8);
        segments.sizes.truncate(number);
        segments.sizes.push(size);
        self.segments = Some(segments);
        *size_bytes = *size_bytes + self.shallow_bytes() - before;
        Ok(())
    }

    fn remove_dead(&mut self, size_bytes: &mut usize) {
        let mut dead = self.marks.iter().map(|mark| mark.tally.is_dead());
        self.keys.retain(|key| {
            let is_dead = dead.next().expect("each key has a mark");
            *size_bytes -= if is_dead { key.heap_bytes() } else { 0 };
            !is_dead
        });
        self.marks.retain(|mark| !mark.tally.is_dead());
    }
}

/// The number of the segment for so many new values. It takes in all segments from this number on.
fn number_of_next(sizes: &[usize], new: usize) -> usize {
    let (mut number, mut size) = (sizes.len(), new);
    while number > 0 && sizes[number - 1] <= size * GROWTH {
        number -= 1;
        size += sizes[number];
    }
    assert!(number < usize::from(UNSAVED), "each segment is more than twice as large as the next one");
    number
}

//! What a thread beside the operator's does for one RocksDB at a barrier: it writes what the barrier writes back, and freezes
//! the files, while the operator goes on.
//!
//! A snapshot must hold all that was written before its barrier and nothing that came behind it. So from the barrier on
//! nothing else goes to RocksDB until its files are frozen: what the operator writes meanwhile is kept beside it, as [`Newer`].
//! Reads see, from the newest on: `Newer`, the lists that are still to be written, RocksDB.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use rocksdb::{DB, WriteBatch};

use super::instance::{Inner, SnapshotFile, freeze};
use super::writes::{SortedWrites, Writes};
use crate::{EngineError, Result};

/// Fewer bytes are written sooner than they are handed to another thread. Tests hand over nearly all.
const HANDED_OVER_BYTES_MIN: usize = if cfg!(test) { 64 } else { 32 << 10 };

/// Of what was kept beside frozen files, so many bytes are written with the next write behind, or so many times that write's:
/// less than is noticed, and more than comes.
const SETTLED_BYTES_MIN: usize = if cfg!(test) { 64 } else { 512 << 10 };
const SETTLED_FACTOR: usize = 2;

/// What an entry needs beside its bytes, about.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// How much less of a processor than an operator such a thread gets where both want it: a third, by Linux's table of weights.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// All fields are changed by the operator's thread, `work` also by the one beside it.
#[derive(Default)]
pub(super) struct Behind {
    /// There may be something in `work` or `newer`: most reads and writes look at no more than this.
    is_used: AtomicBool,
    /// Between the begin of a barrier and its snapshot.
    is_at_barrier: AtomicBool,
    work: Mutex<Work>,
    /// Notified at each step of the work.
    progress: Condvar,
    newer: RwLock<Newer>,
    /// Tests look at what is between a barrier and the end of its freeze.
    #[cfg(test)]
    pub freeze_delay_ms: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct Work {
    /// Still to be written, oldest first; reads look into them until they are.
    lists: VecDeque<Arc<SortedWrites>>,
    /// To be done behind the lists.
    freeze: Option<Freeze>,
    /// A freeze was asked for and is not over.
    is_freezing: bool,
    /// Whether it looks for work. One that does not is about to end, if it has not.
    has_thread: bool,
    thread: Option<JoinHandle<()>>,
    failure: Option<Failure>,
}

struct Freeze {
    folder: PathBuf,
    reply: Sender<Result<Vec<SnapshotFile>>>,
}

/// Why a list could not be written: it is told once, and no work is done behind it.
enum Failure {
    New(EngineError),
    Told,
}

/// What was written behind a barrier whose files are not frozen yet: values and deletions by stored key.
#[derive(Default)]
pub(super) struct Newer {
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Memory in use, about: too much, where keys were written again.
    size_bytes: usize,
}

/// Where a write goes at this moment.
pub(super) enum Way<'a> {
    Through,
    Beside(RwLockWriteGuard<'a, Newer>),
}

/// Lets operators go first: what they do shows in latency, and what is done here only in when a checkpoint is complete.
fn give_way() {
    // Nobody is refused this; where a system has no priorities of threads, all are alike.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

impl Newer {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// `None` deletes.
    pub fn set(&mut self, stored: &[u8], value: Option<&[u8]>) {
        self.size_bytes += stored.len() + value.map_or(0, <[u8]>::len) + ENTRY_OVERHEAD_BYTES;
        self.entries.insert(stored.to_vec(), value.map(<[u8]>::to_vec));
    }

    /// What is below a stored prefix, from a stored key on, which must not lie before it.
    pub fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let entries = self.entries.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        entries
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Moves the first so many bytes of it.
    fn drain_into(&mut self, batch: &mut WriteBatch, bytes_max: usize) {
        while batch.size_in_bytes() < bytes_max
            && let Some((key, value)) = self.entries.pop_first()
        {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        if self.entries.is_empty() {
            self.size_bytes = 0;
        }
    }
}

impl Work {
    fn check(&mut self) -> Result<()> {
        match self.failure.replace(Failure::Told) {
            None => {
                self.failure = None;
                Ok(())
            }
            Some(Failure::New(error)) => Err(error),
            Some(Failure::Told) => {
                let reason = "an earlier write failed".to_string();
                Err(EngineError::Internal { place: "state".into(), reason })
            }
        }
    }

    fn bytes(&self) -> usize {
        self.lists.iter().map(|list| list.size_bytes()).sum()
    }
}

impl Behind {
    /// From here to the snapshot, long lists of writes are handed over.
    pub fn begin_barrier(&self) {
        self.is_at_barrier.store(true, Ordering::Relaxed);
    }

    /// What is written is kept beside RocksDB.
    pub fn is_freezing(&self) -> bool {
        self.is_used.load(Ordering::Relaxed) && self.work.lock().is_freezing
    }

    pub fn wants(&self, writes: &Writes) -> bool {
        self.is_at_barrier.load(Ordering::Relaxed) && writes.bytes() >= HANDED_OVER_BYTES_MIN
    }

    /// The value of a key or, as `Some(None)`, that it was deleted; `None` where RocksDB knows.
    pub fn get(&self, stored: &[u8]) -> Option<Option<Vec<u8>>> {
        if !self.is_used.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(value) = self.newer.read_recursive().entries.get(stored) {
            return Some(value.clone());
        }
        let work = self.work.lock();
        let found = work.lists.iter().rev().find_map(|list| list.get(stored))?;
        Some(found.value.map(<[u8]>::to_vec))
    }

    /// What a scan has to add to RocksDB's entries, once all lists are written.
    pub fn newer(&self) -> Result<Option<RwLockReadGuard<'_, Newer>>> {
        if !self.is_used.load(Ordering::Relaxed) {
            return Ok(None);
        }
        drop(self.wait(|work| work.lists.is_empty())?);
        Ok(Some(self.newer.read_recursive()).filter(|newer| !newer.is_empty()))
    }

    /// Waits until `is_reached` holds, or for the failure that keeps it from that.
    fn wait(&self, is_reached: impl Fn(&Work) -> bool) -> Result<MutexGuard<'_, Work>> {
        let mut work = self.work.lock();
        while work.failure.is_none() && !is_reached(&work) {
            self.progress.wait(&mut work);
        }
        work.check()?;
        Ok(work)
    }

    /// Waits for the end of the thread, which so is never the one that closes the RocksDB: that may be done once its folder is gone.
    pub fn end(&self) {
        let thread = self.work.lock().thread.take();
        // What it ran into is told where its work was asked for.
        let _ = thread.map(JoinHandle::join);
    }

    fn is_full(&self, bytes_max: usize) -> bool {
        self.newer.read_recursive().size_bytes >= bytes_max
    }
}

impl Inner {
    /// Where a write of so many bytes goes: beside RocksDB as long as files are frozen, and until what was kept there has been
    /// written too. Waits where that holds too much already, and for the lists of a barrier that are still to be written.
    pub(super) fn way(&self, db: &DB, bytes: usize) -> Result<Way<'_>> {
        let behind = &self.behind;
        if !behind.is_used.load(Ordering::Relaxed) {
            return Ok(Way::Through);
        }
        let is_full = behind.is_full(self.backend.behind_bytes_max);
        let work = behind.wait(|work| if work.is_freezing { !is_full } else { work.lists.is_empty() })?;
        if work.is_freezing {
            return Ok(Way::Beside(behind.newer.write()));
        }
        drop(work);
        self.settle(db, SETTLED_BYTES_MIN.max(SETTLED_FACTOR * bytes))?;
        let newer = behind.newer.write();
        Ok(if newer.is_empty() { Way::Through } else { Way::Beside(newer) })
    }

    /// As [`Self::way`], for what must go through: waits until files are frozen.
    pub(super) fn wait_until_frozen(&self, db: &DB) -> Result<()> {
        if self.behind.is_used.load(Ordering::Relaxed) {
            drop(self.behind.wait(|work| !work.is_freezing && work.lists.is_empty())?);
            self.settle(db, usize::MAX)?;
        }
        Ok(())
    }

    /// Writes some of what was kept beside, behind the end of the freeze.
    fn settle(&self, db: &DB, bytes_max: usize) -> Result<()> {
        let (mut batch, mut newer) = (WriteBatch::default(), self.behind.newer.write());
        newer.drain_into(&mut batch, bytes_max);
        if !batch.is_empty() {
            self.write_batch(db, batch)?;
        }
        if newer.is_empty() {
            self.behind.is_used.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Lets the other thread write these. They are visible to reads at once.
    pub(super) fn hand_over(self: &Arc<Self>, db: &DB, writes: Writes) -> Result<()> {
        let bytes_max = self.backend.behind_bytes_max;
        self.prepare(db, |work| work.bytes() < bytes_max)?;
        let list = Arc::new(writes.into_sorted());
        self.begin_work(|work| work.lists.push_back(list))
    }

    /// Lets the other thread freeze what was written so far, into a new folder.
    pub(super) fn freeze_behind(
        self: &Arc<Self>,
        db: &DB,
        folder: PathBuf,
    ) -> Result<Receiver<Result<Vec<SnapshotFile>>>> {
        self.behind.is_at_barrier.store(false, Ordering::Relaxed);
        self.prepare(db, |_| true)?;
        let (reply, answer) = bounded(1);
        self.begin_work(|work| {
            work.freeze = Some(Freeze { folder, reply });
            work.is_freezing = true;
        })?;
        Ok(answer)
    }

    /// The freeze of the barrier before must not see what is handed over now, and what was written behind it comes first.
    fn prepare(&self, db: &DB, is_reached: impl Fn(&Work) -> bool) -> Result<()> {
        drop(self.behind.wait(|work| !work.is_freezing && is_reached(work))?);
        // Nothing was kept beside since lists were handed over: to settle is not to forget those.
        if self.behind.newer.read().is_empty() { Ok(()) } else { self.settle(db, usize::MAX) }
    }

    fn begin_work(self: &Arc<Self>, add: impl FnOnce(&mut Work)) -> Result<()> {
        let mut work = self.behind.work.lock();
        add(&mut work);
        self.behind.is_used.store(true, Ordering::Relaxed);
        if work.has_thread {
            return Ok(());
        }
        let _ = work.thread.take().map(JoinHandle::join);
        let inner = Arc::clone(self);
        let thread = std::thread::Builder::new().name("state".into()).spawn(move || {
            give_way();
            inner.work();
        });
        work.thread = Some(thread.map_err(|error| EngineError::io("start a thread for", self.folder(), error))?);
        work.has_thread = true;
        Ok(())
    }

    /// Does what there is to do, and ends.
    fn work(&self) {
        let behind = &self.behind;
        let mut work = behind.work.lock();
        loop {
            let list = work.lists.front().filter(|_| work.failure.is_none()).cloned();
            if let Some(list) = list {
                let outcome = MutexGuard::unlocked(&mut work, || self.caught(|db| self.write_sorted(db, list.iter())));
                match outcome {
                    Ok(()) => drop(work.lists.pop_front()),
                    Err(error) => work.failure = Some(Failure::New(error)),
                }
            } else if let Some(Freeze { folder, reply }) = work.freeze.take() {
                let checked = work.check();
                let frozen = MutexGuard::unlocked(&mut work, || {
                    #[cfg(test)]
                    std::thread::sleep(std::time::Duration::from_millis(
                        behind.freeze_delay_ms.load(Ordering::Relaxed),
                    ));
                    checked.and_then(|()| self.caught(|db| freeze(db, self.folder(), &folder)))
                });
                work.is_freezing = false;
                // Who asked may have gone since.
                let _ = reply.send(frozen);
            } else {
                work.has_thread = false;
                behind.progress.notify_all();
                return;
            }
            behind.progress.notify_all();
        }
    }

    fn caught<T>(&self, work: impl FnOnce(&DB) -> Result<T>) -> Result<T> {
        let db = self.db().expect("work is handed over for a RocksDB");
        catch_unwind(AssertUnwindSafe(|| work(db))).unwrap_or_else(|_| {
            let reason = "a write behind a barrier panicked".to_string();
            Err(EngineError::Internal { place: self.id.uid.clone(), reason })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyGroup, KeyGroupRange};
    use crate::operator::Subtask;
    use crate::state::{InstanceId, KeyShape, KeyedState, Restored, StateBackend, StateInstance};

    const GROUP: KeyGroup = KeyGroup(0);
    const FREEZE_MS: u64 = 100;

    fn instance(folder: &std::path::Path) -> StateInstance {
        let subtask = Subtask { index: 0, parallelism: 1 };
        let id = InstanceId { uid: "tested".into(), subtask, key_groups: KeyGroupRange::all(1) };
        // Without a budget every state is in a RocksDB.
        StateBackend::new(0).instance(id, KeyShape::Plain, folder, Restored::default()).unwrap()
    }

    fn keys(state: &dyn KeyedState) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            found.push(key.to_vec());
            Ok(true)
        };
        state.scan(GROUP, b"", &mut visit).unwrap();
        found
    }

    fn frozen_keys(folder: &std::path::Path) -> Vec<Vec<u8>> {
        let db = DB::open_for_read_only(&rocksdb::Options::default(), folder, false).unwrap();
        let entries = db.iterator(rocksdb::IteratorMode::Start);
        entries.map(|entry| entry.unwrap().0[2..].to_vec()).collect()
    }

    #[test]
    fn what_comes_behind_a_barrier_is_read_at_once_and_is_not_in_its_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let instance = instance(&folder.path().join("live"));
        let mut state = instance.view();
        ["a", "b", "c"].iter().for_each(|key| state.put(GROUP, key.as_bytes(), b"old").unwrap());
        instance.delay_freezes(FREEZE_MS);
        let pending = instance.snapshot(&folder.path().join("1")).unwrap();
        state.put(GROUP, b"d", b"new").unwrap();
        state.put(GROUP, b"a", b"new").unwrap();
        state.delete_prefix(GROUP, b"b").unwrap();
        let mut writes = Writes::default();
        writes.delete(GROUP, &[b"c"]);
        writes.put(GROUP, &[b"e"], b"new");
        state.write(&mut writes).unwrap();
        assert_eq!(keys(state.as_ref()), [b"a", b"d", b"e"]);
        assert_eq!(state.get(GROUP, b"a").unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(state.get(GROUP, b"c").unwrap(), None);
        let snapshot = pending.finish().unwrap();
        assert_eq!(frozen_keys(&snapshot.folder), [b"a", b"b", b"c"]);
        let next = instance.snapshot(&folder.path().join("2")).unwrap().finish().unwrap();
        assert_eq!(frozen_keys(&next.folder), [b"a", b"d", b"e"]);
    }

    #[test]
    fn lists_that_are_handed_over_at_a_barrier_are_read_at_once_and_are_in_its_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let instance = instance(&folder.path().join("live"));
        let mut state = instance.view();
        state.put(GROUP, b"moves to disk", b"").unwrap();
        instance.begin_barrier();
        for round in 0..20u32 {
            let mut writes = Writes::default();
            (0..200u32).for_each(|key| writes.put(GROUP, &[&key.to_be_bytes()], &round.to_be_bytes()));
            state.write(&mut writes).unwrap();
            assert_eq!(writes.bytes(), 0, "the list is empty");
            assert_eq!(state.get(GROUP, &7u32.to_be_bytes()).unwrap().as_deref(), Some(&round.to_be_bytes()[..]));
        }
        state.delete(GROUP, b"moves to disk").unwrap();
        let pending = instance.snapshot(&folder.path().join("1")).unwrap();
        state.delete_prefix(GROUP, b"").unwrap();
        assert!(keys(state.as_ref()).is_empty());
        assert_eq!(frozen_keys(&pending.finish().unwrap().folder).len(), 200);
    }

    #[test]
    fn more_than_may_be_kept_beside_waits_for_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let instance = instance(&folder.path().join("live"));
        let mut state = instance.view();
        state.put(GROUP, b"a", b"").unwrap();
        instance.delay_freezes(FREEZE_MS);
        let begin = std::time::Instant::now();
        let pending = instance.snapshot(&folder.path().join("1")).unwrap();
        for number in 0..20u8 {
            state.put(GROUP, &[number], &[0; 32 << 10]).unwrap();
        }
        assert!(begin.elapsed().as_millis() >= u128::from(FREEZE_MS), "640 kB are kept where 256 kB may be");
        assert_eq!(keys(state.as_ref()).len(), 21);
        assert_eq!(frozen_keys(&pending.finish().unwrap().folder), [b"a"]);
    }
}

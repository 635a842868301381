//! What a thread beside the operator's does for one RocksDB: it writes long lists of writes, and freezes the files at a barrier,
//! while the operator goes on.
//!
//! Lists are kept, sorted, until they are many, or fewer at a barrier. Then they are merged into a table file, which RocksDB takes over: that
//! costs some 60 % of what it does to put each write into RocksDB's own buffer and to flush that. Few are put there all the same.
//!
//! A snapshot must hold all that was written before its barrier and nothing that came behind it. So from the barrier on
//! nothing else goes to RocksDB until its files are frozen: lists wait, and what else the operator writes meanwhile is kept beside, as
//! [`Newer`]. The same goes for what is written behind a list that waits. Reads see, from the newest on: `Newer`, the lists, RocksDB.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockWriteGuard};
use rocksdb::{DB, IngestExternalFileOptions, SstFileWriter, WriteBatch};

use super::backend::{FLUSHED_FILES_SLOWDOWN, Shared};
use super::beside::{Beside, Newer};
use super::instance::{Inner, SnapshotFile, freeze};
use super::writes::{SortedWrites, Write, Writes, frame_hash, merged};
use crate::{EngineError, Result};

/// Fewer bytes are written sooner than they are handed to another thread. Tests hand over nearly all.
const HANDED_OVER_BYTES_MIN: usize = if cfg!(test) { 64 } else { 32 << 10 };

/// The same between barriers, since each list that waits is one more to be asked by reads; and where less than so many bytes may wait, none
/// does.
const WAITING_BYTES_MIN: usize = if cfg!(test) { 64 } else { 256 << 10 };
const WAITING_BYTES_MAX_MIN: usize = if cfg!(test) { 1 } else { 4 << 20 };

/// So many bytes of what a barrier writes back are enough to be written: the more is left to its end, the later the files are
/// frozen, and the operator's rows and those of others wait for a processor meanwhile.
const BARRIER_BYTES_MAX: usize = if cfg!(test) { 4 << 10 } else { 8 << 20 };

/// Fewer bytes make no table file. Nor do those beside which RocksDB's own buffer has more than a part as much: it would have to be flushed
/// into a file of its own.
const TABLE_BYTES_MIN: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };
const BUFFERED_SHARE: usize = 4;

/// How the file is named until RocksDB has taken it over.
const TABLE_NAME: &str = "sorted.tmp";

/// RocksDB takes over table files however many there are that it has still to merge: so often is it waited for, and so long.
const MERGE_WAITS_MAX: usize = 100;
const MERGE_WAIT: Duration = Duration::from_millis(10);

/// Of what was kept beside frozen files, so many bytes are written with the next write behind, or so many times that write's:
/// less than is noticed, and more than comes.
const SETTLED_BYTES_MIN: usize = if cfg!(test) { 64 } else { 512 << 10 };
const SETTLED_FACTOR: usize = 2;

/// How much less of a processor than an operator such a thread gets where both want it: a third, by Linux's table of weights.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// All fields are changed by the operator's thread, `work` also by the one beside it.
#[derive(Default)]
pub(super) struct Behind {
    /// There may be something in `work` or `newer`: most reads and writes look at no more than this.
    is_used: AtomicBool,
    /// Bytes that were put into RocksDB's own buffer since its last flush at a barrier, about.
    buffered_bytes: AtomicUsize,
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
    /// To be done behind so many of the lists.
    freeze: Option<(usize, Freeze)>,
    /// Lists are written however few they are.
    is_hurried: bool,
    /// Between the begin of a barrier and its snapshot: so many bytes are enough to be written.
    barrier_bytes_max: Option<usize>,
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

    /// How many of the oldest lists are to be written now.
    fn due(&self, backend: &Shared) -> usize {
        match &self.freeze {
            _ if self.failure.is_some() => 0,
            Some((lists, _)) => *lists,
            None if self.is_hurried || self.is_full(backend) => self.lists.len(),
            None => 0,
        }
    }

    fn is_full(&self, backend: &Shared) -> bool {
        let (bytes, all) = (self.bytes(), backend.waiting_bytes.load(Ordering::Relaxed));
        let bytes_max = self.barrier_bytes_max.unwrap_or(backend.behind_bytes_max);
        bytes >= bytes_max || bytes >= TABLE_BYTES_MIN && all >= backend.waiting_bytes_max
    }

    fn push_lists(&mut self, lists: impl IntoIterator<Item = Arc<SortedWrites>>, backend: &Shared) {
        for list in lists {
            backend.waiting_bytes.fetch_add(list.size_bytes(), Ordering::Relaxed);
            self.lists.push_back(list);
        }
    }

    /// Forgets so many of the oldest lists, which are written.
    fn pop_lists(&mut self, count: usize, backend: &Shared) {
        for list in self.lists.drain(..count) {
            backend.waiting_bytes.fetch_sub(list.size_bytes(), Ordering::Relaxed);
        }
        if let Some((lists, _)) = &mut self.freeze {
            *lists -= count;
        }
    }
}

impl Behind {
    /// From here to the snapshot, also shorter lists of writes are handed over.
    pub fn begin_barrier(&self, backend: &Shared) {
        let mut work = self.work.lock();
        // Where lists wait already, few come at the barrier.
        let bytes_max = if work.lists.is_empty() { BARRIER_BYTES_MAX } else { backend.behind_bytes_max };
        work.barrier_bytes_max = Some(bytes_max.min(backend.behind_bytes_max));
    }

    /// What is written is kept beside RocksDB.
    pub fn is_freezing(&self) -> bool {
        self.is_used.load(Ordering::Relaxed) && self.work.lock().is_freezing
    }

    /// True for a list that is to be handed over, where so many bytes may wait.
    pub fn wants(&self, writes: &Writes, bytes_max: usize) -> bool {
        let at_barrier = writes.bytes() >= HANDED_OVER_BYTES_MIN && self.work.lock().barrier_bytes_max.is_some();
        at_barrier || bytes_max >= WAITING_BYTES_MAX_MIN && writes.bytes() >= WAITING_BYTES_MIN
    }

    /// So many bytes have gone into RocksDB's own buffer.
    fn buffered(&self, bytes: usize) {
        self.buffered_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The value of a key or, as `Some(None)`, that it was deleted; `None` where RocksDB knows.
    pub fn get(&self, stored: &[u8]) -> Option<Option<Vec<u8>>> {
        if !self.is_used.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(known) = self.newer.read_recursive().get(stored) {
            return Some(known);
        }
        let work = self.work.lock();
        let hash = frame_hash(stored);
        let found = work.lists.iter().rev().filter(|list| list.may_have(hash)).find_map(|list| list.get(stored))?;
        Some(found.value.map(<[u8]>::to_vec))
    }

    /// What a scan has to add to RocksDB's entries; to be asked before RocksDB is, which may take it over meanwhile.
    pub fn beside(&self) -> Result<Option<Beside<'_>>> {
        if !self.is_used.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let lists = self.wait(|_| true)?.lists.iter().rev().cloned().collect();
        let beside = Beside { newer: self.newer.read_recursive(), lists };
        Ok(Some(beside).filter(|beside| !beside.is_empty()))
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

    /// Gives up the lists that were not written.
    pub fn clear(&mut self, backend: &Shared) {
        let work = self.work.get_mut();
        work.freeze = None;
        work.pop_lists(work.lists.len(), backend);
    }

    /// Waits for the end of the thread, which so is never the one that closes the RocksDB: that may be done once its folder is gone.
    pub fn end(&self) {
        let thread = self.work.lock().thread.take();
        // What it ran into is told where its work was asked for.
        let _ = thread.map(JoinHandle::join);
    }

    fn is_full(&self, bytes_max: usize) -> bool {
        self.newer.read_recursive().size_bytes() >= bytes_max
    }
}

impl Inner {
    /// Where a write of so many bytes goes: beside RocksDB as long as lists wait or files are frozen, and until what was kept there has been
    /// written too. Waits where too much is kept already.
    pub(super) fn way(self: &Arc<Self>, db: &DB, bytes: usize) -> Result<Way<'_>> {
        let behind = &self.behind;
        if !behind.is_used.load(Ordering::Relaxed) {
            behind.buffered(bytes);
            return Ok(Way::Through);
        }
        if behind.is_full(self.backend.behind_bytes_max) {
            self.hand_over_lists(None)?;
        }
        let work = behind.wait(|_| true)?;
        if work.is_freezing || !work.lists.is_empty() {
            return Ok(Way::Beside(behind.newer.write()));
        }
        drop(work);
        self.settle(db, SETTLED_BYTES_MIN.max(SETTLED_FACTOR * bytes))?;
        let newer = behind.newer.write();
        if !newer.is_empty() {
            return Ok(Way::Beside(newer));
        }
        behind.buffered(bytes);
        Ok(Way::Through)
    }

    /// As [`Self::way`], for what must go through: waits until all lists are written and files are frozen.
    pub(super) fn wait_until_frozen(self: &Arc<Self>, db: &DB) -> Result<()> {
        if self.behind.is_used.load(Ordering::Relaxed) {
            self.begin_work(|work| work.is_hurried = true)?;
            self.behind.wait(|work| !work.is_freezing && work.lists.is_empty())?.is_hurried = false;
            self.settle(db, usize::MAX)?;
        }
        Ok(())
    }

    /// Writes some of what was kept beside, where no list waits and no file is frozen.
    fn settle(&self, db: &DB, bytes_max: usize) -> Result<()> {
        let (mut batch, mut newer) = (WriteBatch::default(), self.behind.newer.write());
        newer.drain_into(&mut batch, bytes_max);
        if !batch.is_empty() {
            self.behind.buffered(batch.size_in_bytes());
            self.write_batch(db, batch)?;
        }
        if newer.is_empty() {
            self.behind.is_used.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Lets the other thread write these, at once or with what comes behind them. They are visible to reads at once.
    pub(super) fn hand_over(self: &Arc<Self>, writes: &Writes) -> Result<()> {
        self.hand_over_lists(Some(Arc::new(writes.to_sorted())))
    }

    /// Behind what was kept beside, which becomes a list as well. Waits where too much waits.
    fn hand_over_lists(self: &Arc<Self>, list: Option<Arc<SortedWrites>>) -> Result<()> {
        let bytes_max = 2 * self.backend.behind_bytes_max;
        drop(self.behind.wait(|work| work.bytes() < bytes_max)?);
        let kept = self.behind.newer.write().take();
        self.begin_work(|work| work.push_lists(kept.into_iter().chain(list), &self.backend))
    }

    /// Lets the other thread freeze what was written so far, into a new folder.
    pub(super) fn freeze_behind(self: &Arc<Self>, folder: PathBuf) -> Result<Receiver<Result<Vec<SnapshotFile>>>> {
        drop(self.behind.wait(|work| !work.is_freezing)?);
        let kept = self.behind.newer.write().take();
        let (reply, answer) = bounded(1);
        self.begin_work(|work| {
            work.push_lists(kept, &self.backend);
            work.barrier_bytes_max = None;
            work.freeze = Some((work.lists.len(), Freeze { folder, reply }));
            work.is_freezing = true;
        })?;
        Ok(answer)
    }

    /// Starts the other thread where there is something to do now.
    fn begin_work(self: &Arc<Self>, add: impl FnOnce(&mut Work)) -> Result<()> {
        let mut work = self.behind.work.lock();
        add(&mut work);
        self.behind.is_used.store(true, Ordering::Relaxed);
        let has_work = work.freeze.is_some() || work.due(&self.backend) > 0;
        if work.has_thread || !has_work {
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
            let due = work.due(&self.backend);
            if due > 0 {
                let lists: Vec<_> = work.lists.iter().take(due).cloned().collect();
                match MutexGuard::unlocked(&mut work, || self.caught(|db| self.write_lists(db, &lists))) {
                    Ok(()) => work.pop_lists(due, &self.backend),
                    Err(error) => work.failure = Some(Failure::New(error)),
                }
            } else if let Some((_, Freeze { folder, reply })) = work.freeze.take() {
                let checked = work.check();
                let frozen = MutexGuard::unlocked(&mut work, || {
                    #[cfg(test)]
                    std::thread::sleep(std::time::Duration::from_millis(
                        behind.freeze_delay_ms.load(Ordering::Relaxed),
                    ));
                    checked.and_then(|()| self.caught(|db| freeze(db, self.folder(), &folder)))
                });
                behind.buffered_bytes.store(0, Ordering::Relaxed);
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

    /// As a table file where they are enough for one.
    fn write_lists(&self, db: &DB, lists: &[Arc<SortedWrites>]) -> Result<()> {
        let bytes = lists.iter().map(|list| list.bytes()).sum::<usize>();
        let buffered = self.behind.buffered_bytes.load(Ordering::Relaxed);
        if bytes >= TABLE_BYTES_MIN && buffered <= bytes / BUFFERED_SHARE {
            return self.write_table(db, merged(lists));
        }
        self.behind.buffered(bytes);
        lists.iter().try_for_each(|list| self.write_sorted(db, list.iter()))
    }

    fn write_table<'a>(&self, db: &DB, writes: impl Iterator<Item = Write<'a>>) -> Result<()> {
        let path = self.folder().join(TABLE_NAME);
        let write = || {
            let mut table = SstFileWriter::create(self.backend.table_options(self.shape));
            table.open(&path)?;
            for write in writes {
                match write.value {
                    Some(value) => table.put(write.key, value)?,
                    None => table.delete(write.key)?,
                }
            }
            table.finish()
        };
        write().map_err(|error| self.error(error))?;
        for _ in 0..MERGE_WAITS_MAX {
            if flushed_files(db) < FLUSHED_FILES_SLOWDOWN as usize {
                break;
            }
            std::thread::sleep(MERGE_WAIT);
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        db.ingest_external_file_opts(&options, vec![path]).map_err(|error| self.error(error))
    }

    fn caught<T>(&self, work: impl FnOnce(&DB) -> Result<T>) -> Result<T> {
        let db = self.db().expect("work is handed over for a RocksDB");
        catch_unwind(AssertUnwindSafe(|| work(db))).unwrap_or_else(|_| {
            let reason = "a write behind a barrier panicked".to_string();
            Err(EngineError::Internal { place: self.id.uid.clone(), reason })
        })
    }
}

/// Files of the level that flushes and table files go to, which are merged from a number on.
fn flushed_files(db: &DB) -> usize {
    let files = db.property_value(rocksdb::properties::num_files_at_level(0));
    files.ok().flatten().and_then(|count| count.parse().ok()).unwrap_or(0)
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
        for number in 0..40u8 {
            state.put(GROUP, &[number], &[0; 32 << 10]).unwrap();
        }
        assert!(
            begin.elapsed().as_millis() >= u128::from(FREEZE_MS),
            "1.3 MB are kept where two lists of 256 kB may be"
        );
        assert_eq!(keys(state.as_ref()).len(), 41);
        assert_eq!(frozen_keys(&pending.finish().unwrap().folder), [b"a"]);
    }
}

//! What all RocksDBs of the process share: one block cache, one limit for write buffers, one set of options.
//!
//! Half of the process's state budget is RocksDB's (blocks and write buffers together, I9), the other half is for the
//! write-back caches of operators. Everything is tuned so that a small state costs little: tests open hundreds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, InfoLogger, LogLevel, Options,
    SliceTransform, WriteBufferManager, WriteOptions,
};

use super::KeyShape;
use super::fault::state_error;
use super::frames::stored_frame;
use super::instance::{InstanceId, StateInstance};
use super::resident::RESIDENT_BYTES_MAX;
use super::restore::Restored;
use crate::Result;

/// RocksDB gets this much whatever the budget says: with less it would flush at nearly every write.
const ROCKSDB_BYTES_MIN: usize = 4 << 20;

/// Part of the budget that one instance may use before it needs a RocksDB.
const RESIDENT_SHARE: usize = 512;

/// Lists of writes that wait to be many: bytes per instance, and the part of the budget; and of all instances together.
const BEHIND_BYTES: std::ops::RangeInclusive<usize> = 256 << 10..=32 << 20;
const BEHIND_SHARE: usize = 16;
const WAITING_SHARE: usize = 8;

/// The part of the budget that filters over all keys of state may take, at least so many bytes: they are beside the budget.
const KNOWN_KEYS_SHARE: usize = 16;
const KNOWN_KEYS_BYTES_MIN: usize = 64 << 10;

/// Bounds of one RocksDB's write buffer: smaller ones make many tiny files, larger ones a long pause at a barrier.
const WRITE_BUFFER_BYTES: std::ops::RangeInclusive<usize> = 512 << 10..=32 << 20;

/// Size to which compaction cuts files: the unit in which a large state is uploaded again when it changes.
const TARGET_FILE_BYTES: u64 = 16 << 20;

/// Bytes of the first level below the flushed files, and of those from which on they are merged into it however few they are: with less
/// the same rows are merged more often.
const LEVEL_BASE_BYTES: u64 = 1 << 30;

/// Flushed files of one RocksDB, of which each barrier makes one, before they are merged; and how many slow down or stop its writes.
/// A read asks the filter of each.
const FLUSHED_FILES_MAX: i32 = 32;
pub(super) const FLUSHED_FILES_SLOWDOWN: i32 = 60;
const FLUSHED_FILES_STOP: i32 = 80;

/// Files that one RocksDB keeps open. A state of 2 GB has about 128 of [`TARGET_FILE_BYTES`].
const OPEN_FILES_MAX: i32 = 256;

/// Uncompressed bytes per block: what one read from disk brings.
const BLOCK_BYTES: usize = 8 << 10;

/// About 1 % of reads for absent keys touch a block.
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// RocksDB copies its own manifest into every snapshot, so it must stay small.
const ROCKSDB_MANIFEST_BYTES_MAX: usize = 128 << 10;

/// Background threads for flushes and compactions, shared by all RocksDBs of the process.
const BACKGROUND_JOBS_MAX: i32 = 4;

/// Part of a write buffer that a filter over its frames takes.
const FRAME_FILTER_SHARE: f64 = 0.02;

/// Where RocksDB's own messages go.
const LOG_TARGET: &str = "tidemill::rocksdb";

/// The process's one door to durable state. Clones share everything.
#[derive(Clone)]
pub struct StateBackend {
    pub(super) shared: Arc<Shared>,
}

/// What open instances hold on to.
pub(super) struct Shared {
    options: Options,
    /// The same for keys of [`KeyShape::Framed`].
    framed_options: Options,
    /// For table files that are made beside a RocksDB.
    table_options: Options,
    framed_table_options: Options,
    pub(super) write_options: WriteOptions,
    /// A state larger than this is kept in a RocksDB.
    pub(super) resident_bytes_max: usize,
    /// Bytes of writes that one instance keeps until they are written; as many again may come until that is done.
    pub(super) behind_bytes_max: usize,
    /// What all instances keep so, in bytes: with more, those that keep enough for a table file write it.
    pub(super) waiting_bytes: AtomicUsize,
    pub(super) waiting_bytes_max: usize,
    /// Memory of the filters over all keys of each instance, in bytes.
    pub(super) known_keys_bytes: AtomicUsize,
    pub(super) known_keys_bytes_max: usize,
    budget_bytes: usize,
}

impl StateBackend {
    /// `budget_bytes` bounds the memory of all keyed state of the process.
    pub fn new(budget_bytes: usize) -> Self {
        let rocksdb_bytes = (budget_bytes / 2).max(ROCKSDB_BYTES_MIN);
        let cache = Cache::new_lru_cache(rocksdb_bytes);
        // Write buffers are charged to the cache, so that one limit holds for both; a stall would only add a wait
        // where the flush that ends it has been started already.
        let allow_stall = false;
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(rocksdb_bytes / 2, allow_stall, cache.clone());
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let options = options(&cache, &write_buffers, rocksdb_bytes / 2);
        let framed_options = framed(&options, &cache);
        let (table_options, framed_table_options) = (as_flushed(&options), as_flushed(&framed_options));
        let resident_bytes_max = RESIDENT_BYTES_MAX.min(budget_bytes / RESIDENT_SHARE);
        let behind_bytes_max = (budget_bytes / BEHIND_SHARE).clamp(*BEHIND_BYTES.start(), *BEHIND_BYTES.end());
        let shared = Shared {
            options,
            framed_options,
            table_options,
            framed_table_options,
            write_options,
            resident_bytes_max,
            behind_bytes_max,
            waiting_bytes: AtomicUsize::new(0),
            waiting_bytes_max: budget_bytes / WAITING_SHARE,
            known_keys_bytes: AtomicUsize::new(0),
            known_keys_bytes_max: (budget_bytes / KNOWN_KEYS_SHARE).max(KNOWN_KEYS_BYTES_MIN),
            budget_bytes,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Opens the state of one operator instance under `work_dir` (the attempt's own folder), as it was in `restored`.
    ///
    /// No RocksDB exists as long as the state is small. Errors: [`crate::EngineError::Io`], and
    /// [`crate::EngineError::DamagedCheckpoint`] where restored files are not what they were.
    pub fn instance(
        &self,
        id: InstanceId,
        shape: KeyShape,
        work_dir: &Path,
        restored: Restored,
    ) -> Result<StateInstance> {
        StateInstance::open(self.shared.clone(), id, shape, work_dir, restored)
    }

    /// The write-back cache that each of `instances` operators may fill, in bytes.
    pub fn cache_budget_bytes(&self, instances: usize) -> usize {
        self.shared.budget_bytes / 2 / instances.max(1)
    }

    /// A RocksDB with the options of an instance's and nothing around it, and how to write to it: benchmarks compare with that.
    #[doc(hidden)]
    pub fn bare(&self, folder: &Path) -> Result<(DB, &WriteOptions)> {
        Ok((self.shared.open(folder, KeyShape::Plain)?, &self.shared.write_options))
    }
}

impl Shared {
    /// Opens the RocksDB in `folder`, making it if it is not there.
    pub(super) fn open(&self, folder: &Path, shape: KeyShape) -> Result<DB> {
        let options = match shape {
            KeyShape::Plain => &self.options,
            KeyShape::Framed => &self.framed_options,
        };
        DB::open(options, folder).map_err(|error| state_error(folder, error))
    }

    /// For table files that a RocksDB takes over.
    pub(super) fn table_options(&self, shape: KeyShape) -> &Options {
        match shape {
            KeyShape::Plain => &self.table_options,
            KeyShape::Framed => &self.framed_table_options,
        }
    }

    /// Opens a RocksDB that nobody will write to.
    pub(super) fn open_read_only(&self, folder: &Path) -> Result<DB> {
        let error_if_log_file_exists = false;
        DB::open_for_read_only(&self.options, folder, error_if_log_file_exists)
            .map_err(|error| state_error(folder, error))
    }
}

fn options(cache: &Cache, write_buffers: &WriteBufferManager, write_buffers_bytes: usize) -> Options {
    let mut options = base_options();
    options.create_if_missing(true);
    options.set_write_buffer_manager(write_buffers);
    let write_buffer_bytes = (write_buffers_bytes / 4).clamp(*WRITE_BUFFER_BYTES.start(), *WRITE_BUFFER_BYTES.end());
    options.set_write_buffer_size(write_buffer_bytes);
    options.set_arena_block_size(64 << 10);
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(TARGET_FILE_BYTES);
    options.set_max_bytes_for_level_base(LEVEL_BASE_BYTES);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_level_zero_file_num_compaction_trigger(FLUSHED_FILES_MAX);
    options.set_level_zero_slowdown_writes_trigger(FLUSHED_FILES_SLOWDOWN);
    options.set_level_zero_stop_writes_trigger(FLUSHED_FILES_STOP);
    // What is flushed is merged soon and written again: only then is compression worth its time.
    options.set_compression_per_level(&[DBCompressionType::None, DBCompressionType::Lz4]);
    options.set_block_based_table_factory(&table_options(cache));
    options.set_max_open_files(OPEN_FILES_MAX);
    // Every open would start this many threads, however few files there are.
    options.set_max_file_opening_threads(1);
    options.set_max_background_jobs(BACKGROUND_JOBS_MAX);
    options.set_max_manifest_file_size(ROCKSDB_MANIFEST_BYTES_MAX);
    options.set_manifest_preallocation_size(ROCKSDB_MANIFEST_BYTES_MAX / 4);
    // One thread writes to each: no need to arrange with others.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_write_thread_adaptive_yield(false);
    quieten(&mut options);
    options
}

/// With filters over frames, in files and in write buffers, and none over whole keys: they are mostly read by frame, and there are
/// far fewer of these.
fn framed(options: &Options, cache: &Cache) -> Options {
    let mut options = options.clone();
    let mut table = table_options(cache);
    table.set_whole_key_filtering(false);
    options.set_block_based_table_factory(&table);
    options.set_prefix_extractor(SliceTransform::create(
        "tidemill.kind_and_frame",
        |stored| stored_frame(stored).unwrap_or(stored),
        Some(|stored| stored_frame(stored).is_some()),
    ));
    options.set_memtable_prefix_bloom_ratio(FRAME_FILTER_SHARE);
    options
}

/// For table files like those of a flush.
fn as_flushed(options: &Options) -> Options {
    let mut options = options.clone();
    // In place of the levels', of which a table file that is made beside would get the last.
    options.set_compression_per_level(&[]);
    options.set_compression_type(DBCompressionType::None);
    options
}

/// Options that only RocksDB's option text can set.
fn base_options() -> Options {
    // Closing must not write what no checkpoint asked for: what is not in a snapshot is given up on purpose.
    let text = "avoid_flush_during_shutdown=true;avoid_flush_during_recovery=true";
    Options::default().get_options_from_string(text).expect("the option text is constant and RocksDB knows it")
}

fn table_options(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    // Small keys compress so well that the filter of one file can be larger than a shard of the cache: in parts, only
    // those that are asked are read and kept.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(BLOCK_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    // Index and filter blocks count against the budget as well, but go last.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(6);
    table
}

/// No statistics threads, no log files: what matters comes back as errors. RocksDB prints the list of its options at
/// every level, as a "header": that is for those who look for it.
fn quieten(options: &mut Options) {
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options.set_table_cache_num_shard_bits(2);
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Error, |level, message| match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(target: LOG_TARGET, "{}", message.trim_end()),
        _ => tracing::trace!(target: LOG_TARGET, "{}", message.trim_end()),
    }));
}

//! What disks and other processes do to a state directory, and what the store makes of it.

use std::io;

use super::*;
use crate::checkpoint::files::{FileStep, set_fault_hook};

#[test]
fn every_flipped_byte_of_the_newest_manifest_falls_back_loudly() {
    let mut job = Job::with_three_checkpoints(IN_MEMORY);
    job.stop();
    let path = job.folder(3).join(MANIFEST_NAME);
    let sound = fs::read(&path).unwrap();
    for index in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[index] ^= 1 << (index % 8);
        fs::write(&path, &bytes).unwrap();
        let store = CheckpointStore::open(&job.state_dir).unwrap();
        let latest = store.latest().unwrap().unwrap();
        assert_eq!(latest.checkpoint.manifest.epoch, Epoch(2), "byte {index}");
        assert_eq!(latest.skipped.len(), 1, "byte {index}");
        assert_eq!(latest.skipped[0].path, job.folder(3));
    }
    fs::write(&path, &sound).unwrap();
    job.restart(1, &RestoreRequest::Latest).unwrap();
    assert_eq!(job.keys_in_state(), 3);
}

/// What a disk can do to a file: its name, and doing it.
type Damage = (&'static str, fn(&Path) -> io::Result<()>);

const DAMAGES: [Damage; 4] = [
    ("removed", |path| fs::remove_file(path)),
    ("cut", |path| fs::write(path, &fs::read(path)?[..10])),
    ("longer", |path| fs::write(path, [fs::read(path)?.as_slice(), b"x"].concat())),
    ("altered", |path| {
        let mut bytes = fs::read(path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes)
    }),
];

/// Breaks the link first: only this name's content is damaged.
fn damage(path: &Path, how: fn(&Path) -> io::Result<()>) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    how(path).unwrap();
}

/// Paths of the files that only checkpoint `newest` needs.
fn own_files(job: &Job, newest: u64) -> Vec<PathBuf> {
    let index = job.store().index.lock();
    let objects = |epoch: u64| -> Vec<String> {
        index.sound[&Epoch(epoch)].files().filter(|file| !file.is_packed()).map(|file| file.object.clone()).collect()
    };
    let older = objects(newest - 1);
    let own = objects(newest).into_iter().filter(|object| !older.contains(object));
    own.map(|object| job.state_dir.join(object)).chain([job.folder(newest).join(PACK_NAME)]).collect()
}

#[test]
fn a_damaged_file_falls_back_and_the_job_goes_on_from_there() {
    for (what, how) in DAMAGES {
        for file in 0..2 {
            let mut job = Job::with_three_checkpoints(ON_DISK);
            let path = own_files(&job, 3)[file].clone();
            let is_pack_longer = what == "longer" && path.ends_with(PACK_NAME);
            damage(&path, how);
            job.restart(1, &RestoreRequest::Latest).unwrap();
            if is_pack_longer {
                // What follows in a pack belongs to nobody.
                continue;
            }
            assert_eq!(job.keys_in_state(), 2, "{what} {}", path.display());
            assert_eq!(job.skipped.len(), 1);
            assert!(job.skipped[0].reason.contains(path.to_str().unwrap()), "{:?}", job.skipped);
            assert_eq!(job.epoch, Epoch(4), "I5: the damaged epoch's number is not used again");
            // The replay writes the same content, which must not be taken from the damaged file.
            job.put(3, b"key", &[3]);
            job.checkpoint().unwrap();
            job.restart(1, &RestoreRequest::Latest).unwrap();
            assert_eq!((job.keys_in_state(), job.skipped.len()), (3, 0), "{what} {}", path.display());
        }
    }
}

#[test]
fn when_all_are_damaged_the_start_is_refused() {
    let mut job = Job::with_three_checkpoints(ON_DISK);
    for epoch in 1..=3 {
        damage(&job.folder(epoch).join(MANIFEST_NAME), DAMAGES[1].1);
    }
    let refused = job.restart(1, &RestoreRequest::Latest);
    let Err(EngineError::DamagedCheckpoint { reason, .. }) = refused else { panic!("{refused:?}") };
    assert!((1..=3).all(|epoch| reason.contains(&format!("checkpoint {epoch}:"))), "{reason}");
    for epoch in 1..=3 {
        fs::remove_dir_all(job.folder(epoch)).unwrap();
    }
    let refused = job.restart(1, &RestoreRequest::Latest);
    assert!(matches!(refused, Err(EngineError::DamagedCheckpoint { .. })), "I6, no silent empty start: {refused:?}");
    job.restart(1, &RestoreRequest::Fresh).unwrap();
    assert_eq!(job.keys_in_state(), 0);
}

#[test]
fn a_fresh_start_gives_up_the_older_history() {
    let mut job = Job::with_three_checkpoints(IN_MEMORY);
    let attempts = CheckpointStore::attempts(&job.state_dir).unwrap();
    job.restart(1, &RestoreRequest::Fresh).unwrap();
    assert_eq!(CheckpointStore::attempts(&job.state_dir).unwrap(), attempts + 1, "seen while the folder is locked");
    assert_eq!((job.keys_in_state(), job.epoch), (0, Epoch(4)));
    // Killed before its first checkpoint: still fresh.
    job.restart(1, &RestoreRequest::Latest).unwrap();
    assert_eq!((job.keys_in_state(), job.epoch), (0, Epoch(4)));
    job.put(0, b"new", b"history");
    job.checkpoint().unwrap();
    damage(&job.folder(4).join(MANIFEST_NAME), DAMAGES[3].1);
    let refused = job.restart(1, &RestoreRequest::Latest);
    assert!(
        matches!(refused, Err(EngineError::DamagedCheckpoint { .. })),
        "never back to the old history: {refused:?}"
    );
}

#[test]
fn a_damaged_or_missing_savepoint_is_refused() {
    let mut job = Job::with_three_checkpoints(ON_DISK);
    let checkpoint = job.store().latest().unwrap().unwrap().checkpoint;
    let folder = scratch_folder();
    let missing = job.restart(1, &RestoreRequest::From(folder.path().join("none")));
    assert!(matches!(missing, Err(EngineError::Io { .. })), "{missing:?}");
    for (number, name) in [MANIFEST_NAME, PACK_NAME].into_iter().enumerate() {
        let target = folder.path().join(number.to_string());
        job.store().savepoint(&checkpoint, &target).unwrap();
        damage(&target.join(name), DAMAGES[3].1);
        let refused = job.restart(1, &RestoreRequest::From(target));
        assert!(matches!(refused, Err(EngineError::DamagedCheckpoint { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn a_second_opener_is_told_who_holds_the_lock() {
    let job = Job::new(ON_DISK);
    let Err(EngineError::StateInUse { holder, .. }) = CheckpointStore::open(&job.state_dir) else { panic!("I7") };
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    // The kernel tells processes apart, not this program: a lock held by another process looks the same.
    let folder = scratch_folder();
    let lock_path = folder.path().join("LOCK");
    fs::write(&lock_path, "").unwrap();
    let script = format!("exec 9>'{0}'; flock 9; echo $$ >'{0}'; echo locked; read line", lock_path.display());
    let mut child = std::process::Command::new("sh")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut String::new()).unwrap();
    let refused = CheckpointStore::open(folder.path());
    let Err(EngineError::StateInUse { holder, .. }) = refused else { panic!("I7: {refused:?}") };
    assert_eq!(holder, format!("process {}", child.id()));
    drop(child.stdin.take());
    child.wait().unwrap();
    CheckpointStore::open(folder.path()).unwrap();
}

#[test]
fn left_overs_of_a_killed_attempt_are_gone_after_open() {
    let mut job = Job::with_three_checkpoints(ON_DISK);
    let kept = job.shared_files();
    let left = ["shared/00-1.sst", "shared/11-1.sst.tmp", "JOB.tmp", "work/9/x", "checkpoints/00000004/MANIFEST.tmp"];
    for path in left.map(|path| job.state_dir.join(path)) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "left").unwrap();
    }
    job.restart(1, &RestoreRequest::Latest).unwrap();
    assert!(left.iter().all(|path| !job.state_dir.join(path).exists()));
    assert_eq!(job.shared_files(), kept);
    job.assert_equals_twin();
}

/// One hook serves the whole process: tests that set it go one after the other.
pub(super) static HOOK_IN_USE: StdMutex<()> = StdMutex::new(());

/// Counts the disk steps below `root`; from step `fail_at` on every one is refused, as on a full disk.
fn fail_from_step(root: PathBuf, fail_at: usize) -> Arc<std::sync::atomic::AtomicUsize> {
    let steps = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = steps.clone();
    set_fault_hook(Some(Arc::new(move |step: FileStep, path: &Path| {
        // Removing needs no space.
        if !path.starts_with(&root) || step == FileStep::Remove {
            return Ok(());
        }
        let count = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if count < fail_at { Ok(()) } else { Err(io::Error::from(io::ErrorKind::StorageFull)) }
    })));
    steps
}

#[test]
fn a_disk_that_fills_up_at_any_step_leaves_the_old_checkpoint() {
    let _alone = HOOK_IN_USE.lock();
    [ON_DISK, IN_MEMORY].into_iter().for_each(fill_up_at_every_step);
}

fn fill_up_at_every_step(budget_bytes: usize) {
    for fail_at in 0.. {
        let mut job = Job::with_three_checkpoints(budget_bytes);
        job.put(4, b"key", b"4");
        let steps = fail_from_step(job.state_dir.clone(), fail_at);
        let written = job.checkpoint();
        set_fault_hook(None);
        let taken = steps.load(std::sync::atomic::Ordering::Relaxed);
        let Err(error) = written else {
            assert!(fail_at >= taken && fail_at > 5, "{taken} steps");
            break;
        };
        assert!(matches!(error, EngineError::Io { .. }) && error.to_string().contains("free some space"), "{error}");
        // The process may go on, or be restarted.
        job.restart(1, &RestoreRequest::Latest).unwrap();
        let keys = job.keys_in_state();
        assert!(keys == 3 || keys == 4, "step {fail_at}: {keys}");
        job.put(4, b"key", b"4");
        job.checkpoint().unwrap();
        job.restart(1, &RestoreRequest::Latest).unwrap();
        assert_eq!(job.keys_in_state(), 4, "step {fail_at}");
    }
}

#[test]
fn a_deletion_that_fails_is_made_up_for_by_the_next_one() {
    let _alone = HOOK_IN_USE.lock();
    let job = Job::with_three_checkpoints(ON_DISK);
    let (root, before) = (job.state_dir.clone(), job.shared_files().len());
    set_fault_hook(Some(Arc::new(move |step, path: &Path| {
        let refused = step == FileStep::Remove && path.starts_with(&root);
        if refused { Err(io::Error::from(io::ErrorKind::PermissionDenied)) } else { Ok(()) }
    })));
    let refused = job.store().retain(2);
    set_fault_hook(None);
    assert!(matches!(refused, Err(EngineError::Io { .. })), "{refused:?}");
    assert_eq!((job.store().epochs().len(), job.shared_files().len()), (3, before));
    assert_eq!(job.store().retain(2).unwrap(), [Epoch(1)]);
    assert!(!job.folder(1).exists() && job.shared_files().len() <= before);
    assert_eq!(job.store().epochs(), [Epoch(2), Epoch(3)]);
}

//! The process is killed, or the power goes, before each single step that changes the disk. For each such moment
//! three disks are made and restored from: all as it was written (a kill), all names but only synced contents, and
//! only what was synced, names and contents.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use super::damage::HOOK_IN_USE;
use super::*;
use crate::checkpoint::Recorded;
use crate::checkpoint::files::{FileStep, set_fault_hook};

/// An entry of a folder when the folder was synced.
#[derive(Clone, Copy)]
enum Entry {
    Folder { inode: u64 },
    File { inode: u64 },
}

/// Follows the steps below `root` and knows what of them a power cut would spare.
struct Disk {
    root: PathBuf,
    /// Holds a link of every file whose content was synced, by inode: no such inode is ever used again.
    synced: PathBuf,
    /// Entries of each folder, by its inode, when it was last synced.
    durable: HashMap<u64, Vec<(String, Entry)>>,
    /// What the step that is under way makes or syncs.
    under_way: Option<(FileStep, PathBuf)>,
    images: PathBuf,
    moments: usize,
    /// The newest epoch whose write has returned, and the newest begun.
    acknowledged: u64,
    begun: u64,
}

impl Disk {
    fn new(folder: &Path, root: PathBuf) -> Self {
        let (synced, images) = (folder.join("synced"), folder.join("images"));
        fs::create_dir_all(&synced).unwrap();
        let durable = HashMap::new();
        Self { root, synced, durable, under_way: None, images, moments: 0, acknowledged: 0, begun: 0 }
    }

    /// Called before each step.
    fn before(&mut self, step: FileStep, path: &Path) {
        self.settle();
        self.check_all_images(step, path);
        self.under_way = Some((step, path.to_path_buf()));
    }

    /// The last step is over: what it synced is durable.
    fn settle(&mut self) {
        let Some((step, path)) = self.under_way.take() else { return };
        match (step, Entry::of(&path)) {
            // The inode may have been another folder's.
            (FileStep::Create, Some(Entry::Folder { inode })) => drop(self.durable.remove(&inode)),
            (FileStep::Sync, Some(Entry::Folder { inode })) => drop(self.durable.insert(inode, list(&path))),
            (FileStep::Sync, Some(Entry::File { inode })) => {
                let _ = fs::hard_link(&path, self.synced.join(inode.to_string()));
            }
            _ => {}
        }
    }

    fn check_all_images(&mut self, step: FileStep, path: &Path) {
        let before = format!("before {step:?} {} (step {})", path.display(), self.moments);
        self.moments += 1;
        let image = self.images.join(self.moments.to_string());
        for what in ["kill", "contents lost", "names and contents lost"] {
            fs::create_dir_all(&image).unwrap();
            match what {
                "kill" => self.copy(&self.root, &image, false),
                "contents lost" => self.copy(&self.root, &image, true),
                _ => self.copy_durable(inode_of(&self.root), &image),
            }
            self.check_image(&image, &format!("{what} {before}"));
            fs::remove_dir_all(&image).unwrap();
        }
    }

    fn copy(&self, from: &Path, to: &Path, only_synced: bool) {
        for (name, entry) in list(from) {
            let (path, target) = (from.join(&name), to.join(&name));
            match entry {
                Entry::Folder { .. } => {
                    fs::create_dir(&target).unwrap();
                    self.copy(&path, &target, only_synced);
                }
                Entry::File { inode } if only_synced => self.write_synced(inode, &target),
                Entry::File { .. } => drop(fs::copy(&path, &target).unwrap()),
            }
        }
    }

    fn copy_durable(&self, from: u64, to: &Path) {
        for (name, entry) in self.durable.get(&from).into_iter().flatten() {
            match entry {
                Entry::Folder { inode } => {
                    fs::create_dir(to.join(name)).unwrap();
                    self.copy_durable(*inode, &to.join(name));
                }
                Entry::File { inode } => self.write_synced(*inode, &to.join(name)),
            }
        }
    }

    /// A file whose content was never synced comes back empty.
    fn write_synced(&self, inode: u64, to: &Path) {
        let content = fs::read(self.synced.join(inode.to_string())).unwrap_or_default();
        fs::write(to, content).unwrap();
    }

    fn check_image(&self, image: &Path, what: &str) {
        let store = CheckpointStore::open(image).unwrap_or_else(|error| panic!("{what}: {error}"));
        let recovery = store
            .recover(&RestoreRequest::Latest, &Recorded::default())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let restored = recovery.checkpoint.map_or(0, |checkpoint| checkpoint.manifest.epoch.0);
        assert!((self.acknowledged..=self.begun).contains(&restored), "I3, I5: {what}: epoch {restored}");
        assert_eq!(recovery.skipped, [], "I6: {what}: no step leaves a damaged checkpoint");
        let savepoint = image.join("savepoint");
        if savepoint.exists() {
            CheckpointStore::load(&savepoint).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

impl Entry {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let inode = metadata.ino();
        Some(if metadata.is_dir() { Self::Folder { inode } } else { Self::File { inode } })
    }
}

fn inode_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.ino())
}

/// What is in a folder; the work folder is worthless after a crash, and the lock dies with its process.
fn list(folder: &Path) -> Vec<(String, Entry)> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap());
    let entries = entries.map(|entry| (entry.file_name().into_string().unwrap(), Entry::of(&entry.path()).unwrap()));
    entries.filter(|(name, _)| name != "work" && name != "LOCK").collect()
}

/// Checkpoints, retention, a restart and a savepoint.
fn run(job: &mut Job, disk: &StdMutex<Disk>) {
    for number in 1..=5u8 {
        job.put(u16::from(number), b"key", &[number]);
        disk.lock().unwrap().begun = job.epoch.0;
        let written = job.checkpoint().unwrap();
        disk.lock().unwrap().acknowledged = written.checkpoint.manifest.epoch.0;
        job.store().retain(2).unwrap();
        match number {
            3 => job.restart(2, &RestoreRequest::Latest).unwrap(),
            4 => drop(job.store().savepoint(&written.checkpoint, &job.state_dir.join("savepoint")).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn no_moment_for_a_kill_or_a_power_cut_loses_a_checkpoint() {
    let _alone = HOOK_IN_USE.lock();
    for budget_bytes in [IN_MEMORY, ON_DISK] {
        let folder = scratch_folder();
        let root = folder.path().join("root");
        let disk = Arc::new(StdMutex::new(Disk::new(folder.path(), root.clone())));
        let (recorder, followed) = (disk.clone(), root.clone());
        set_fault_hook(Some(Arc::new(move |step, path: &Path| {
            // Other tests, and looking at an image, take steps as well.
            if !path.starts_with(&followed) || path.starts_with(followed.join("work")) {
                return Ok(());
            }
            recorder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).before(step, path);
            Ok(())
        })));
        let mut job = Job::in_folder(scratch_folder(), root, budget_bytes);
        run(&mut job, &disk);
        set_fault_hook(None);
        assert!(disk.lock().unwrap().moments > 50);
    }
}

//! Which files of a state directory nobody needs any more. Pure: the store lists and deletes.

use std::collections::BTreeSet;

use super::manifest::{FileEntry, Manifest};
use crate::Epoch;

/// Fewer are never kept: the newest may turn out to be damaged, and a commit may have to go back to the one before.
pub const RETAINED_MIN: usize = 2;

/// The epochs to give up so that the newest `count` sound ones stay. `sound` and `damaged` may come in any order. A
/// damaged checkpoint stays as long as there are not enough sound ones above it: it may be all that is left.
pub fn epochs_to_delete(sound: &[Epoch], damaged: &[Epoch], count: usize) -> Vec<Epoch> {
    let mut newest_first = sound.to_vec();
    newest_first.sort_unstable_by_key(|epoch| std::cmp::Reverse(*epoch));
    let kept = &newest_first[..newest_first.len().min(count.max(RETAINED_MIN))];
    let enough = kept.len() == count.max(RETAINED_MIN);
    let newest = kept.first().copied();
    let is_outlived = |epoch: &Epoch| enough && newest.is_some_and(|newest| *epoch < newest);
    let mut doomed: Vec<Epoch> = newest_first[kept.len()..].to_vec();
    doomed.extend(damaged.iter().copied().filter(is_outlived));
    doomed.sort_unstable();
    assert!(kept.iter().all(|epoch| !doomed.contains(epoch)), "a kept checkpoint is never deleted");
    doomed
}

/// The shared files among `present` (relative paths) that none of `kept` names.
pub fn files_to_delete<'a>(kept: impl IntoIterator<Item = &'a Manifest>, present: &[String]) -> Vec<String> {
    let needed: BTreeSet<&str> =
        kept.into_iter().flat_map(Manifest::files).filter(|file| !file.is_packed()).map(object).collect();
    present.iter().filter(|file| !needed.contains(file.as_str())).cloned().collect()
}

fn object(file: &FileEntry) -> &str {
    &file.object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::tests::manifest_with_files;

    #[test]
    fn the_newest_sound_checkpoints_stay() {
        /// (sound, damaged, count to keep, deleted)
        type Case = (&'static [u64], &'static [u64], usize, &'static [u64]);
        let table: [Case; 9] = [
            (&[], &[], 2, &[]),
            (&[1], &[], 2, &[]),
            (&[1, 2], &[], 2, &[]),
            (&[3, 1, 2], &[], 2, &[1]),
            (&[1, 2, 3], &[], 0, &[1]),
            (&[1, 2, 3, 4], &[], 3, &[1]),
            (&[1, 5], &[2, 3], 2, &[2, 3]),
            (&[5], &[2, 3], 2, &[]),
            (&[1, 2], &[3], 2, &[]),
        ];
        for (sound, damaged, count, deleted) in table {
            let epochs = |numbers: &[u64]| numbers.iter().copied().map(Epoch).collect::<Vec<_>>();
            let doomed = epochs_to_delete(&epochs(sound), &epochs(damaged), count);
            assert_eq!(doomed, epochs(deleted), "sound {sound:?}, damaged {damaged:?}, keep {count}");
        }
    }

    #[test]
    fn only_files_that_no_kept_manifest_names_are_deleted() {
        let kept = [manifest_with_files(1, &[1, 2]), manifest_with_files(2, &[2, 3])];
        let names = |hashes: &[u128]| -> Vec<String> {
            hashes.iter().map(|hash| FileEntry::shared_object(super::super::ContentHash(*hash), 10)).collect()
        };
        assert_eq!(files_to_delete(&kept, &names(&[1, 2, 3, 4, 5])), names(&[4, 5]));
        assert_eq!(files_to_delete(&kept, &names(&[1, 2, 3])), names(&[]));
        assert_eq!(files_to_delete(&[], &names(&[1])), names(&[1]));
        assert_eq!(files_to_delete(&kept, &["shared/left.tmp".to_string()]), ["shared/left.tmp"]);
    }
}

//! Names of part files: hidden while they are written, visible once committed. Pure.
//!
//! Both names carry the same identity (owner, subtask, attempt, number), so each can be found from the other.

use tidemill_engine::Epoch;

/// What a part file is called, apart from its ending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName {
    /// [`owner_tag`] of the sink that writes it.
    pub owner: String,
    pub subtask: usize,
    /// Of the job, at which the file was begun.
    pub attempt: u64,
    /// Counts the files that one writer begins.
    pub number: u64,
}

const HIDDEN_PREFIX: &str = ".part-";
const HIDDEN_SUFFIX: &str = ".inprogress";
const PUBLISHED_PREFIX: &str = "part-";

impl PartName {
    /// While it is written; readers skip names that begin with a dot.
    pub fn hidden(&self) -> String {
        let Self { owner, subtask, attempt, number } = self;
        format!("{HIDDEN_PREFIX}{owner}-{subtask}-{attempt}-{number}{HIDDEN_SUFFIX}")
    }

    pub fn from_hidden(name: &str) -> Option<Self> {
        let fields = name.strip_prefix(HIDDEN_PREFIX)?.strip_suffix(HIDDEN_SUFFIX)?;
        let [owner, subtask, attempt, number] = split(fields)?;
        Some(Self {
            owner: owner.to_string(),
            subtask: subtask.parse().ok()?,
            attempt: attempt.parse().ok()?,
            number: number.parse().ok()?,
        })
    }

    /// After its commit in `epoch`; `ending` is such as `json.gz`. Names sort by epoch.
    pub fn published(&self, epoch: Epoch, ending: &str) -> String {
        let Self { owner, subtask, attempt, number } = self;
        format!("{PUBLISHED_PREFIX}{owner}-{subtask}-{:06}-{attempt}-{number}.{ending}", epoch.0)
    }

    pub fn from_published(name: &str) -> Option<(Self, Epoch)> {
        let (fields, _) = name.strip_prefix(PUBLISHED_PREFIX)?.split_once('.')?;
        let [owner, subtask, epoch, attempt, number] = split(fields)?;
        let name = Self {
            owner: owner.to_string(),
            subtask: subtask.parse().ok()?,
            attempt: attempt.parse().ok()?,
            number: number.parse().ok()?,
        };
        Some((name, Epoch(epoch.parse().ok()?)))
    }
}

fn split<const N: usize>(fields: &str) -> Option<[&str; N]> {
    fields.split('-').collect::<Vec<_>>().try_into().ok()
}

/// Twelve hexadecimal digits that stand for a sink of a job (FNV-1a); short enough for a file name.
pub fn owner_tag(owner: &str) -> String {
    let hash = owner
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{:012x}", hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let name = PartName { owner: owner_tag("job/sink"), subtask: 3, attempt: 12, number: 0 };
        assert_eq!(PartName::from_hidden(&name.hidden()), Some(name.clone()));
        let published = name.published(Epoch(7), "json.gz");
        assert_eq!(PartName::from_published(&published), Some((name, Epoch(7))));
        for other in ["", "part-1.json", ".part-.inprogress", "part-a-b-c-d-e.json", "_SUCCESS", &published[5..]] {
            assert_eq!(PartName::from_published(other), None, "{other}");
            assert_eq!(PartName::from_hidden(other), None, "{other}");
        }
    }
}

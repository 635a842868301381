//! The committers of a job's sinks: what makes the output of a durable epoch visible.

use crate::checkpoint::{Recorded, SinkEntry};
use crate::graph::{JobGraph, NodeKind};
use crate::sink::{Committable, Committer, owner_id};
use crate::{EngineError, Epoch, Result};

/// One committer per sink that has one, in the order of the graph but for those whose target keeps the record of commits: these
/// come first. Once they have committed, the others can be made to follow after any crash; if they cannot, the others must not.
pub struct Publishers {
    sinks: Vec<Publisher>,
}

struct Publisher {
    uid: String,
    owner: String,
    committer: Box<dyn Committer>,
}

impl Publishers {
    pub fn open(graph: &JobGraph, job_id: &str) -> Result<Self> {
        let mut sinks = Vec::new();
        for node in graph.nodes() {
            let NodeKind::Sink(sink) = &node.kind else { continue };
            let owner = owner_id(job_id, &node.uid);
            if let Some(committer) = sink.committer(&owner)? {
                sinks.push(Publisher { uid: node.uid.clone(), owner, committer });
            }
        }
        sinks.sort_by_key(|sink| !sink.committer.keeps_record());
        Ok(Self { sinks })
    }

    /// What the targets themselves say of the job's past.
    pub fn recorded(&mut self) -> Result<Recorded> {
        let mut recorded = Recorded::default();
        for sink in self.sinks.iter_mut().filter(|sink| sink.committer.keeps_record()) {
            let epoch = sink.committer.committed_epoch()?;
            if !recorded.sinks.is_empty() && epoch != recorded.committed {
                let name = |epoch: Option<Epoch>| epoch.map_or("none".to_string(), |epoch| epoch.to_string());
                let reason = format!(
                    "visible is, of {}, the output up to epoch {}, but of {} up to epoch {}",
                    sink.uid,
                    name(epoch),
                    recorded.sinks[0],
                    name(recorded.committed)
                );
                return Err(EngineError::StateMismatch { reasons: vec![reason] });
            }
            recorded.committed = epoch;
            recorded.sinks.push(sink.uid.clone());
        }
        Ok(recorded)
    }

    /// Makes visible what the writers prepared for `epoch`. Doing it again changes nothing.
    pub fn commit(&mut self, epoch: Epoch, prepared: &[SinkEntry]) -> Result<()> {
        for sink in &mut self.sinks {
            let mut entries: Vec<&SinkEntry> = prepared.iter().filter(|entry| entry.uid == sink.uid).collect();
            entries.sort_by_key(|entry| entry.subtask);
            let committables = entries.iter().flat_map(|entry| entry.prepared.committables.iter().cloned());
            let committables: Vec<Committable> = committables.collect();
            sink.committer.commit(epoch, &committables)?;
        }
        Ok(())
    }

    /// Takes away what earlier attempts left behind that the restored checkpoint does not know.
    pub fn discard_unknown(&mut self, restored: Epoch, prepared: &[SinkEntry]) -> Result<()> {
        for sink in &mut self.sinks {
            let kept = prepared.iter().filter(|entry| entry.uid == sink.uid);
            let kept: Vec<_> = kept.filter_map(|entry| entry.prepared.state.clone()).collect();
            sink.committer.discard_unknown(&sink.owner, restored, &kept)?;
        }
        Ok(())
    }

    /// The input ended and its last epoch is committed.
    pub fn finish(&mut self) -> Result<()> {
        self.sinks.iter_mut().try_for_each(|sink| sink.committer.finish())
    }
}

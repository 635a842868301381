//! Gives a job other SQL, and lets it go on from its state where that fits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tidemill_engine::checkpoint::{Manifest, PlanNode};
use tidemill_engine::graph::{JobGraph, Parallelism};

use super::actions::{act, check_parallelism, wanted};
use super::compare::{OperatorChange, compare};
use super::decide::{Action, Phase};
use super::inlets::NoInboxes;
use super::plan::PlanRequest;
use super::record::{Desired, JobRecord, PendingRestore, now_ms};
use super::refusal::Refusal;
use super::savepoints::{STATE_FOLDER, newest_manifest};
use super::supervisor::{JobView, Slot, Supervisor, attempts};
use crate::options::job_options;

#[derive(Debug, Clone, Default)]
pub struct Upgrade {
    pub sql: String,
    /// `None`: as they are.
    pub settings: Option<BTreeMap<String, String>>,
    pub parallelism: Option<usize>,
    /// Begin with empty state, whatever there is.
    pub fresh: bool,
    pub dry_run: bool,
}

/// What an upgrade does, or would do.
#[derive(Debug, Clone, Serialize)]
pub struct UpgradeReport {
    pub dry_run: bool,
    /// The job goes on from its state.
    pub state_fits: bool,
    pub operators: Vec<OperatorChange>,
    /// Why the state cannot be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
    /// Taken before the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub savepoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobView>,
}

impl Supervisor {
    /// A job that runs is stopped with a savepoint and started with the new SQL; one at rest has the new SQL at its next start.
    pub fn upgrade(self: &Arc<Self>, name: &str, upgrade: &Upgrade) -> Result<UpgradeReport, Refusal> {
        check_parallelism(upgrade.parallelism)?;
        let slot = self.slot(&self.find(name)?.id);
        let (nodes, warnings) = self.planned_nodes(&slot, upgrade)?;
        let report = |manifest: Option<&Manifest>| {
            let found = compare(manifest.filter(|_| !upgrade.fresh), &nodes);
            UpgradeReport {
                dry_run: upgrade.dry_run,
                state_fits: found.reasons.is_empty(),
                operators: found.operators,
                reasons: found.reasons,
                warnings: warnings.clone(),
                savepoint: None,
                job: None,
            }
        };
        let before = report(newest_manifest(&slot.folder).as_ref());
        if upgrade.dry_run {
            return Ok(before);
        }
        let _acting = act(&slot)?;
        let phase = self.require(&slot, Action::Upgrade)?;
        if !before.state_fits {
            return Err(Refusal::StateMismatch { reasons: before.reasons });
        }
        let savepoint = match (phase, slot.live_run()) {
            (Phase::Running, Some(run)) => {
                let target = self.new_savepoint(&slot, None)?;
                self.stop_run(&slot, &run, Some(target))?
            }
            _ => None,
        };
        // The state at its end may hold more than the checkpoint before had.
        let mut after = report(newest_manifest(&slot.folder).as_ref());
        let former = self.store.get(&slot.id)?;
        if after.state_fits {
            self.exchange(&slot, &former, upgrade, phase)?;
        } else if phase == Phase::Running {
            self.start_or_record(&slot, &former)?;
        }
        if !after.state_fits {
            return Err(Refusal::StateMismatch { reasons: after.reasons });
        }
        after.savepoint = savepoint;
        after.job = Some(self.view(&slot.id)?);
        Ok(after)
    }

    fn exchange(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        former: &JobRecord,
        upgrade: &Upgrade,
        phase: Phase,
    ) -> Result<(), Refusal> {
        let attempts_before = attempts(&slot.folder.join(STATE_FOLDER))?;
        let job = self.store.update(&slot.id, |job| {
            job.sql.clone_from(&upgrade.sql);
            if let Some(settings) = &upgrade.settings {
                job.settings.clone_from(settings);
            }
            job.parallelism = upgrade.parallelism.or(job.parallelism);
            job.version += 1;
            job.changed_ms = now_ms();
            if upgrade.fresh {
                job.restore = Some(PendingRestore { savepoint: None, attempts_before });
            }
            if phase == Phase::Running {
                wanted(job, Desired::Running);
            }
        })?;
        self.inlets.changed();
        if phase != Phase::Running {
            return Ok(());
        }
        self.start_run(slot, &job).inspect_err(|_| {
            // Back to what ran before, from the same state.
            let back = self.store.update(&slot.id, |job| *job = former.clone());
            if let Ok(job) = back
                && let Err(again) = self.start_or_record(slot, &job)
            {
                tracing::error!(job = slot.id, %again, "the former SQL could not be started again");
            }
        })
    }

    fn planned_nodes(&self, slot: &Slot, upgrade: &Upgrade) -> Result<(Vec<PlanNode>, Vec<String>), Refusal> {
        let job = self.store.get(&slot.id)?;
        let request = PlanRequest {
            sql: upgrade.sql.clone(),
            settings: upgrade.settings.clone().unwrap_or(job.settings),
            parallelism: upgrade.parallelism.or(job.parallelism),
        };
        let planned = self.planner.plan_job(&request, slot.logbook.rows(), Arc::new(NoInboxes))?;
        let options = job_options(&job.name, &planned.settings, slot.folder.clone());
        let parallelism = request.parallelism.unwrap_or(options.parallelism);
        Ok((plan_nodes(&planned.planned.graph, parallelism), planned.planned.warnings))
    }
}

fn plan_nodes(graph: &JobGraph, parallelism: usize) -> Vec<PlanNode> {
    let node = |node: &tidemill_engine::graph::Node| PlanNode {
        uid: node.uid.clone(),
        name: node.name.clone(),
        signature: node.state_signature.clone(),
        parallelism: match node.parallelism {
            Parallelism::Job => parallelism,
            Parallelism::One => 1,
            Parallelism::Fixed(count) => count,
        },
    };
    graph.nodes().iter().map(node).collect()
}

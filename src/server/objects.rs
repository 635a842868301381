//! The tables and views that jobs define, kept from one question to the next: to find them, a job's SQL is planned.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::jobs::{CatalogObject, JobRecord, PlanRequest, Planner, Refusal};

/// Jobs whose objects are kept; all are forgotten when there are more, those of jobs that are gone among them.
const JOBS_MAX: usize = 1_000;

type Objects = Arc<Vec<CatalogObject>>;

/// What each job's SQL defines, by the job's id.
#[derive(Default)]
pub struct JobObjects {
    known: Mutex<HashMap<String, (PlanRequest, Objects)>>,
}

impl JobObjects {
    /// Plans the job's SQL where it is new or has changed.
    pub fn of(&self, planner: &Planner, job: JobRecord) -> Result<Objects, Refusal> {
        let request = PlanRequest { sql: job.sql, settings: job.settings, parallelism: job.parallelism };
        if let Some((of, objects)) = self.known.lock().get(&job.id)
            && *of == request
        {
            return Ok(Arc::clone(objects));
        }
        let planned = planner.plan(&request, Arc::new(Mutex::new(std::io::sink())))?;
        let objects = Arc::new(planned.objects);
        let mut known = self.known.lock();
        if known.len() >= JOBS_MAX {
            known.clear();
        }
        known.insert(job.id, (request, Arc::clone(&objects)));
        Ok(objects)
    }
}

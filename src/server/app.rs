//! What all requests share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::auth::Tokens;
use super::limits::RateLimit;
use super::objects::JobObjects;
use super::queries::Queries;
use super::refused::RefusedLog;
use crate::jobs::Supervisor;

pub struct App {
    pub supervisor: Arc<Supervisor>,
    pub queries: Arc<Queries>,
    pub tokens: Tokens,
    pub rate: RateLimit,
    /// Requests under way.
    pub requests: Arc<Semaphore>,
    /// Of them, those that wait for jobs.
    pub slow_requests: Arc<Semaphore>,
    pub cors_origins: Vec<String>,
    pub body_bytes_max: usize,
    /// Of posted rows.
    pub rows_bytes_max: usize,
    /// Posts of rows under way.
    pub posts: Arc<Semaphore>,
    pub read_timeout: Duration,
    pub started: Instant,
    pub counts: RequestCounts,
    pub refused: RefusedLog,
    pub objects: JobObjects,
}

/// Answers given, by what came of them.
#[derive(Default)]
pub struct RequestCounts {
    pub ok: std::sync::atomic::AtomicU64,
    pub refused: std::sync::atomic::AtomicU64,
    pub failed: std::sync::atomic::AtomicU64,
}

impl RequestCounts {
    pub fn count(&self, status: u16) {
        let counter = match status {
            0..=399 => &self.ok,
            400..=499 => &self.refused,
            _ => &self.failed,
        };
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

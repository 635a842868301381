//! How often one address may ask: a bucket of requests for each, filled at a fixed rate.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Addresses that are remembered. Beyond that, full buckets are forgotten: they say nothing.
const ADDRESSES_MAX: usize = 10_000;
/// A burst is what may be asked in so many seconds.
const BURST_SECONDS: f64 = 2.0;

pub struct RateLimit {
    per_second: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    requests: f64,
    at: Instant,
}

impl RateLimit {
    /// 0: no limit.
    pub fn new(per_second: u64) -> Self {
        Self { per_second: per_second as f64, buckets: Mutex::default() }
    }

    /// True where one more request of this address is within its rate.
    pub fn admits(&self, address: IpAddr, now: Instant) -> bool {
        if self.per_second == 0.0 {
            return true;
        }
        let full = (self.per_second * BURST_SECONDS).max(1.0);
        let filled = |bucket: &Bucket| {
            let since = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.requests + since * self.per_second).min(full)
        };
        let mut buckets = self.buckets.lock();
        if buckets.len() >= ADDRESSES_MAX {
            let long_ago = Duration::from_secs_f64(BURST_SECONDS);
            buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < long_ago);
        }
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&address) {
            return false;
        }
        let bucket = buckets.entry(address).or_insert(Bucket { requests: full, at: now });
        let requests = filled(bucket);
        let admitted = requests >= 1.0;
        *bucket = Bucket { requests: requests - f64::from(u8::from(admitted)), at: now };
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_rate_and_a_burst_of_its_own() {
        let limit = RateLimit::new(5);
        let (a, b) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let start = Instant::now();
        let admitted = (0..20).filter(|_| limit.admits(a, start)).count();
        assert_eq!(admitted, 10);
        assert!(limit.admits(b, start), "another address has its own");
        let later = start + Duration::from_secs(1);
        assert_eq!((0..20).filter(|_| limit.admits(a, later)).count(), 5);
        assert!((0..1_000).all(|_| RateLimit::new(0).admits(a, start)));
    }
}

//! Looks for transactions that nobody ends.
//!
//! A broker that crashes while a transaction is open may later take it for aborted without telling the partitions that it wrote to (seen with
//! Apache Kafka 4.3). Its rows hang there: no reader of committed rows comes past them, and the next transaction of the same producer
//! would make them visible with its own. One that this producer aborts there ends them.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::record::asker;
use crate::kafka::client::ClientSettings;

/// Transactions of other jobs that are just being committed end by themselves within this time.
const PATIENCE: Duration = Duration::from_secs(1);

const LOOK: Duration = Duration::from_millis(50);

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The partitions of a topic in which a transaction is open that was so when this was called, and for a while longer.
pub fn undecided(settings: &ClientSettings, topic: &str, partitions: i32) -> Result<Vec<i32>, KafkaError> {
    let all = asker(settings, "read_uncommitted")?;
    let bounds = |partition: i32| all.fetch_watermarks(topic, partition, REQUEST_TIMEOUT);
    let ends = (0..partitions).map(|partition| Ok((partition, bounds(partition)?.1)));
    let mut open: Vec<(i32, i64)> = ends.collect::<Result<_, KafkaError>>()?;
    let committed = asker(settings, "read_committed")?;
    let begun = Instant::now();
    loop {
        let mut still_open = Vec::new();
        for (partition, end) in open {
            if committed.fetch_watermarks(topic, partition, REQUEST_TIMEOUT)?.1 < end {
                still_open.push((partition, end));
            }
        }
        if still_open.is_empty() || begun.elapsed() >= PATIENCE {
            return Ok(still_open.into_iter().map(|(partition, _)| partition).collect());
        }
        open = still_open;
        std::thread::sleep(LOOK);
    }
}

//! What a bare client of Kafka does, to compare Tidemill with: `bytes` counts the bytes of a topic, `latency` measures how long after
//! its timestamp each message of a topic can be read by a consumer that sees only what is committed.
//!
//! `cargo run --release --example kafka_client -- bytes BROKERS TOPIC`
//! `cargo run --release --example kafka_client -- latency BROKERS TOPIC MESSAGES`

use std::error::Error;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const WAIT: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bytes", brokers, topic] => count_bytes(brokers, topic),
        ["latency", brokers, topic, messages] => measure_latency(brokers, topic, messages.parse()?),
        _ => Err("usage: bytes BROKERS TOPIC | latency BROKERS TOPIC MESSAGES".into()),
    }
}

/// A consumer of all partitions from their start.
fn consumer(brokers: &str, topic: &str) -> Result<(BaseConsumer, usize), Box<dyn Error>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "bare-client").set("enable.auto.commit", "false");
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    // As Tidemill does: its own second after a full queue would be measured instead of the client.
    config.set("fetch.queue.backoff.ms", "10");
    let consumer: BaseConsumer = config.create()?;
    // A topic that somebody is about to write has no partitions yet.
    let deadline = Instant::now() + WAIT;
    let mut assignment = TopicPartitionList::new();
    while assignment.count() == 0 {
        if Instant::now() > deadline {
            return Err(format!("there is no topic '{topic}'").into());
        }
        let metadata = consumer.fetch_metadata(Some(topic), WAIT)?;
        for partition in metadata.topics()[0].partitions() {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        }
    }
    consumer.assign(&assignment)?;
    let partitions = assignment.count();
    Ok((consumer, partitions))
}

fn count_bytes(brokers: &str, topic: &str) -> Result<(), Box<dyn Error>> {
    let (consumer, partitions) = consumer(brokers, topic)?;
    let (mut messages, mut bytes, mut ended) = (0_u64, 0_usize, 0);
    let start = Instant::now();
    while ended < partitions {
        match consumer.poll(WAIT) {
            None => return Err("no message came".into()),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                messages += 1;
                bytes += message.payload_len();
            }
        }
    }
    println!("{messages} {bytes} {:.3}", start.elapsed().as_secs_f64());
    Ok(())
}

fn measure_latency(brokers: &str, topic: &str, messages: u64) -> Result<(), Box<dyn Error>> {
    let (consumer, _) = consumer(brokers, topic)?;
    let mut latencies = Histogram::<u64>::new(3)?;
    let mut seen = 0;
    while seen < messages {
        match consumer.poll(WAIT) {
            None => return Err("no message came".into()),
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
                let sent = message.timestamp().to_millis().ok_or("a message has no timestamp")?;
                seen += 1;
                // The first ones waited for the job to start.
                if seen > messages / 2 {
                    latencies.record((now - sent).max(0) as u64)?;
                }
            }
        }
    }
    let at = |quantile| latencies.value_at_quantile(quantile);
    println!("{} {} {}", at(0.5), at(0.99), at(0.999));
    Ok(())
}

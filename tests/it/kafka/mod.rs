//! The `kafka` connector of the real program against a real Apache Kafka broker, judged by a second client.

mod avro;
mod broker;
mod jobs;
mod ledger;
mod outages;
mod zombies;

//! The `kafka` connector of the real program against a real Apache Kafka broker, judged by a second client.

mod avro;
pub mod broker;
mod example;
mod failpoints;
mod features;
mod inputs;
mod jobs;
mod ledger;
mod outages;
mod proxy;
mod tables;
mod zombies;

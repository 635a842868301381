//! The channels of one attempt: made all at once, then handed to the tasks at their ends.

use std::collections::HashMap;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::edge::{Outlet, Routing};
use super::gate::Gate;
use super::layout::{ChannelLayout, Layout, instances};
use super::options::JobOptions;
use super::partition::HashPartitioner;
use crate::Element;
use crate::graph::{Exchange, JobGraph, NodeId};

/// One end of a channel, with the place it belongs to: node and subtask.
type Place = (usize, usize);

pub struct Wiring {
    /// By sending instance: port and outlet.
    outlets: HashMap<Place, Vec<(usize, Outlet)>>,
    /// By reading instance: input and receiver.
    inlets: HashMap<Place, Vec<(usize, Receiver<Element>)>>,
}

impl Wiring {
    pub fn of(graph: &JobGraph, layout: &Layout, options: &JobOptions, max_parallelism: u16) -> Self {
        let mut wiring = Wiring { outlets: HashMap::new(), inlets: HashMap::new() };
        for channel in &layout.channels {
            wiring.connect(graph, channel, options, max_parallelism);
        }
        wiring
    }

    fn connect(&mut self, graph: &JobGraph, channel: &ChannelLayout, options: &JobOptions, max_parallelism: u16) {
        let senders = instances(graph.node(channel.from), options.parallelism);
        let readers = instances(graph.node(channel.to), options.parallelism);
        for sender in 0..senders {
            let to = match channel.exchange {
                Exchange::Forward => sender..sender + 1,
                Exchange::Single => 0..1,
                Exchange::Hash(_) | Exchange::Rebalance => 0..readers,
            };
            let ends: Vec<Sender<Element>> =
                to.map(|reader| self.channel((channel.to.0, reader), channel.input, options)).collect();
            // Each sender begins with another receiver, so that single batches spread as well.
            let routing = match &channel.exchange {
                _ if ends.len() == 1 => Routing::One,
                Exchange::Hash(columns) => Routing::ByKey(HashPartitioner::new(columns, max_parallelism, readers)),
                _ => Routing::RoundRobin { next: sender },
            };
            let outlet = Outlet::new(ends, routing, options.batch_bytes);
            self.outlets.entry((channel.from.0, sender)).or_default().push((channel.port, outlet));
        }
    }

    fn channel(&mut self, reader: Place, input: usize, options: &JobOptions) -> Sender<Element> {
        let (sender, receiver) = bounded(options.channel_batches.max(1));
        self.inlets.entry(reader).or_default().push((input, receiver));
        sender
    }

    /// The sending ends of one instance: ports and outlets.
    pub fn take_outlets(&mut self, node: NodeId, subtask: usize) -> Vec<(usize, Outlet)> {
        self.outlets.remove(&(node.0, subtask)).unwrap_or_default()
    }

    /// The reading end of one instance; `None` for sources.
    pub fn take_gate(&mut self, node: NodeId, subtask: usize) -> Option<Gate> {
        self.inlets.remove(&(node.0, subtask)).map(Gate::new)
    }
}

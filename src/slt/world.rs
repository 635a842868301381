//! The conditions under which every test must give the same answer.

/// One way of running a job. A case whose answer differs between two worlds shows a bug of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    pub name: &'static str,
    /// What it is meant to shake out.
    pub purpose: &'static str,
    pub parallelism: usize,
    pub batch_rows: usize,
    /// Take a checkpoint after every n source batches, and restart from each.
    pub restart_every_batches: Option<u64>,
    pub optimizer: bool,
    /// `None`: the ordinary budget.
    pub memory_budget_bytes: Option<usize>,
    pub two_phase: TwoPhase,
    /// Aggregations gather changes and tell their net effect.
    pub mini_batch: bool,
}

/// Whether aggregates are computed in part before the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwoPhase {
    Auto,
    Never,
    Always,
}

const DEFAULT: World = World {
    name: "default",
    purpose: "one instance of each operator, ordinary batches",
    parallelism: 1,
    batch_rows: 8192,
    restart_every_batches: None,
    optimizer: true,
    memory_budget_bytes: None,
    two_phase: TwoPhase::Auto,
    mini_batch: false,
};

/// Small enough that every operator spills at once.
const TINY_BUDGET_BYTES: usize = 1;

/// All worlds, the default first.
pub const WORLDS: &[World] = &[
    DEFAULT,
    World { name: "p2", purpose: "two instances", parallelism: 2, ..DEFAULT },
    World {
        name: "p7",
        purpose: "more instances than keys or splits",
        parallelism: 7,
        batch_rows: 3,
        two_phase: TwoPhase::Always,
        ..DEFAULT
    },
    World { name: "rows1", purpose: "every row is a batch", batch_rows: 1, ..DEFAULT },
    World {
        name: "restarts",
        purpose: "checkpoint, crash and recovery after every row",
        batch_rows: 1,
        restart_every_batches: Some(1),
        ..DEFAULT
    },
    World {
        name: "restarts-p2",
        purpose: "the same with two instances and rows in threes",
        parallelism: 2,
        batch_rows: 3,
        restart_every_batches: Some(1),
        two_phase: TwoPhase::Always,
        ..DEFAULT
    },
    World {
        name: "mini-batch",
        purpose: "changes are gathered per key, behind partial aggregates of each batch",
        mini_batch: true,
        batch_rows: 2,
        two_phase: TwoPhase::Always,
        ..DEFAULT
    },
    World { name: "plain-plan", purpose: "optional optimizer rules off", optimizer: false, ..DEFAULT },
    World {
        name: "one-phase",
        purpose: "no aggregation before the exchange",
        parallelism: 2,
        two_phase: TwoPhase::Never,
        ..DEFAULT
    },
    World {
        name: "spilling",
        purpose: "no memory for state: everything goes to disk",
        memory_budget_bytes: Some(TINY_BUDGET_BYTES),
        batch_rows: 2,
        ..DEFAULT
    },
];

impl World {
    /// Batches keep the order of the input, so that a changelog is the same in every run.
    pub fn keeps_order(&self) -> bool {
        self.parallelism == 1 && self.restart_every_batches.is_none() && !self.mini_batch
    }
}

/// The worlds of a `--worlds` argument; an unknown name is an error that lists the known ones.
pub fn select(names: &str) -> Result<Vec<&'static World>, String> {
    if names == "all" {
        return Ok(WORLDS.iter().collect());
    }
    names.split(',').map(|name| find(name.trim())).collect()
}

fn find(name: &str) -> Result<&'static World, String> {
    WORLDS.iter().find(|world| world.name == name).ok_or_else(|| {
        let known: Vec<_> = WORLDS.iter().map(|world| world.name).collect();
        format!("there is no world '{name}'; known: all, {}", known.join(", "))
    })
}

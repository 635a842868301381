//! EXPLAIN: a planned job as text, and its operator graph as text, JSON or Graphviz.

use std::fmt::Write;

use tidemill_engine::graph::{ChangelogMode, Exchange, Node, NodeKind, Parallelism};

use crate::plan::PlannedJob;

mod dot;
mod json;
mod state;
mod text;
mod tree;

pub use dot::graph_as_dot;
pub use json::{graph_as_json, graph_as_json_value};
pub use state::graph_state_as_text;
pub use text::graph_as_text;
pub use tree::graph_as_tree;

use crate::parser::statement::ExplainDetail;

/// All stages of planning, in sections as Flink's EXPLAIN has them, with what each operator emits.
pub fn explain(job: &PlannedJob) -> String {
    explain_with(job, &[ExplainDetail::ChangelogMode])
}

/// All stages of planning, with what EXPLAIN was asked to add. Asked for JSON or state alone, it gives just that.
pub(crate) fn explain_with(job: &PlannedJob, details: &[ExplainDetail]) -> String {
    match details {
        [ExplainDetail::JsonExecutionPlan] => return graph_as_json(&job.graph),
        [ExplainDetail::State] => return graph_state_as_text(&job.graph),
        _ => {}
    }
    let mut text = String::new();
    section(&mut text, "Logical Plan", job, |output| &output.logical);
    section(&mut text, "Optimized Plan", job, |output| &output.optimized);
    if details.contains(&ExplainDetail::ChangelogMode) {
        text.push_str(&format!("== Optimized Physical Plan ==\n{}\n", graph_as_tree(&job.graph)));
    }
    text.push_str("== Operators ==\n");
    text.push_str(&graph_as_text(&job.graph, false));
    if details.contains(&ExplainDetail::State) {
        text.push_str(&format!("\n{}", graph_state_as_text(&job.graph)));
    }
    if details.contains(&ExplainDetail::PlanAdvice) {
        text.push_str(&format!("\n== Advice ==\n{}", advice(job)));
    }
    if details.contains(&ExplainDetail::JsonExecutionPlan) {
        text.push_str(&format!("\n== Physical Execution Plan ==\n{}\n", graph_as_json(&job.graph)));
    }
    text
}

/// What the plan is warned of.
fn advice(job: &PlannedJob) -> String {
    match job.warnings.is_empty() {
        true => "No available advice...\n".into(),
        false => job.warnings.iter().map(|warning| format!("{warning}\n")).collect(),
    }
}

fn section(text: &mut String, title: &str, job: &PlannedJob, plan: impl Fn(&crate::plan::PlannedOutput) -> &str) {
    writeln!(text, "== {title} ==").expect("writing to a String cannot fail");
    for output in &job.outputs {
        writeln!(text, "Sink: {}", output.target).expect("writing to a String cannot fail");
        for line in plan(output).lines() {
            writeln!(text, "  {line}").expect("writing to a String cannot fail");
        }
    }
    text.push('\n');
}

/// The names of columns for an exchange: those of what the sender gives.
fn describe_exchange(exchange: &Exchange, sender: &Node) -> String {
    match exchange {
        Exchange::Forward => "forward".into(),
        Exchange::Rebalance => "rebalance".into(),
        Exchange::Single => "single".into(),
        Exchange::Hash(columns) => {
            let name = |index: &usize| sender.schema.fields().get(*index).map_or("?", |field| field.name().as_str());
            format!("hash({})", columns.iter().map(name).collect::<Vec<_>>().join(", "))
        }
    }
}

fn describe_parallelism(parallelism: Parallelism) -> String {
    match parallelism {
        Parallelism::Job => "job".into(),
        Parallelism::One => "1".into(),
        Parallelism::Fixed(count) => count.to_string(),
    }
}

/// The kinds of changes, as Flink abbreviates them.
fn describe_changelog(changelog: ChangelogMode) -> &'static str {
    match changelog {
        ChangelogMode::Append => "I",
        ChangelogMode::Retract => "I,UB,UA,D",
        ChangelogMode::Upsert => "I,UA,D",
    }
}

fn describe_kind(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::Source(_) => "source",
        NodeKind::Operator(_) => "operator",
        NodeKind::Sink(_) => "sink",
    }
}

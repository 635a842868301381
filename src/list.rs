//! `tidemill connectors` and `tidemill functions`: what there is, from the lists that the program itself goes by.

use std::fmt::Write as _;
use std::io::Write as _;

use tidemill_connectors::registry::{ConnectorDescription, Registry};
use tidemill_engine::aggregate;
use tidemill_sql::functions::docs::{self, FunctionDoc};

use crate::cli::ListArgs;
use crate::exit::Exit;

pub fn connectors(args: &ListArgs) -> Exit {
    let all = Registry::standard().describe();
    let text = if args.markdown { connectors_markdown(&all) } else { connectors_text(&all, args.filter.as_deref()) };
    print_or_say_none(text, args)
}

pub fn functions(args: &ListArgs) -> Exit {
    let groups = function_groups();
    let text =
        if args.markdown { functions_markdown(&groups) } else { functions_text(&groups, args.filter.as_deref()) };
    print_or_say_none(text, args)
}

fn print_or_say_none(text: String, args: &ListArgs) -> Exit {
    if text.is_empty() {
        eprintln!("nothing contains '{}'", args.filter.as_deref().unwrap_or_default());
        return Exit::WrongInput;
    }
    // Whoever reads a long list may stop early (`| head`): that is no failure.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    Exit::Success
}

fn contains(text: &str, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| text.to_lowercase().contains(&filter.to_lowercase()))
}

fn direction(connector: &ConnectorDescription) -> String {
    let mut uses = Vec::new();
    if connector.source {
        uses.push("source".to_string());
    }
    if connector.lookup {
        uses.push("lookups by key".to_string());
    }
    if let Some(guarantee) = connector.guarantee {
        let changes = if connector.takes_changelog { ", takes updates" } else { ", appends only" };
        uses.push(format!("sink ({guarantee}{changes})"));
    }
    uses.join("; ")
}

fn option_head(option: &tidemill_connectors::registry::OptionDescription) -> String {
    let default = match (option.required, option.default) {
        (true, _) => "required".to_string(),
        (false, Some(default)) => format!("default {default}"),
        (false, None) => "no default".to_string(),
    };
    format!("{}, {default}", option.takes)
}

fn connectors_text(all: &[ConnectorDescription], filter: Option<&str>) -> String {
    let mut out = String::new();
    for connector in all {
        let whole = contains(connector.name, filter);
        let options: Vec<_> = connector.options.iter().filter(|option| whole || contains(option.key, filter)).collect();
        if !whole && options.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{} - {}\n  {}", connector.name, connector.doc, direction(connector));
        for option in options {
            let _ = writeln!(out, "    '{}'  ({})\n        {}", option.key, option_head(option), option.doc);
        }
        for metadata in &connector.metadata {
            let _ =
                writeln!(out, "    METADATA FROM '{}' {}\n        {}", metadata.key, metadata.data_type, metadata.doc);
        }
        out.push('\n');
    }
    out
}

fn connectors_markdown(all: &[ConnectorDescription]) -> String {
    let mut out = String::from("# Connectors\n\nWritten by `tidemill connectors --markdown`.\n");
    for connector in all {
        let _ = writeln!(
            out,
            "\n## {}\n\n{}. {}.\n",
            connector.name,
            capital(connector.doc),
            capital(&direction(connector))
        );
        out.push_str("| option | takes | meaning |\n|---|---|---|\n");
        for option in &connector.options {
            let head = option_head(option).replace('|', "\\|");
            let _ = writeln!(out, "| `{}` | {head} | {} |", option.key, option.doc.replace('|', "\\|"));
        }
        if !connector.metadata.is_empty() {
            out.push_str("\n| metadata | type | meaning |\n|---|---|---|\n");
        }
        for metadata in &connector.metadata {
            let _ = writeln!(out, "| `{}` | {} | {} |", metadata.key, metadata.data_type, metadata.doc);
        }
    }
    out
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Aggregates, Flink's scalar functions by category, then the rest of DataFusion's library.
pub fn function_groups() -> Vec<(String, Vec<FunctionDoc>)> {
    let aggregates = aggregate::names().iter().map(|aggregate| FunctionDoc {
        name: aggregate.name.to_uppercase(),
        category: "Aggregate",
        usage: aggregate.signature.to_string(),
        doc: aggregate.description.to_string(),
    });
    let mut groups = vec![("Aggregate".to_string(), aggregates.collect::<Vec<_>>())];
    for doc in docs::scalar_docs().into_iter().chain(docs::library_docs()) {
        match groups.last_mut() {
            Some((category, docs)) if category == doc.category => docs.push(doc),
            _ => groups.push((doc.category.to_string(), vec![doc])),
        }
    }
    groups
}

fn functions_text(groups: &[(String, Vec<FunctionDoc>)], filter: Option<&str>) -> String {
    let mut out = String::new();
    for (category, docs) in groups {
        let docs: Vec<_> =
            docs.iter().filter(|doc| contains(&doc.name, filter) || contains(&doc.doc, filter)).collect();
        if docs.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{category}");
        for doc in docs {
            let _ = writeln!(out, "  {}\n      {}", doc.usage, doc.doc);
        }
        out.push('\n');
    }
    out
}

fn functions_markdown(groups: &[(String, Vec<FunctionDoc>)]) -> String {
    let mut out = String::from("# Functions\n\nWritten by `tidemill functions --markdown`.\n");
    for (category, docs) in groups {
        let _ = writeln!(out, "\n## {category}\n\n| function | meaning |\n|---|---|");
        for doc in docs {
            let _ = writeln!(out, "| `{}` | {} |", doc.usage.replace('|', "\\|"), doc.doc.replace('|', "\\|"));
        }
    }
    out
}

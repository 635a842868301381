//! What differs from run to run, in what a page says and in what a program prints: ids, times, addresses, figures.

use regex::Regex;

/// Of all commands.
const MASKS: &[(&str, &str)] = &[
    ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?", "TIME"),
    (r"(127\.0\.0\.1|0\.0\.0\.0):\d+", "ADDRESS"),
    (r"data: \S+/data", "data: DATA"),
    (r"tm_(\.\.\.|[0-9a-f]+)", "TOKEN"),
    ("sha256:[0-9a-f]+", "HASH"),
    (r"\d+\.\d{3,}", "SECONDS"),
    (r"(starting|running)", "running"),
    (r"(running|stopped|failed)( +)\d+\b", "$1 EPOCH"),
    (r#""(epoch|rows_per_second|uptime_ms)":\d+"#, "\"$1\":N"),
    (" {2,}", " "),
];

/// Of pictures that are drawn again and again: bars of any length, also of none, in front of their shares; figures of any unit.
const FIGURES: &[(&str, &str)] = &[
    (r"\|* +(\d+%)", " $1"),
    (r"(^|[\s(/])(-|\d[\d,.]*(%|us|ms|[kMG]?B|[kMGsmhd])?(\d+[smh])?)([\s,;)/]|$)", "${1}N$5"),
    ("EPOCH", "N"),
    (r"\bN (ms|s|min|h)\b", "N s"),
    (r"-{2,}", "-"),
    (" {2,}", " "),
];

pub fn masked(text: &str) -> String {
    let mut lines: Vec<String> = replaced(text, MASKS).lines().map(|line| line.trim_end().to_string()).collect();
    // Starting and running are the same to a reader who may be slow.
    lines.dedup();
    lines.join("\n")
}

/// As [`masked`], with figures that change from moment to moment.
pub fn without_figures(text: &str) -> String {
    let text = masked(text);
    // Twice, since two figures may share the blank between them.
    replaced(&replaced(&text, FIGURES), FIGURES)
}

fn replaced(text: &str, masks: &[(&str, &str)]) -> String {
    let mask = |text: String, (pattern, name): &(&str, &str)| {
        Regex::new(&format!("(?m){pattern}")).expect("a pattern").replace_all(&text, *name).into_owned()
    };
    masks.iter().fold(text.to_string(), mask)
}

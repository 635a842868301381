//! Taste as a test: reads every source file of the project and holds it to the rules of the house.

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this holds two ideas.
const FILE_LINES_MAX: usize = 1_000;
/// A function longer than this does not fit a screen; the parent should branch and the children compute.
const FUNCTION_LINES_MAX: usize = 90;
/// Share of functions that may be longer than `FUNCTION_LINES_LONG`.
const LONG_FUNCTIONS_SHARE_MAX: f64 = 0.01;
const FUNCTION_LINES_LONG: usize = 70;
/// Left out of the tree before a change lands.
const FORBIDDEN: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "FIXME", "TODO", "#[ignore"];

#[test]
fn every_source_file_keeps_the_rules() {
    let files = source_files();
    assert!(files.len() > 50, "the walk found only {} files", files.len());
    let complaints: Vec<String> = files.iter().flat_map(|path| complaints_about(path)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn few_functions_are_longer_than_a_screen() {
    let lengths: Vec<(PathBuf, usize, usize)> = source_files().into_iter().flat_map(function_lengths).collect();
    let long: Vec<String> = lengths
        .iter()
        .filter(|(_, _, length)| *length > FUNCTION_LINES_LONG)
        .map(|(path, line, length)| format!("{}:{line} has {length} lines", path.display()))
        .collect();
    let share = long.len() as f64 / lengths.len() as f64;
    assert!(
        share <= LONG_FUNCTIONS_SHARE_MAX,
        "{} of {} functions are long:\n{}",
        long.len(),
        lengths.len(),
        long.join("\n")
    );
}

#[test]
fn what_is_not_run_is_told_in_one_place_which_counts_it() {
    let mut files = Vec::new();
    collect_rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut files);
    let own_ways: Vec<PathBuf> = files
        .into_iter()
        .filter(|path| !path.ends_with("not_run.rs") && !path.ends_with("tidy.rs"))
        .filter(|path| fs::read_to_string(path).expect("UTF-8").contains("NOT RUN"))
        .collect();
    assert!(own_ways.is_empty(), "call `not_run`, so that `make test` tells it at its end: {own_ways:?}");
}

/// Operators that the tests of another one prove together with it.
const PROVEN_WITH: &[(&str, &str)] = &[("window_changes", "window_aggregate")];

/// What random inputs and restarts look like in a test of an operator.
const PROOFS: &[&str] = &["ChaCha8Rng::seed_from_u64", "restart("];

#[test]
fn every_operator_that_keeps_state_is_tested_with_random_inputs_and_restarts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/src/operators");
    let names = fs::read_dir(&folder).expect("the operators").flatten().map(|entry| entry.path());
    let text_of = |name: &str| {
        let mut files = vec![folder.join(format!("{name}.rs"))];
        collect_rust_files(&folder.join(name), &mut files);
        let texts = files.iter().filter(|file| file.exists()).map(|file| fs::read_to_string(file).expect("UTF-8"));
        texts.collect::<String>()
    };
    let (mut stateful, mut unproven) = (0, Vec::new());
    for name in names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())) {
        let text = text_of(&name);
        if !text.contains("impl OperatorFactory for") || !text.contains("ctx.state") {
            continue;
        }
        stateful += 1;
        let with = PROVEN_WITH.iter().find(|(proven, _)| *proven == name).map(|(_, with)| text_of(with));
        let tests = with.filter(|tests| tests.contains(&name)).unwrap_or(text);
        if !PROOFS.iter().all(|proof| tests.contains(proof)) {
            unproven.push(name);
        }
    }
    assert!(stateful > 15, "the walk found only {stateful} operators that keep state");
    assert!(unproven.is_empty(), "no test gives them random inputs and restarts them: {}", unproven.join(", "));
}

fn source_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["engine", "sql", "connectors", "src", "tests", "benches"] {
        collect_rust_files(&root.join(folder), &mut files);
    }
    files.sort();
    files
}

fn collect_rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect_rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn complaints_about(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("sources are UTF-8");
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push(format!("{}: does not open by saying what it is for (`//! ...`)", path.display()));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        complaints.push(format!("{}: {lines} lines, more than {FILE_LINES_MAX}", path.display()));
    }
    if !path.ends_with("tidy.rs") {
        complaints.extend(forbidden_words(path, &text));
    }
    for (_, line, length) in function_lengths(path.to_path_buf()) {
        if length > FUNCTION_LINES_MAX {
            complaints.push(format!("{}:{line}: a function of {length} lines", path.display()));
        }
    }
    complaints
}

fn forbidden_words(path: &Path, text: &str) -> Vec<String> {
    let mut in_tests = is_for_tests(path);
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        in_tests |= line.contains("#[cfg(test)]");
        for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
            complaints.push(format!("{}:{}: {word}", path.display(), index + 1));
        }
        if !in_tests && line.contains(".unwrap()") && !line.trim_start().starts_with("//") {
            complaints.push(format!("{}:{}: .unwrap() outside tests", path.display(), index + 1));
        }
    }
    complaints
}

/// Files that exist for tests alone say so by their name or their folder's: `tests`, `store_tests`, `testing`.
fn is_for_tests(path: &Path) -> bool {
    let name_says_so =
        |name: &str| ["tests", "testing", "kit"].iter().any(|word| name.trim_end_matches(".rs").ends_with(word));
    path.components().any(|part| part.as_os_str().to_str().is_some_and(name_says_so))
}

/// (file, line, number of lines) of each function, found by indentation, which rustfmt guarantees.
fn function_lengths(path: PathBuf) -> Vec<(PathBuf, usize, usize)> {
    let text = fs::read_to_string(&path).expect("sources are UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    let mut lengths = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if !starts_function(line.trim_start()) {
            continue;
        }
        let end_marker = format!("{}}}", " ".repeat(indent));
        let bodiless = line.ends_with('}') || line.ends_with(';');
        let body = lines[start..].iter().position(|line| *line == end_marker);
        lengths.push((path.clone(), start + 1, if bodiless { 1 } else { body.unwrap_or(0) + 1 }));
    }
    lengths
}

fn starts_function(line: &str) -> bool {
    let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
    let line = line.strip_prefix("const ").unwrap_or(line);
    line.starts_with("fn ")
}

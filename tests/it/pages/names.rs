//! What pages name between their blocks is there: commands and their options, routes, variables, figures, kinds of problems, links.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use regex::Regex;
use serde_json::Value;

use super::all_pages;
use super::text::Page;
use crate::server::kit::Server;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn found<'a>(pattern: &str, text: &'a str) -> Vec<regex::Captures<'a>> {
    // Of each pattern one copy: compiling one takes longer than a whole page.
    static COMPILED: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().expect("no panic");
    let compile = || Regex::new(pattern).expect("a pattern");
    let regex = compiled.entry(pattern.to_string()).or_insert_with(compile).clone();
    drop(compiled);
    regex.captures_iter(text).collect()
}

/// Each piece of code in running text, with its page.
fn codes(pages: &[Page]) -> Vec<(&str, &str)> {
    fn of_page(page: &Page) -> impl Iterator<Item = (&str, &str)> {
        let codes = found("`([^`\n]+)`", &page.prose);
        codes.into_iter().map(|code| (page.name.as_str(), code.get(1).expect("a group").as_str()))
    }
    pages.iter().flat_map(of_page).collect()
}

fn help(command: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    let output = program.args(command).arg("--help").output().expect("the program starts");
    assert!(output.status.success(), "tidemill {command:?} --help");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What `tidemill` itself (under an empty name) and each of its commands say of themselves.
fn commands() -> BTreeMap<String, String> {
    let general = help(&[]);
    let list = general.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    let names = list.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let mut helps: BTreeMap<String, String> = names.map(|name| (name.to_string(), help(&[name]))).collect();
    helps.insert("token".to_string(), help(&["token", "new"]));
    helps.insert(String::new(), general);
    helps
}

/// `--flag`, and `-f` behind a blank or a bracket.
fn options(code: &str) -> Vec<&str> {
    found(r"(?:^|[\s\[])(--[a-z][a-z-]*|-[a-z]\b)", code).iter().map(|option| option.get(1).unwrap().as_str()).collect()
}

fn has_option(help: &str, option: &str) -> bool {
    options(help).contains(&option)
}

#[test]
fn commands_and_options_in_the_text_are_those_of_the_program() {
    let (pages, commands) = (all_pages(), commands());
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (page, code) in codes(&pages) {
        let code = code.rsplit("&& ").next().unwrap_or(code);
        let of_program = code.strip_prefix("tidemill ").or((code == "tidemill").then_some(""));
        let rest = of_program.unwrap_or(code);
        let word = rest.split(' ').next().unwrap_or_default();
        let help = match commands.get(word) {
            Some(help) if !word.is_empty() => Some(help),
            _ if of_program.is_some() && (word.is_empty() || word.starts_with(['-', '['])) => commands.get(""),
            _ if of_program.is_some() => None,
            // An option alone: of any command.
            _ if !options(code).is_empty() && code.starts_with("--") => {
                commands.values().find(|help| has_option(help, word))
            }
            _ => continue,
        };
        count += 1;
        let missing = |help: &String| options(rest).iter().any(|option| !has_option(help, option));
        if help.is_none_or(missing) {
            wrong.push(format!("{page}: {code}"));
        }
    }
    assert!(count > 80, "only {count} commands and options were found");
    assert!(wrong.is_empty(), "what the program does not know:\n{}", wrong.join("\n"));
}

#[test]
fn routes_in_the_text_are_those_of_the_server() {
    let server = Server::start(&[]);
    let description = server.get("/api/v1/openapi.json").expect(200);
    let paths = description["paths"].as_object().expect("paths");
    let is_variable = |part: &str| part.starts_with('{');
    let fits = |route: &str, path: &str| {
        let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
        route.len() == path.len() && route.iter().zip(&path).all(|(route, path)| route == path || is_variable(route))
    };
    let has = |method: &str, path: &str| {
        let path = path.split('?').next().unwrap_or_default();
        let full = if path.starts_with("/api/") { path.to_string() } else { format!("/api/v1{path}") };
        let is_there = |(route, methods): (&String, &Value)| {
            (fits(route, &full) || fits(route, path))
                && (method.is_empty() || methods.get(method.to_lowercase()).is_some())
        };
        paths.iter().any(is_there)
    };
    let (mut wrong, mut count) = (Vec::new(), 0);
    let pages = all_pages();
    for (page, code) in codes(&pages) {
        for route in found(
            r"^(?:(GET|POST|PUT|DELETE) )?(/(?:api/v1/|jobs|queries|tables|sql|livez|readyz|metrics|docs|catalog|connectors|functions|audit)\b\S*)$",
            code,
        ) {
            count += 1;
            if !has(route.get(1).map_or("", |method| method.as_str()), &route[2]) {
                wrong.push(format!("{page}: {code}"));
            }
        }
    }
    assert!(count > 30, "only {count} routes were found");
    assert!(wrong.is_empty(), "what the server does not have:\n{}", wrong.join("\n"));
    // And each route of the interface stands in the page on the server.
    let text = std::fs::read_to_string(root().join("docs/server.md")).expect("the page");
    let named: Vec<String> = found(r"(/[a-z]\S*?)[`?]", &text).iter().map(|path| path[1].to_string()).collect();
    let missing: Vec<&String> = paths
        .keys()
        .filter(|route| !named.iter().any(|path| fits(route, path) || fits(route, &format!("/api/v1{path}"))))
        .collect();
    assert!(missing.is_empty(), "docs/server.md does not name {missing:?}");
}

/// All of the project's own text that a program or a person could read a variable's or a figure's name in.
fn sources() -> String {
    let mut files = Vec::new();
    for folder in ["src", "sql/src", "engine/src", "connectors/src", "tests", "scripts", "benches"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 300, "the walk found only {} files", files.len());
    files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs" || end == "sh") {
            files.push(path);
        }
    }
}

#[test]
fn variables_and_figures_in_the_text_are_known_to_the_program() {
    let (pages, sources) = (all_pages(), sources());
    let serve = help(&["serve"]);
    let mut wrong = Vec::new();
    for page in &pages {
        for name in found(r"\b(TIDEMILL_[A-Z_]+|tidemill_[a-z_]+)\b", &page.prose) {
            let option = name[1].trim_start_matches("TIDEMILL_").to_lowercase().replace('_', "-");
            // `TIDEMILL_SECRET_NAME` stands for the name of any secret.
            let is_known = has_option(&serve, &format!("--{option}"))
                || name[1].starts_with("TIDEMILL_SECRET_")
                || sources.contains(&format!("\"{}\"", &name[1]))
                || sources.contains(&format!("${{{}", &name[1]));
            if !is_known {
                wrong.push(format!("{}: {}", page.name, &name[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_kind_of_problem_stands_in_the_page_on_the_server() {
    let source = std::fs::read_to_string(root().join("src/server/problem.rs")).expect("the source");
    let kinds = found(r#"Self::\w+ => "([a-z-]+)""#, &source);
    assert!(kinds.len() > 15, "{} kinds", kinds.len());
    let page = Page::open("docs/server.md");
    let missing: Vec<&str> = kinds
        .iter()
        .map(|kind| kind.get(1).unwrap().as_str())
        .filter(|kind| !page.prose.contains(&format!("`{kind}`")))
        .collect();
    assert!(missing.is_empty(), "docs/server.md lists the kinds of problems, but not {missing:?}");
}

const FOLDERS: &str = "benches|connectors|deploy|docs|engine|examples|scripts|sql|src|tests";

/// Files of the project, and modules of its tests by which `cargo test` is told what to run.
#[test]
fn files_and_tests_in_the_text_are_there() {
    let pages = all_pages();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (page, code) in codes(&pages) {
        let files = found(&format!(r"(?:^|\s)((?:{FOLDERS})/[\w./-]+)"), code);
        let files = files.iter().map(|file| vec![root().join(&file[1])]);
        let modules = found(r"(?:^|\s)([a-z_]+(?:::[a-z_]+)*(?:::)?[a-z_]*)$", code);
        let modules = modules.iter().filter(|module| module[1].contains("::")).map(|module| {
            let path = module[1].trim_end_matches("::").replace("::", "/");
            let place = |folder: &str, end: &str| root().join(folder).join(format!("{path}{end}"));
            ["tests/it", "connectors/src", "src"]
                .iter()
                .flat_map(|folder| [place(folder, ""), place(folder, ".rs")])
                .collect()
        });
        for places in files.chain(modules) {
            count += 1;
            if !places.iter().any(|place| place.exists()) {
                wrong.push(format!("{page}: {code}"));
            }
        }
    }
    assert!(count > 20, "only {count} files and modules were found");
    assert!(wrong.is_empty(), "what is not there:\n{}", wrong.join("\n"));
}

/// As a heading is linked to: its words in small letters, with hyphens.
fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
    heading.trim_start_matches(['#', ' ']).to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let pages = all_pages();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in &pages {
        for link in found(r"\]\(([^)\s]+)\)", &page.prose) {
            if link[1].contains("://") {
                continue;
            }
            count += 1;
            let (path, heading) = link[1].split_once('#').unwrap_or((&link[1], ""));
            let folder = root().join(&page.name).parent().expect("a folder").to_path_buf();
            let target = if path.is_empty() { root().join(&page.name) } else { folder.join(path) };
            let has_heading = || {
                let text = std::fs::read_to_string(&target).unwrap_or_default();
                text.lines().any(|line| line.starts_with('#') && anchor(line) == heading)
            };
            if !target.exists() || !(heading.is_empty() || has_heading()) {
                wrong.push(format!("{}: {}", page.name, &link[1]));
            }
        }
    }
    assert!(count > 50, "only {count} links were found");
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

//! The pages do what they say: every command, request and query of the documentation is run, and what it prints is compared.
//!
//! A page is a line in [`pages!`]; the function that it names runs the page's blocks. A block that no test can run stands in
//! [`NOT_RUN`] with the reason. A block that is neither run nor listed fails the page's test, a page without a line fails
//! [`every_page_with_a_block_has_a_test`]. What is named between blocks (options, routes, links) is held to what there is in [`names`].

mod deployment;
mod masks;
mod names;
mod queries;
mod reader;
mod scripts;
mod servers;
mod session;
mod shell;
mod text;
mod written;

use std::path::{Path, PathBuf};

use text::Page;

/// One test for each page, and the list of their names. A test gives `None` where it cannot run here, and has said so.
macro_rules! pages {
    ($($test:ident: $name:literal => $follow:path;)*) => {
        $(
            #[test]
            fn $test() {
                all_of_it_is_run($name, $follow);
            }
        )*

        const PAGES: &[&str] = &[$($name),*];
    };
}

pages! {
    architecture: "ARCHITECTURE.md" => nothing;
    readme: "README.md" => scripts::readme;
    benchmarks: "docs/benchmarks.md" => scripts::benchmarks;
    changelogs: "docs/changelogs.md" => queries::changelogs;
    changes: "docs/changes.md" => queries::changes;
    containers: "docs/containers.md" => deployment::containers;
    first_server: "docs/first-server.md" => servers::first_quarter_of_an_hour;
    joins: "docs/joins.md" => queries::joins;
    kafka: "docs/kafka.md" => scripts::kafka;
    lookup: "docs/lookup.md" => queries::lookup;
    ranking: "docs/ranking.md" => queries::ranking;
    repl: "docs/repl.md" => shell::repl;
    server: "docs/server.md" => servers::server;
    sql_tests: "docs/sql-tests.md" => scripts::sql_tests;
    sql: "docs/sql.md" => queries::sql;
    state: "docs/state.md" => scripts::state;
    time_joins: "docs/time-joins.md" => queries::time_joins;
    python_client: "examples/python-client/README.md" => scripts::python_client;
}

/// Page, how the command or block begins, and why no test runs it.
const NOT_RUN: &[(&str, &str, &str)] = &[
    ("ARCHITECTURE.md", "job.sql", "a picture"),
    ("README.md", "make demo", "it builds the program anew; the job that it runs is that of the examples' test"),
    ("README.md", "make test", "it is what runs this test"),
    ("docs/benchmarks.md", "benches/compare/run.sh", "it measures a release build beside other engines for hours"),
    ("docs/containers.md", "docker build", "needs docker and the network: scripts/container.sh does it where they are"),
    ("docs/containers.md", "cargo build --release", "a build for half an hour"),
    ("docs/containers.md", "scripts/container.sh build", "needs docker, podman or buildah, and the network"),
    (
        "docs/containers.md",
        "container: ok",
        "printed by scripts/container.sh test, which needs a container; it is compared with the script",
    ),
    ("docs/containers.md", "docker compose up", "needs docker and the network"),
    (
        "docs/containers.md",
        "name    phase",
        "the jobs of the compose file, which need docker; deploy/ has tests of its own",
    ),
    ("docs/containers.md", "kubectl create", "needs a cluster of Kubernetes"),
    (
        "docs/server.md",
        "tidemill serve --listen 0.0.0.0:8443",
        "listens on every address of the machine; tests/it/server/security.rs has a server with tokens and TLS on loopback",
    ),
];

fn nothing(_: &Page) -> Option<()> {
    Some(())
}

fn all_of_it_is_run(name: &str, follow: fn(&Page) -> Option<()>) {
    let page = Page::open(name);
    if follow(&page).is_none() {
        return;
    }
    let listed = NOT_RUN.iter().filter(|(page, ..)| *page == name).map(|(_, begins, why)| (*begins, *why));
    let complaints = page.complaints(&listed.collect::<Vec<_>>());
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_page_with_a_block_has_a_test() {
    let pages = all_pages();
    let with_blocks = pages.iter().filter(|page| page.blocks().next().is_some());
    let names: Vec<&str> = with_blocks.map(|page| page.name.as_str()).collect();
    assert_eq!(names, PAGES, "pages with blocks, and the pages that tests follow");
    let astray: Vec<&str> = NOT_RUN.iter().map(|(page, ..)| *page).filter(|page| !PAGES.contains(page)).collect();
    assert!(astray.is_empty(), "listed, and no pages: {astray:?}");
}

/// By name, also those without blocks.
fn all_pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect_pages(root, &mut paths);
    let name = |path: &PathBuf| path.strip_prefix(root).expect("below the root").display().to_string();
    let mut names: Vec<String> = paths.iter().map(name).collect();
    names.sort();
    names.iter().map(|name| Page::open(name)).collect()
}

fn collect_pages(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            collect_pages(&path, pages);
        } else if name.ends_with(".md") {
            pages.push(path);
        }
    }
}

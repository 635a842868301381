//! Runs the examples and compares what they write with the `expected` folder beside each, byte for byte after sorting.
//! `UPDATE_EXPECT=1` writes these folders.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{Workspace, visible_files};

const EXAMPLES: &[&str] = &["machine-temperature", "web-log", "shop-visits", "change-stream"];

#[test]
fn examples_write_what_they_promise() {
    for example in EXAMPLES {
        let workspace = workspace_of(example);
        workspace.run_to_end(&["-p", "2"]);
        let expected = folder_of(example).join("expected");
        for output in fs::read_dir(workspace.path("out")).expect("outputs").flatten() {
            let name = output.file_name().to_string_lossy().into_owned();
            check(&expected.join(&name), &lines_with_folders(&output.path()));
        }
        let count = |folder: &Path| fs::read_dir(folder).expect("a folder").count();
        assert_eq!(count(&workspace.path("out")), count(&expected), "outputs of {example}");
    }
}

/// A copy of an example's folder.
pub fn workspace_of(example: &str) -> Workspace {
    let workspace = Workspace::new("");
    for file in visible_files(&folder_of(example)).iter().filter(|file| !file.to_string_lossy().contains("/expected/"))
    {
        let name = file.file_name().expect("files have names").to_string_lossy();
        workspace.write(&name, &fs::read_to_string(file).expect("text"));
    }
    workspace
}

fn folder_of(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example)
}

fn check(expected: &Path, text: &str) {
    if std::env::var("UPDATE_EXPECT").is_ok() {
        fs::create_dir_all(expected.parent().expect("a folder")).expect("a folder");
        fs::write(expected, text).expect("a written file");
    }
    let wanted = fs::read_to_string(expected).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
    assert!(wanted == text, "{} is not what the example wrote:\n{text}", expected.display());
}

/// All lines below `output`, sorted; those in folders with the folder's name in front.
fn lines_with_folders(output: &Path) -> String {
    let mut lines = Vec::new();
    for file in visible_files(output) {
        let folder = file.parent().and_then(|folder| folder.strip_prefix(output).ok()).expect("below the output");
        let prefix = if folder.as_os_str().is_empty() { String::new() } else { format!("{}: ", folder.display()) };
        lines.extend(fs::read_to_string(&file).expect("text").lines().map(|line| format!("{prefix}{line}\n")));
    }
    lines.sort();
    lines.concat()
}

//! Which files a table has right now: the path, folder or glob, walked in the order of the names.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use regex::Regex;
use serde::{Deserialize, Serialize};
use tidemill_engine::{EngineError, Result};

use super::options::is_glob;

/// A file as it was when it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFile {
    pub path: String,
    pub size_bytes: u64,
    /// Epoch milliseconds.
    pub modified_ms: i64,
}

/// All files below `path` that readers may see, by path. Names that begin with `.` or `_` are hidden, and so is all
/// below such a folder; empty files hold no record and are left out.
///
/// # Errors
/// When `must_exist` and there is nothing at the path, and when a folder cannot be read.
pub fn find_files(path: &Path, regex: Option<&Regex>, must_exist: bool) -> Result<Vec<FoundFile>> {
    let mut found = BTreeMap::new();
    let roots = if is_glob(path) { matches_of(path)? } else { vec![path.to_path_buf()] };
    for root in &roots {
        match fs::metadata(root) {
            Ok(metadata) => walk(root, &metadata, &mut found)?,
            Err(error) if must_exist => return Err(EngineError::io("read", root, error)),
            Err(_) => {}
        }
    }
    if roots.is_empty() && must_exist {
        let nothing = Error::new(ErrorKind::NotFound, "no file matches this pattern");
        return Err(EngineError::io("read", path, nothing));
    }
    if let Some(regex) = regex {
        found.retain(|path, _| absolute(path).to_str().is_some_and(|path| regex.is_match(path)));
    }
    found.into_iter().map(|(path, metadata)| describe(path, &metadata)).collect()
}

fn matches_of(pattern: &Path) -> Result<Vec<PathBuf>> {
    let failed = |reason: String| EngineError::Connector { connector: "filesystem".to_string(), reason };
    let text = pattern.to_str().expect("a glob was found in a text");
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let paths =
        glob::glob_with(text, options).map_err(|error| failed(format!("the path '{text}' is no pattern: {error}")))?;
    let hidden = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(is_hidden);
    let paths = paths.filter(|path| !path.as_ref().is_ok_and(hidden));
    paths.map(|path| path.map_err(unreadable)).collect()
}

fn unreadable(error: glob::GlobError) -> EngineError {
    let path = error.path().to_path_buf();
    EngineError::io("read", path, error.into())
}

fn walk(path: &Path, metadata: &Metadata, found: &mut BTreeMap<PathBuf, Metadata>) -> Result<()> {
    if !metadata.is_dir() {
        if metadata.len() > 0 {
            found.insert(path.to_path_buf(), metadata.clone());
        }
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| EngineError::io("list", path, error))? {
        let entry = entry.map_err(|error| EngineError::io("list", path, error))?;
        if entry.file_name().to_str().is_some_and(is_hidden) {
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(metadata) => walk(&entry.path(), &metadata, found)?,
            // Gone between listing and looking: it was never here.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(EngineError::io("read", entry.path(), error)),
        }
    }
    Ok(())
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn describe(path: PathBuf, metadata: &Metadata) -> Result<FoundFile> {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.map_or(0, |time| time.as_millis() as i64);
    match path.into_os_string().into_string() {
        Ok(path) => Ok(FoundFile { path, size_bytes: metadata.len(), modified_ms }),
        Err(name) => {
            let reason = format!("the file name {name:?} is not UTF-8: rename the file");
            Err(EngineError::Connector { connector: "filesystem".to_string(), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path, regex: Option<&str>) -> String {
        let regex = regex.map(|text| Regex::new(text).expect("a pattern"));
        let files = find_files(path, regex.as_ref(), true).expect("files");
        let names = files.iter().map(|file| file.path.rsplit('/').next().expect("a name"));
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn hidden_and_empty_files_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for name in ["b.json", "a.json", ".hidden", "_SUCCESS", "sub/c.json", "_sub/d.json", "sub/x=1/e.csv"] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, "x").expect("written");
        }
        fs::write(root.join("empty.json"), "").expect("written");
        assert_eq!(names(root, None), "a.json b.json c.json e.csv");
        assert_eq!(names(&root.join("b.json"), None), "b.json");
        assert_eq!(names(&root.join("*.json"), None), "a.json b.json");
        assert_eq!(names(&root.join("*"), None), "a.json b.json c.json e.csv");
        assert_eq!(names(root, Some(r"^.*\.csv$")), "e.csv");
        for missing in ["missing", "missing*"] {
            let error = find_files(&root.join(missing), None, true).expect_err("nothing there");
            assert!(error.to_string().contains("missing"), "{error}");
            assert_eq!(find_files(&root.join(missing), None, false).expect("not yet"), []);
        }
    }
}

//! What the jobs of a server may touch: local paths and hosts. Paths are judged by where they really lead, whatever
//! links and `..` stand in them.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

/// Folders below which jobs may read and write, and hosts that they may ask.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Relative paths start here. Canonical; always allowed.
    files: PathBuf,
    /// Canonical.
    folders: Vec<PathBuf>,
    hosts: Vec<AllowedHost>,
}

/// `host`, `host:port`, `*.domain`, `*.domain:port`, or `*` for every host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedHost {
    name: String,
    port: Option<u16>,
}

impl Reach {
    /// `files` must exist, and so must the folders. The error names what does not.
    pub fn new(files: &Path, folders: &[PathBuf], hosts: &[String]) -> Result<Self, String> {
        let canonical = |folder: &PathBuf| {
            folder
                .canonicalize()
                .map_err(|error| format!("the allowed path {} cannot be used: {error}", folder.display()))
        };
        Ok(Self {
            files: canonical(&files.to_path_buf())?,
            folders: folders.iter().map(canonical).collect::<Result<_, _>>()?,
            hosts: hosts.iter().map(|host| allowed_host(host)).collect::<Result<_, _>>()?,
        })
    }

    /// The absolute path that a job's path leads to, as far as it exists; patterns stay at its end.
    pub fn path(&self, text: &str) -> Result<PathBuf, String> {
        let plain = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
        if plain.is_empty() {
            return Err("the path is empty".to_string());
        }
        if plain.contains('\0') {
            return Err("a path holds no zero byte".to_string());
        }
        let whole = self.files.join(plain);
        let resolved = resolve(&whole)?;
        if self.holds(&resolved) { Ok(resolved) } else { Err(self.outside(text)) }
    }

    /// True where a path that exists leads to an allowed place, also through links.
    pub fn leads_inside(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| self.holds(&path))
    }

    fn holds(&self, canonical: &Path) -> bool {
        canonical.starts_with(&self.files) || self.folders.iter().any(|folder| canonical.starts_with(folder))
    }

    fn outside(&self, text: &str) -> String {
        format!("'{text}' leads out of the folders that jobs of this server may touch")
    }

    /// Whether jobs may ask this host; the error says so to the user.
    pub fn host(&self, host: &str, port: Option<u16>) -> Result<(), String> {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() {
            return Err("the address names no host".to_string());
        }
        if is_loopback(&host) || self.hosts.iter().any(|allowed| allowed.fits(&host, port)) {
            return Ok(());
        }
        Err(format!("jobs of this server may not reach the host '{host}'"))
    }

    /// The host of a URL, which must be an allowed one. `{column}`s in it are refused: rows would choose the host.
    pub fn url(&self, url: &str) -> Result<(), String> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        if authority.contains(['{', '}']) {
            return Err("the host of a URL cannot be a column".to_string());
        }
        let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
        address.split(',').try_for_each(|one| self.address(one))
    }

    /// `host:port`, or a host alone.
    pub fn address(&self, address: &str) -> Result<(), String> {
        let address = address.trim();
        let address = address.split_once("://").map_or(address, |(_, rest)| rest);
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (address, None),
        };
        let port = port.map(|port| port.parse().map_err(|_| format!("'{port}' is no port"))).transpose()?;
        self.host(host, port)
    }
}

impl AllowedHost {
    fn fits(&self, host: &str, port: Option<u16>) -> bool {
        let port_fits = self.port.is_none_or(|allowed| port == Some(allowed));
        let name_fits = match self.name.strip_prefix('*') {
            Some(domain) => host.ends_with(domain),
            None => host == self.name,
        };
        port_fits && name_fits
    }
}

fn allowed_host(text: &str) -> Result<AllowedHost, String> {
    let wrong = || format!("'{text}' is no host: write host, host:port, *.domain or *");
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            (name, Some(port.parse().map_err(|_| wrong())?))
        }
        _ => (text, None),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let star_ends = name == "*" || name.strip_prefix('*').is_none_or(|domain| domain.starts_with('.'));
    if name.is_empty() || !star_ends || name[1..].contains('*') || name.contains(['/', '@', ' ']) {
        return Err(wrong());
    }
    Ok(AllowedHost { name, port })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Follows links as far as the path exists. What does not exist yet, and all from a pattern on, must be plain names.
fn resolve(path: &Path) -> Result<PathBuf, String> {
    let mut resolved = PathBuf::from("/");
    let mut exists = true;
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir if exists => {
                resolved.pop();
            }
            Component::ParentDir => return Err("'..' behind a folder that does not exist is refused".to_string()),
            Component::Normal(name) => {
                let next = resolved.join(name);
                let is_pattern = name.to_str().is_none_or(|name| name.contains(['*', '?', '[']));
                let found = if exists && !is_pattern { next.canonicalize().ok() } else { None };
                // A link to nothing would be followed as soon as there is something.
                if found.is_none() && exists && !is_pattern && next.is_symlink() {
                    return Err(format!("{} is a link that leads nowhere", next.display()));
                }
                exists &= found.is_some();
                resolved = found.unwrap_or(next);
            }
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_judged_by_where_they_lead() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["files/in", "shared", "secret"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(root.join(target), root.join(name)).unwrap();
        link("secret", "files/out-link");
        link("shared", "files/shared-link");
        link("files/in", "files/inner-link");
        link("nowhere", "files/dangling");
        let reach = Reach::new(&root.join("files"), &[root.join("shared")], &[]).unwrap();
        let absolute = |name: &str| root.join(name).display().to_string();
        for (path, leads) in [
            ("in", Some("files/in")),
            ("in/../in/new/file.json", Some("files/in/new/file.json")),
            ("./new", Some("files/new")),
            ("in/*.json", Some("files/in/*.json")),
            ("inner-link/x", Some("files/in/x")),
            ("shared-link/x", Some("shared/x")),
            (&absolute("shared/x"), Some("shared/x")),
            (&format!("file://{}", absolute("files/in")), Some("files/in")),
            ("../secret", None),
            ("in/../../secret/x", None),
            ("new/../../../secret", None),
            ("in/*/../../../secret", None),
            ("out-link", None),
            ("out-link/x", None),
            ("dangling", None),
            ("shared-link/../secret/x", None),
            ("/etc/passwd", None),
            ("/", None),
            ("", None),
            // No scheme is known here: such a text is a name.
            (&absolute("shared-not"), None),
        ] {
            let found = reach.path(path).ok();
            assert_eq!(found, leads.map(|leads| root.join(leads)), "{path}");
        }
        assert!(reach.leads_inside(&root.join("files/inner-link")));
        assert!(!reach.leads_inside(&root.join("files/out-link")));
    }

    #[test]
    fn hosts_are_loopback_or_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = ["db.internal:5432", "*.example.org", "10.0.0.7"].map(String::from);
        let reach = Reach::new(folder.path(), &[], &hosts).unwrap();
        for (url, fine) in [
            ("http://localhost:9000/x", true),
            ("http://127.0.0.1/x", true),
            ("http://[::1]:80/x", true),
            ("jdbc:postgresql://db.internal:5432/shop", true),
            ("jdbc:postgresql://db.internal:5433/shop", false),
            ("jdbc:postgresql://db.internal/shop", false),
            ("https://api.Example.org/v1?q=http://localhost", true),
            ("https://example.org.evil.net/", false),
            ("https://evilexample.org/", false),
            ("http://localhost@evil.net/", false),
            ("http://evil.net\\@localhost/", false),
            ("http://localhost,evil.net/", false),
            ("http://{host}/x", false),
            ("http:///x", false),
            ("http://169.254.169.254/latest", false),
        ] {
            assert_eq!(reach.url(url).is_ok(), fine, "{url}");
        }
        assert!(reach.address("10.0.0.7:9092").is_ok());
        assert!(reach.address("PLAINTEXT://evil.net:9092").is_err());
        for wrong in ["", "a*b", "*b", "a:b", "http://x", "**"] {
            assert!(allowed_host(wrong).is_err(), "{wrong}");
        }
    }
}

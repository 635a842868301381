//! Secrets that SQL refers to as `${secret:NAME}`: looked up when a job is planned, and starred wherever a text of a job
//! is shown. Nothing here is ever stored.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

const BEGIN: &str = "${secret:";
/// In front of a secret's name in the environment.
const ENVIRONMENT_PREFIX: &str = "TIDEMILL_SECRET_";
/// Shorter ones could not be starred without starring half of every text.
const SECRET_BYTES_MIN: usize = 4;
const SECRET_BYTES_MAX: u64 = 64 * 1024;
const STARS: &str = "******";

/// Where secrets are.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Files named as the secrets, such as those that a container platform mounts.
    folder: Option<PathBuf>,
    redactor: Redactor,
}

/// Knows all secrets that were resolved in this process, so that no text shows one.
#[derive(Debug, Clone, Default)]
pub struct Redactor(Arc<RwLock<Known>>);

/// Longest first, so that a secret that is part of another one leaves nothing of it.
#[derive(Default)]
struct Known(Vec<String>);

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Redactor {
    /// The text with stars in place of every known secret.
    pub fn hide(&self, text: &str) -> String {
        let known = self.0.read();
        let mut shown = text.to_string();
        for secret in known.0.iter().filter(|secret| text.contains(secret.as_str())) {
            shown = shown.replace(secret.as_str(), STARS);
        }
        shown
    }

    fn learn(&self, secret: &str) {
        let escaped = |quoted: String| quoted[1..quoted.len() - 1].to_string();
        let forms = [
            secret.to_string(),
            escaped(format!("{secret:?}")),
            escaped(serde_json::Value::from(secret).to_string()),
            percent_encoded(secret),
        ];
        let mut known = self.0.write();
        for form in forms {
            if !known.0.contains(&form) {
                known.0.push(form);
            }
        }
        known.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

/// As a secret stands in a URL.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let shown = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(shown).collect()
}

impl Secrets {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, redactor: Redactor::default() }
    }

    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The text with every reference replaced. The error says which secret is missing, and never shows one.
    pub fn resolve(&self, text: &str) -> Result<String, String> {
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once(BEGIN) {
            let Some((name, after)) = behind.split_once('}') else {
                return Err(format!("'{BEGIN}' has no closing brace"));
            };
            resolved.push_str(before);
            resolved.push_str(&self.find(name)?);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn find(&self, name: &str) -> Result<String, String> {
        let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_plain {
            return Err(format!("'{name}' is no name of a secret: letters, digits and _ only"));
        }
        let found = match std::env::var(format!("{ENVIRONMENT_PREFIX}{name}")) {
            Ok(secret) => Some(secret),
            Err(_) => self.read(name)?,
        };
        let Some(secret) = found else {
            let file = self.folder.as_ref().map(|folder| format!(", and no file {}", folder.join(name).display()));
            return Err(format!(
                "there is no secret '{name}': the server's environment has no {ENVIRONMENT_PREFIX}{name}{}",
                file.unwrap_or_default()
            ));
        };
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!("the secret '{name}' is shorter than {SECRET_BYTES_MIN} characters"));
        }
        self.redactor.learn(&secret);
        Ok(secret)
    }

    /// The newline with which editors end a file is not part of the secret.
    fn read(&self, name: &str) -> Result<Option<String>, String> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let path = folder.join(name);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(metadata) if metadata.len() > SECRET_BYTES_MAX => return Err(format!("{} is too long", path.display())),
            _ => {}
        }
        let text =
            std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_string()))
    }
}

/// True where a text refers to a secret.
pub fn has_reference(text: &str) -> bool {
    text.contains(BEGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> (tempfile::TempDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("DB"), "pass/word 1\n").unwrap();
        std::fs::write(folder.path().join("SHORT"), "abc").unwrap();
        std::fs::write(folder.path().join("LONGER"), "pass/word 12").unwrap();
        let secrets = Secrets::new(Some(folder.path().to_path_buf()));
        (folder, secrets)
    }

    #[test]
    fn references_are_replaced_and_what_is_wrong_is_named() {
        let (_folder, secrets) = secrets();
        assert_eq!(secrets.resolve("a ${secret:DB} b ${secret:DB}").unwrap(), "a pass/word 1 b pass/word 1");
        assert_eq!(secrets.resolve("no ${reference}").unwrap(), "no ${reference}");
        for (text, expected) in [
            ("${secret:NONE}", "there is no secret 'NONE'"),
            ("${secret:../DB}", "is no name of a secret"),
            ("${secret:}", "is no name of a secret"),
            ("${secret:DB", "no closing brace"),
            ("${secret:SHORT}", "shorter than 4"),
        ] {
            let error = secrets.resolve(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_resolved_secret_is_starred_in_every_form() {
        let (_folder, secrets) = secrets();
        let redactor = secrets.redactor().clone();
        assert_eq!(redactor.hide("pass/word 1"), "pass/word 1", "not a secret yet");
        secrets.resolve("${secret:DB}${secret:LONGER}").unwrap();
        for text in ["x pass/word 1 y", "x pass%2Fword%201 y", "x pass/word 12 y"] {
            assert_eq!(redactor.hide(text), "x ****** y");
        }
    }
}

//! Tokens of an OpenID Connect provider, asked for with a client's id and secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rdkafka::client::OAuthToken;
use serde::{Deserialize, Serialize};

use super::TokenError;

/// How long the provider may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a token is good for where the provider does not say.
const LIFETIME_DEFAULT_S: u64 = 300;

/// A client of the provider.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oidc {
    pub endpoint: String,
    pub client_id: String,
    pub client_secret: String,
    pub scope: Option<String>,
}

/// The secret is not shown.
impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, client_id, scope, .. } = self;
        f.debug_struct("Oidc").field("endpoint", endpoint).field("client_id", client_id).field("scope", scope).finish()
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

impl Oidc {
    pub fn token(&self) -> Result<OAuthToken, TokenError> {
        let login = BASE64_STANDARD.encode(format!("{}:{}", self.client_id, self.client_secret));
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
        let request = ureq::Agent::new_with_config(config).post(&self.endpoint);
        let answer = request.header("Authorization", format!("Basic {login}")).header("Accept", "application/json");
        let text = answer.send_form(form)?.body_mut().read_to_string()?;
        let answer: Answer = serde_json::from_str(&text).map_err(|_| "the provider's answer holds no access_token")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let ends = now + Duration::from_secs(answer.expires_in.unwrap_or(LIFETIME_DEFAULT_S));
        let principal_name = subject(&answer.access_token).unwrap_or_else(|| self.client_id.clone());
        Ok(OAuthToken { token: answer.access_token, principal_name, lifetime_ms: i64::try_from(ends.as_millis())? })
    }
}

/// Whom a token (a JWT) stands for.
fn subject(token: &str) -> Option<String> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("sub")?.as_str()?.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_token_is_asked_for_with_id_and_secret() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}/token", server.local_addr().expect("its address"));
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"job"}"#);
        let body = format!(r#"{{"access_token":"e.{claims}.s","expires_in":60}}"#);
        let provider = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("a question");
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut form = vec![0; length];
            reader.read_exact(&mut form).expect("a form");
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
            (head, String::from_utf8(form).expect("text"))
        });
        let source =
            Oidc { endpoint, client_id: "me".into(), client_secret: "s3cret".into(), scope: Some("a b".into()) };
        assert!(!format!("{source:?}").contains("s3cret"));
        let token = source.token().expect("a token");
        assert_eq!((token.token, token.principal_name), (format!("e.{claims}.s"), "job".to_string()));
        let (head, form) = provider.join().expect("the provider ends");
        assert!(head.starts_with("POST /token"), "{head}");
        assert!(head.contains(&format!("Basic {}", BASE64_STANDARD.encode("me:s3cret"))), "{head}");
        assert_eq!(form, "grant_type=client_credentials&scope=a+b");
    }
}

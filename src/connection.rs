//! A server that is asked over HTTP: where it is, who asks, and how an answer or a problem is read.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::exit::Exit;

const SERVER_ENVIRONMENT: &str = "TIDEMILL_SERVER";
const TOKEN_ENVIRONMENT: &str = "TIDEMILL_TOKEN";
const SERVER_DEFAULT: &str = "http://127.0.0.1:8080";
/// A little more than a server waits for a final checkpoint unless told otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The type of the problem of a name that is taken.
pub const EXISTS: &str = "urn:tidemill:problem:exists";
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const LINES_TYPE: &str = "application/x-ndjson";

#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server; else TIDEMILL_SERVER, else http://127.0.0.1:8080. The token is TIDEMILL_TOKEN
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Trust the certificates of this file (PEM) instead of the public ones
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
}

/// Why nothing came of it, and how to exit.
#[derive(Debug)]
pub struct Failure {
    /// The type of a server's problem.
    pub kind: String,
    pub text: String,
    pub exit: Exit,
    /// As the server told it; `null` where it told nothing.
    pub problem: Box<Value>,
}

impl Failure {
    pub fn new(text: impl Into<String>, exit: Exit) -> Self {
        Self { kind: String::new(), text: text.into(), exit, problem: Box::new(Value::Null) }
    }
}

pub fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(format!("error: {}", text.into()), Exit::WrongInput)
}

/// Names of jobs need no escaping; what does is no name.
pub fn in_path(job: &str) -> Result<&str, Failure> {
    let is_plain = !job.is_empty() && job.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_plain { Ok(job) } else { Err(wrong(format!("'{job}' is no name of a job"))) }
}

/// A text as it is, anything else as JSON, nothing for `null`.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Clones share their open connections.
#[derive(Clone)]
pub struct Connection {
    pub url: String,
    token: Option<String>,
    agent: ureq::Agent,
    /// For answers that come for as long as they are read.
    streaming: ureq::Agent,
}

impl Connection {
    /// Nothing is asked yet.
    pub fn to(server: &ServerArgs) -> Result<Self, Failure> {
        let url = server.server.clone().or_else(|| std::env::var(SERVER_ENVIRONMENT).ok());
        let url = url.unwrap_or_else(|| SERVER_DEFAULT.to_string());
        let token = std::env::var(TOKEN_ENVIRONMENT).ok().map(|token| token.trim().to_string());
        let tls = server.ca_cert.as_deref().map(trusting).transpose()?;
        let agent = |streams: bool| -> ureq::Agent {
            let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
            let mut config = match streams {
                true => config.timeout_connect(Some(CONNECT_TIMEOUT)).timeout_recv_response(Some(ANSWER_TIMEOUT)),
                false => config.timeout_global(Some(ANSWER_TIMEOUT)),
            };
            if let Some(tls) = &tls {
                config = config.tls_config(tls.clone());
            }
            config.build().into()
        };
        let (agent, streaming) = (agent(false), agent(true));
        Ok(Self { url: url.trim_end_matches('/').to_string(), token, agent, streaming })
    }

    /// The answer as JSON.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let answer = self.agent.run(self.request(method, path, "application/json", body)?);
        self.whole(answer.map_err(|error| self.no_answer(&error))?)
    }

    /// An answer to a POST that is read line by line as it comes.
    pub fn stream(&self, path: &str, body: &Value) -> Result<Box<dyn Read + Send>, Failure> {
        let answer = self.streaming.run(self.request("POST", path, LINES_TYPE, Some(body))?);
        let answer = answer.map_err(|error| self.no_answer(&error))?;
        match answer.status().is_success() {
            true => Ok(Box::new(answer.into_body().into_reader())),
            false => Err(self.whole(answer).err().unwrap_or_else(|| wrong("the server refused without a reason"))),
        }
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: Option<&Value>,
    ) -> Result<ureq::http::Request<String>, Failure> {
        let uri = format!("{}/api/v1{path}", self.url);
        let mut request = ureq::http::Request::builder().method(method).uri(uri).header("accept", accept);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body.map(Value::to_string).unwrap_or_default());
        request.map_err(|error| wrong(format!("'{}' is no address of a server: {error}", self.url)))
    }

    fn whole(&self, mut answer: ureq::http::Response<ureq::Body>) -> Result<Value, Failure> {
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let value: Value = serde_json::from_str(&text.map_err(|error| self.no_answer(&error))?).unwrap_or(Value::Null);
        if answer.status().is_success() { Ok(value) } else { Err(problem(answer.status(), value)) }
    }

    fn no_answer(&self, error: &ureq::Error) -> Failure {
        let text = format!(
            "error: no answer of {}: {error}\nhint: is the server running? --server and {SERVER_ENVIRONMENT} say where",
            self.url
        );
        Failure::new(text, Exit::JobFailed)
    }
}

/// What is wrong with SQL comes with its place, as `tidemill check` shows it.
fn problem(status: ureq::http::StatusCode, value: Value) -> Failure {
    let errors: Vec<String> =
        value["errors"].as_array().into_iter().flatten().map(|one| text_of(&one["text"])).collect();
    let mut text = if errors.is_empty() { format!("error: {}", text_of(&value["detail"])) } else { errors.join("\n") };
    if value["detail"].is_null() {
        text = format!("error: the server answered {status}");
    }
    if let (true, Some(hint)) = (errors.is_empty(), value["hint"].as_str()) {
        text.push_str(&format!("\nhint: {hint}"));
    }
    let exit = if status.is_server_error() { Exit::JobFailed } else { Exit::WrongInput };
    Failure { kind: text_of(&value["type"]), text, exit, problem: Box::new(value) }
}

fn trusting(path: &Path) -> Result<TlsConfig, Failure> {
    let pem = std::fs::read(path).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(wrong(format!("{} holds no certificate in PEM", path.display())));
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build())
}

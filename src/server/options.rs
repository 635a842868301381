//! The list of all options of a server. Command line, environment, file and `tidemill config` go by it.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// May be given several times; in the environment with ',' in between.
    List,
    Number,
    /// Such as `64MB`.
    Size,
    /// Such as `30 s`.
    Duration,
    Choice(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy)]
pub struct ServerOption {
    /// On the command line behind `--`; the same in the file; `TIDEMILL_` and upper case in the environment.
    pub key: &'static str,
    pub kind: Kind,
    /// Empty: none.
    pub default: &'static str,
    pub doc: &'static str,
}

const fn option(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> ServerOption {
    ServerOption { key, kind, default, doc }
}

pub const OPTIONS: &[ServerOption] = &[
    option("listen", Kind::Text, "127.0.0.1:8080", "address and port; any but a loopback address needs tokens"),
    option("data-dir", Kind::Text, "tidemill-data", "where jobs, their state and their savepoints are kept"),
    option("tokens-file", Kind::Text, "", "who may ask: lines of `tidemill token new`"),
    option("tokens", Kind::Text, "", "as --tokens-file, with ';' between the lines; they hold no secret"),
    option("tls-cert", Kind::Text, "", "certificate chain in PEM; with --tls-key the server speaks HTTPS"),
    option("tls-key", Kind::Text, "", "private key in PEM"),
    option("secrets-dir", Kind::Text, "", "a folder with a file per secret, for ${secret:NAME} in SQL"),
    option("allow-path", Kind::List, "", "a folder that jobs may read and write, beside DATA_DIR/files"),
    option("allow-host", Kind::List, "", "host, host:port, *.domain or * that jobs may reach, beside loopback"),
    option("cors-origin", Kind::List, "", "an origin whose web pages may ask this server; none unless given"),
    option("body-size-max", Kind::Size, "2MB", "the largest body of a request"),
    option("rows-size-max", Kind::Size, "8MB", "the largest body of posted rows"),
    option("requests-per-second", Kind::Number, "50", "of one address, with bursts of twice as many; 0: no limit"),
    option("requests-max", Kind::Number, "64", "requests that may be under way at a time"),
    option("connections-max", Kind::Number, "256", "open connections; more wait to be accepted"),
    option("read-timeout", Kind::Duration, "15 s", "how long a request's head, and its body, may take to come in"),
    option("jobs-max", Kind::Number, "1000", "jobs that there may be"),
    option("jobs-running-max", Kind::Number, "64", "jobs that may run at a time"),
    option("jobs-memory-max", Kind::Size, "", "the memory budgets of all running jobs together; no limit unless given"),
    option("queries-max", Kind::Number, "32", "ad-hoc queries that may run at a time"),
    option("query-memory", Kind::Size, "64MB", "the memory budget of an ad-hoc query"),
    option("query-timeout", Kind::Duration, "30 s", "how long an ad-hoc query may take that is answered as a whole"),
    option(
        "query-stall-timeout",
        Kind::Duration,
        "60 s",
        "how long the client of an ad-hoc query may take nothing before the query is ended",
    ),
    option("query-results-size", Kind::Size, "64MB", "results of ad-hoc queries that are kept to be read page by page"),
    option("query-results-time", Kind::Duration, "5 min", "how long such a result is kept"),
    option(
        "stop-timeout",
        Kind::Duration,
        "60 s",
        "how long a final checkpoint is waited for, also at the server's end",
    ),
    option("otlp-endpoint", Kind::Text, "", "an OpenTelemetry collector for traces, such as http://localhost:4318"),
    option("otlp-service-name", Kind::Text, "tidemill", "the name of this server in traces"),
    option("log-format", Kind::Choice(&["text", "json"]), "text", "how the server logs to standard error"),
];

impl ServerOption {
    pub fn environment(&self) -> String {
        format!("TIDEMILL_{}", self.key.to_ascii_uppercase().replace('-', "_"))
    }
}

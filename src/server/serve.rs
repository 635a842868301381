//! `tidemill serve` from its configuration to its end, and `tidemill config`.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::app::{App, RequestCounts};
use super::auth::Tokens;
use super::config::{Config, ConfigArgs};
use super::limits::RateLimit;
use super::listen::Listening;
use super::objects::JobObjects;
use super::queries::{Queries, QueryLimits};
use super::refused::RefusedLog;
use super::{dispatch, logging, tls};
use crate::exit::Exit;
use crate::jobs::reach::Reach;
use crate::jobs::secrets::Secrets;
use crate::jobs::{JobStore, Limits, Planner, Supervisor};
use crate::screen::answer;
use crate::telemetry::Tracer;

const STORE_NAME: &str = "jobs.redb";
const JOBS_FOLDER: &str = "jobs";
/// Of ad-hoc queries; emptied at each start.
const QUERIES_FOLDER: &str = "queries";
/// What jobs may read and write unless more is allowed.
const FILES_FOLDER: &str = "files";
/// Requests that wait for jobs: each holds a thread.
const SLOW_REQUESTS_MAX: usize = 16;
/// Posts of rows: each holds a thread and its body until the disk has it, and all that wait share one sync.
const POSTS_MAX: usize = 64;
/// Threads beside those of requests: the resuming of jobs, the final checkpoints, tokio's own file access.
const SPARE_THREADS: usize = 8;
/// For the last traces, at the end.
const TRACES_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests are handled by blocking threads: these only move bytes.
const ASYNC_THREADS: usize = 2;
/// WebSockets that are being closed when the server ends.
const SOCKETS_PATIENCE: Duration = Duration::from_secs(2);
const SOCKETS_TICK: Duration = Duration::from_millis(20);

/// `tidemill config`: the values that `tidemill serve` would have.
pub fn show_config(args: &ConfigArgs) -> Exit {
    match Config::load(args) {
        Ok(config) => {
            answer(config.describe().trim_end());
            Exit::Success
        }
        Err(error) => wrong(&error),
    }
}

pub fn serve(args: &ConfigArgs) -> Exit {
    let config = match Config::load(args) {
        Ok(config) => config,
        Err(error) => return wrong(&error),
    };
    let secrets = Secrets::new(config.path("secrets-dir"));
    logging::init(config.text("log-format") == Some("json"), secrets.redactor().clone());
    // A file that grows beyond what the system allows is an error of the job that writes it, not the end of all.
    let caught = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    if let Err(error) = caught {
        return wrong(&format!("signals cannot be caught: {error}"));
    }
    let prepared = Server::prepare(&config, secrets);
    let (server, threads) = match prepared {
        Ok(server) => (server, config.number("requests-max") as usize + POSTS_MAX + SLOW_REQUESTS_MAX + SPARE_THREADS),
        Err(error) => return wrong(&error),
    };
    let runtime =
        Builder::new_multi_thread().worker_threads(ASYNC_THREADS).max_blocking_threads(threads).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(server.run());
            runtime.shutdown_background();
            exit
        }
        Err(error) => wrong(&format!("threads cannot be started: {error}")),
    }
}

fn wrong(error: &str) -> Exit {
    eprintln!("error: {error}");
    Exit::WrongInput
}

struct Server {
    app: Arc<App>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    connections_max: usize,
    data_dir: PathBuf,
}

impl Server {
    /// All that can be wrong with a configuration is found here.
    fn prepare(config: &Config, secrets: Secrets) -> Result<Self, String> {
        let tokens = tokens_of(config)?;
        let address = address_of(config, &tokens)?;
        let tls = match (config.path("tls-cert"), config.path("tls-key")) {
            (Some(certificate), Some(key)) => Some(tls::acceptor(&certificate, &key)?),
            (None, None) => None,
            _ => return Err("--tls-cert and --tls-key are given together or not at all".to_string()),
        };
        if tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                "tokens travel in the clear: give --tls-cert and --tls-key, or put a proxy with TLS in front"
            );
        }
        let data_dir = config.path("data-dir").ok_or("--data-dir is empty")?;
        create_private(&data_dir.join(FILES_FOLDER))?;
        let data_dir =
            data_dir.canonicalize().map_err(|error| format!("cannot use {}: {error}", data_dir.display()))?;
        let app = Arc::new(App {
            queries: queries_of(config, &data_dir)?,
            supervisor: supervisor_of(config, secrets, &data_dir, tracer_of(config)?)?,
            tokens,
            rate: RateLimit::new(config.number("requests-per-second")),
            requests: Arc::new(Semaphore::new(config.number("requests-max") as usize)),
            slow_requests: Arc::new(Semaphore::new(SLOW_REQUESTS_MAX)),
            cors_origins: config.list("cors-origin").to_vec(),
            body_bytes_max: config.size("body-size-max").unwrap_or_default() as usize,
            rows_bytes_max: config.size("rows-size-max").unwrap_or_default() as usize,
            posts: Arc::new(Semaphore::new(POSTS_MAX)),
            read_timeout: config.duration("read-timeout"),
            started: Instant::now(),
            counts: RequestCounts::default(),
            refused: RefusedLog::default(),
            objects: JobObjects::default(),
        });
        Ok(Self { app, address, tls, connections_max: config.number("connections-max") as usize, data_dir })
    }

    async fn run(self) -> Exit {
        let listener = match TcpListener::bind(self.address).await {
            Ok(listener) => listener,
            Err(error) => return wrong(&format!("cannot listen on {}: {error}", self.address)),
        };
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(terminate), Ok(interrupt)) = signals else { return wrong("signals cannot be caught") };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = listener.local_addr().unwrap_or(self.address);
        answer(&format!(
            "tidemill serves {scheme}://{address} (docs: {scheme}://{address}/docs, data: {})",
            self.data_dir.display()
        ));
        let supervisor = Arc::clone(&self.app.supervisor);
        tokio::task::spawn_blocking(move || {
            if let Err(refusal) = supervisor.resume_all() {
                tracing::error!(%refusal, "jobs could not be resumed");
            }
        });
        let (end, ending) = watch::channel(false);
        let listening = Listening {
            listener,
            tls: self.tls,
            router: dispatch::router(&self.app),
            connections_max: self.connections_max,
            read_timeout: self.app.read_timeout,
            ending,
        };
        let serving = tokio::spawn(listening.run());
        let exit = until_signalled(&self.app, terminate, interrupt).await;
        let _ = end.send(true);
        let _ = serving.await;
        sockets_closed(&self.app.queries).await;
        let tracer = self.app.supervisor.tracer().clone();
        let _ = tokio::task::spawn_blocking(move || tracer.flush(TRACES_TIMEOUT)).await;
        exit
    }
}

/// Those who wait for rows were told that the server ends: that goes out first.
async fn sockets_closed(queries: &Queries) {
    let deadline = Instant::now() + SOCKETS_PATIENCE;
    while queries.sockets.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
        tokio::time::sleep(SOCKETS_TICK).await;
    }
}

/// The first signal asks for a final checkpoint of all jobs, while health and metrics go on being answered; the second
/// ends the process, whose last checkpoints stand.
async fn until_signalled(app: &App, mut terminate: Signal, mut interrupt: Signal) -> Exit {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending: taking a final checkpoint of all jobs");
    app.queries.end_all();
    let supervisor = Arc::clone(&app.supervisor);
    let stopping = tokio::task::spawn_blocking(move || supervisor.stop_all());
    tokio::select! {
        cut_off = stopping => {
            for name in cut_off.unwrap_or_default() {
                tracing::warn!(job = name, "took no final checkpoint in time: its last one stands");
            }
            Exit::Success
        }
        _ = async { tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} } } => {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
    }
}

fn tokens_of(config: &Config) -> Result<Tokens, String> {
    let of_file = config.path("tokens-file").map(|path| Tokens::load(&path)).transpose()?;
    let of_text =
        config.text("tokens").map(|text| Tokens::parse(text).map_err(|e| format!("tokens: {e}"))).transpose()?;
    let is_meant = of_file.is_some() || of_text.is_some();
    let all = of_file.unwrap_or_default().join(of_text.unwrap_or_default());
    // An empty file must not open the server to everybody.
    if is_meant && all.is_empty() {
        return Err("there is no token: make one with `tidemill token new`, or leave --tokens-file out".to_string());
    }
    Ok(all)
}

fn address_of(config: &Config, tokens: &Tokens) -> Result<SocketAddr, String> {
    let text = config.text("listen").ok_or("--listen is empty")?;
    let address: SocketAddr =
        text.parse().map_err(|_| format!("--listen '{text}' is no address: write one such as 127.0.0.1:8080"))?;
    if tokens.is_empty() && !address.ip().is_loopback() {
        return Err(format!(
            "{address} can be reached from other machines, and there are no tokens\n\
             hint: `tidemill token new --role admin --name me` prints a token, and the line for the server: put it into a file for \
             --tokens-file (TIDEMILL_TOKENS_FILE), or into TIDEMILL_TOKENS"
        ));
    }
    Ok(address)
}

fn queries_of(config: &Config, data_dir: &Path) -> Result<Arc<Queries>, String> {
    let limits = QueryLimits {
        queries_max: config.number("queries-max") as usize,
        memory_bytes_max: config.size("query-memory").unwrap_or(u64::MAX),
        timeout: config.duration("query-timeout"),
        stall_timeout: config.duration("query-stall-timeout"),
        results_bytes_max: config.size("query-results-size").unwrap_or_default() as usize,
        results_time: config.duration("query-results-time"),
    };
    let folder = data_dir.join(QUERIES_FOLDER);
    let queries = Queries::new(limits, folder);
    queries.map(Arc::new).map_err(|error| format!("cannot use {}: {error}", data_dir.display()))
}

fn tracer_of(config: &Config) -> Result<Tracer, String> {
    let service = config.text("otlp-service-name").unwrap_or(env!("CARGO_PKG_NAME"));
    let tracer = config.text("otlp-endpoint").map(|endpoint| Tracer::start(endpoint, service)).transpose();
    tracer.map(Option::unwrap_or_default).map_err(|error| format!("otlp-endpoint: {error}"))
}

fn supervisor_of(
    config: &Config,
    secrets: Secrets,
    data_dir: &Path,
    tracer: Tracer,
) -> Result<Arc<Supervisor>, String> {
    let folders: Vec<PathBuf> = config.list("allow-path").iter().map(PathBuf::from).collect();
    let reach = Reach::new(&data_dir.join(FILES_FOLDER), &folders, config.list("allow-host"))?;
    let store = JobStore::open(&data_dir.join(STORE_NAME)).map_err(|refusal| refusal.to_string())?;
    let limits = Limits {
        jobs_max: config.number("jobs-max") as usize,
        running_max: config.number("jobs-running-max") as usize,
        memory_bytes_max: config.size("jobs-memory-max"),
        stop_timeout: config.duration("stop-timeout"),
    };
    let planner = Planner { reach: Arc::new(reach), secrets };
    let folder = data_dir.join(JOBS_FOLDER);
    let supervisor = Supervisor::new(Arc::new(store), planner, folder, limits, tracer);
    supervisor.map(Arc::new).map_err(|error| format!("cannot use {}: {error}", data_dir.display()))
}

/// State may hold what only the server's user should see.
fn create_private(folder: &Path) -> Result<(), String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

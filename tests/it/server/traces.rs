//! Traces as a collector gets them: a small one in this process takes what a real server sends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::kit::{Server, copying_job};
use crate::ports;

/// Takes OTLP over HTTP in JSON; ends with the process.
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<Value>>>,
    /// How many requests are to be refused as by a collector that is overloaded.
    refusals: Arc<AtomicUsize>,
}

impl Collector {
    fn start(refusals: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let collector = Self { endpoint, spans: Arc::default(), refusals: Arc::new(AtomicUsize::new(refusals)) };
        let (spans, refusals) = (Arc::clone(&collector.spans), Arc::clone(&collector.refusals));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (spans, refusals) = (Arc::clone(&spans), Arc::clone(&refusals));
                thread::spawn(move || serve(&stream, &spans, &refusals));
            }
        });
        collector
    }

    fn spans(&self) -> Vec<Value> {
        self.spans.lock().clone()
    }

    fn named(&self, name: &str) -> Vec<Value> {
        self.spans().into_iter().filter(|span| span["name"] == name).collect()
    }
}

fn serve(stream: &TcpStream, spans: &Mutex<Vec<Value>>, refusals: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_ascii_lowercase());
        }
        assert_eq!(head[0], "post /v1/traces http/1.1");
        assert!(head.iter().any(|line| line == "content-type: application/json"), "{head:?}");
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        reader.read_exact(&mut body).expect("a body");
        let refused = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if !refused {
            let message: Value = serde_json::from_slice(&body).expect("JSON");
            let resource = &message["resourceSpans"][0];
            assert_eq!(attribute(&resource["resource"], "service.name"), "proof");
            let sent = resource["scopeSpans"][0]["spans"].as_array().expect("spans");
            spans.lock().extend(sent.iter().cloned());
        }
        let status = if refused { "503 Service Unavailable" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}");
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The text of an attribute; of a number, too.
fn attribute(of: &Value, key: &str) -> String {
    let found = of["attributes"].as_array().into_iter().flatten().find(|one| one["key"] == key);
    let value = found.map_or(&Value::Null, |one| &one["value"]);
    value["stringValue"].as_str().or(value["intValue"].as_str()).unwrap_or_default().to_string()
}

fn time(span: &Value, key: &str) -> u64 {
    span[key].as_str().expect("a text").parse().expect("a number")
}

/// What holds for every span: names of their lengths, an end that is not before the start.
fn is_well_formed(span: &Value) {
    for (key, length) in [("traceId", 32), ("spanId", 16)] {
        let id = span[key].as_str().expect("a text");
        assert!(id.len() == length && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{span}");
    }
    assert!(time(span, "startTimeUnixNano") > 1_500_000_000_000_000_000, "{span}");
    assert!(time(span, "startTimeUnixNano") <= time(span, "endTimeUnixNano"), "{span}");
}

fn is_inside(child: &Value, parent: &Value) -> bool {
    child["traceId"] == parent["traceId"]
        && child["parentSpanId"] == parent["spanId"]
        && time(child, "startTimeUnixNano") >= time(parent, "startTimeUnixNano")
        && time(child, "endTimeUnixNano") <= time(parent, "endTimeUnixNano")
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn a_request_a_job_and_its_checkpoints_are_traced() {
    let collector = Collector::start(2);
    let args = ["--otlp-endpoint", collector.endpoint.as_str(), "--otlp-service-name", "proof"];
    let mut server = Server::start(&args);
    let ask = |parent: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("traceparent", parent), ("tracestate", "vendor=7")];
        server.ask_with("POST", "/api/v1/jobs", &headers, body.to_string())
    };
    let body = json!({ "name": "a", "sql": copying_job("a") });
    ask(&format!("00-{TRACE}-00f067aa0ba902b7-01"), body).expect(201);
    // Not wanted by who began the trace; and nobody's trace.
    ask(&format!("00-{TRACE}-00f067aa0ba902b7-00"), json!({ "name": "a" })).problem(400);
    ask("00-nonsense", json!({ "name": "b", "sql": "SELECT x FROM nowhere" })).problem(422);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    server.wait_until("the row is there", || server.lines("out/a").len() == 1);
    server.wait_until("a checkpoint was told", || !collector.named("checkpoint").is_empty());
    server.get("/livez").expect(200);
    server.post("/api/v1/jobs/a/stop", json!({})).expect(200);
    server.wait_until("the run was told", || !collector.named("job run").is_empty());
    let figures = server.get("/metrics").text;
    let count = |result: &str| -> u64 {
        let start = format!("tidemill_trace_spans_total{{result=\"{result}\"}} ");
        let line = figures.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {start}\n{figures}")).parse().expect("a number")
    };
    assert!(count("exported") >= 8, "{figures}");
    assert_eq!((count("failed"), count("dropped")), (0, 0), "what was refused for a while was sent again");
    assert_eq!(server.terminate(), 0);
    collector.spans().iter().for_each(is_well_formed);

    let made = collector.named("POST /api/v1/jobs");
    assert_eq!(made.len(), 2, "one of the three was not wanted: {made:?}");
    let (request, refused) = match made[0]["traceId"] == TRACE {
        true => (&made[0], &made[1]),
        false => (&made[1], &made[0]),
    };
    assert_eq!((&request["traceId"], &request["parentSpanId"]), (&json!(TRACE), &json!("00f067aa0ba902b7")));
    assert_eq!((&request["kind"], &request["traceState"]), (&json!(2), &json!("vendor=7")));
    assert_eq!(attribute(request, "http.response.status_code"), "201");
    assert_eq!(attribute(request, "http.route"), "/api/v1/jobs");
    assert_eq!(attribute(request, "client.address"), "127.0.0.1");
    assert_eq!(attribute(refused, "http.response.status_code"), "422");
    assert!(
        refused["traceId"] != TRACE && refused["parentSpanId"] == "" && refused["status"] == json!({}),
        "{refused}"
    );

    let start = &collector.named("job start")[0];
    assert!(is_inside(start, request), "{start}\n{request}");
    assert_eq!(attribute(start, "tidemill.job.name"), "a");
    assert!(is_inside(&collector.named("job plan")[0], start));
    let run = &collector.named("job run")[0];
    assert_eq!((&run["traceId"], &run["parentSpanId"]), (&start["traceId"], &start["spanId"]));
    assert_eq!(attribute(run, "tidemill.job.outcome"), "stopped");
    assert!(attribute(run, "tidemill.checkpoints").parse::<u64>().unwrap() > 0, "{run}");

    let checkpoints = collector.named("checkpoint");
    let phases = [collector.named("checkpoint write"), collector.named("checkpoint commit")];
    for checkpoint in &checkpoints {
        assert_eq!(attribute(checkpoint, "tidemill.job.name"), "a");
        assert_eq!(checkpoint["links"][0]["spanId"], run["spanId"], "{checkpoint}");
        assert!(checkpoint["traceId"] != run["traceId"]);
        for phase in &phases {
            assert_eq!(
                phase.iter().filter(|phase| is_inside(phase, checkpoint)).count(),
                1,
                "{checkpoint}\n{phases:?}"
            );
        }
    }
    let mut epochs: Vec<u64> =
        checkpoints.iter().map(|one| attribute(one, "tidemill.checkpoint.epoch").parse().unwrap()).collect();
    let told = epochs.len();
    epochs.dedup();
    assert!(epochs.is_sorted() && epochs.len() == told, "{epochs:?}");
    assert!(!collector.spans().iter().any(|span| attribute(span, "http.route") == "/livez"));
}

#[test]
fn a_job_that_fails_says_why_in_its_trace_and_keeps_secrets() {
    let collector = Collector::start(0);
    let args = ["--otlp-endpoint", collector.endpoint.as_str(), "--otlp-service-name", "proof"];
    let mut server = Server::prepare(&args, &[("TIDEMILL_SECRET_KEY", "very-secret-value")]);
    server.go();
    server.feed("in/a", "1.json", "no json\n");
    let sql = format!("SET 'restart-strategy.type' = 'none';\n{}", copying_job("a"));
    server.post("/api/v1/jobs", json!({ "name": "a", "sql": sql })).expect(201);
    server.wait_for_phase("a", "failed");
    server.wait_until("the run was told", || !collector.named("job run").is_empty());
    let run = &collector.named("job run")[0];
    assert_eq!((&run["status"]["code"], attribute(run, "tidemill.job.outcome").as_str()), (&json!(2), "failed"));
    assert!(run["status"]["message"].as_str().unwrap().contains("1.json"), "{run}");

    let http = "CREATE TABLE t (a INT) WITH ('connector' = 'http', 'url' = 'http://nobody.example/${secret:KEY}'); SELECT a FROM t";
    let answer = server.post("/api/v1/jobs", json!({ "name": "b", "sql": http }));
    assert!(answer.status >= 400, "{}", answer.text);
    server.terminate();
    assert!(!format!("{:?}", collector.spans()).contains("very-secret-value"));
}

#[test]
fn without_a_collector_the_server_goes_on_and_counts_what_was_lost() {
    let mut server = Server::start(&["--otlp-endpoint", &format!("http://127.0.0.1:{}", ports::free())]);
    server.get("/api/v1/jobs").expect(200);
    server.wait_until("the loss is counted", || {
        server.get("/metrics").text.contains("tidemill_trace_spans_total{result=\"failed\"} 1\n")
    });
    assert!(server.log().contains("traces are not taken"), "{}", server.log());
    assert_eq!(server.terminate(), 0);
    let plain = Server::start(&[]);
    assert!(!plain.get("/metrics").text.contains("tidemill_trace_spans_total"), "it is off");
    for (endpoint, expected) in [("localhost:4318", "is no address"), ("grpc://c:4317", "is no address")] {
        let wrong = Server::prepare(&["--otlp-endpoint", endpoint], &[]).command().output().expect("it starts");
        let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert!(wrong.status.code() == Some(2) && told.contains(expected), "{told}");
    }
}

//! Who may ask, what they may, and what the server takes from anybody.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::kit::{Server, copying_job};

/// A server with a token of each role; gives the tokens.
pub fn server_with_tokens(args: &[&str]) -> (Server, [String; 3]) {
    let mut all = vec!["--tokens-file", "tokens"];
    all.extend(args);
    let mut server = Server::prepare(&all, &[]);
    let tokens = ["read", "operate", "admin"].map(|role| new_token(&server, role));
    server.go();
    (server, tokens)
}

fn new_token(server: &Server, role: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["token", "new", "--role", role, "--name", &format!("the-{role}r"), "--file", "tokens"]);
    let output = command.current_dir(server.path("")).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

#[test]
fn each_role_may_do_what_it_says_and_no_more() {
    let (mut server, [read, operate, admin]) = server_with_tokens(&[]);
    let file = std::fs::read_to_string(server.path("tokens")).unwrap();
    assert!([&read, &operate, &admin].iter().all(|token| !file.contains(&token[3..])), "only hashes are kept");
    let job = json!({ "name": "a", "sql": copying_job("a"), "start": false });
    for token in [None, Some("tm_wrong".to_string()), Some(format!("{read}0"))] {
        server.token = token;
        server.get("/api/v1/jobs").problem(401);
        server.post("/api/v1/jobs", job.clone()).problem(401);
        server.get("/metrics").problem(401);
        assert_eq!((server.get("/livez").status, server.get("/readyz").status), (200, 200));
    }
    server.token = Some(read);
    server.get("/api/v1/jobs").expect(200);
    let refused = server.post("/api/v1/jobs", job.clone());
    assert!(refused.problem(403).contains("this needs the role operate, 'the-readr' has read"), "{}", refused.text);
    server.get("/api/v1/audit").problem(403);
    server.token = Some(operate);
    server.post("/api/v1/jobs", job).expect(201);
    server.get("/api/v1/audit").problem(403);
    server.token = Some(admin);
    let audit = server.get("/api/v1/audit").expect(200);
    let entries = audit["entries"].as_array().unwrap();
    let done = entries.iter().find(|one| one["what"] == "POST /api/v1/jobs" && one["who"] == "the-operater");
    let newest = done.expect("what was done is there");
    assert_eq!((newest["from"].as_str(), newest["status"].as_u64()), (Some("127.0.0.1"), Some(201)));
    server.ask("DELETE", "/api/v1/jobs/a", None).expect(204);
}

/// Refusals are on record; a flood of them is a few entries, and what was done before stays there.
#[test]
fn who_tried_what_without_a_right_to_it_is_in_the_audit_log() {
    let (mut server, [read, operate, admin]) = server_with_tokens(&[]);
    server.token = Some(operate);
    server.post("/api/v1/jobs", json!({ "name": "a", "sql": copying_job("a"), "start": false })).expect(201);
    server.token = None;
    for _ in 0..300 {
        server.get("/api/v1/jobs").problem(401);
    }
    server.token = Some(read);
    server.ask("DELETE", "/api/v1/jobs/a", None).problem(403);
    server.token = Some(admin);
    let audit = server.get("/api/v1/audit").expect(200);
    let told: Vec<(String, String, u64, u64)> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap().to_string();
            (text("who"), text("what"), one["status"].as_u64().unwrap(), one["times"].as_u64().unwrap())
        })
        .collect();
    let times = |who: &str, what: &str, status: u64| {
        let fits = |one: &&(String, String, u64, u64)| one.0 == who && one.1 == what && one.2 == status;
        told.iter().filter(fits).map(|one| one.3).sum::<u64>()
    };
    assert_eq!(times("unknown", "GET /api/v1/jobs", 401), 300, "{told:?}");
    assert_eq!(times("the-readr", "DELETE /api/v1/jobs/{id}", 403), 1, "{told:?}");
    assert_eq!(times("the-operater", "POST /api/v1/jobs", 201), 1, "{told:?}");
    assert!(told.len() <= 5, "{told:?}");
}

#[test]
fn an_address_for_others_needs_tokens() {
    for (args, expected) in [
        (vec!["--listen", "0.0.0.0:0"], "can be reached from other machines, and there are no tokens"),
        (vec!["--tokens-file", "missing"], "cannot read missing"),
        (vec!["--tokens", "a read sha256:00"], "the hash is not sha256: and 64 hex digits"),
        (vec!["--tokens", "# none"], "there is no token"),
        (vec!["--tls-cert", "x"], "--tls-cert and --tls-key are given together"),
        (vec!["--allow-path", "missing"], "the allowed path missing cannot be used"),
        (vec!["--allow-host", "a b"], "'a b' is no host"),
    ] {
        let output = Server::prepare(&args, &[]).command().output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn bodies_and_heads_have_limits() {
    let server = Server::start(&["--body-size-max", "10KB", "--read-timeout", "500 ms"]);
    let large = json!({ "sql": "x".repeat(11_000) });
    assert!(server.post("/api/v1/sql/validate", large).problem(413).contains("larger than 10240 bytes"));
    let address = server.url.strip_prefix("http://").unwrap();

    // A body that never comes, and a head that never ends.
    for (sent, expected) in [
        (
            "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
            "408",
        ),
        ("GET /livez HTTP/1.1\r\nhost: local", ""),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(expected), "{sent}: {answer}");
    }
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let _ = stream.write_all(head.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_eq!(server.get("/livez").status, 200);
}

/// A head that is refused before its body has come: the connection goes on behind the body, or is said to end.
#[test]
fn a_refused_request_leaves_nothing_of_its_body_to_the_next_one() {
    let (server, _) = server_with_tokens(&["--read-timeout", "20 s"]);
    let address = server.url.strip_prefix("http://").unwrap();
    for (method, path, expected) in
        [("POST", "/api/v1/jobs", "401"), ("POST", "/api/v1/jbos", "404"), ("PUT", "/api/v1/jobs", "405")]
    {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head =
            |length: usize| format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head(2).as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(b"{}").unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
        assert_eq!(statuses, [expected, "200"], "{method} {path}: {answers}");

        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(head(1 << 20).as_bytes()).unwrap();
        stream.write_all(&[b'x'; 70_000]).unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
        assert!(answer.contains(expected) && answer.contains("connection: close"), "{method} {path}: {answer}");
    }
}

#[test]
fn one_address_may_not_ask_without_end() {
    let server = Server::start(&["--requests-per-second", "5"]);
    let statuses: Vec<u16> = (0..30).map(|_| server.get("/api/v1/jobs").status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(server.get("/livez").status, 200, "probes are not counted");
}

#[test]
fn web_pages_of_other_sites_may_not_ask() {
    let server = Server::start(&["--cors-origin", "https://console.example.org"]);
    let from = |origin: &str| server.ask_with("GET", "/api/v1/jobs", &[("origin", origin)], String::new());
    assert!(from("https://evil.example.net").problem(403).contains("web pages of https://evil.example.net"));
    assert_eq!(from("https://console.example.org").status, 200);
    assert_eq!(from(&server.url).status, 200, "its own page");
    let rebound = server.ask_with("GET", "/api/v1/jobs", &[("host", "evil.example.net:8080")], String::new());
    assert!(rebound.problem(403).contains("the host 'evil.example.net:8080' is not this machine"));
    let preflight = |origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        server.ask_with("OPTIONS", "/api/v1/jobs", &headers, String::new()).status
    };
    assert_eq!((preflight("https://console.example.org"), preflight("https://evil.example.net")), (204, 405));
}

#[test]
fn tls_is_spoken_with_the_given_certificate() {
    let mut server = Server::prepare(&["--tls-cert", "cert.pem", "--tls-key", "key.pem"], &[]);
    let made = rcgen::generate_simple_self_signed(["localhost".to_string(), "127.0.0.1".to_string()]).unwrap();
    std::fs::write(server.path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(server.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    server.go();
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let agent = |roots| {
        let tls = ureq::tls::TlsConfig::builder().root_certs(roots).build();
        ureq::Agent::new_with_config(ureq::Agent::config_builder().tls_config(tls).build())
    };
    let own = ureq::tls::Certificate::from_der(made.cert.der()).to_owned();
    let trusting = agent(ureq::tls::RootCerts::new_with_certs(&[own]));
    let mut answer = trusting.get(format!("{}/livez", server.url)).call().expect("an answer over TLS");
    assert!(answer.body_mut().read_to_string().unwrap().contains("alive"));
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    let other = ureq::tls::Certificate::from_der(other.cert.der()).to_owned();
    let distrusting = agent(ureq::tls::RootCerts::new_with_certs(&[other]));
    assert!(distrusting.get(format!("{}/livez", server.url)).call().is_err());
}

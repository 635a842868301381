//! The same messages over a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::kit::Server;
use super::super::security::server_with_tokens;
use super::kit::{address, generated, running};

const PATIENCE: Duration = Duration::from_secs(60);

fn request(server: &Server, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = format!("ws://{}/api/v1/queries/ws", address(server)).into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header"));
    }
    request
}

async fn open(server: &Server, headers: &[(&'static str, &str)]) -> Result<WebSocketStream<TcpStream>, u16> {
    let stream = TcpStream::connect(address(server)).await.expect("the server listens");
    match tokio_tungstenite::client_async(request(server, headers), stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn ask(server: &Server, body: &Value) -> WebSocketStream<TcpStream> {
    let mut socket = open(server, &[]).await.expect("a WebSocket");
    socket.send(Message::text(body.to_string())).await.expect("sent");
    socket
}

/// The next message, or `null` at the close.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message in time") {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
            None | Some(Ok(Message::Close(_)) | Err(_)) => return Value::Null,
            Some(Ok(_)) => {}
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

#[test]
fn rows_and_errors_come_as_messages() {
    let server = Server::start(&[]);
    run(async {
        let mut socket = ask(&server, &json!({ "sql": "SELECT 1 AS n" })).await;
        let schema = next(&mut socket).await;
        assert_eq!((&schema["event"], &schema["columns"][0]["name"]), (&json!("schema"), &json!("n")));
        let rows = next(&mut socket).await;
        assert_eq!((&rows["event"], &rows["rows"]), (&json!("rows"), &json!([[1]])));
        let end = next(&mut socket).await;
        assert_eq!((&end["event"], &end["reason"]), (&json!("end"), &json!("finished")));
        assert_eq!(next(&mut socket).await, Value::Null, "the socket is closed");
        for (body, kind) in [
            (json!({ "sql": "SELECT x" }), "wrong-sql"),
            (json!({ "sqk": "SELECT 1" }), "bad-request"),
            (json!([1]), "bad-request"),
        ] {
            let mut socket = ask(&server, &body).await;
            let error = next(&mut socket).await;
            assert_eq!(error["event"], "error", "{error}");
            assert_eq!(error["type"], format!("urn:tidemill:problem:{kind}"), "{error}");
            assert_eq!(next(&mut socket).await, Value::Null);
        }
    });
    let plain = server.get("/api/v1/queries/ws");
    assert!(plain.problem(426).contains("this route is a WebSocket"), "{}", plain.text);
}

#[test]
fn closing_or_dropping_the_socket_ends_the_query_and_so_does_the_server() {
    let mut server = Server::start(&[]);
    let body = json!({ "sql": format!("{} SELECT n FROM d", generated(5)) });
    run(async {
        for close in [true, false] {
            let mut socket = ask(&server, &body).await;
            next(&mut socket).await;
            assert_eq!(running(&server), 1);
            if close {
                socket.close(None).await.expect("closed");
            }
            drop(socket);
            server.wait_until("no query runs", || running(&server) == 0);
        }
        let mut socket = ask(&server, &body).await;
        next(&mut socket).await;
        let ending = std::thread::spawn(move || server.terminate());
        let end = loop {
            let message = next(&mut socket).await;
            if message["event"] == "end" || message.is_null() {
                break message;
            }
        };
        assert_eq!(end["reason"], "server-ending");
        assert_eq!(next(&mut socket).await, Value::Null);
        assert_eq!(ending.join().expect("ended"), 0);
    });
}

#[test]
fn the_token_comes_as_a_header_or_as_a_protocol_and_other_origins_stay_outside() {
    let (server, [read, ..]) = server_with_tokens(&[]);
    run(async {
        let bearer = format!("Bearer {read}");
        let protocol = format!("tidemill, tidemill.token.{read}");
        assert_eq!(open(&server, &[]).await.err(), Some(401));
        assert_eq!(
            open(&server, &[("sec-websocket-protocol", "tidemill, tidemill.token.tm_0")]).await.err(),
            Some(401)
        );
        let evil = [("authorization", bearer.as_str()), ("origin", "https://evil.example.org")];
        assert_eq!(open(&server, &evil).await.err(), Some(403));
        for headers in [("authorization", bearer.as_str()), ("sec-websocket-protocol", protocol.as_str())] {
            let mut socket = open(&server, &[headers]).await.expect("a WebSocket");
            socket
                .send(Message::text(json!({ "sql": generated(1) + "SELECT n FROM d" }).to_string()))
                .await
                .expect("sent");
            let refused = next(&mut socket).await;
            assert_eq!((&refused["event"], &refused["status"]), (&json!("error"), &json!(403)), "{refused}");
        }
    });
}

//! Ad-hoc queries over a WebSocket: the first message is the request, what follows are the messages of its rows. One
//! query per connection; closing it ends the query.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::message::Framing;
use super::outlet::StreamBody;
use super::request::{Answer, BODY, QueryRequest};
use super::run::{Started, start};
use crate::server::app::App;
use crate::server::auth::Caller;
use crate::server::problem::{Kind, Problem};
use crate::server::route::check_body;

/// Browsers cannot send an Authorization header with a WebSocket, but they can name protocols.
pub const TOKEN_PROTOCOL_PREFIX: &str = "tidemill.token.";
/// Named beside the token, it is the one that is agreed on.
const PROTOCOL: &str = "tidemill";
/// Of closing, for a client that does not answer.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// What the answer to an upgrade holds.
pub struct Accepted {
    pub key: HeaderValue,
    pub protocol: Option<HeaderValue>,
}

/// Judges the head of a request for a WebSocket.
pub fn accept(headers: &HeaderMap) -> Result<Accepted, Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let has = |name, word: &str| text(name).split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(Problem::new(Kind::UpgradeNeeded, "this route is a WebSocket")
            .with_hint("POST /api/v1/queries answers over plain HTTP"));
    }
    let key = text(header::SEC_WEBSOCKET_KEY);
    if text(header::SEC_WEBSOCKET_VERSION) != "13" || key.is_empty() {
        return Err(Problem::new(Kind::BadRequest, "the WebSocket is not of version 13"));
    }
    let derived = derive_accept_key(key.as_bytes());
    let key = HeaderValue::from_str(&derived).map_err(|_| Problem::new(Kind::Failed, "a key that is no header"))?;
    let protocol = has(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL).then(|| HeaderValue::from_static(PROTOCOL));
    Ok(Accepted { key, protocol })
}

/// The token among the protocols that are offered.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    offered.split(',').find_map(|one| one.trim().strip_prefix(TOKEN_PROTOCOL_PREFIX))
}

/// Counts an open WebSocket.
struct Open(Arc<App>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.queries.sockets.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Serves a connection once it has become a WebSocket.
pub async fn serve(app: Arc<App>, caller: Caller, upgrade: OnUpgrade) {
    app.queries.sockets.fetch_add(1, Ordering::SeqCst);
    let _open = Open(Arc::clone(&app));
    let upgraded = match tokio::time::timeout(app.read_timeout, upgrade).await {
        Ok(Ok(upgraded)) => upgraded,
        _ => return tracing::debug!("a connection did not become a WebSocket"),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(app.body_bytes_max))
        .max_frame_size(Some(app.body_bytes_max))
        // What waits for the client waits in the query's queue.
        .write_buffer_size(0);
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    match begin(&app, &caller, &mut socket).await {
        Ok(Some(body)) => give(&app, body, &mut socket).await,
        Ok(None) => return,
        Err(problem) => {
            let text = Framing::Socket.frame("error", &problem.json().to_string());
            let _ = tokio::time::timeout(CLOSE_TIME, socket.send(message(text))).await;
        }
    }
    let _ = tokio::time::timeout(CLOSE_TIME, close(&mut socket)).await;
}

/// Reads what is asked for; `None`: the client went without asking.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    app: &Arc<App>,
    caller: &Caller,
    socket: &mut WebSocketStream<S>,
) -> Result<Option<StreamBody>, Problem> {
    let asked = tokio::time::timeout(app.read_timeout, first_text(socket)).await;
    let asked = asked.map_err(|_| {
        let detail = format!("the first message did not come within {:?}", app.read_timeout);
        Problem::new(Kind::Timeout, detail)
    })?;
    let Some(text) = asked else { return Ok(None) };
    let body: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| Problem::new(Kind::BadRequest, format!("the first message is no JSON object: {error}")))?;
    check_body(BODY, &body)?;
    let request = QueryRequest::of(&body, Answer::Stream(Framing::Socket))?;
    let permit = app.requests.clone().try_acquire_owned();
    let permit =
        permit.map_err(|_| Problem::new(Kind::Overloaded, "as many requests are under way as this server allows"))?;
    let (app, caller) = (Arc::clone(app), caller.clone());
    let work = move || {
        let _permit = permit;
        start(&app, request, &caller, None).map_err(|problem| crate::server::dispatch::redacted(&app, problem))
    };
    let started = tokio::task::spawn_blocking(work).await;
    match started.unwrap_or_else(|_| Err(Problem::new(Kind::Failed, "the request panicked")))? {
        Started::Stream(_, body) => Ok(Some(body)),
        Started::Whole(..) => Err(Problem::new(Kind::Failed, "a WebSocket was to be answered as a whole")),
    }
}

async fn first_text<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Option<Utf8Bytes> {
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => return Some(text),
            Message::Close(_) => return None,
            _ => {}
        }
    }
    None
}

/// Gives messages until there are no more, or until the client goes.
async fn give<S: AsyncRead + AsyncWrite + Unpin>(app: &App, mut body: StreamBody, socket: &mut WebSocketStream<S>) {
    let patience = app.queries.limits.stall_timeout + CLOSE_TIME;
    loop {
        tokio::select! {
            next = body.next() => {
                let Some(text) = next else { return };
                // The query itself ends when its queue has been full for as long; this is about the connection.
                match tokio::time::timeout(patience, socket.send(message(text))).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
            }
            received = socket.next() => match received {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
            }
        }
    }
}

fn message(text: Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(text).unwrap_or_else(|_| Utf8Bytes::from_static("{}")))
}

/// Says that it is over, and waits until the client has said so too.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    if socket.close(None).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

//! From a request to its answer: who asks, whether it may, whether it is well formed; then the route's function, on a
//! thread that may block.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::routing::{MethodFilter, on};
use hyper::upgrade::OnUpgrade;
use serde_json::{Map, Value};
use tidemill_connectors::http::posted::KEY_BYTES_MAX;
use tokio::sync::OwnedSemaphorePermit;

use super::app::App;
use super::auth::{Caller, Role};
use super::listen::Hangup;
use super::problem::{Kind, Problem};
use super::queries;
use super::route::{Call, Method, Pool, RawBody, Reply, ReplyBody, Route, check_body, check_query};
use super::routes::ROUTES;
use crate::jobs::{AuditEntry, now_ms};
use crate::telemetry::{self, Span, SpanContext, Tracer};

/// Where a request came from; the listener adds it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Who asks where there are no tokens: somebody on this machine.
const LOCAL: &str = "local";
/// Who asks without a token that is known.
const UNKNOWN: &str = "unknown";
/// A body of this type is SQL, for `curl --data-binary @job.sql`.
const SQL_TYPE: &str = "application/sql";
const JSON_TYPE: &str = "application/json";
/// So much is read of a body that nobody wants, so that its connection can go on.
const UNWANTED_BYTES_MAX: usize = 64 << 10;
/// By it a request that comes again is known.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// All routes of the table.
pub fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let shared = Arc::clone(app);
        let filter = match route.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Delete => MethodFilter::DELETE,
        };
        router = router.route(route.path, on(filter, move |request: Request| answer(shared, Some(route), request)));
    }
    let (unknown, wrong_method) = (Arc::clone(app), Arc::clone(app));
    router
        .fallback(move |request: Request| answer(unknown, None, request))
        .method_not_allowed_fallback(move |request: Request| no_such_method(wrong_method, request))
}

async fn no_such_method(app: Arc<App>, request: Request) -> Response<Body> {
    if let Some(preflight) = preflight(&app, request.method(), request.headers()) {
        return preflight;
    }
    let detail = format!("{} is not there for {}", request.method(), request.uri().path());
    let response = finish(&app, request.headers(), Problem::new(Kind::MethodNotAllowed, detail).response());
    end_request(&app, Some(request.into_body()), response).await
}

/// `route`: `None` where no path of the table fits.
async fn answer(app: Arc<App>, route: Option<&'static Route>, mut request: Request) -> Response<Body> {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let headers = request.headers().clone();
    let mut span = traced(&app, route, &request);
    let trace_id = span.context().map(|context| tracing::field::display(context.trace_id()));
    if let Some(context) = span.context() {
        request.extensions_mut().insert(context);
    }
    let mut body = Some(std::mem::take(request.body_mut()));
    let answered = match route {
        Some(route) => carry_out(&app, route, request.into_parts().0, &mut body).await,
        None => Err(no_such_route(&path)),
    };
    let response = answered.unwrap_or_else(|problem| problem.response());
    let (status, took) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
    span.set("http.response.status_code", u64::from(status));
    if response.status().is_server_error() {
        span.set("error.type", status.to_string());
        span.fail("");
    }
    drop(span);
    match route.is_some_and(|route| route.pool == Pool::Rows) {
        true => tracing::debug!(%method, path, status, took_ms = took, trace_id, "request"),
        false => tracing::info!(%method, path, status, took_ms = took, trace_id, "request"),
    }
    app.counts.count(status);
    end_request(&app, body, finish(&app, &headers, response)).await
}

/// The answer, once nothing of the request is left on its connection: one that was kept open all the same would be ended
/// while the client sends its next request. `unwanted`: a body that nobody has begun to read. One of which too much is
/// left ends the connection, and the client is told so.
async fn end_request(app: &App, unwanted: Option<Body>, mut response: Response<Body>) -> Response<Body> {
    let is_read = match unwanted {
        Some(body) => {
            let read = tokio::time::timeout(app.read_timeout, to_bytes(body, UNWANTED_BYTES_MAX)).await;
            matches!(read, Ok(Ok(_)))
        }
        // These two are what reading it came to.
        None => !matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE),
    };
    if !is_read {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn no_such_route(path: &str) -> Problem {
    let close = tidemill_engine::suggestion::closest(path, ROUTES.iter().map(|route| route.path));
    let hint = close.map_or_else(|| "/docs shows all routes".to_string(), |close| format!("did you mean {close}?"));
    Problem::new(Kind::NotFound, format!("there is nothing at {path}")).with_hint(hint)
}

/// The span of a request, in the trace that the request names. What is asked every few seconds by those who watch over the server,
/// and what nobody knows, has none.
fn traced(app: &App, route: Option<&Route>, request: &Request) -> Span {
    let Some(route) = route.filter(|route| route.role.is_some() && route.gives != "Prometheus") else {
        return Tracer::default().span("", telemetry::Kind::Server, None);
    };
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let parent =
        text("traceparent").and_then(|parent| SpanContext::parse(parent, text("tracestate").unwrap_or_default()));
    let method = route.method.name();
    let name = format!("{method} {}", route.path);
    let mut span = app.supervisor.tracer().span(name, telemetry::Kind::Server, parent.as_ref());
    span.set("http.request.method", method);
    span.set("http.route", route.path);
    span.set("url.path", request.uri().path());
    if let Some(Peer(peer)) = request.extensions().get::<Peer>() {
        span.set("client.address", peer.ip().to_string());
    }
    span
}

/// Takes the body where it begins to read it.
async fn carry_out(
    app: &Arc<App>,
    route: &'static Route,
    mut parts: Parts,
    body: &mut Option<Body>,
) -> Result<Response<Body>, Problem> {
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let is_probe = route.role.is_none();
    let allowed = check_site(app, &parts).and_then(|()| authorize(app, route, &parts.headers));
    let is_free = is_probe || (route.pool == Pool::Rows && allowed.is_ok());
    let in_rate = is_free || peer.is_none_or(|peer| app.rate.admits(peer.ip(), Instant::now()));
    if !in_rate {
        return Err(Problem::new(Kind::TooManyRequests, "too many requests from this address"));
    }
    let caller = allowed.inspect_err(|problem| audit_refused(app, route, &parts, peer, problem))?;
    let permits = match (is_probe, route.pool) {
        (true, _) => None,
        (false, Pool::Quick) => Some(app.requests.clone().try_acquire_owned()),
        (false, Pool::Slow) => Some(app.slow_requests.clone().try_acquire_owned()),
        (false, Pool::Rows) => Some(app.posts.clone().try_acquire_owned()),
    };
    let permit = permits.transpose().map_err(|_| {
        Problem::new(Kind::Overloaded, "as many requests are under way as this server allows")
            .with_hint("try again soon")
    })?;
    let bytes_max = if route.raw.is_empty() { app.body_bytes_max } else { app.rows_bytes_max };
    let bytes = read_body(app, body.take().unwrap_or_default(), bytes_max).await?;
    let (params, query) = parameters(&mut parts).await?;
    check_query(route.query, &query)?;
    let raw = raw_body(route, &parts.headers, &bytes)?;
    let body = if raw.is_some() { Map::new() } else { parse_body(route, &parts.headers, &bytes)? };
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let hangup = parts.extensions.get::<Hangup>().cloned();
    let call = Call { params, query, body, caller: caller.clone(), raw, accept: accept.to_string(), hangup };
    let reply = run(app, route, call, peer, &parts, permit).await?;
    respond(app, reply, caller, &mut parts).await
}

/// Carries it out on a thread that may block.
async fn run(
    app: &Arc<App>,
    route: &'static Route,
    call: Call,
    peer: Option<SocketAddr>,
    parts: &Parts,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Reply, Problem> {
    let (app, target) = (Arc::clone(app), parts.uri.path().to_string());
    let context = parts.extensions.get::<SpanContext>().cloned();
    let is_socket = queries::accept(&parts.headers).is_ok();
    let work = move || {
        let _permit = permit;
        let answer = telemetry::within(context, || (route.run)(&app, &call));
        if route.method != Method::Get || is_socket {
            audit(&app, route, &call.caller, peer, &target, &answer);
        }
        answer.map_err(|problem| redacted(&app, problem))
    };
    // A panic is an answer like any other; the thread goes on.
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Problem::new(Kind::Failed, "the request panicked: this is a defect of the program")))
}

/// A web page of another site must not ask in the name of whoever looks at it; nor may a name that was made to lead
/// here, where there are no tokens to ask for.
fn check_site(app: &App, parts: &Parts) -> Result<(), Problem> {
    let text = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if app.tokens.is_empty() && !host_is_local(host) {
        return Err(Problem::new(Kind::Forbidden, format!("the host '{host}' is not this machine"))
            .with_hint("without tokens the server answers to localhost and loopback addresses only"));
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let is_own = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    if is_own || app.cors_origins.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    Err(Problem::new(Kind::Forbidden, format!("web pages of {origin} may not ask this server"))
        .with_hint("an administrator may allow them with --cors-origin"))
}

fn host_is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn authorize(app: &App, route: &Route, headers: &HeaderMap) -> Result<Caller, Problem> {
    let Some(needed) = route.role else { return Ok(Caller { name: "anybody".into(), role: Role::Read }) };
    if app.tokens.is_empty() {
        return Ok(Caller { name: LOCAL.into(), role: Role::Admin });
    }
    let Some(caller) = known_caller(app, headers) else {
        let detail =
            if headers.contains_key(header::AUTHORIZATION) { "the token is not known" } else { "a token is needed" };
        return Err(Problem::new(Kind::Unauthorized, detail).with_hint("send it as Authorization: Bearer TOKEN"));
    };
    if caller.role < needed {
        let detail = format!("this needs the role {}, '{}' has {}", needed.name(), caller.name, caller.role.name());
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    Ok(caller)
}

/// Whose token it is.
fn known_caller(app: &App, headers: &HeaderMap) -> Option<Caller> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.map(|(_, token)| token).or_else(|| queries::token(headers).filter(|_| given.is_none()));
    token.and_then(|token| app.tokens.find(token.trim()))
}

async fn read_body(app: &App, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(app.read_timeout, to_bytes(body, limit)).await;
    let Ok(read) = read else {
        return Err(Problem::new(Kind::Timeout, format!("the body did not come in within {:?}", app.read_timeout)));
    };
    read.map_err(|error| match std::error::Error::source(&error) {
        Some(source) if source.to_string().contains("limit") => {
            Problem::new(Kind::TooLarge, format!("the body is larger than {limit} bytes"))
        }
        _ => Problem::new(Kind::BadRequest, format!("the body cannot be read: {error}")),
    })
}

async fn parameters(parts: &mut Parts) -> Result<(BTreeMap<String, String>, BTreeMap<String, String>), Problem> {
    let wrong = |error: String| Problem::new(Kind::BadRequest, error);
    let found = RawPathParams::from_request_parts(parts, &()).await.map_err(|error| wrong(error.to_string()))?;
    let params = found.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let query = Query::try_from_uri(&parts.uri as &Uri).map_err(|error| wrong(error.to_string()))?;
    Ok((params, query.0))
}

/// Of the body, without parameters.
fn content_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Where a route takes its body as it is.
fn raw_body(route: &Route, headers: &HeaderMap, bytes: &Bytes) -> Result<Option<RawBody>, Problem> {
    if route.raw.is_empty() {
        return Ok(None);
    }
    let content_type = content_type(headers);
    if !route.raw.contains(&content_type.as_str()) {
        return Err(Problem::new(Kind::WrongType, format!("the body's type is '{content_type}'"))
            .with_hint(format!("send Content-Type: {}", route.raw.join(" or "))));
    }
    let key = headers.get(IDEMPOTENCY_KEY).map(|value| match value.to_str().map(str::trim) {
        Ok(key) if !key.is_empty() && key.len() <= KEY_BYTES_MAX => Ok(key.to_string()),
        _ => Err(Problem::new(
            Kind::BadRequest,
            format!("Idempotency-Key must be 1 to {KEY_BYTES_MAX} printable ASCII characters"),
        )),
    });
    Ok(Some(RawBody { bytes: bytes.clone(), content_type, idempotency_key: key.transpose()? }))
}

fn parse_body(route: &Route, headers: &HeaderMap, bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let Some(fields) = route.body else {
        return match bytes.is_empty() {
            true => Ok(Map::new()),
            false => Err(Problem::new(Kind::BadRequest, "this route takes no body")),
        };
    };
    let content_type = content_type(headers);
    let takes_sql = fields.iter().any(|field| field.name == "sql");
    let body = match content_type.as_str() {
        "" if bytes.is_empty() => Map::new(),
        JSON_TYPE if bytes.is_empty() => Map::new(),
        JSON_TYPE => match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(Problem::new(Kind::BadRequest, "the body must be a JSON object")),
            Err(error) => return Err(Problem::new(Kind::BadRequest, format!("the body is no JSON: {error}"))),
        },
        SQL_TYPE if takes_sql => {
            let text = String::from_utf8(bytes.to_vec())
                .map_err(|_| Problem::new(Kind::BadRequest, "the SQL is not UTF-8"))?;
            Map::from_iter([("sql".to_string(), Value::from(text))])
        }
        other => {
            let types = if takes_sql { "application/json or application/sql" } else { JSON_TYPE };
            return Err(Problem::new(Kind::WrongType, format!("the body's type is '{other}'"))
                .with_hint(format!("send Content-Type: {types}")));
        }
    };
    check_body(fields, &body)?;
    Ok(body)
}

/// Who tried what is of interest, also where nobody looked at what was wanted.
fn audit_refused(app: &Arc<App>, route: &Route, parts: &Parts, peer: Option<SocketAddr>, problem: &Problem) {
    let entry = AuditEntry {
        at_ms: now_ms(),
        who: known_caller(app, &parts.headers).map_or_else(|| UNKNOWN.to_string(), |caller| caller.name),
        from: peer.map_or_else(String::new, |peer| peer.ip().to_string()),
        what: format!("{} {}", route.method.name(), route.path),
        target: parts.uri.path().to_string(),
        status: problem.status().as_u16(),
        times: 1,
    };
    let told = app.refused.note(entry);
    if told.is_empty() {
        return;
    }
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || {
        for AuditEntry { who, from, what, target, status, times, .. } in &told {
            tracing::warn!(who, from, what, target, status, times, "refused");
        }
        if let Err(refusal) = app.supervisor.store().audit_refused(&told) {
            tracing::error!(%refusal, "the audit log cannot be written");
        }
    });
}

/// What was asked for and looked at, also where it was refused then.
fn audit(
    app: &App,
    route: &Route,
    caller: &Caller,
    peer: Option<SocketAddr>,
    target: &str,
    answer: &Result<Reply, Problem>,
) {
    // Asking what SQL would do does nothing, and rows are data: they change no job.
    if route.path.starts_with("/api/v1/sql/") || route.pool == Pool::Rows {
        return;
    }
    let status = answer.as_ref().map_or_else(|problem| problem.status(), |reply| reply.status).as_u16();
    let entry = AuditEntry {
        at_ms: now_ms(),
        who: caller.name.clone(),
        from: peer.map_or_else(String::new, |peer| peer.ip().to_string()),
        what: format!("{} {}", route.method.name(), route.path),
        target: target.to_string(),
        status,
        times: 1,
    };
    tracing::info!(who = entry.who, from = entry.from, what = entry.what, target, status, "audit");
    if let Err(refusal) = app.supervisor.store().audit(&entry) {
        tracing::error!(%refusal, "the audit log cannot be written");
    }
}

/// Whatever an error text holds: no secret leaves the server.
pub fn redacted(app: &App, problem: Problem) -> Problem {
    let redactor = app.supervisor.planner.redactor();
    fn walk(value: Value, hide: &dyn Fn(&str) -> String) -> Value {
        match value {
            Value::String(text) => Value::String(hide(&text)),
            Value::Array(all) => all.into_iter().map(|one| walk(one, hide)).collect(),
            Value::Object(all) => all.into_iter().map(|(key, one)| (key, walk(one, hide))).collect(),
            other => other,
        }
    }
    let hide = |text: &str| redactor.hide(text);
    Problem {
        kind: problem.kind,
        detail: hide(&problem.detail),
        hint: problem.hint.map(|hint| hide(&hint)),
        more: Box::new(problem.more.into_iter().map(|(key, value)| (key, walk(value, &hide))).collect()),
    }
}

/// The reply on its way: what is there at once, what comes bit by bit, and what is still to come.
async fn respond(app: &Arc<App>, reply: Reply, caller: Caller, parts: &mut Parts) -> Result<Response<Body>, Problem> {
    let redactor = app.supervisor.planner.redactor();
    let body = match reply.body {
        ReplyBody::Text(text) => Body::from(redactor.hide(&text)),
        ReplyBody::Stream(stream) => Body::new(*stream),
        ReplyBody::Later(answer, _waiting) => {
            let gone =
                |_| Err(Problem::new(Kind::Failed, "the query's thread panicked: this is a defect of the program"));
            let page = answer.await.unwrap_or_else(gone).map_err(|problem| redacted(app, problem))?;
            Body::from(redactor.hide(&page.text))
        }
        ReplyBody::Socket => return upgrade(app, caller, parts),
    };
    let mut response = Response::builder().status(reply.status);
    if !reply.content_type.is_empty() {
        response = response.header(header::CONTENT_TYPE, reply.content_type);
    }
    Ok(response.body(body).expect("status and headers are constants"))
}

fn upgrade(app: &Arc<App>, caller: Caller, parts: &mut Parts) -> Result<Response<Body>, Problem> {
    let accepted = queries::accept(&parts.headers)?;
    let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        return Err(Problem::new(Kind::BadRequest, "this connection cannot become a WebSocket"));
    };
    tokio::spawn(queries::serve(Arc::clone(app), caller, on_upgrade));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let sent = response.headers_mut();
    sent.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    sent.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    sent.insert(header::SEC_WEBSOCKET_ACCEPT, accepted.key);
    if let Some(protocol) = accepted.protocol {
        sent.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// Where a browser may ask from another origin, it asks first.
fn preflight(app: &App, method: &axum::http::Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let origin = headers.get(header::ORIGIN)?.to_str().ok()?;
    if method != axum::http::Method::OPTIONS || !app.cors_origins.iter().any(|allowed| allowed == origin) {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let sent = response.headers_mut();
    sent.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
    sent.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type, idempotency-key"),
    );
    Some(finish(app, headers, response))
}

/// Headers of every answer.
fn finish(app: &App, asked: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    let sent = response.headers_mut();
    sent.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    sent.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    sent.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    sent.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'",
        ),
    );
    let origin = asked.get(header::ORIGIN);
    let allowed =
        origin.filter(|origin| app.cors_origins.iter().any(|allowed| origin.as_bytes() == allowed.as_bytes()));
    if let Some(origin) = allowed {
        sent.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        sent.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::host_is_local;

    #[test]
    fn names_of_this_machine() {
        for (host, expected) in [
            ("localhost", true),
            ("localhost:8080", true),
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("", false),
            ("evil.net", false),
            ("localhost.evil.net:8080", false),
            ("127.0.0.1.evil.net", false),
            ("192.168.0.1:8080", false),
        ] {
            assert_eq!(host_is_local(host), expected, "{host}");
        }
    }
}

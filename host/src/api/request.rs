//! What happens to every request, whatever it asks for: an id, an answer in one form, one log line, a count.

use crate::api::credential::{self, Brought};
use crate::api::edge::{Caller, Edge, Facts, RequestId};
use crate::api::error::ApiError;
use crate::api::feed;
use crate::api::origin::Whence;
use crate::api::serve::{Outside, Peer};
use crate::api::spans::Span;
use crate::api::trace::TraceContext;
use crate::auth::AuthRefusal;
use crate::store::AuditOutcome;
use crate::task::TaskKind;
use axum::extract::{Extension, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::percent_decode_str;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::time::Instant;
use tracing::Instrument as _;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a request id.
const REQUEST_ID_MAX: usize = 64;
/// Characters of a node's name in the log; no node has a longer one.
const NODE_CHARS_MAX: usize = 64;

/// Stamps a request, passes it on, and turns what came of it into the answer.
pub(super) async fn stamp(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId(proper_id(request.headers().get(X_REQUEST_ID)).unwrap_or_else(new_id));
    let unknown = Peer { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), is_unix: false, is_tls: false };
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(unknown);
    let snapshot = edge.snapshot();
    let Outside { address, is_secure } = Outside::of(&peer, request.headers(), &snapshot.config.server);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let node = node_of(&route, request.uri().path());
    let telemetry = &snapshot.config.telemetry;
    let is_told = telemetry.otlp_endpoint.is_some();
    let sampled_percent = if is_told { telemetry.sample_percent } else { 0 };
    drop(snapshot);
    let trace = Arc::new(TraceContext::of(request.headers(), sampled_percent));
    let who = Arc::new(OnceLock::new());
    let facts = Facts {
        request_id: id.0.clone(),
        address,
        peer: peer.address,
        is_secure,
        trace: Arc::clone(&trace),
        who: Arc::clone(&who),
    };
    request.extensions_mut().insert(facts);
    request.extensions_mut().insert(id.clone());
    // Whatever is logged on the way has it, at every level that is logged at all.
    let span = tracing::error_span!("request", request_id = %id.0, trace_id = trace.trace_id(), %method, route);
    let handled = unless_it_panics(next.run(request)).instrument(span);
    let mut response = handled.await.unwrap_or_else(|| {
        edge.tasks.note_panic(TaskKind::Connection);
        ApiError::Internal { what: format!("the handler of {method} {route} panicked") }.into_response()
    });
    let error = response.extensions_mut().remove::<ApiError>();
    if let Some(error) = &error {
        response = error.response(&id);
    }
    let status = response.status().as_u16();
    edge.metrics.request(&route, &method, status, began.elapsed());
    let (who, node) = (who.get().map(String::as_str), node.as_deref());
    let told = Told { id: &id.0, trace: &trace, address, method: &method, route: &route, status, began, who, node };
    told.log(error.as_ref());
    if is_told && trace.is_sampled() {
        edge.spans.offer(told.span(error.as_ref()));
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(X_REQUEST_ID, value);
    }
    harden(headers, is_secure);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What every answer tells a browser: it is what its type says, it runs nothing, stands in no frame, and is nobody else's.
fn harden(headers: &mut HeaderMap, is_secure: bool) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // Over plain HTTP nobody may say it: whoever is on the way could.
    if is_secure {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

/// A handler that panics fails its one request; the connection goes on.
async fn unless_it_panics(handler: impl Future<Output = Response>) -> Option<Response> {
    AssertUnwindSafe(handler).catch_unwind().await.ok()
}

/// Lets a request on only when it is somebody's; the handler finds out whose in the request's extensions.
pub(super) async fn require_caller(
    State(edge): State<Arc<Edge>>,
    Extension(facts): Extension<Facts>,
    mut request: Request,
    next: Next,
) -> Response {
    if is_open(&edge, &request) {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let brought = Brought::take(&mut request, &facts, feed::is_of_feed(&route));
    let caller = match edge.recognise(&brought, (request.headers(), request.uri()), &facts).await {
        Ok(caller) => caller,
        Err(error) => return unknown(&edge, &facts, (&route, request.method()), &brought, error).await.into_response(),
    };
    drop(facts.who.set(caller.principal().name.clone()));
    let whence = || edge.whence(request.headers(), request.uri(), &facts);
    if !may_come_from(&brought, (request.method(), &route), whence) {
        return cross_site(&edge, &caller, &facts, (&route, request.method())).await.into_response();
    }
    let Brought::Cookie(_) = brought else {
        request.extensions_mut().insert(caller);
        return next.run(request).await;
    };
    let ended = caller.0.session().map(|session| session.ended.clone());
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    // However this request ended its own session, the browser is not to go on bringing it.
    if ended.is_some_and(|ended| ended.is_cancelled())
        && let Some(gone) = credential::cookie_name(&facts).and_then(credential::taken_away)
    {
        response.headers_mut().append(SET_COOKIE, gone);
    }
    response
}

/// What nobody knows is answered, whatever was wrong with what it brought.
async fn unknown(
    edge: &Edge,
    facts: &Facts,
    (route, method): (&str, &Method),
    brought: &Brought,
    error: ApiError,
) -> ApiError {
    // A bearer that was judged and refused is on record already.
    let is_told = matches!(brought, Brought::Bearer(_));
    let is_untold = matches!(&error, ApiError::Auth(refusal) if matches!(refusal.as_ref(), AuthRefusal::Required)
        || !is_told && matches!(refusal.as_ref(), AuthRefusal::Failed));
    let error = error.told_to_a_stranger();
    if is_untold && !method.is_safe() {
        edge.note_stranger(facts, "request.refuse", route, error.code()).await;
    }
    error
}

/// Whether a request may come from there, given what it stands on. What a browser adds by itself, it adds for foreign pages too:
/// on the cookie, what changes something or stays open needs a page of ours, and nothing may come from a foreign one. On what
/// a proxy vouches for, browsers and programs look alike, so that only what a browser calls foreign is refused.
fn may_come_from(brought: &Brought, (method, route): (&Method, &str), whence: impl FnOnce() -> Whence) -> bool {
    let is_harmless = || method.is_safe() && !feed::is_of_feed(route);
    match brought {
        Brought::Bearer(_) | Brought::Ticket(_) | Brought::Several => true,
        Brought::Cookie(_) => match whence() {
            Whence::Ours => true,
            Whence::Unsaid => is_harmless(),
            Whence::Elsewhere => false,
        },
        Brought::Nothing => match whence() {
            Whence::Ours | Whence::Unsaid => true,
            Whence::Elsewhere => is_harmless(),
        },
    }
}

async fn cross_site(edge: &Edge, caller: &Caller, facts: &Facts, (route, method): (&str, &Method)) -> ApiError {
    let refusal = ApiError::CrossSite;
    if method.is_safe() {
        return refusal;
    }
    let record = edge.record(caller, facts, "request.refuse", route, AuditOutcome::Refused, refusal.code());
    record.await.err().unwrap_or(refusal)
}

/// The one route that the operator may open.
fn is_open(edge: &Edge, request: &Request) -> bool {
    let is_metrics = request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str() == "/metrics");
    is_metrics && edge.snapshot().config.metrics.is_open
}

/// Answers for addresses that no route has.
pub(super) async fn no_route() -> ApiError {
    ApiError::NoRoute
}

/// The node that a request is about, as its caller spelled it.
fn node_of(route: &str, path: &str) -> Option<String> {
    let at = route.split('/').position(|part| part == "{node}")?;
    let name = percent_decode_str(path.split('/').nth(at)?).decode_utf8_lossy();
    Some(name.chars().take(NODE_CHARS_MAX).collect())
}

/// What one request is told by in the log.
struct Told<'a> {
    id: &'a str,
    trace: &'a Arc<TraceContext>,
    address: IpAddr,
    method: &'a Method,
    route: &'a str,
    status: u16,
    began: Instant,
    who: Option<&'a str>,
    node: Option<&'a str>,
}

impl Told<'_> {
    /// The same as a span of its trace.
    fn span(&self, error: Option<&ApiError>) -> Span {
        let took = self.began.elapsed();
        let now = SystemTime::now();
        Span {
            trace: Arc::clone(self.trace),
            began: now.checked_sub(took).unwrap_or(now),
            took,
            method: self.method.clone(),
            route: self.route.to_owned(),
            status: self.status,
            request_id: self.id.to_owned(),
            node: self.node.map(str::to_owned),
            code: error.map(ApiError::code),
        }
    }

    /// One line for each request. What the server got wrong is an error; what it could not do because something else is
    /// down, busy or going is a warning.
    fn log(&self, error: Option<&ApiError>) {
        let Self { id: request_id, trace, address, method, route, status, began, who: user, node } = *self;
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let code = error.map_or("", ApiError::code);
        macro_rules! tell {
            ($level:ident, $text:literal) => {{
                // The whole chain: what the caller is not told stands here.
                let cause = error.map(chain).unwrap_or_default();
                let (trace_id, span_id) = (trace.trace_id(), trace.span_id());
                tracing::$level!(request_id, trace_id, span_id, %address, %method, route, user, node, status, took_us, code, cause, $text);
            }};
        }
        if status == 500 {
            tell!(error, "request failed");
        } else if status > 500 {
            tell!(warn, "request failed");
        } else if status >= 400 {
            tell!(info, "request refused");
        } else if tracing::enabled!(tracing::Level::DEBUG) {
            let (trace_id, span_id) = (trace.trace_id(), trace.span_id());
            tracing::debug!(request_id, trace_id, span_id, %address, %method, route, user, node, status, took_us, "request");
        }
    }
}

fn chain(error: &ApiError) -> String {
    if let ApiError::Internal { what } = error {
        return what.clone();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The caller's own id, if it could not be mistaken for anything else in a log.
fn proper_id(value: Option<&HeaderValue>) -> Option<String> {
    let text = value?.to_str().ok()?;
    let is_proper = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ((1..=REQUEST_ID_MAX).contains(&text.len()) && text.chars().all(is_proper)).then(|| text.to_owned())
}

pub(super) fn new_id() -> String {
    let mut bytes = [0_u8; 12];
    match getrandom::fill(&mut bytes) {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(error) => {
            tracing::error!(%error, "the system gives no random bytes; requests have no id");
            "unknown".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use http::StatusCode;

    #[tokio::test]
    async fn a_handler_that_panics_fails_one_request_without_a_word_of_why() {
        let answered = unless_it_panics(async { StatusCode::OK.into_response() }).await;
        assert_eq!(answered.map(|response| response.status()), Some(StatusCode::OK));
        assert!(unless_it_panics(async { panic!("canary") }).await.is_none());
        let problem = ApiError::Internal { what: "canary".into() }.problem("r1");
        assert_eq!((problem.status, problem.code.as_str()), (500, "host.internal"));
        assert!(!problem.detail.contains("canary"));
    }

    #[test]
    fn what_a_browser_adds_by_itself_counts_for_pages_of_ours_alone() {
        use Whence::{Elsewhere, Ours, Unsaid};
        let word = || Secret::new("x".into());
        let changes = [(Method::POST, "/api/v1/logout"), (Method::GET, feed::FEED), (Method::GET, feed::EVENTS)];
        let reads = [(Method::GET, "/api/v1/me")];
        for (brought, changing, reading) in [
            (Brought::Cookie(word()), vec![Ours], vec![Ours, Unsaid]),
            (Brought::Nothing, vec![Ours, Unsaid], vec![Ours, Unsaid, Elsewhere]),
            (Brought::Bearer(word()), vec![Ours, Unsaid, Elsewhere], vec![Ours, Unsaid, Elsewhere]),
            (Brought::Ticket(word()), vec![Ours, Unsaid, Elsewhere], vec![Ours, Unsaid, Elsewhere]),
        ] {
            for (requests, expected) in [(&changes[..], changing), (&reads[..], reading)] {
                for (method, route) in requests {
                    let may = |whence: &Whence| may_come_from(&brought, (method, route), || *whence);
                    let found: Vec<Whence> = [Ours, Unsaid, Elsewhere].into_iter().filter(may).collect();
                    assert_eq!(found, expected, "{brought:?} {method} {route}");
                }
            }
        }
    }

    #[test]
    fn the_node_of_a_request_is_where_its_route_has_it() {
        let (route, path) = ("/api/v1/nodes/{node}/log", "/api/v1/nodes/a%20b/log");
        assert_eq!(node_of(route, path).as_deref(), Some("a b"));
        assert_eq!(node_of("/api/v1/nodes", "/api/v1/nodes"), None);
        assert_eq!(node_of(route, &format!("/api/v1/nodes/{}/log", "x".repeat(300))).map(|name| name.len()), Some(64));
    }

    #[test]
    fn a_callers_id_is_taken_only_if_it_is_plain() {
        let id = |text: &[u8]| proper_id(Some(&HeaderValue::from_bytes(text).expect("a header")));
        assert_eq!(id(b"abc-1.2_3").as_deref(), Some("abc-1.2_3"));
        for bad in [&b""[..], b"a b", b"a\tb", "ä".as_bytes(), &[b'x'; 65]] {
            assert_eq!(id(bad), None);
        }
        assert_eq!(new_id().len(), 24);
        assert_ne!(new_id(), new_id());
    }
}

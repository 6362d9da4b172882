//! The feed's routes: who may open it, and what of it they may see.

use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::input::{Asked, Input};
use crate::api::request;
use crate::api::socket::{self, FeedContext, FeedRefusal, Guest, NotRenewed, Renewal, Renewed};
use crate::api::wire::Problem;
use crate::auth::Action;
use crate::hub::{Access, Framing, Hello, Link, Patterns, Position};
use crate::model::{Object, Secret};
use crate::task::TaskKind;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, DuplexStream};

/// What a topic's first segment stands for, and who may see it. A class that is not here is seen by nobody.
const ACCESS: Access = Access {
    needs: Action::FeedRead.as_str(),
    classes: &[
        ("node", Action::NodeRead.as_str()),
        ("proc", Action::ProcessRead.as_str()),
        ("plugin", Action::PluginRead.as_str()),
        ("log", Action::LogRead.as_str()),
    ],
};

/// Bytes that wait between the hub and the body of an event stream.
const STREAM_BYTES_MAX: usize = 16 * 1024;
/// Its routes.
pub(super) const FEED: &str = "/api/v1/feed";
pub(super) const EVENTS: &str = "/api/v1/feed/events";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whether a route is one whose answers stay open.
pub(super) fn is_of_feed(route: &str) -> bool {
    route == FEED || route == EVENTS
}

/// The live feed
///
/// Upgrades to a WebSocket with the subprotocol `feed.v1`; `docs/api.md` describes its frames.
#[utoipa::path(get, path = "/api/v1/feed", tag = "feed", security(("bearer" = []), ("cookie" = []), ("ticket" = [])),
    responses((status = 101, description = "The feed"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn open(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    request: Request,
) -> Result<Response, ApiError> {
    let opened = open_socket(&edge, &caller, &facts, request).await;
    opened.inspect_err(|error| note_refusal(&edge, error))
}

async fn open_socket(edge: &Arc<Edge>, caller: &Caller, facts: &Facts, request: Request) -> Result<Response, ApiError> {
    edge.door.knock()?;
    edge.admit(caller, Action::FeedRead, "feed.open", Asked::default()).await?;
    let watch = edge.auth.watch(&caller.0, &facts.peer(), SystemTime::now());
    let context = FeedContext {
        hub: edge.hub.clone(),
        tasks: edge.tasks.group(TaskKind::Feed),
        stop: edge.stop.clone(),
        grant: watch.grant.clone(),
        access: ACCESS,
        renewal: Arc::new(Renewer {
            edge: Arc::clone(edge),
            name: caller.principal().name.clone(),
            is_external: caller.principal().is_external,
            facts: facts.clone(),
        }),
        door: Arc::clone(&edge.door),
        guest: guest(edge, caller, facts),
        hold: Arc::new(watch),
        ours: edge.ours(facts),
    };
    Ok(socket::upgrade(request, context).await?)
}

/// Judges what one connection brings later, on the way of every request.
struct Renewer {
    edge: Arc<Edge>,
    /// Whom the connection is for. Nobody else's credential will do.
    name: String,
    is_external: bool,
    /// Of the request that opened the connection.
    facts: Facts,
}

impl Renewal for Renewer {
    fn renew(&self, token: Secret) -> BoxFuture<'_, Result<Renewed, NotRenewed>> {
        Box::pin(async move {
            let renewed = self.judge(token).await;
            if renewed.is_err() {
                self.edge.door.refused_refresh();
            }
            renewed
        })
    }
}

impl Renewer {
    async fn judge(&self, token: Secret) -> Result<Renewed, NotRenewed> {
        let facts = Facts { request_id: request::new_id(), ..self.facts.clone() };
        let recognised = self.edge.recognise_token(token, &facts).await;
        let caller = recognised.map_err(|error| not_renewed(&error.told_to_a_stranger()))?;
        let principal = caller.principal();
        if (&principal.name, principal.is_external) != (&self.name, self.is_external) {
            let detail = "the credential is somebody else's; open a connection of its own for it".to_owned();
            return Err(NotRenewed { code: "feed.other_subject".to_owned(), detail, is_final: true });
        }
        let may = self.edge.auth.permit(principal, Action::FeedRead, Object::Somewhere);
        may.map_err(|refusal| not_renewed(&refusal.into()))?;
        let now = SystemTime::now();
        let left = caller.0.expires.map(|expires| expires.duration_since(now).unwrap_or_default());
        let watch = self.edge.auth.watch(&caller.0, &facts.peer(), now);
        Ok(Renewed { grant: watch.grant.clone(), hold: Arc::new(watch), ttl: left.map(|left| left.as_secs()) })
    }
}

impl std::fmt::Debug for Renewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewer").field("name", &self.name).finish_non_exhaustive()
    }
}

fn not_renewed(error: &ApiError) -> NotRenewed {
    let problem = error.problem("");
    // Who has to wait, or meets a fault of ours, has learned nothing about the credential.
    let is_final = problem.status < 500 && problem.status != 429;
    NotRenewed { code: problem.code, detail: problem.detail, is_final }
}

fn guest(edge: &Edge, caller: &Caller, facts: &Facts) -> Guest {
    let snapshot = edge.snapshot();
    let server = &snapshot.config.server;
    Guest {
        principal: caller.principal().name.clone(),
        address: facts.address,
        per_principal_max: server.feed_clients_per_principal_max,
        per_address_max: server.feed_clients_per_address_max,
    }
}

fn note_refusal(edge: &Edge, error: &ApiError) {
    if let ApiError::Feed(refusal) = error {
        edge.door.refused(refusal);
    }
}

/// The live feed as server-sent events
///
/// The same events to the same rules, for `curl` and simple programs. `Last-Event-ID` is the position to go on from.
#[utoipa::path(get, path = "/api/v1/feed/events", tag = "feed", security(("bearer" = []), ("cookie" = []), ("ticket" = [])),
    params(("sub" = Option<String>, Query, description = "Patterns of topics, separated by commas; all by default"),
        ("log" = Option<String>, Query, description = "A log to follow, `log/NODE/GROUP:NAME/stdout`; up to 64 times"),
        ("since" = Option<String>, Query, description = "The position to go on from, `EPOCH:OFFSET`, where the header `Last-Event-ID` is missing")),
    responses((status = 200, body = String, content_type = "text/event-stream"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let opened = open_stream(&edge, &caller, &facts, (&uri, &headers)).await;
    opened.inspect_err(|error| note_refusal(&edge, error))
}

async fn open_stream(
    edge: &Edge,
    caller: &Caller,
    facts: &Facts,
    (uri, headers): (&Uri, &HeaderMap),
) -> Result<Response, ApiError> {
    edge.door.knock()?;
    let mut input = Input::new(uri);
    let sub = input.text("sub").unwrap_or_else(|| "*/*,*/*/*".to_owned());
    let patterns = Patterns::parse(&sub.split(',').collect::<Vec<_>>());
    if let Err(error) = &patterns {
        input.problem("/query/sub", "invalid", error.to_string());
    }
    let log: Vec<String> = std::iter::from_fn(|| input.text("log")).collect();
    let logs = socket::wishes(&log, &BTreeMap::new());
    if let Err(why) = &logs {
        input.problem("/query/log", "invalid", why.clone());
    }
    let since = input.text("since");
    edge.admit(caller, Action::FeedRead, "feed.open", input.finish()?).await?;
    let patterns = patterns.map_err(|error| ApiError::Malformed(error.to_string()))?;
    let logs = logs.map_err(ApiError::Malformed)?;
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    if edge.stop.is_cancelled() {
        return Err(FeedRefusal::ShuttingDown.into());
    }
    let watch = edge.auth.watch(&caller.0, &facts.peer(), SystemTime::now());
    let pass = edge.door.enter(&guest(edge, caller, facts))?;
    let slot = edge.hub.reserve().ok_or(FeedRefusal::Full)?;
    let (ours, theirs) = tokio::io::duplex(STREAM_BYTES_MAX);
    let joined = slot.join(Box::new(ours), Framing::EventStream, watch.grant.clone(), ACCESS);
    // The stream ends by itself when the hub lets its end go, so nobody has to be told.
    let (link, _) = joined.ok_or(FeedRefusal::ShuttingDown)?;
    let since = last.or(since).map(|text| Position::parse_or_unknown(&text));
    link.subscribe(Hello { patterns, since, logs });
    let mut response = Response::new(body(theirs, link, (watch, pass)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// What the hub writes, until it ends. `held` and the link live as long as somebody reads.
fn body(pipe: DuplexStream, link: Link, held: impl Send + Sync + 'static) -> Body {
    Body::from_stream(stream::unfold((pipe, link, held), async |(mut pipe, link, held)| {
        let mut bytes = vec![0; STREAM_BYTES_MAX];
        match pipe.read(&mut bytes).await {
            Ok(0) => None,
            Ok(count) => {
                bytes.truncate(count);
                Some((Ok(Bytes::from(bytes)), (pipe, link, held)))
            }
            Err(error) => Some((Err(error), (pipe, link, held))),
        }
    }))
}

//! The table of routes, and the document that describes it.

use crate::api::edge::Edge;
use crate::api::error::ApiError;
use crate::api::handlers::{
    acts, api_keys, audit, backup, bulk, config, feed_tickets, health, log_level, logins, logs, managed, nodes, orders,
    plugins, probes, roles, sessions, storage, supervisors, user_sessions, users,
};
use crate::api::{credential, encoding, feed, request};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa::openapi::Server;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(
    info(title = "Omnivisor", description = "One control plane over many process supervisors.", license(name = "MIT OR Apache-2.0")),
    tags((name = "session"), (name = "api-keys"), (name = "accounts"), (name = "roles"), (name = "nodes"), (name = "processes"), (name = "logs"), (name = "plugins"), (name = "configuration"), (name = "audit"), (name = "backup"), (name = "feed"), (name = "probes")),
    security(("bearer" = []), ("cookie" = [])),
    modifiers(&Credentials)
)]
struct Document;

struct Credentials;

impl utoipa::Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let cookie = "Over plain HTTP on this machine alone it is called `omnivisor-session`. What changes something needs the \
            `Origin` of a page of this server besides, or without it `Sec-Fetch-Site: same-origin`.";
        let cookie =
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(credential::SECURE_COOKIE, cookie)));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", bearer);
        components.add_security_scheme("cookie", cookie);
        let ticket =
            ApiKeyValue::with_description(credential::TICKET, "Of `POST /api/v1/feed/tickets`: for one connection.");
        components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Query(ticket)));
    }
}

fn table() -> (OpenApiRouter<Arc<Edge>>, OpenApiRouter<Arc<Edge>>) {
    let with_session = OpenApiRouter::new()
        .routes(routes!(nodes::list, managed::add))
        .routes(routes!(nodes::show, managed::replace, managed::remove))
        .routes(routes!(nodes::processes))
        .routes(routes!(nodes::process))
        .routes(routes!(orders::start))
        .routes(routes!(orders::stop))
        .routes(routes!(orders::restart))
        .routes(routes!(orders::monitor))
        .routes(routes!(orders::unmonitor))
        .routes(routes!(acts::signal))
        .routes(routes!(acts::input))
        .routes(routes!(acts::clear_logs))
        .routes(routes!(supervisors::start))
        .routes(routes!(supervisors::stop))
        .routes(routes!(supervisors::restart))
        .routes(routes!(supervisors::reread))
        .routes(routes!(supervisors::update))
        .routes(routes!(supervisors::restart_node))
        .routes(routes!(supervisors::shutdown_node))
        .routes(routes!(supervisors::log))
        .routes(routes!(bulk::order))
        .routes(routes!(logs::read))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::show, plugins::install))
        .routes(routes!(plugins::rollback))
        .routes(routes!(sessions::me))
        .routes(routes!(sessions::logout))
        .routes(routes!(api_keys::create, api_keys::list))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(users::own_password))
        .routes(routes!(user_sessions::own, user_sessions::end_own_all))
        .routes(routes!(user_sessions::end_own))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::edit, users::remove))
        .routes(routes!(users::grant))
        .routes(routes!(user_sessions::list, user_sessions::end_all))
        .routes(routes!(user_sessions::end))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::show, roles::replace, roles::remove))
        .routes(routes!(roles::permissions))
        .routes(routes!(health::show))
        .routes(routes!(probes::metrics))
        .routes(routes!(config::show))
        .routes(routes!(config::generations))
        .routes(routes!(config::reload))
        .routes(routes!(config::rollback))
        .routes(routes!(log_level::show, log_level::set, log_level::reset))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(audit::verify))
        .routes(routes!(backup::create))
        .routes(routes!(storage::compact))
        .routes(routes!(feed::open))
        .routes(routes!(feed::events))
        .routes(routes!(feed_tickets::issue));
    let open = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(sessions::login))
        .routes(routes!(sessions::setup))
        .routes(routes!(logins::depart))
        .routes(routes!(logins::arrive))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::openapi))
        .routes(routes!(probes::asyncapi));
    (open, with_session)
}

/// The OpenAPI document of all routes below `base_path`, made from the handlers' own types.
///
/// # Errors
/// Only if it cannot be written as JSON, which would be a bug.
pub fn openapi(base_path: &str) -> Result<String, serde_json::Error> {
    let (open, with_session) = table();
    let mut document = open.merge(with_session).into_openapi();
    if !base_path.is_empty() {
        document.servers = Some(vec![Server::new(base_path)]);
    }
    serde_json::to_string(&document)
}

/// All routes. Those behind a session pass `require_caller`, and nothing else does.
pub fn router(edge: Arc<Edge>) -> Router {
    let (open, with_session) = table();
    let with_session = with_session.route_layer(from_fn_with_state(Arc::clone(&edge), request::require_caller));
    let (router, _) = open.merge(with_session).split_for_parts();
    router
        .fallback(request::no_route)
        .layer(from_fn(name_methods))
        .layer(from_fn_with_state(Arc::clone(&edge), encoding::pack))
        .layer(from_fn_with_state(Arc::clone(&edge), request::stamp))
        .with_state(edge)
}

/// axum answers 405 by itself; this puts it into the one form of all errors. The header `allow` is axum's.
async fn name_methods(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || response.extensions().get::<ApiError>().is_some() {
        return response;
    }
    ApiError::Method { method }.into_response()
}

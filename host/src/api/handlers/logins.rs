//! Logins at another server: out by a redirection, back by another.

use crate::api::edge::{Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::delivery::Delivery;
use crate::api::headers::cookies;
use crate::api::input::{Input, Segments};
use crate::api::wire::{LoginResult, Problem};
use crate::auth::{Departure, FLOW_TTL};
use crate::model::Secret;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use std::sync::Arc;
use std::time::SystemTime;

/// The cookie that ties a login to the browser that began it.
const COOKIE_NAME: &str = "omnivisor_login";
/// Behind the word in it: the session is to come as a cookie. It is the browser's own wish, and the browser keeps it.
const WANTS_COOKIE: &str = ".cookie";

/// Begins a login at another server
///
/// Sends the browser there. It comes back to `/api/v1/login/{strategy}/callback`. With `cookie=true` it is given its session as
/// a cookie there, and not in the answer.
#[utoipa::path(get, path = "/api/v1/login/{strategy}", tag = "session", security(()),
    params(("strategy" = String, Path, description = "The strategy's name, e.g. `auth-oidc`"),
        ("cookie" = Option<bool>, Query, description = "Whether the session is to come as a cookie; `false` by default")),
    responses((status = 302, description = "To the other server, with a cookie for the way back"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn depart(
    State(edge): State<Arc<Edge>>,
    Extension(facts): Extension<Facts>,
    Segments(strategy): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut input = Input::new(&uri);
    input.path("strategy", &strategy);
    let wants_cookie = input.flag("cookie");
    // Before anybody goes anywhere.
    Delivery::of_browser(&facts, wants_cookie, &headers)?;
    edge.admit_stranger(&facts, "session.depart", input.finish()?).await?;
    let departure = edge.auth.depart(&strategy, facts.peer()).await?;
    let departure = Departure { is_secure: departure.is_secure || facts.is_secure, ..departure };
    let location = header(&departure.url)?;
    Ok((
        StatusCode::FOUND,
        [
            (LOCATION, location),
            (SET_COOKIE, cookie(&departure, wants_cookie, &edge.snapshot().config.server.base_path)?),
        ],
    )
        .into_response())
}

/// Ends a login at another server
///
/// Where the other server sends the browser back to. Answers the session as `POST /api/v1/login` does.
#[utoipa::path(get, path = "/api/v1/login/{strategy}/callback", tag = "session", security(()),
    params(("strategy" = String, Path, description = "The strategy's name"),
        ("state" = Option<String>, Query, description = "As it was sent out; the other parameters are the other server's")),
    responses((status = 200, body = LoginResult),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn arrive(
    State(edge): State<Arc<Edge>>,
    Extension(facts): Extension<Facts>,
    Segments(strategy): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut input = Input::new(&uri);
    input.path("strategy", &strategy);
    let parameters = input.rest();
    edge.admit_stranger(&facts, "session.arrive", input.finish()?).await?;
    let brought = cookie_from(&headers);
    let plain = brought.and_then(|word| word.strip_suffix(WANTS_COOKIE));
    let delivery = Delivery::of_browser(&facts, plain.is_some(), &headers)?;
    let word = plain.or(brought).map(|word| Secret::new(word.to_owned()));
    let login = edge.auth.arrive(&strategy, parameters, word, facts.peer(), SystemTime::now()).await?;
    // The address of this answer holds the code: no page that it leads to may learn of it.
    let base = &edge.snapshot().config.server.base_path;
    let gone = header(&format!("{COOKIE_NAME}=; HttpOnly; SameSite=Lax; Path={base}/api/v1/login; Max-Age=0"))?;
    let mut response = delivery.deliver(&edge, &facts, &login).await?;
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, gone);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Nor is it to be kept, nor compressed beside what the other server sent.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn cookie(departure: &Departure, wants_cookie: bool, base: &str) -> Result<HeaderValue, ApiError> {
    let wish = if wants_cookie { WANTS_COOKIE } else { "" };
    let secure = if departure.is_secure { "; Secure" } else { "" };
    let mut value = header(&format!(
        "{COOKIE_NAME}={}{wish}; HttpOnly; SameSite=Lax; Path={base}/api/v1/login; Max-Age={}{secure}",
        departure.cookie.reveal(),
        FLOW_TTL.as_secs()
    ))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The word that the browser brought back. Of several the first: it stands for the longest path, which is ours.
fn cookie_from(headers: &HeaderMap) -> Option<&str> {
    cookies(headers, COOKIE_NAME).next()
}

fn header(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|_| ApiError::Internal { what: "a redirection that is no header".into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::COOKIE;

    #[test]
    fn the_cookie_is_for_this_path_alone_and_comes_back_among_others() {
        let departure =
            |is_secure| Departure { url: "https://idp.example/".into(), cookie: Secret::new("word".into()), is_secure };
        let plain = cookie(&departure(false), false, "").expect("a header");
        let text = "omnivisor_login=word; HttpOnly; SameSite=Lax; Path=/api/v1/login; Max-Age=600";
        assert_eq!(plain.to_str().expect("text"), text);
        assert_eq!(
            cookie(&departure(true), false, "").expect("a header").to_str().expect("text"),
            format!("{text}; Secure")
        );
        let wished = cookie(&departure(false), true, "").expect("a header");
        assert!(wished.to_str().expect("text").starts_with("omnivisor_login=word.cookie; HttpOnly"));
        let mut headers = HeaderMap::new();
        assert_eq!(cookie_from(&headers), None);
        headers.append(COOKIE, HeaderValue::from_static("a=b; xomnivisor_login=no"));
        assert_eq!(cookie_from(&headers), None);
        headers.append(COOKIE, HeaderValue::from_static("c=d;omnivisor_login=word; e=f"));
        assert_eq!(cookie_from(&headers), Some("word"));
    }
}

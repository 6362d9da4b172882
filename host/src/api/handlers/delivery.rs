//! How whoever has just logged in is given the session.

use crate::api::credential::{self, Brought};
use crate::api::edge::{Edge, Facts};
use crate::api::error::ApiError;
use crate::api::origin::Whence;
use crate::api::view;
use crate::api::wire::LoginResult;
use crate::auth::Login;
use crate::model::Secret;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, Uri};
use std::time::SystemTime;

/// How the token travels. Decided before anybody is judged.
#[derive(Debug)]
pub(super) enum Delivery {
    /// In the answer, for programs.
    Body,
    /// In a cookie, for browsers, and nowhere else.
    Cookie {
        name: &'static str,
        /// The session that the browser had before. It brings another one from now on.
        before: Option<Secret>,
    },
}

impl Delivery {
    /// What was asked for, if it may be. A page that has others' browsers log in as somebody of its choice is refused, as for
    /// any other request that a browser's cookie decides about.
    ///
    /// # Errors
    /// [`ApiError::CrossSite`], which is on record; [`ApiError::CookieInsecure`].
    pub(super) async fn of(
        edge: &Edge,
        facts: &Facts,
        wants_cookie: bool,
        (headers, uri): (&HeaderMap, &Uri),
    ) -> Result<Self, ApiError> {
        if wants_cookie && edge.whence(headers, uri, facts) != Whence::Ours {
            let refusal = ApiError::CrossSite;
            edge.note_stranger(facts, "session.login", uri.path(), refusal.code()).await;
            return Err(refusal);
        }
        Self::of_browser(facts, wants_cookie, headers)
    }

    /// The same for a login that only the browser can end which began it.
    ///
    /// # Errors
    /// [`ApiError::CookieInsecure`].
    pub(super) fn of_browser(facts: &Facts, wants_cookie: bool, headers: &HeaderMap) -> Result<Self, ApiError> {
        if !wants_cookie {
            return Ok(Self::Body);
        }
        let name = credential::cookie_name(facts).ok_or(ApiError::CookieInsecure)?;
        Ok(Self::Cookie { name, before: Brought::cookie(headers, facts) })
    }

    /// The answer.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for a bug.
    pub(super) async fn deliver(self, edge: &Edge, facts: &Facts, login: &Login) -> Result<Response, ApiError> {
        let (token, cookie) = match self {
            Self::Body => (Some(login.token.reveal().to_owned()), None),
            Self::Cookie { name, before } => {
                if let Some(before) = before {
                    end(edge, facts, &before).await;
                }
                let cookie = credential::given(name, login, SystemTime::now());
                let missing = || ApiError::Internal { what: "a session's cookie that is no header".into() };
                (None, Some(cookie.ok_or_else(missing)?))
            }
        };
        let mut response = Json(LoginResult {
            token,
            expires_at: view::timestamp(login.session.expires),
            principal: view::principal(&login.session.principal, Some(login.session.expires)),
        })
        .into_response();
        response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
        Ok(response)
    }
}

/// Ends the session that a browser forgets now: nobody else has it, and nobody would end it. The new one stands in any case.
async fn end(edge: &Edge, facts: &Facts, before: &Secret) {
    let now = SystemTime::now();
    let Ok(known) = edge.auth.recognise_session(before, now) else { return };
    let Some(session) = known.session() else { return };
    if let Err(error) = edge.auth.logout(session, facts.peer(), now).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, session = %session.session_id, "a session that its browser forgot goes on");
    }
}

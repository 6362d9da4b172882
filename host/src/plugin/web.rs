//! HTTP for one plugin: with the origins that it was granted, and with what is kept of earlier answers.

use crate::config::origin_of;
use crate::plugin::exchange::check_headers;
use crate::plugin::text::clean;
use crate::plugin::web_cache::{Freshness, Next, Outcome, WebCache};
use crate::plugin::{ExchangeFailure, HttpClient, Services, WebRequest};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes of a reply.
pub(super) const RESPONSE_BYTES_MAX: usize = 256 << 10;
const URL_BYTES_MAX: usize = 8_192;
const BODY_BYTES_MAX: usize = 64 << 10;

/// Headers that are the host's to set: who is asked, how long the body is and in which form, and what becomes of the
/// connection. There are no cookies.
const HOST_HEADERS: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The web as one plugin may see it.
pub(super) struct Web {
    plugin: Arc<str>,
    origins: BTreeSet<String>,
    client: Option<Arc<dyn HttpClient>>,
    cache: WebCache,
}

impl Web {
    pub(super) fn new(plugin: &str, origins: BTreeSet<String>, services: &Services) -> Self {
        let (client, cache) = (services.http.clone(), services.web_cache.clone());
        Self { plugin: Arc::from(plugin), origins, client, cache }
    }

    #[cfg(test)]
    pub(super) const fn origins(&self) -> &BTreeSet<String> {
        &self.origins
    }

    /// Gets an answer, from what is kept if that will do, and its age. `requests_left` counts those that are sent.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; another call that waited for the answer asks itself.
    pub(super) async fn send(
        &self,
        request: WebRequest,
        freshness: Option<Freshness>,
        until: Instant,
        requests_left: &mut u8,
    ) -> (Outcome, Duration) {
        if let Err(rule) = self.check(&request) {
            return (Err(ExchangeFailure::Refused(rule)), Duration::ZERO);
        }
        let Some(freshness) = freshness.filter(|_| may_be_shared(&request)) else {
            return (self.ask(request, until, requests_left).await, Duration::ZERO);
        };
        loop {
            match self.cache.next(&self.plugin, &request.url, freshness, Instant::now()) {
                Next::Take(outcome, age) => return (outcome, age),
                Next::Wait(mut told) => match timeout_at(until, told.wait_for(Option::is_some)).await {
                    Ok(Ok(outcome)) => match &*outcome {
                        Some(outcome) => return (outcome.clone(), Duration::ZERO),
                        None => continue,
                    },
                    // Whoever asked is gone: perhaps it is this call's turn.
                    Ok(Err(_)) => continue,
                    Err(_) => return (Err(ExchangeFailure::TimedOut), Duration::ZERO),
                },
                Next::Ask(asking) => {
                    let outcome = self.ask(request, until, requests_left).await;
                    // What this call was refused says nothing about the URL.
                    if !matches!(outcome, Err(ExchangeFailure::Refused(_))) {
                        asking.settle(&outcome, Instant::now());
                    }
                    return (outcome, Duration::ZERO);
                }
            }
        }
    }

    async fn ask(&self, request: WebRequest, until: Instant, requests_left: &mut u8) -> Outcome {
        let Some(client) = &self.client else {
            return Err(ExchangeFailure::Refused("this host sends no requests for plugins".to_owned()));
        };
        let Some(left) = requests_left.checked_sub(1) else {
            return Err(ExchangeFailure::Refused("this call has sent as many requests as one may".to_owned()));
        };
        *requests_left = left;
        let response = client.send(request, until).await?;
        if response.body.len() > RESPONSE_BYTES_MAX {
            return Err(ExchangeFailure::TooLarge { limit: RESPONSE_BYTES_MAX as u64 });
        }
        Ok(Arc::new(response))
    }

    /// Checks a request. The answer's text says which rule it breaks, and shows of the URL no more than its origin.
    fn check(&self, request: &WebRequest) -> Result<(), String> {
        let WebRequest { method, url, headers, body, .. } = request;
        if !matches!(method.as_str(), "GET" | "POST") {
            return Err("the method has to be `GET` or `POST`".to_owned());
        }
        if url.len() > URL_BYTES_MAX {
            return Err(format!("the URL has {} bytes, at most {URL_BYTES_MAX} are allowed", url.len()));
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err("the URL has to be percent-encoded, without a fragment".to_owned());
        }
        // The client sends to what this very parser finds, so that no other reading of the text counts.
        let parsed: http::Uri = url.parse().map_err(|_| "the URL is none".to_owned())?;
        let origin = origin_of(&parsed)
            .ok_or_else(|| "the URL has to be `https://HOST[:PORT]/PATH`, without a user or password".to_owned())?;
        if !self.origins.contains(&origin) {
            return Err(format!(
                "`{}` is not granted; its operator can grant it with `[plugin.{}] allow_http`",
                clean(&origin, 256),
                self.plugin
            ));
        }
        check_headers(headers, &HOST_HEADERS)?;
        if body.len() > BODY_BYTES_MAX {
            return Err(format!("the body has {} bytes, at most {BODY_BYTES_MAX} are allowed", body.len()));
        }
        if method == "GET" && !body.is_empty() {
            return Err("a `GET` has no body".to_owned());
        }
        Ok(())
    }
}

/// Only what does not depend on who asks is kept: the key is the URL alone.
///
/// Source: RFC 9111, section 3.5.
fn may_be_shared(request: &WebRequest) -> bool {
    request.method == "GET" && !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
}

#[cfg(test)]
mod tests;

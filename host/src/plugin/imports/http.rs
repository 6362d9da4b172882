//! `http-client`: HTTP with granted origins.

use crate::plugin::bindings::auth::omnivisor::host::http_client::{CacheMode, Failure, Request, Response};
use crate::plugin::imports::{charge, charge_answer, rearm};
use crate::plugin::state::CallState;
use crate::plugin::text::{MESSAGE_BYTES_MAX, clean};
use crate::plugin::web::RESPONSE_BYTES_MAX;
use crate::plugin::web_cache::{Freshness, Outcome};
use crate::plugin::{ExchangeFailure, ExchangeResponse, WebRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap_async("send", |mut cx: StoreContextMut<'_, CallState>, (request,): (Request,)| {
        Box::new(async move {
            let headers = size(&request.headers);
            charge(&mut cx, request.method.len() + request.url.len() + headers + request.body.len())?;
            let granted = Arc::clone(&cx.data().granted);
            let until = cx.data().exchange_until(Instant::now());
            let (request, freshness) = asked(request);
            let (outcome, age) = match &granted.web {
                Some(web) => web.send(request, freshness, until, cx.data_mut().web_requests_left()).await,
                None => (Err(ExchangeFailure::Refused("nothing is granted".to_owned())), Duration::ZERO),
            };
            rearm(&mut cx);
            // Before it is copied: what is kept may be asked for again and again.
            if let Ok(response) = &outcome {
                charge_answer(&mut cx, size(&response.headers) + response.body.len())?;
            }
            Ok((answered(outcome, age),))
        })
    })
}

fn size(headers: &[(String, String)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn asked(request: Request) -> (WebRequest, Option<Freshness>) {
    let Request { method, url, headers, body, cache } = request;
    let freshness = match cache {
        CacheMode::None | CacheMode::Other(_) => None,
        CacheMode::MaxAge(seconds) => Some(Freshness::MaxAge(Duration::from_secs(seconds.into()))),
        CacheMode::Refresh => Some(Freshness::Refresh),
    };
    (WebRequest { method, url, headers, body, response_bytes_max: RESPONSE_BYTES_MAX }, freshness)
}

fn answered(outcome: Outcome, age: Duration) -> Result<Response, Failure> {
    match outcome {
        Ok(response) => {
            let ExchangeResponse { status, mut headers, body } = Arc::unwrap_or_clone(response);
            headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
            // There are no cookies, so nobody is told of any.
            headers.retain(|(name, _)| name != "set-cookie");
            Ok(Response { status, headers, body, age_s: u32::try_from(age.as_secs()).unwrap_or(u32::MAX) })
        }
        Err(ExchangeFailure::TimedOut) => Err(Failure::TimedOut),
        Err(ExchangeFailure::Unreachable(text)) => Err(Failure::Unreachable(clean(&text, MESSAGE_BYTES_MAX))),
        Err(ExchangeFailure::TooLarge { limit }) => Err(Failure::TooLarge(limit)),
        Err(ExchangeFailure::Protocol(text)) => Err(Failure::Protocol(clean(&text, MESSAGE_BYTES_MAX))),
        Err(ExchangeFailure::Refused(text)) => Err(Failure::Refused(clean(&text, MESSAGE_BYTES_MAX))),
    }
}

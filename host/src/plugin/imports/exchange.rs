//! `exchange`: HTTP with the node that the call is about.

use crate::plugin::bindings::adapter_v0_1::omnivisor::host::exchange::{Failure, Request, Response};
use crate::plugin::exchange::{check, reply};
use crate::plugin::imports::{charge, rearm};
use crate::plugin::state::CallState;
use tokio::time::Instant;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap_async("send", |mut cx: StoreContextMut<'_, CallState>, (request,): (Request,)| {
        Box::new(async move {
            let headers = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            charge(&mut cx, request.method.len() + request.path.len() + headers + request.body.len())?;
            let answer: Result<Response, Failure> = match (check(request), cx.data().link.clone()) {
                (Err(rule), _) => Err(Failure::Refused(rule)),
                (Ok(_), None) => Err(Failure::Refused("this call has nothing to send to a node".to_owned())),
                (Ok(request), Some(link)) => {
                    let until = cx.data().exchange_until(Instant::now());
                    cx.data_mut().is_at_node = true;
                    let result = link.send(request, until).await;
                    cx.data_mut().is_at_node = false;
                    reply(result)
                }
            };
            rearm(&mut cx);
            Ok((answer,))
        })
    })
}

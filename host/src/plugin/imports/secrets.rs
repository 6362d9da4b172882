//! `secrets`: values that the manifest asks for and the operator granted. They are in no log line and no error.

use crate::plugin::imports::{charge, charge_answer};
use crate::plugin::state::CallState;
use crate::plugin::text::clean;
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap("get", |mut cx: StoreContextMut<'_, CallState>, (name,): (String,)| {
        charge(&mut cx, name.len())?;
        let granted = Arc::clone(&cx.data().granted);
        let answer: Result<String, String> = match granted.secrets.as_ref().and_then(|secrets| secrets.get(&name)) {
            Some(secret) => {
                charge_answer(&mut cx, secret.reveal().len())?;
                Ok(secret.reveal().to_owned())
            }
            None => Err(format!("the secret `{}` is not granted", clean(&name, 64))),
        };
        Ok((answer,))
    })
}

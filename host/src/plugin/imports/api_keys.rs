//! `api-keys`: the keys that the host issued, by their text.

use crate::model::Secret;
use crate::plugin::ApiKey as Found;
use crate::plugin::bindings::auth::omnivisor::host::api_keys::ApiKey;
use crate::plugin::imports::{charge, charge_answer};
use crate::plugin::state::CallState;
use std::time::UNIX_EPOCH;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap("find", |mut cx: StoreContextMut<'_, CallState>, (text,): (String,)| {
        charge(&mut cx, text.len())?;
        let answer: Result<Option<ApiKey>, String> = match &cx.data().granted.api_keys {
            Some(keys) => keys.find(Secret::new(text)).map(|found| found.map(told)),
            None => Err("this host has no API keys".to_owned()),
        };
        if let Ok(Some(key)) = &answer {
            let bytes = key.id.len() + key.account.len() + key.scopes.iter().map(String::len).sum::<usize>();
            charge_answer(&mut cx, bytes)?;
        }
        Ok((answer,))
    })
}

fn told(key: Found) -> ApiKey {
    // One that ends before 1970 has ended.
    let ms = |expires: std::time::SystemTime| {
        expires.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    };
    ApiKey { id: key.id, account: key.account, scopes: key.scopes, expires_ms: key.expires.map(ms) }
}

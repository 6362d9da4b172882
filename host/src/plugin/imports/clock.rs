//! `clock`: the time of day.

use crate::plugin::imports::charge;
use crate::plugin::state::CallState;
use std::time::{SystemTime, UNIX_EPOCH};
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap("now-ms", |mut cx: StoreContextMut<'_, CallState>, (): ()| {
        charge(&mut cx, 0)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((u64::try_from(since.as_millis()).unwrap_or(u64::MAX),))
    })
}

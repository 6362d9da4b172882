//! `settings`: what the operator set for this plugin.

use crate::plugin::imports::{charge, charge_answer};
use crate::plugin::state::CallState;
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap("get", |mut cx: StoreContextMut<'_, CallState>, (): ()| {
        charge(&mut cx, 0)?;
        let granted = Arc::clone(&cx.data().granted);
        // Before the copy is made, and so paid for or not made.
        charge_answer(&mut cx, granted.settings.len())?;
        Ok((granted.settings.clone(),))
    })
}

//! `random`: bytes fit for keys, from the system.

use crate::plugin::imports::{charge, charge_answer};
use crate::plugin::state::CallState;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

const BYTES_MAX: u32 = 256;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap("bytes", |mut cx: StoreContextMut<'_, CallState>, (count,): (u32,)| {
        charge(&mut cx, 0)?;
        if count > BYTES_MAX {
            return Err(wasmtime::Error::msg(format!(
                "{count} random bytes were asked for, at most {BYTES_MAX} are given"
            )));
        }
        charge_answer(&mut cx, count as usize)?;
        let mut bytes = vec![0; count as usize];
        getrandom::fill(&mut bytes).map_err(|error| wasmtime::Error::msg(format!("no random bytes: {error}")))?;
        Ok((bytes,))
    })
}

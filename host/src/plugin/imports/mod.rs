//! What the host offers to plugins. Each function charges for what it does, or a plugin could have the host do a
//! thousand times the work that its own fuel pays for.

mod accounts;
mod api_keys;
mod clock;
mod exchange;
mod http;
mod log;
mod random;
mod secrets;
mod settings;

pub(super) use log::{LINE_BYTES_MAX, write_line};

use crate::plugin::class::{ACCOUNTS, API_KEYS, CLOCK, EXCHANGE, HTTP_CLIENT, LOG, RANDOM, SECRETS, SETTINGS};
use crate::plugin::grant::Granted;
use crate::plugin::state::CallState;
use crate::plugin::{PluginClass, wasi};
use wasmtime::component::Linker;
use wasmtime::{StoreContextMut, Trap};

/// Fuel that a call of the host costs, besides one unit a byte.
const CALL_FUEL: u64 = 1_000;

/// Links exactly what the class's world names and this plugin was granted, WASI as far as it is harmless, and nothing
/// else.
pub(super) fn offer(linker: &mut Linker<CallState>, class: PluginClass, granted: &Granted) -> wasmtime::Result<()> {
    wasi::offer(linker)?;
    log::add(&mut linker.instance(LOG)?)?;
    settings::add(&mut linker.instance(SETTINGS)?)?;
    clock::add(&mut linker.instance(CLOCK)?)?;
    match class {
        PluginClass::Auth => {
            random::add(&mut linker.instance(RANDOM)?)?;
            accounts::add(&mut linker.instance(ACCOUNTS)?)?;
            api_keys::add(&mut linker.instance(API_KEYS)?)?;
            if granted.secrets.is_some() {
                secrets::add(&mut linker.instance(SECRETS)?)?;
            }
            if granted.web.is_some() {
                http::add(&mut linker.instance(HTTP_CLIENT)?)?;
            }
            Ok(())
        }
        PluginClass::Validate => Ok(()),
        PluginClass::Adapter => exchange::add(&mut linker.instance(EXCHANGE)?),
    }
}

/// Takes the price of a call that brought so many bytes from the plugin, from its fuel and from its bytes.
pub(super) fn charge(cx: &mut StoreContextMut<'_, CallState>, bytes: usize) -> wasmtime::Result<()> {
    let bytes_left = cx.data().bytes_left.saturating_sub(bytes);
    cx.data_mut().bytes_left = bytes_left;
    // The engine's own budget is one for each call of the host; this makes it one for the whole call of the plugin.
    cx.set_hostcall_fuel(bytes_left);
    burn(cx, CALL_FUEL.saturating_add(bytes as u64))
}

/// Takes the price of an answer, which the host has to copy, from the plugin's fuel. Its bytes go into the plugin's own
/// memory, which has a limit of its own.
fn charge_answer(cx: &mut StoreContextMut<'_, CallState>, bytes: usize) -> wasmtime::Result<()> {
    burn(cx, bytes as u64)
}

fn burn(cx: &mut StoreContextMut<'_, CallState>, price: u64) -> wasmtime::Result<()> {
    match cx.get_fuel()?.checked_sub(price) {
        Some(left) => cx.set_fuel(left),
        None => {
            cx.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// The epoch went on while the plugin waited, and waiting is not computing.
fn rearm(cx: &mut StoreContextMut<'_, CallState>) {
    cx.set_epoch_deadline(1);
}

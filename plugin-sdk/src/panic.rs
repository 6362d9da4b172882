use crate::log::{Level, line};
use std::sync::Once;

static HOOK: Once = Once::new();

/// Makes panics of this instance heard: their message and place become its last log line, marked with the field `panic`,
/// and the host puts them into the error that the caller gets. Done before every call, because nothing else of a plugin
/// runs first.
pub(crate) fn announce() {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let message = panic.payload_as_str().unwrap_or("a panic without a message");
            let place = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            line(Level::Error, message, &[("panic".to_owned(), place)]);
        }));
    });
}

//! Lines in the host's log, under the plugin's name; on standard error when the plugin runs natively.
//!
//! A call may write 64 lines of 4,096 bytes; what is beyond is counted and dropped. Never log credentials.
//!
//! ```
//! use plugin_sdk::log;
//! let (status, path) = (404, "/RPC2");
//! log::warn!("the node refused the request", status = status, path = path);
//! log::info!("asked {path} once");
//! ```

pub use crate::bindings::common::omnivisor::host::log::Level;
pub use crate::{__log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace};
pub use crate::{__log_warn as warn, __log_write as write};

/// Writes one line. The macros of this module are the shorter way.
#[cfg(target_arch = "wasm32")]
pub fn line(level: Level, message: &str, fields: &[(String, String)]) {
    crate::bindings::common::omnivisor::host::log::write(&level, message, fields);
}

/// Writes one line. The macros of this module are the shorter way.
#[cfg(not(target_arch = "wasm32"))]
pub fn line(level: Level, message: &str, fields: &[(String, String)]) {
    let name = match level {
        Level::Trace => "TRACE",
        Level::Debug => "DEBUG",
        Level::Info | Level::Other(_) => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let fields: String = fields.iter().map(|(key, value)| format!(" {key}={value:?}")).collect();
    eprintln!("{name} {message}{fields}");
}

/// Writes a line of a level: `write!(Level::Info, "text {x}", key = value)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_write {
    ($level:expr, $message:literal $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::log::line(
            $level,
            &::std::format!($message),
            &[$((::std::string::String::from(::std::stringify!($key)), ::std::string::ToString::to_string(&$value))),*],
        )
    };
}

/// Writes a line of level `trace`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($line:tt)+) => { $crate::log::write!($crate::log::Level::Trace, $($line)+) };
}

/// Writes a line of level `debug`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($line:tt)+) => { $crate::log::write!($crate::log::Level::Debug, $($line)+) };
}

/// Writes a line of level `info`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($line:tt)+) => { $crate::log::write!($crate::log::Level::Info, $($line)+) };
}

/// Writes a line of level `warn`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($line:tt)+) => { $crate::log::write!($crate::log::Level::Warn, $($line)+) };
}

/// Writes a line of level `error`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($line:tt)+) => { $crate::log::write!($crate::log::Level::Error, $($line)+) };
}

//! The host's clock.

/// Milliseconds since 1970, UTC.
#[must_use]
pub fn now_ms() -> u64 {
    crate::bindings::common::omnivisor::host::clock::now_ms()
}

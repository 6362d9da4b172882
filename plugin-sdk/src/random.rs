//! Random bytes fit for keys and nonces.

/// So many bytes, at most 256; asking for more traps.
#[must_use]
pub fn bytes(count: u32) -> Vec<u8> {
    crate::bindings::common::omnivisor::host::random::bytes(count)
}

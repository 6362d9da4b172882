//! Named values that the plugin's manifest asks for and its operator granted.

/// The value.
///
/// # Errors
/// The host's words when the name is not among those granted.
pub fn get(name: &str) -> Result<String, String> {
    crate::bindings::common::omnivisor::host::secrets::get(name)
}

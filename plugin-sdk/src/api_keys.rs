use crate::bindings::common::omnivisor::host::api_keys;

pub use api_keys::ApiKey;

/// API keys that the host issued. It keeps only their hashes.
pub trait ApiKeys {
    /// The key that this text is, if there is one that is neither expired nor revoked.
    ///
    /// # Errors
    /// The host's words when it cannot say.
    fn find(&mut self, text: &str) -> Result<Option<ApiKey>, String>;
}

/// The host's own keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostApiKeys;

impl ApiKeys for HostApiKeys {
    fn find(&mut self, text: &str) -> Result<Option<ApiKey>, String> {
        api_keys::find(text)
    }
}

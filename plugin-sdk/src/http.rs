use crate::bindings::common::omnivisor::host::http_client;

pub use http_client::{CacheMode, Failure as HttpFailure, Request as HttpRequest, Response as HttpResponse};

/// HTTP with the origins that the plugin's manifest asks for and its operator granted.
pub trait Http {
    /// Sends a request and reads the whole response, inside the deadline of this call.
    ///
    /// # Errors
    /// [`HttpFailure`]: no answer, no proper one, or not granted.
    fn send(&mut self, request: HttpRequest) -> Result<HttpResponse, HttpFailure>;
}

/// The host's own client.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostHttp;

impl Http for HostHttp {
    fn send(&mut self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        http_client::send(&request)
    }
}

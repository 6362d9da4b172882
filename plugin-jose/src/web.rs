//! Documents over the host's HTTP, and the faults that come of not getting them.

use plugin_sdk::{CacheMode, Fault, Http, HttpFailure, HttpRequest, HttpResponse};

/// The other side cannot be reached.
pub const UNREACHABLE: &str = "auth.unreachable";
/// It did not answer in time.
pub const TIMED_OUT: &str = "auth.timed_out";
/// It answered something of no use.
pub const BAD_REPLY: &str = "auth.bad_reply";
/// The operator has not granted its origin.
pub const NOT_GRANTED: &str = "auth.not_granted";

/// Gets a JSON document; `what` is its name for people.
///
/// # Errors
/// A [`Fault`] unless the status is 200.
pub fn get(http: &mut dyn Http, what: &str, url: &str, cache: CacheMode) -> Result<HttpResponse, Fault> {
    let headers = vec![("accept".to_owned(), "application/json".to_owned())];
    let request = HttpRequest { method: "GET".to_owned(), url: url.to_owned(), headers, body: Vec::new(), cache };
    let response = send(http, what, request)?;
    if response.status != 200 {
        return Err(bad_status(what, url, response.status));
    }
    Ok(response)
}

/// Sends a request; any status is an answer.
///
/// # Errors
/// A [`Fault`] when there is no answer.
pub fn send(http: &mut dyn Http, what: &str, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let url = request.url.clone();
    http.send(request).map_err(|failure| {
        let fault = match failure {
            HttpFailure::TimedOut => Fault::timeout(TIMED_OUT, format!("{what} did not come in time")),
            HttpFailure::Unreachable(why) => Fault::plugin(UNREACHABLE, format!("{what} cannot be reached: {why}")),
            HttpFailure::TooLarge(limit) => {
                Fault::plugin(BAD_REPLY, format!("{what} is larger than the {limit} bytes allowed"))
            }
            HttpFailure::Protocol(why) => Fault::plugin(BAD_REPLY, format!("{what} came as no proper HTTP: {why}")),
            HttpFailure::Refused(why) => {
                Fault::plugin(NOT_GRANTED, format!("{what} may not be asked for: {why}; `allow_http` grants origins"))
            }
            HttpFailure::Other(why) => Fault::plugin(UNREACHABLE, format!("{what} did not come: {why}")),
        };
        fault.with("url", url)
    })
}

/// The fault of an answer that is not the one hoped for.
#[must_use]
pub fn bad_status(what: &str, url: &str, status: u16) -> Fault {
    Fault::plugin(BAD_REPLY, format!("{what} was answered with status {status}")).with("url", url)
}

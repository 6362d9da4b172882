//! What a plugin may send to its node, and what of the reply it gets to see.

use crate::plugin::bindings::adapter_v0_1::omnivisor::host::exchange as wit;
use crate::plugin::text::{MESSAGE_BYTES_MAX, clean};
use crate::plugin::{ExchangeFailure, ExchangeRequest, ExchangeResponse};

const METHOD_BYTES_MAX: usize = 32;
const PATH_BYTES_MAX: usize = 8_192;
const HEADERS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 1 << 20;

/// Headers that are the host's to set: who is asked, as whom, how long the body is, and what becomes of the connection.
///
/// `cookie` is not among them: the plugin sees no `set-cookie`, so it can only send what it made up itself, and monit
/// wants such a value to tell its own forms from foreign ones.
const HOST_HEADERS: [&str; 11] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers of a reply that are about credentials.
const HIDDEN_HEADERS: [&str; 2] = ["set-cookie", "www-authenticate"];

/// Checks a request. The answer's text says which rule it breaks.
pub(super) fn check(request: wit::Request) -> Result<ExchangeRequest, String> {
    let wit::Request { method, path, headers, body } = request;
    if method.len() > METHOD_BYTES_MAX || !is_token(&method) {
        return Err("the method has to be an HTTP token such as `POST`".to_owned());
    }
    check_target(&path, &headers)?;
    if body.len() > BODY_BYTES_MAX {
        return Err(format!("the body has {} bytes, at most {BODY_BYTES_MAX} are allowed", body.len()));
    }
    Ok(ExchangeRequest { method, path, headers, body })
}

/// Checks path and headers, of a request or of a stream to be opened.
pub(super) fn check_target(path: &str, headers: &[(String, String)]) -> Result<(), String> {
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("the path has {} bytes, at most {PATH_BYTES_MAX} are allowed", path.len()));
    }
    // Two slashes would make it an address of its own for some parsers.
    if !path.starts_with('/') || path.starts_with("//") {
        return Err("the path has to start with one `/`".to_owned());
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err("the path has to be percent-encoded, without a fragment".to_owned());
    }
    check_headers(headers, &HOST_HEADERS)
}

/// Checks headers of which some, in lower case, are the host's to set.
pub(super) fn check_headers(headers: &[(String, String)], host_headers: &[&str]) -> Result<(), String> {
    if headers.len() > HEADERS_MAX {
        return Err(format!("{} headers, at most {HEADERS_MAX} are allowed", headers.len()));
    }
    if headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > HEADER_BYTES_MAX {
        return Err(format!("the headers have more than {HEADER_BYTES_MAX} bytes"));
    }
    headers.iter().try_for_each(|(name, value)| check_header(name, value, host_headers))
}

fn check_header(name: &str, value: &str, host_headers: &[&str]) -> Result<(), String> {
    if !is_token(name) {
        return Err(format!("`{}` is not a header's name", clean(name, 64)));
    }
    if host_headers.iter().any(|host| name.eq_ignore_ascii_case(host)) {
        return Err(format!("the header `{}` is the host's to set", clean(name, 64)));
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(format!("the value of the header `{}` has a control character", clean(name, 64)));
    }
    Ok(())
}

/// A `token` of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_fit)
}

/// A reply as the plugin sees it.
pub(super) fn reply(result: Result<ExchangeResponse, ExchangeFailure>) -> Result<wit::Response, wit::Failure> {
    match result {
        Ok(ExchangeResponse { status, mut headers, body }) => {
            headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
            headers.retain(|(name, _)| !HIDDEN_HEADERS.contains(&name.as_str()));
            Ok(wit::Response { status, headers, body })
        }
        Err(ExchangeFailure::TimedOut) => Err(wit::Failure::TimedOut),
        Err(ExchangeFailure::Unreachable(text)) => Err(wit::Failure::Unreachable(clean(&text, MESSAGE_BYTES_MAX))),
        Err(ExchangeFailure::TooLarge { limit }) => Err(wit::Failure::TooLarge(limit)),
        Err(ExchangeFailure::Protocol(text)) => Err(wit::Failure::Protocol(clean(&text, MESSAGE_BYTES_MAX))),
        Err(ExchangeFailure::Refused(text)) => Err(wit::Failure::Refused(clean(&text, MESSAGE_BYTES_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, headers: &[(&str, &str)], body: usize) -> wit::Request {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        wit::Request { method: method.to_owned(), path: path.to_owned(), headers, body: vec![0; body] }
    }

    #[test]
    fn an_ordinary_request_passes_unchanged() {
        let headers = [("content-type", "text/xml; a=\tb"), ("cookie", "token=made-up")];
        let checked = check(request("POST", "/RPC2?a=%20b", &headers, BODY_BYTES_MAX));
        assert_eq!(checked.expect("fit").path, "/RPC2?a=%20b");
    }

    #[test]
    fn a_request_that_could_become_two_or_carry_credentials_is_refused() {
        for (method, path, header) in [
            ("", "/", None),
            ("GET /x HTTP/1.1\r\n", "/", None),
            ("GET", "", None),
            ("GET", "http://other/", None),
            ("GET", "//other/", None),
            ("GET", "/a b", None),
            ("GET", "/a\r\nhost: x", None),
            ("GET", "/ä", None),
            ("GET", "/a#b", None),
            ("GET", "/", Some(("Host", "x"))),
            ("GET", "/", Some(("AUTHORIZATION", "x"))),
            ("GET", "/", Some(("connection", "x"))),
            ("GET", "/", Some(("Content-Length", "1"))),
            ("GET", "/", Some(("transfer-encoding", "chunked"))),
            ("GET", "/", Some(("a b", "x"))),
            ("GET", "/", Some(("", "x"))),
            ("GET", "/", Some(("a", "x\r\nb: c"))),
            ("GET", "/", Some(("a", "x\0"))),
        ] {
            let headers: Vec<_> = header.into_iter().collect();
            assert!(check(request(method, path, &headers, 0)).is_err(), "{method:?} {path:?} {header:?}");
        }
        assert!(check(request("GET", &format!("/{}", "x".repeat(PATH_BYTES_MAX)), &[], 0)).is_err());
        assert!(check(request("GET", "/", &[("a", "b"); HEADERS_MAX + 1], 0)).is_err());
        assert!(check(request("GET", "/", &[("a", "b".repeat(HEADER_BYTES_MAX).as_str())], 0)).is_err());
        assert!(check(request("POST", "/", &[], BODY_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn replies_lose_the_headers_about_credentials() {
        let headers = ["Set-Cookie", "WWW-Authenticate", "Content-Type"].map(|name| (name.to_owned(), "x".to_owned()));
        let seen =
            reply(Ok(ExchangeResponse { status: 200, headers: headers.to_vec(), body: vec![] })).expect("a reply");
        assert_eq!(seen.headers, [("content-type".to_owned(), "x".to_owned())]);
    }
}

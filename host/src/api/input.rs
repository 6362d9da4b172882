//! What the caller chose, taken apart and checked: path, query and body.

use crate::api::error::ApiError;
use crate::api::faults;
use crate::api::wire::FieldProblem;
use crate::config::ServerConfig;
use crate::model::{Field, ProcessId};
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::time::timeout;

const JSON: &str = "application/json";

/// Collects the fields of a request and everything that is wrong with them, so that all faults are told at once.
#[derive(Debug, Default)]
pub(super) struct Input {
    query: Vec<(String, String)>,
    asked: Asked,
    problems: Vec<FieldProblem>,
}

/// What a caller asked for, checked: every field, and which node and process the path names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Everything the caller chose.
    pub fields: Vec<Field>,
    /// The node of the path, as the caller spelled it.
    pub node: Option<String>,
    /// The process of the path.
    pub process: Option<ProcessId>,
    /// The group of the path.
    pub group: Option<String>,
    /// The processes of the group of the path.
    pub members: Vec<ProcessId>,
    /// True of a list of what there is of the node and may be seen.
    pub is_of_parts: bool,
}

impl Input {
    /// The input of a request with this address.
    pub(super) fn new(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut input = Self::default();
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded =
                |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(|t| t.into_owned());
            match (decoded(name), decoded(value)) {
                (Ok(name), Ok(value)) if input.query.iter().any(|(known, _)| *known == name) => {
                    input.problem(
                        &format!("/query/{name}"),
                        "repeated",
                        format!("{name}={value} is given twice; give it once"),
                    );
                }
                (Ok(name), Ok(value)) => input.query.push((name, value)),
                (name, _) => {
                    let pointer = format!("/query/{}", name.unwrap_or_default());
                    input.problem(&pointer, "encoding", "percent-encode the parameter as UTF-8".into());
                }
            }
        }
        input
    }

    /// Notes a part of the path. The parts `node`, `process` and `group` of any route are what the request is about.
    pub(super) fn path(&mut self, name: &str, value: &str) {
        match name {
            "node" => self.asked.node = Some(value.to_owned()),
            "process" => self.asked.process = ProcessId::parse(value).ok(),
            "group" => self.asked.group = Some(value.to_owned()),
            _ => {}
        }
        self.asked.fields.push(Field { pointer: format!("/path/{name}"), value: value.to_owned() });
    }

    /// Notes a member of the body.
    pub(super) fn body(&mut self, name: &str, value: &str) {
        self.asked.fields.push(Field { pointer: format!("/body/{name}"), value: value.to_owned() });
    }

    /// Takes a query parameter.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.query.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.query.swap_remove(at);
        self.asked.fields.push(Field { pointer: format!("/query/{name}"), value: value.clone() });
        Some(value)
    }

    /// Takes a query parameter that is `true` or `false`, and `false` where it is missing.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.problem(&format!("/query/{name}"), "invalid", "`true` or `false` was expected".into());
                false
            }
        }
    }

    /// Takes all query parameters that are left, as they are. They become no fields: what another server sends back with a
    /// browser is for the strategy alone.
    pub(super) fn rest(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.query)
    }

    /// Takes a query parameter that is a whole number in a range.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = range.into_inner();
            let message = format!("a whole number from {low} to {high} was expected");
            self.problem(&format!("/query/{name}"), "out_of_range", message);
        }
        number
    }

    /// Adds something that is wrong.
    pub(super) fn problem(&mut self, pointer: &str, code: &str, message: String) {
        self.problems.push(FieldProblem { pointer: pointer.to_owned(), code: code.to_owned(), message });
    }

    /// All that was asked, if nothing is wrong and no query parameter was left over.
    pub(super) fn finish(mut self) -> Result<Asked, ApiError> {
        for (name, _) in std::mem::take(&mut self.query) {
            self.problem(
                &format!("/query/{name}"),
                "unknown_field",
                "there is no such parameter here; leave it out".into(),
            );
        }
        if self.problems.is_empty() { Ok(self.asked) } else { Err(ApiError::Invalid(self.problems)) }
    }
}

/// The named parts of the path, decoded. Unlike axum's own, a broken one is told in the one form of all errors.
pub(super) struct Segments<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => Err(ApiError::Malformed(format!("the path cannot be read: {}", rejection.body_text()))),
        }
    }
}

/// Reads a JSON body whole, inside the size and time that the configuration gives bodies.
///
/// # Errors
/// 408 when it does not arrive in time, 413 when it is too large, 415 when it is not JSON by its content type,
/// 400 when it is not JSON at all, 422 when a member is unknown, missing or of the wrong type.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limits: &ServerConfig,
) -> Result<T, ApiError> {
    let bytes = read(body, limits.body_bytes_max, limits.request_timeout).await?;
    check_media_type(headers, JSON)?;
    parse(&bytes)
}

/// Reads a body of another type whole, inside its size and time limits.
///
/// # Errors
/// 408 when it does not arrive in time, 413 when it is too large, 415 when its content type is another one.
pub(super) async fn bytes(
    headers: &HeaderMap,
    body: Body,
    media_type: &'static str,
    bytes_max: usize,
    time_max: Duration,
) -> Result<Bytes, ApiError> {
    check_media_type(headers, media_type)?;
    read(body, bytes_max, time_max).await
}

/// As [`json`], for a body that may be left out.
///
/// # Errors
/// As [`json`].
pub(super) async fn optional_json<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    limits: &ServerConfig,
) -> Result<T, ApiError> {
    let bytes = read(body, limits.body_bytes_max, limits.request_timeout).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    check_media_type(headers, JSON)?;
    parse(&bytes)
}

async fn read(body: Body, bytes_max: usize, time_max: Duration) -> Result<Bytes, ApiError> {
    let whole = timeout(time_max, Limited::new(body, bytes_max).collect());
    match whole.await {
        Err(_) => Err(ApiError::BodyTimedOut { limit: time_max }),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ApiError::TooLarge { limit_bytes: bytes_max })
        }
        Ok(Err(_)) => Err(ApiError::Malformed("the body broke off or was not framed properly".into())),
    }
}

fn check_media_type(headers: &HeaderMap, expected: &'static str) -> Result<(), ApiError> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) { Ok(()) } else { Err(ApiError::MediaType { expected }) }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Serde would take its values for the members in their order.
    let is_array = bytes.trim_ascii_start().starts_with(b"[");
    if is_array && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        let message = "expected an object".to_owned();
        return Err(ApiError::Invalid(vec![FieldProblem { pointer: "/body".into(), code: "invalid".into(), message }]));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let value = parsed.map_err(|error| {
        let path = faults::parts(error.path());
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => ApiError::Invalid(every_fault::<T>(bytes, path, &inner.to_string())),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => ApiError::Malformed(format!("the body is not JSON: {inner}")),
        }
    })?;
    reader.end().map_err(|error| ApiError::Malformed(format!("the body is not one JSON document: {error}")))?;
    Ok(value)
}

/// The fault at which reading stopped, with its line, and all others that can be found.
fn every_fault<T: DeserializeOwned>(bytes: &[u8], path: Vec<String>, message: &str) -> Vec<FieldProblem> {
    let pointer = faults::pointer(path.into_iter().chain(faults::missing(message)));
    let first = FieldProblem { pointer, code: "invalid".into(), message: faults::without_value(message) };
    // Not JSON behind the first fault, or too deep: that is told when the first one is mended.
    let others = serde_json::from_slice(bytes).map(faults::all::<T>).unwrap_or_default();
    let others = others.into_iter().filter(|other| other.pointer != first.pointer).collect::<Vec<_>>();
    [vec![first], others].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::CommandRequest;
    use crate::config::{Defaults, MachineSecrets, check};
    use std::path::Path;

    fn input(uri: &str) -> Input {
        Input::new(&uri.parse().expect("a uri"))
    }

    #[test]
    fn every_bad_parameter_is_named_at_once() {
        let mut input = input("/x?tail=many&offset=5&tail=6&colour=red&bad=%ff");
        assert_eq!(input.number("tail", 1..=10), None);
        assert_eq!(input.number("offset", 0..=9), Some(5));
        let Err(ApiError::Invalid(problems)) = input.finish() else { panic!("accepted") };
        let found: Vec<_> = problems.iter().map(|p| (p.pointer.as_str(), p.code.as_str())).collect();
        assert_eq!(
            found,
            [
                ("/query/tail", "repeated"),
                ("/query/bad", "encoding"),
                ("/query/tail", "out_of_range"),
                ("/query/colour", "unknown_field"),
            ]
        );
    }

    #[test]
    fn what_a_request_is_about_stands_in_its_path_alone() {
        let mut input = input("/x?node=beta");
        input.path("node", "alpha");
        input.path("process", "web:web_00");
        input.body("process", "web:web_01");
        assert_eq!(input.text("node").as_deref(), Some("beta"));
        let asked = input.finish().expect("nothing is wrong");
        assert_eq!((asked.node.as_deref(), asked.fields.len()), (Some("alpha"), 4));
        assert_eq!(asked.process.map(|id| id.to_string()).as_deref(), Some("web:web_00"));
        let fleet = Input::default().finish().expect("nothing is wrong");
        assert_eq!(fleet, Asked::default());
    }

    #[test]
    fn p17_what_is_wrong_with_a_member_is_told_without_its_value() {
        use crate::api::wire::config::ManagedNodeRequest;
        for (body, pointer) in [
            (r#"{"url":"http://x:1","password":987654321}"#, "/body/password"),
            (r#"{"url":"http://x:1","password":["987654321, expected 987654321"]}"#, "/body/password"),
            (r#"{"url":"http://x:1","enabled":"987654321, expected x"}"#, "/body/enabled"),
            (r#"{"url":987654321}"#, "/body/url"),
            (r#"987654321"#, "/body"),
            (r#" ["987654321", "http://x:1"]"#, "/body"),
        ] {
            let Err(ApiError::Invalid(problems)) = parse::<ManagedNodeRequest>(body.as_bytes()) else {
                panic!("{body}")
            };
            assert_eq!(problems[0].pointer, pointer);
            assert!(problems[0].message.starts_with("expected "), "{}", problems[0].message);
            assert!(!problems[0].message.contains("987654321"), "{}", problems[0].message);
        }
    }

    #[tokio::test]
    async fn a_body_is_json_of_the_right_shape_and_size() {
        let defaults = Defaults {
            storage_path: "/x.redb".into(),
            plugins_directory: "/plugins".into(),
            cache_directory: "/cache".into(),
        };
        let limits =
            check("server.body_bytes_max = 1024", &MachineSecrets, Path::new("/"), &defaults).expect("legal").server;
        let read = async |text: &str, headers: HeaderMap| {
            optional_json::<CommandRequest>(&headers, Body::from(text.to_owned()), &limits).await
        };
        let mut headers = HeaderMap::new();
        assert_eq!(read("", headers.clone()).await.expect("default"), CommandRequest::default());
        assert!(matches!(read("{}", headers.clone()).await, Err(ApiError::MediaType { .. })));
        headers.insert(CONTENT_TYPE, "application/json; charset=utf-8".parse().expect("a header"));
        assert_eq!(read(r#"{"wait_ms":5}"#, headers.clone()).await.expect("good").wait_ms, Some(5));
        for broken in ["{", "{} {}", "\u{1}"] {
            assert!(matches!(read(broken, headers.clone()).await, Err(ApiError::Malformed(_))), "{broken}");
        }
        for (wrong, pointer) in [
            (r#"{"wait_ms":"5"}"#, "/body/wait_ms"),
            (r#"{"wait":5}"#, "/body/wait"),
            (r#"{"wait_ms":1,"wait_ms":2}"#, "/body"),
            (r#"{"wait_ms":"5","colour":1}"#, "/body/wait_ms"),
        ] {
            let Err(ApiError::Invalid(problems)) = read(wrong, headers.clone()).await else { panic!("{wrong}") };
            assert!(problems[0].pointer.starts_with(pointer), "{wrong}: {:?}", problems[0]);
        }
        let long = format!(r#"{{"wait_ms":{}1}}"#, " ".repeat(1024));
        assert!(matches!(read(&long, headers).await, Err(ApiError::TooLarge { limit_bytes: 1024 })));
    }
}

//! Answers that a client has already, or asks for compressed.
//!
//! Compressed are answers to `GET` alone that are JSON and longer than 1 KiB. What could be guessed by its compressed length
//! (BREACH) is a secret beside something that the asker chose: answers with tokens are answers to `POST`, or say
//! `no-store` themselves, and are never compressed.

use crate::api::edge::Edge;
use crate::task::{TaskGroup, TaskKind};
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write as _};
use std::sync::{Arc, OnceLock};

/// Shorter ones are not worth it.
const PACKED_BYTES_MIN: usize = 1024;
/// Longer ones are compressed on a thread of their own.
const AT_ONCE_BYTES_MAX: usize = 64 << 10;
/// Longer ones that are made for one request alone are neither compressed nor compared.
const ONE_OFF_BYTES_MAX: usize = 4 << 20;
const BROTLI_QUALITY: u32 = 4;
const BROTLI_WINDOW: u32 = 20;
const JSON: &str = "application/json";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Plain,
    /// gzip, RFC 1952.
    Gzip,
    /// Brotli, RFC 7932.
    Brotli,
}

impl Coding {
    /// The best that these headers ask for: Brotli before gzip where both are as welcome. Source: RFC 9110, 12.5.3.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        let (mut gzip, mut brotli, mut any) = (None, None, None);
        for part in lines.flat_map(|line| line.split(',')) {
            let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight(parameters);
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "br" => brotli = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
        let (gzip, brotli) = (gzip.or(any).unwrap_or(0), brotli.or(any).unwrap_or(0));
        match (gzip, brotli) {
            (0, 0) => Self::Plain,
            (gzip, brotli) if brotli >= gzip => Self::Brotli,
            _ => Self::Gzip,
        }
    }

    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }

    /// Each writing of a document is tagged as another one.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => "-gz",
            Self::Brotli => "-br",
        }
    }

    fn pack(self, bytes: &[u8]) -> io::Result<Bytes> {
        let whole = Vec::with_capacity(bytes.len() / 4);
        match self {
            Self::Plain => Ok(Bytes::copy_from_slice(bytes)),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(whole, flate2::Compression::fast());
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?.into())
            }
            Self::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(whole, 4096, BROTLI_QUALITY, BROTLI_WINDOW);
                encoder.write_all(bytes)?;
                encoder.flush()?;
                Ok(encoder.into_inner().into())
            }
        }
    }
}

/// Thousandths; 1 unless said otherwise.
fn weight(parameters: &str) -> u32 {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(value) = value else { return 1000 };
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = format!("{:0<3}", fraction.get(..3).unwrap_or(fraction));
    match (whole, digits.parse::<u32>()) {
        ("0", Ok(thousandths)) => thousandths,
        ("1", Ok(_)) => 1000,
        _ => 0,
    }
}

/// A document with its tag and the ways in which it was written so far.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Bytes,
    tag: String,
    gzip: OnceLock<Bytes>,
    brotli: OnceLock<Bytes>,
}

impl Whole {
    pub(super) fn new(bytes: Bytes) -> Self {
        let digest = Sha256::digest(&bytes);
        let tag = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, tag, gzip: OnceLock::new(), brotli: OnceLock::new() }
    }

    /// As it is.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether these headers name the document as one that the client has.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        let is_this = |tag: &str| {
            let tag = tag.trim();
            let bare = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
            let bare = bare.strip_suffix("-gz").or_else(|| bare.strip_suffix("-br")).unwrap_or(bare);
            tag == "*" || bare == self.tag
        };
        lines.flat_map(|line| line.split(',')).any(is_this)
    }

    /// The answer to a request with these headers: 304 if it has the document, else the document as it is wanted.
    pub(super) async fn answer(self: &Arc<Self>, headers: &HeaderMap, requests: &TaskGroup) -> Response {
        if self.is_known(headers) {
            return self.head(Coding::Plain, StatusCode::NOT_MODIFIED.into_response());
        }
        let mut coding = Coding::wanted(headers);
        if self.bytes.len() < PACKED_BYTES_MIN {
            coding = Coding::Plain;
        }
        let bytes = match self.written(coding, requests).await {
            Some(bytes) => bytes,
            None => {
                coding = Coding::Plain;
                self.bytes.clone()
            }
        };
        let mut response = Response::new(Body::from(bytes));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        self.head(coding, response)
    }

    fn head(&self, coding: Coding, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if let Some(name) = coding.name() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        if let Ok(tag) = HeaderValue::try_from(format!("\"{}{}\"", self.tag, coding.suffix())) {
            headers.insert(ETAG, tag);
        }
        // Whoever keeps it asks each time whether it is still so, and gives it to nobody else.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding, authorization, cookie"));
        response
    }

    /// The document written so, made once. `None` if it could not be.
    async fn written(self: &Arc<Self>, coding: Coding, requests: &TaskGroup) -> Option<Bytes> {
        let place = match coding {
            Coding::Plain => return Some(self.bytes.clone()),
            Coding::Gzip => &self.gzip,
            Coding::Brotli => &self.brotli,
        };
        if let Some(known) = place.get() {
            return Some(known.clone());
        }
        let packed = if self.bytes.len() <= AT_ONCE_BYTES_MAX {
            coding.pack(&self.bytes)
        } else {
            let bytes = self.bytes.clone();
            requests
                .spawn_blocking(move || coding.pack(&bytes))
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        match packed {
            Ok(packed) => Some(place.get_or_init(|| packed).clone()),
            Err(error) => {
                tracing::error!(%error, "an answer could not be compressed");
                None
            }
        }
    }
}

/// Compares and compresses the answers that nobody else did: JSON that a `GET` made.
pub(super) async fn pack(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let mut asked = HeaderMap::new();
    for name in [ACCEPT_ENCODING, IF_NONE_MATCH] {
        for value in request.headers().get_all(&name) {
            asked.append(name.clone(), value.clone());
        }
    }
    let response = next.run(request).await;
    let headers = response.headers();
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == JSON);
    let is_decided = [CACHE_CONTROL, ETAG, CONTENT_ENCODING].iter().any(|name| headers.contains_key(name));
    let length = response.body().size_hint().exact();
    let is_short = length.is_some_and(|length| length <= ONE_OFF_BYTES_MAX as u64);
    if response.status() != StatusCode::OK || !is_json || is_decided || !is_short {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return Response::from_parts(head, Body::empty()) };
    let whole = Arc::new(Whole::new(body.to_bytes()));
    let packed = whole.answer(&asked, &edge.tasks.group(TaskKind::Request)).await;
    let (new, body) = packed.into_parts();
    head.status = new.status;
    head.headers.remove(CONTENT_LENGTH);
    if head.status == StatusCode::NOT_MODIFIED {
        head.headers.remove(CONTENT_TYPE);
    }
    head.headers.extend(new.headers);
    Response::from_parts(head, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Tasks;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn wanted(text: &str) -> Coding {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(text).unwrap());
        Coding::wanted(&headers)
    }

    #[test]
    fn what_is_asked_for_is_what_comes() {
        assert_eq!(Coding::wanted(&HeaderMap::new()), Coding::Plain);
        for (text, coding) in [
            ("", Coding::Plain),
            ("identity", Coding::Plain),
            ("gzip", Coding::Gzip),
            ("GZIP, deflate", Coding::Gzip),
            ("gzip, deflate, br, zstd", Coding::Brotli),
            ("br;q=0.5, gzip;q=0.8", Coding::Gzip),
            ("br;q=0, gzip", Coding::Gzip),
            ("br; q=0.000", Coding::Plain),
            ("*", Coding::Brotli),
            ("*;q=0.1, br;q=0", Coding::Gzip),
            ("gzip;q=nonsense", Coding::Plain),
            ("zstd", Coding::Plain),
        ] {
            assert_eq!(wanted(text), coding, "{text}");
        }
    }

    fn unpack(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        match coding {
            Coding::Plain => whole.extend_from_slice(bytes),
            Coding::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut whole).expect("gzip")),
            Coding::Brotli => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut whole).expect("Brotli")),
        }
        whole
    }

    proptest! {
        #[test]
        fn whatever_is_packed_comes_out_again(bytes in prop::collection::vec(any::<u8>(), 0..5_000)) {
            for coding in [Coding::Plain, Coding::Gzip, Coding::Brotli] {
                prop_assert_eq!(&unpack(coding, &coding.pack(&bytes).expect("packed")), &bytes);
            }
        }
    }

    #[tokio::test]
    async fn a_document_is_packed_once_tagged_by_its_writing_and_not_sent_to_who_has_it() {
        let requests = Tasks::new().group(TaskKind::Request);
        for size in [100, 10_000, 200_000] {
            let text = "omnivisor ".repeat(size / 10);
            let whole = Arc::new(Whole::new(Bytes::from(text.clone())));
            for (accepts, coding) in [("", Coding::Plain), ("gzip", Coding::Gzip), ("br", Coding::Brotli)] {
                let mut headers = HeaderMap::new();
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepts));
                let answer = whole.answer(&headers, &requests).await;
                let coding = if size < PACKED_BYTES_MIN { Coding::Plain } else { coding };
                let named = answer.headers().get(CONTENT_ENCODING).map(|name| name.to_str().unwrap().to_owned());
                assert_eq!(named.as_deref(), coding.name());
                let tag = answer.headers().get(ETAG).unwrap().clone();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(unpack(coding, &body), text.as_bytes());
                let again = whole.answer(&headers, &requests).await.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(again.as_ptr(), body.as_ptr(), "the same bytes, not made anew");
                headers.insert(IF_NONE_MATCH, tag.clone());
                let known = whole.answer(&headers, &requests).await;
                assert_eq!((known.status(), known.headers().contains_key(ETAG)), (StatusCode::NOT_MODIFIED, true));
                headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"another\", W/\"one\""));
                assert_eq!(whole.answer(&headers, &requests).await.status(), StatusCode::OK);
            }
        }
    }
}

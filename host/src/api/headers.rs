//! Headers that are lists.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};

/// The words of a header that is a list separated by commas, on one line or several (RFC 9110, 5.6.1).
pub(super) fn words<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

/// The values of all cookies of this name, in their order.
pub(super) fn cookies<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(known, _)| *known == name).map(|(_, value)| value)
}

//! What a request brings to be recognised by. One function for every route, the feed's upgrade and the event stream.

use crate::api::edge::Facts;
use crate::api::headers::{cookies, words};
use crate::auth::Login;
use crate::model::Secret;
use axum::extract::Request;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use std::time::SystemTime;

/// The session's cookie where the user's connection is encrypted: browsers take the prefix only with `Secure`, `Path=/` and
/// without a domain, so no other host and nobody on the way can plant one.
pub(super) const SECURE_COOKIE: &str = "__Host-omnivisor-session";
/// The same between a browser and a server on one machine, where nothing is encrypted and nobody is on the way.
const LOCAL_COOKIE: &str = "omnivisor-session";
const BEARER_PREFIX: &str = "bearer.";
const TICKET_PREFIX: &str = "ticket.";
/// The query parameter that a ticket may stand in.
pub(super) const TICKET: &str = "ticket";

/// What a request brings. What is said on purpose goes before what a browser adds by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Brought {
    /// None of these; perhaps headers that a strategy looks at.
    Nothing,
    /// A bearer token, in `Authorization` or, where a browser cannot set that, among the subprotocols as `bearer.TOKEN`.
    Bearer(Secret),
    /// A ticket for the feed, as `?ticket=` or among the subprotocols as `ticket.TICKET`.
    Ticket(Secret),
    /// The session's cookie.
    Cookie(Secret),
    /// Several that differ, or the cookie more than once. It is not for us to choose.
    Several,
}

impl Brought {
    /// Takes it out of a request. A ticket is looked at where one is good for something, and is taken out of the address, so
    /// that nobody behind sees it.
    pub(super) fn take(request: &mut Request, facts: &Facts, takes_tickets: bool) -> Self {
        let mut tickets = Vec::new();
        if takes_tickets {
            let (uri, found) = without_tickets(request.uri());
            tickets = found;
            if let Some(uri) = uri {
                *request.uri_mut() = uri;
            }
            tickets.extend(subprotocols(request.headers(), TICKET_PREFIX).map(str::to_owned));
        }
        let mut bearers = bearers(request.headers());
        bearers.dedup();
        tickets.dedup();
        match (bearers.as_slice(), tickets.as_slice()) {
            ([], []) => by_cookie(request.headers(), facts),
            ([token], []) => Self::Bearer(Secret::new((*token).to_owned())),
            ([], [ticket]) => Self::Ticket(Secret::new(ticket.clone())),
            (_, _) => Self::Several,
        }
    }

    /// The session's cookie alone, if it is there once.
    pub(super) fn cookie(headers: &HeaderMap, facts: &Facts) -> Option<Secret> {
        match by_cookie(headers, facts) {
            Self::Cookie(token) => Some(token),
            Self::Nothing | Self::Bearer(_) | Self::Ticket(_) | Self::Several => None,
        }
    }
}

fn by_cookie(headers: &HeaderMap, facts: &Facts) -> Brought {
    let Some(name) = cookie_name(facts) else { return Brought::Nothing };
    let mut values = cookies(headers, name);
    match (values.next(), values.next()) {
        (None, _) => Brought::Nothing,
        (Some(value), None) => Brought::Cookie(Secret::new(value.to_owned())),
        (Some(_), Some(_)) => Brought::Several,
    }
}

/// The bearer tokens that a request carries, an empty one being none.
fn bearers(headers: &HeaderMap) -> Vec<&str> {
    let by_header = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    by_header.chain(subprotocols(headers, BEARER_PREFIX)).filter(|token| !token.is_empty()).collect()
}

fn subprotocols<'h>(headers: &'h HeaderMap, prefix: &'static str) -> impl Iterator<Item = &'h str> {
    words(headers, &SEC_WEBSOCKET_PROTOCOL).filter_map(move |word| word.strip_prefix(prefix))
}

/// The tickets in an address, and the address without them if there are any.
fn without_tickets(uri: &Uri) -> (Option<Uri>, Vec<String>) {
    let is_ticket = |pair: &&str| pair.split_once('=').map_or(*pair, |(name, _)| name) == TICKET;
    let (found, others): (Vec<&str>, Vec<&str>) = uri.query().unwrap_or_default().split('&').partition(is_ticket);
    if found.is_empty() {
        return (None, Vec::new());
    }
    let tickets = found.iter().map(|pair| pair.split_once('=').map_or("", |(_, ticket)| ticket).to_owned()).collect();
    let separator = if others.is_empty() { "" } else { "?" };
    let whole = format!("{}{separator}{}", uri.path(), others.join("&"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(whole).ok();
    (Uri::from_parts(parts).ok(), tickets)
}

/// What the session's cookie is called for whom a request comes from; none where there is none, because anybody on the way
/// could read it.
pub(super) const fn cookie_name(facts: &Facts) -> Option<&'static str> {
    if facts.is_secure {
        return Some(SECURE_COOKIE);
    }
    if facts.address.is_loopback() { Some(LOCAL_COOKIE) } else { None }
}

/// Gives a browser the session that has just begun. It forgets it when the session ends in any case.
pub(super) fn given(name: &str, login: &Login, now: SystemTime) -> Option<HeaderValue> {
    let left = login.session.expires.duration_since(now).unwrap_or_default().as_secs();
    written(name, login.token.reveal(), left)
}

/// Takes it away again.
pub(super) fn taken_away(name: &str) -> Option<HeaderValue> {
    written(name, "", 0)
}

fn written(name: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
    let secure = if name == SECURE_COOKIE { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::trace::TraceContext;
    use axum::body::Body;
    use proptest::prelude::*;
    use std::net::IpAddr;
    use std::sync::Arc;

    fn facts(address: &str, is_secure: bool) -> Facts {
        let address: IpAddr = address.parse().unwrap();
        let trace = Arc::new(TraceContext::of(&HeaderMap::new(), 0));
        Facts { request_id: "r".into(), address, peer: address, is_secure, trace, who: Arc::default() }
    }

    fn request(uri: &str, lines: &[(&str, &str)]) -> Request {
        let builder = http::Request::builder().uri(uri);
        lines.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(Body::empty()).unwrap()
    }

    fn brought(lines: &[(&str, &str)]) -> Brought {
        Brought::take(&mut request("/x", lines), &facts("127.0.0.1", false), false)
    }

    fn bearer(token: &str) -> Brought {
        Brought::Bearer(Secret::new(token.into()))
    }

    fn cookie(token: &str) -> Brought {
        Brought::Cookie(Secret::new(token.into()))
    }

    #[test]
    fn a_token_is_taken_from_the_header_the_subprotocols_or_the_cookie() {
        assert_eq!(brought(&[]), Brought::Nothing);
        assert_eq!(brought(&[("sec-websocket-protocol", "feed.v1")]), Brought::Nothing);
        let words = ("sec-websocket-protocol", "x, bearer.abc");
        assert_eq!(brought(&[words]), bearer("abc"));
        assert_eq!(brought(&[words, ("authorization", "Basic xyz")]), bearer("abc"));
        assert_eq!(brought(&[("authorization", "bEARER abc"), words]), bearer("abc"), "the same twice is one");
        assert_eq!(brought(&[("authorization", "Bearer ")]), Brought::Nothing);
        assert_eq!(brought(&[("cookie", "a=b; omnivisor-session=abc;c=d")]), cookie("abc"));
        assert_eq!(brought(&[("cookie", "xomnivisor-session=abc")]), Brought::Nothing);
        let both = [("cookie", "omnivisor-session=abc"), ("authorization", "Bearer def")];
        assert_eq!(brought(&both), bearer("def"), "what is said on purpose goes before");
    }

    #[test]
    fn several_that_differ_are_nobodys() {
        assert_eq!(brought(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]), Brought::Several);
        assert_eq!(brought(&[("authorization", "Bearer a"), ("sec-websocket-protocol", "bearer.b")]), Brought::Several);
        for twice in ["omnivisor-session=a; omnivisor-session=b", "omnivisor-session=a; omnivisor-session=a"] {
            assert_eq!(brought(&[("cookie", twice)]), Brought::Several, "{twice}");
        }
        let lines = [("cookie", "omnivisor-session=a"), ("cookie", "omnivisor-session=a")];
        assert_eq!(brought(&lines), Brought::Several);
    }

    #[test]
    fn which_cookie_is_looked_at_says_how_the_request_came() {
        let line = ("cookie", "__Host-omnivisor-session=sealed; omnivisor-session=open");
        let take = |address, is_secure| Brought::take(&mut request("/x", &[line]), &facts(address, is_secure), false);
        assert_eq!(take("192.0.2.1", true), cookie("sealed"));
        assert_eq!(take("127.0.0.1", true), cookie("sealed"));
        assert_eq!(take("::1", false), cookie("open"));
        assert_eq!(take("192.0.2.1", false), Brought::Nothing, "anybody on the way could have read or planted it");
    }

    #[test]
    fn a_ticket_is_taken_out_of_the_address_where_it_counts() {
        let take = |uri, lines: &[(&str, &str)], takes| {
            let mut request = request(uri, lines);
            let brought = Brought::take(&mut request, &facts("127.0.0.1", false), takes);
            (brought, request.uri().to_string())
        };
        let ticket = || Brought::Ticket(Secret::new("t".into()));
        assert_eq!(take("/feed?sub=a&ticket=t&x", &[], true), (ticket(), "/feed?sub=a&x".into()));
        assert_eq!(take("/feed?ticket=t", &[], true), (ticket(), "/feed".into()));
        assert_eq!(take("/feed?ticket=t", &[], false), (Brought::Nothing, "/feed?ticket=t".into()));
        let words = ("sec-websocket-protocol", "feed.v1, ticket.t");
        assert_eq!(take("/feed", &[words], true).0, ticket());
        assert_eq!(take("/feed?ticket=t", &[words, ("cookie", "omnivisor-session=a")], true).0, ticket());
        assert_eq!(take("/feed?ticket=u", &[words], true).0, Brought::Several);
        assert_eq!(take("/feed?ticket=t", &[("authorization", "Bearer a")], true).0, Brought::Several);
        assert_eq!(take("/feed?ticket=t&ticket=u", &[], true), (Brought::Several, "/feed".into()));
        assert_eq!(take("http://h/feed?ticket=t", &[], true).1, "http://h/feed", "as HTTP/2 has it");
    }

    #[test]
    fn the_cookie_is_for_this_host_alone_and_for_no_script() {
        let text = |name| taken_away(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            text(SECURE_COOKIE),
            "__Host-omnivisor-session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure"
        );
        assert_eq!(text(LOCAL_COOKIE), "omnivisor-session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    }

    proptest! {
        /// Whatever else stands in the cookies' line: one of our name is found as it is, and a second one spoils it.
        #[test]
        fn our_cookie_is_found_among_any_others(before in "([a-z]{1,5}=[a-z=]{0,5}; ?){0,3}", after in "(; ?[a-z]{1,5}(=[a-z]{0,5})?){0,3}") {
            let line = format!("{before}omnivisor-session=abc{after}");
            prop_assert_eq!(brought(&[("cookie", &line)]), cookie("abc"));
            let twice = format!("{line}; omnivisor-session=abc");
            prop_assert_eq!(brought(&[("cookie", &twice)]), Brought::Several);
        }
    }
}

//! The context of a distributed trace, as W3C Trace Context has it: read from a request, kept in the log, passed on.
//!
//! Pure but for new ids, which are random. Source: <https://www.w3.org/TR/trace-context/> (version 00).

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Members of a `tracestate`, and characters of one that are passed on.
const STATE_MEMBERS_MAX: usize = 32;
const STATE_CHARS_MAX: usize = 512;
/// The one flag that version 00 knows: the trace is recorded.
const SAMPLED: u8 = 1;

/// The trace that a request is a part of, and our own span in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    /// Whose part of the trace caused ours, if the caller said so.
    parent: Option<u64>,
    span: u64,
    is_sampled: bool,
    state: Option<String>,
}

impl TraceContext {
    /// The one that a request brings, with a new span of our own. What is not proper begins a new trace, as if nothing had
    /// been brought; of those that begin here so many of a hundred are recorded. Whether another one is, its beginner says.
    pub(super) fn of(headers: &HeaderMap, sampled_percent: u64) -> Self {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next().filter(|_| parents.next().is_none()).and_then(|value| parse(value.to_str().ok()?));
        let span = (random() as u64).max(1);
        match parent {
            None => {
                let trace = random().max(1);
                Self { trace, parent: None, span, is_sampled: trace % 100 < u128::from(sampled_percent), state: None }
            }
            Some((trace, parent, is_sampled)) => {
                Self { trace, parent: Some(parent), span, is_sampled, state: state(headers) }
            }
        }
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }

    /// The span that caused ours: 16 hexadecimal digits.
    #[must_use]
    pub fn parent_id(&self) -> Option<String> {
        self.parent.map(|parent| format!("{parent:016x}"))
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// What those whom we ask are told: our span is their parent.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, if self.is_sampled { SAMPLED } else { 0 })
    }

    /// What other systems on the way keep with the trace, unchanged.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// Trace, parent, and whether it is recorded.
fn parse(text: &str) -> Option<(u128, u64, bool)> {
    let (version, rest) = text.split_at_checked(2)?;
    let version = hex(version, 2).filter(|version| *version != 0xff)?;
    let (fields, more) = rest.split_at_checked(53)?;
    // Later versions may say more behind another dash.
    if !more.is_empty() && (version == 0 || !more.starts_with('-')) {
        return None;
    }
    let mut parts = fields.strip_prefix('-')?.split('-');
    let (trace, parent, flags) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
    let is_whole = parts.next().is_none() && trace != 0 && parent != 0;
    let flags = u8::try_from(flags).ok()?;
    is_whole.then_some((trace, u64::try_from(parent).ok()?, flags & SAMPLED != 0))
}

/// That many hexadecimal digits, none of them a capital.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_proper = text.len() == digits && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    u128::from_str_radix(text, 16).ok().filter(|_| is_proper)
}

/// All lines of it as one, if each member of it is proper; what is not is left out as a whole.
fn state(headers: &HeaderMap) -> Option<String> {
    let mut members = Vec::new();
    for line in headers.get_all(TRACESTATE) {
        let text = line.to_str().ok()?;
        members
            .extend(text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty()));
    }
    let keys: Vec<&str> = members.iter().filter_map(|member| key(member)).collect();
    let is_proper = keys.len() == members.len()
        && (1..=STATE_MEMBERS_MAX).contains(&members.len())
        && keys.iter().enumerate().all(|(at, key)| !keys.iter().take(at).any(|earlier| earlier == key));
    let text = members.join(",");
    (is_proper && text.len() <= STATE_CHARS_MAX).then_some(text)
}

/// The key of a proper member.
fn key(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let is_of_key = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-*/@".contains(&c);
    let is_key = (1..=256).contains(&key.len())
        && key.bytes().all(is_of_key)
        && key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && key.matches('@').count() <= 1;
    let is_value = (1..=256).contains(&value.len()) && value.bytes().all(|c| (0x20..=0x7e).contains(&c) && c != b'=');
    (is_key && is_value).then_some(key)
}

fn random() -> u128 {
    let mut bytes = [0_u8; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the system gives no random bytes; traces have no id");
    }
    u128::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(parents: &[&str], states: &[&str]) -> TraceContext {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
        }
        for state in states {
            headers.append(TRACESTATE, HeaderValue::from_str(state).unwrap());
        }
        TraceContext::of(&headers, 0)
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_ours() {
        let context = of(&[PARENT], &["rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", "a@b=1"]);
        assert_eq!((context.trace_id().as_str(), context.parent), (TRACE, Some(0x00f0_67aa_0ba9_02b7)));
        assert_eq!(context.tracestate(), Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,a@b=1"));
        assert_eq!(context.traceparent(), format!("00-{TRACE}-{}-01", context.span_id()));
        assert_ne!(context.span_id(), "00f067aa0ba902b7");
        let unsampled = of(&[&PARENT.replace("-01", "-00")], &[]);
        assert!(unsampled.traceparent().ends_with("-00"));
        assert_eq!(of(&[&PARENT.replacen("00-", "cc-", 1)], &[]).trace_id(), TRACE, "a later version");
        assert_eq!(of(&[&format!("{}-what-will-be", PARENT.replacen("00-", "cc-", 1))], &[]).trace_id(), TRACE);
        assert!(
            of(&[&PARENT.replace("-01", "-ff")], &[]).traceparent().ends_with("-01"),
            "unknown flags are not passed on"
        );
    }

    #[test]
    fn what_is_not_proper_begins_a_new_trace_without_a_state() {
        let long = format!("{PARENT}-x");
        let bad = [
            "",
            "00",
            &long,
            &PARENT.replace("4bf9", "4BF9"),
            &PARENT.replacen("00-", "ff-", 1),
            &PARENT.replacen('-', "_", 1),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{TRACE}-{}-01", "0".repeat(16)),
            &PARENT[..54],
            &format!("{}.x", PARENT.replacen("00-", "cc-", 1)),
            &PARENT.replace("-01", "-0x"),
            &format!(" {PARENT}"),
        ];
        for parent in bad {
            let context = of(&[parent], &["a=1"]);
            assert!(context.trace_id() != TRACE && context.trace != 0 && context.parent.is_none(), "{parent}");
            assert_eq!(context.tracestate(), None, "{parent}");
        }
        assert_ne!(of(&[PARENT, PARENT], &[]).trace_id(), TRACE, "twice is not once");
        assert_ne!(of(&[], &[]).trace_id(), of(&[], &[]).trace_id());
    }

    #[test]
    fn a_state_that_is_not_proper_is_left_out_and_the_trace_goes_on() {
        let many: String = (0..33).map(|at| format!("k{at}=1,")).collect();
        for state in ["a", "A=1", "=1", "a=", "a=b=c", "a=1,a=2", "@a=1", &many, &format!("a={}", "x".repeat(257))] {
            let context = of(&[PARENT], &[state]);
            assert_eq!((context.trace_id().as_str(), context.tracestate()), (TRACE, None), "{state}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_brought_what_is_passed_on_is_proper(parent in "[ -~]{0,60}", hexes in "[0-9a-f-]{55}", state in "[ -~]{0,80}") {
            for brought in [parent.as_str(), hexes.as_str()] {
                let context = of(&[brought], &[&state]);
                let (trace, span, _) = parse(&context.traceparent()).expect("proper");
                prop_assert_eq!((trace, span), (context.trace, context.span));
                if let Some(state) = context.tracestate() {
                    let again = of(&[PARENT], &[state]);
                    prop_assert_eq!(again.tracestate(), Some(state), "it is proper itself");
                }
            }
        }
    }
}

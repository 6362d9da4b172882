//! How long ago, in few characters. Pure: the present is an argument.

use jiff::Timestamp;
use std::time::Duration;

/// The server's present as far as we can tell: its times are compared with its own clock, not with ours.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// What to add to our clock to get the server's.
    skew: jiff::SignedDuration,
}

impl Clock {
    /// Takes the server's clock from a `Date` header that has just arrived. It has whole seconds only, so a difference
    /// of up to two seconds says nothing and is ignored.
    pub(crate) fn from_date(header: Option<&str>, here: Timestamp) -> Self {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let skew = header.and_then(|text| parser.parse_timestamp(text).ok()).map(|there| there.duration_since(here));
        Self { skew: skew.filter(|skew| skew.unsigned_abs() > Duration::from_secs(2)).unwrap_or_default() }
    }

    /// The server's present.
    pub(crate) fn now(self) -> Timestamp {
        Timestamp::now().checked_add(self.skew).unwrap_or(Timestamp::MAX)
    }
}

/// The time from `then` (RFC 3339) to `now`; `None` when `then` is no time. A `then` in the future counts as now.
pub(crate) fn since(then: &str, now: Timestamp) -> Option<Duration> {
    let then: Timestamp = then.parse().ok()?;
    Some(Duration::try_from(now.duration_since(then)).unwrap_or_default())
}

/// `5s`, `3m 04s`, `2h 03m`, `4d 05h`: the two largest units.
pub(crate) fn short(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        86_400.. => format!("{days}d {:02}h", hours % 24),
    }
}

/// How long something took: `0.4 s`, `12.0 s`.
pub(crate) fn took(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// The time of day of an RFC 3339 time in UTC, as `12:34:56Z`; the text itself when it is no such time.
pub(crate) fn time_of_day(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(|_| at.to_owned(), |at| at.strftime("%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_show_their_two_largest_units() {
        let shown = |seconds| short(Duration::from_secs(seconds));
        assert_eq!([shown(0), shown(59), shown(60), shown(3_599)], ["0s", "59s", "1m 00s", "59m 59s"]);
        assert_eq!([shown(3_600), shown(86_399), shown(86_400)], ["1h 00m", "23h 59m", "1d 00h"]);
        assert_eq!(shown(u64::MAX), "213503982334601d 07h");
    }

    #[test]
    fn a_time_in_the_future_is_now_and_nonsense_is_nothing() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        assert_eq!(since("2026-01-02T03:04:00.500Z", now), Some(Duration::from_millis(4_500)));
        assert_eq!(since("2027-01-01T00:00:00Z", now), Some(Duration::ZERO));
        assert_eq!(since("yesterday", now), None);
        assert_eq!(time_of_day("2026-01-02T03:04:05.123Z"), "03:04:05Z");
        assert_eq!(time_of_day("soon"), "soon");
    }

    #[test]
    fn a_clock_that_is_off_is_followed_and_a_rounded_one_is_not() {
        let here: Timestamp = "2026-01-02T03:04:05.900Z".parse().expect("a time");
        let skew = |text| Clock::from_date(Some(text), here).skew.as_secs();
        assert_eq!(skew("Fri, 02 Jan 2026 03:04:05 GMT"), 0);
        assert_eq!(skew("Fri, 02 Jan 2026 04:04:06 GMT"), 3_600);
        assert_eq!(skew("nonsense"), 0);
        assert_eq!(Clock::from_date(None, here).skew.as_secs(), 0);
    }
}

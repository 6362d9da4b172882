//! Windows of time, by the clocks of a place.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span as Days, Timestamp, Zoned};

/// One window as the operator set it.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// Its place in the settings, from 1.
    pub(crate) number: usize,
    /// Names of environments, or `*` for all and for nodes that have none.
    pub(crate) environments: Vec<String>,
    pub(crate) span: Span,
    pub(crate) zone: TimeZone,
    pub(crate) reason: Option<String>,
}

/// From when to when, by the clocks of the window's zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Span {
    Once { from: DateTime, to: DateTime },
    Weekly { from: Moment, to: Moment },
}

/// A moment of every week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) weekday: Weekday,
    pub(crate) time: Time,
}

impl Window {
    /// Whether it is about nodes of this environment.
    pub(crate) fn covers(&self, environment: Option<&str>) -> bool {
        self.environments.iter().any(|name| name == "*" || Some(name.as_str()) == environment)
    }

    /// When the window that is open now ends; none if it is not open.
    ///
    /// Where the clocks go back an hour comes twice, and where they go forward one is missing: the window begins with the
    /// earlier of the two moments that could be meant and ends with the later, so that in doubt it is open.
    ///
    /// # Errors
    /// A time at the end of the calendar.
    pub(crate) fn open_until(&self, now: Timestamp) -> Result<Option<Zoned>, jiff::Error> {
        match self.span {
            Span::Once { from, to } => self.open_between(now, from, to),
            Span::Weekly { from, to } => {
                let today = now.to_zoned(self.zone.clone()).date();
                let length = days_between(from, to);
                // It lasts a week at most, so the one that may be open began within the last eight dates; or on the next
                // one, where the clocks leave out the midnight at which it begins.
                for days_ago in -1..=7 {
                    let day = today.checked_sub(Days::new().days(days_ago))?;
                    if day.weekday() != from.weekday {
                        continue;
                    }
                    let end: Date = day.checked_add(Days::new().days(length))?;
                    let until = self.open_between(now, day.to_datetime(from.time), end.to_datetime(to.time))?;
                    if until.is_some() {
                        return Ok(until);
                    }
                }
                Ok(None)
            }
        }
    }

    fn open_between(&self, now: Timestamp, from: DateTime, to: DateTime) -> Result<Option<Zoned>, jiff::Error> {
        let begin = self.zone.to_ambiguous_zoned(from).earlier()?;
        let end = self.zone.to_ambiguous_zoned(to).later()?;
        let is_open = begin.timestamp() <= now && now < end.timestamp();
        Ok(is_open.then_some(end))
    }
}

/// Dates from the one on which a weekly window begins to the one on which it ends, 0 to 7.
fn days_between(from: Moment, to: Moment) -> i64 {
    let days = i64::from(from.weekday.until(to.weekday));
    if days == 0 && to.time <= from.time { 7 } else { days }
}

#[cfg(test)]
mod tests;

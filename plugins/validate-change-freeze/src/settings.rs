//! What the operator set, checked. All that is wrong is told at once, each with its key.

use crate::window::{Moment, Span, Window};
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use plugin_sdk::Fault;
use serde::Deserialize;

/// What stops something that runs.
const DEFAULT: [&str; 5] = ["process.stop", "process.restart", "node.update", "node.restart", "node.shutdown"];
const LOCAL: &str = "%Y-%m-%dT%H:%M";
const CLOCK: &str = "%H:%M";
const WINDOWS_MAX: usize = 64;
const NAMES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 200;
/// The host cuts a fault's message at 1,024 bytes.
const MESSAGE_BYTES_MAX: usize = 900;

/// The settings, ready to judge with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) windows: Vec<Window>,
    /// Names of operations, or prefixes ending in `*`.
    pub(crate) operations: Vec<String>,
    pub(crate) override_permission: String,
}

/// As the operator writes them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    windows: Vec<WrittenWindow>,
    #[serde(default = "operations")]
    operations: Vec<String>,
    #[serde(default = "override_permission")]
    override_permission: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWindow {
    environments: Vec<String>,
    from: Option<String>,
    to: Option<String>,
    weekly: Option<Vec<String>>,
    #[serde(default = "utc")]
    time_zone: String,
    #[serde(default)]
    reason: String,
}

fn operations() -> Vec<String> {
    DEFAULT.map(str::to_owned).to_vec()
}

fn override_permission() -> String {
    "change.override".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Settings {
    /// Reads the JSON that the host hands over.
    ///
    /// # Errors
    /// `settings.invalid` with every fault, each by its key, cut where the host would cut it.
    pub(crate) fn parse(json: &str) -> Result<Self, Fault> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let written: Written = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let key = error.path().to_string();
            let told = error.into_inner().to_string();
            // The place in a text that the operator never saw is of no use.
            let told = told.split(" at line ").next().unwrap_or_default().to_owned();
            refused(vec![if key == "." { told } else { format!("`{key}`: {told}") }])
        })?;
        let mut faults = Vec::new();
        check_operations(&written, &mut faults);
        let count = written.windows.len();
        if !(1..=WINDOWS_MAX).contains(&count) {
            faults.push(format!("`windows`: there are {count}; 1 to {WINDOWS_MAX} were expected"));
        }
        let windows = written.windows.into_iter().take(WINDOWS_MAX).enumerate();
        let windows: Vec<_> = windows.filter_map(|(at, window)| check_window(at, window, &mut faults)).collect();
        if !faults.is_empty() {
            return Err(refused(faults));
        }
        let (operations, override_permission) = (written.operations, written.override_permission);
        Ok(Self { windows, operations, override_permission })
    }
}

fn check_operations(written: &Written, faults: &mut Vec<String>) {
    let count = written.operations.len();
    if !(1..=NAMES_MAX).contains(&count) {
        faults.push(format!("`operations`: there are {count}; 1 to {NAMES_MAX} were expected"));
    }
    for (at, operation) in written.operations.iter().enumerate() {
        let is_known =
            ["process.", "node."].iter().any(|kind| operation.len() > kind.len() && operation.starts_with(kind));
        if !is_known {
            faults.push(format!(
                "`operations[{at}]`: an operation on processes or nodes was expected, such as `process.stop`, or `process.*`"
            ));
        }
    }
    if written.override_permission.is_empty() {
        faults.push("`override_permission`: a permission was expected, such as `change.override`".to_owned());
    }
}

fn check_window(at: usize, written: WrittenWindow, faults: &mut Vec<String>) -> Option<Window> {
    let before = faults.len();
    let key = |name: &str| format!("`windows[{at}].{name}`");
    if !(1..=NAMES_MAX).contains(&written.environments.len()) {
        let count = written.environments.len();
        faults.push(format!(
            "{}: there are {count}; 1 to {NAMES_MAX} names were expected, or `*` for all",
            key("environments")
        ));
    }
    if written.environments.iter().any(|name| !(1..=NAME_BYTES_MAX).contains(&name.len())) {
        faults.push(format!("{}: names of 1 to {NAME_BYTES_MAX} bytes were expected", key("environments")));
    }
    if written.reason.len() > REASON_BYTES_MAX || written.reason.chars().any(char::is_control) {
        faults.push(format!(
            "{}: at most {REASON_BYTES_MAX} bytes without control characters were expected",
            key("reason")
        ));
    }
    let zone = zone(&written.time_zone);
    if zone.is_none() {
        faults.push(format!("{}: a name such as `Europe/Berlin` or `UTC` was expected", key("time_zone")));
    }
    let span = match (&written.from, &written.to, &written.weekly) {
        (Some(from), Some(to), None) => once(from, to, &key, faults),
        (None, None, Some(weekly)) => repeated(weekly, &key, faults),
        _ => {
            faults.push(format!("`windows[{at}]`: either `from` and `to` or `weekly` was expected"));
            None
        }
    };
    let (zone, span) = zone.zip(span)?;
    let window = Window {
        number: at + 1,
        environments: written.environments,
        span,
        zone,
        reason: Some(written.reason).filter(|reason| !reason.is_empty()),
    };
    (faults.len() == before).then_some(window)
}

/// A zone of the database that is built in; never one of the machine's, and no offsets, which know no summer.
fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

fn once(from: &str, to: &str, key: &dyn Fn(&str) -> String, faults: &mut Vec<String>) -> Option<Span> {
    let mut moment = |name: &str, text: &str| {
        let moment = exact(DateTime::strptime(LOCAL, text).ok(), text, |at| at.strftime(LOCAL).to_string());
        if moment.is_none() {
            faults.push(format!("{}: a local time such as `2026-12-20T16:00` was expected", key(name)));
        }
        moment
    };
    let (from, to) = (moment("from", from), moment("to", to));
    let (from, to) = from.zip(to)?;
    if from >= to {
        faults.push(format!("{}: it is not after `from`", key("to")));
        return None;
    }
    Some(Span::Once { from, to })
}

fn repeated(weekly: &[String], key: &dyn Fn(&str) -> String, faults: &mut Vec<String>) -> Option<Span> {
    let [from, to] = weekly else {
        faults.push(format!("{}: two moments were expected, such as [\"fri 16:00\", \"mon 08:00\"]", key("weekly")));
        return None;
    };
    let moments = moment(from).zip(moment(to));
    if moments.is_none() {
        let expected = "`mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun` and a time was expected, such as `fri 16:00`";
        faults.push(format!("{}: {expected}", key("weekly")));
    }
    let (from, to) = moments?;
    if from == to {
        faults
            .push(format!("{}: it ends when it begins; use `from` and `to` for a freeze without gaps", key("weekly")));
        return None;
    }
    Some(Span::Weekly { from, to })
}

fn moment(text: &str) -> Option<Moment> {
    let (day, time) = text.split_once(' ')?;
    let weekday = match day {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    };
    let time = exact(Time::strptime(CLOCK, time).ok(), time, |at| at.strftime(CLOCK).to_string())?;
    Some(Moment { weekday, time })
}

/// What was read, if it would be printed the same: `8:00` is not taken for `08:00`.
fn exact<T>(read: Option<T>, text: &str, printed: impl Fn(&T) -> String) -> Option<T> {
    read.filter(|value| printed(value) == text)
}

fn refused(faults: Vec<String>) -> Fault {
    let mut message = String::new();
    for (at, fault) in faults.iter().enumerate() {
        let joined = message.len() + fault.len() + 2;
        if at > 0 && joined > MESSAGE_BYTES_MAX {
            message.push_str(&format!("; and {} more", faults.len() - at));
            break;
        }
        if at > 0 {
            message.push_str("; ");
        }
        message.push_str(fault);
    }
    Fault::caller("settings.invalid", format!("its settings: {message}"))
}

#[cfg(test)]
mod tests;

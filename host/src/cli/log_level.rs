//! `log-level`: what a running server logs, for a while.

use super::age;
use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::escape;
use crate::api::wire::log_level::{LogLevelRequest, LogLevelView};
use clap::Args;
use http::Method;
use jiff::Timestamp;
use std::time::Duration;

/// `omnivisor log-level`
#[derive(Debug, Clone, Args)]
pub struct LogLevelArgs {
    /// error, warn, info, debug, trace or off, or TARGET=LEVEL for parts of the program, separated by commas [default: say
    /// what is in force]
    #[arg(value_name = "LEVEL")]
    pub level: Option<String>,
    /// For how long, as 90s, 10m or 2h, up to 24h [default: 10m]
    #[arg(long = "for", value_name = "TIME", requires = "level", value_parser = seconds)]
    pub lasts: Option<u64>,
    /// Go back to what the configuration says
    #[arg(long, conflicts_with = "level")]
    pub reset: bool,
}

/// A time in whole seconds, minutes or hours.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err("expected a time as 90s, 10m or 2h".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| (1..=86_400).contains(seconds)).ok_or_else(|| "expected a time from 1s to 24h".to_owned())
}

const PATH: &[&str] = &["log-level"];

pub(crate) async fn run(api: &Api, console: &mut Console, args: &LogLevelArgs) -> Result<(), CliError> {
    let view: LogLevelView = match &args.level {
        Some(level) => {
            let wish = LogLevelRequest { level: level.clone(), for_seconds: args.lasts };
            api.change(Method::PUT, PATH, Some(&wish), None).await?
        }
        None if args.reset => api.change(Method::DELETE, PATH, None::<&()>, None).await?,
        None => api.read(PATH, &[]).await?,
    };
    if console.is_json {
        return console.json(&view);
    }
    console.line(&escape::line(&told(&view, Timestamp::now())))
}

fn told(view: &LogLevelView, now: Timestamp) -> String {
    let until: Option<Timestamp> = view.until.as_deref().and_then(|until| until.parse().ok());
    let Some(until) = until else { return format!("{}, as configured", view.level) };
    let left = age::short(Duration::try_from(until.duration_since(now)).unwrap_or_default());
    let by = view.by.as_deref().unwrap_or_default();
    format!("{} for another {left}, set by {by}; then {}", view.level, view.configured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_bounds() {
        for (text, expected) in [("90s", Some(90)), ("10m", Some(600)), ("24h", Some(86_400)), ("7", Some(7))] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
        for bad in ["0s", "25h", "m", "", "-1s", "1.5h", "1d", "99999999999999999999h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_level_is_told_with_its_end() {
        let view = LogLevelView { level: "debug".into(), configured: "info".into(), until: None, by: None };
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(told(&view, now), "debug, as configured");
        let view = LogLevelView { until: Some("2026-01-02T03:14:05.000Z".into()), by: Some("ann".into()), ..view };
        assert_eq!(told(&view, now), "debug for another 10m 00s, set by ann; then info");
    }
}

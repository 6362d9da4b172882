use crate::author::call::{Ended, Subject};
use crate::author::compare::differences;
use crate::author::limits::{LimitOptions, Place};
use crate::author::script::{Played, Script};
use crate::author::text::{counted, grouped, plain, took};
use crate::author::vectors::{self, Case};
use crate::author::{AuthorError, Facts, record};
use crate::config::PluginConfig;
use crate::model::Secret;
use crate::plugin::{LoadedPlugins, PluginCounters};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How much more fuel than recorded a case may use, unless said otherwise.
const FUEL_RISE_PERCENT: u32 = 20;

/// What to test, and how.
#[derive(Debug, Clone)]
pub struct TestOptions {
    /// The component.
    pub file: PathBuf,
    /// The cases.
    pub vectors: PathBuf,
    /// Instead of the limits of its kind.
    pub limits: LimitOptions,
    /// Whether to write the fuel that each case used into the file of cases.
    pub is_fuel_updated: bool,
    /// How much more fuel than recorded a case may use, in per cent; 20 if not given.
    pub fuel_rise_percent: Option<u32>,
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    /// The plugin.
    pub plugin: String,
    /// SHA-256 of the component.
    pub sha256: String,
    /// Every case, in the order of the file.
    pub cases: Vec<CaseReport>,
    /// How many are as expected.
    pub passed: usize,
    /// How many are not.
    pub failed: usize,
    /// Whether fuel was written into the file of cases.
    pub is_fuel_updated: bool,
}

/// What came of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// The function called.
    pub call: String,
    /// What was not as expected; nothing if all is well.
    pub problems: Vec<String>,
    /// Fuel used; none when the plugin was not called, because a server would not have called it either.
    pub fuel: Option<u64>,
    /// Fuel that was recorded.
    pub fuel_recorded: Option<u64>,
    /// Microseconds that the call took.
    pub time_us: u64,
    /// The most linear memory that it had.
    pub memory_bytes: u64,
    /// Requests that it sent.
    pub http_requests: u64,
    /// Passwords that it had compared.
    pub password_checks: u64,
    /// API keys that it asked for.
    pub key_lookups: u64,
}

/// Runs a component's cases one after the other in the real engine, inside the limits of its kind.
///
/// # Errors
/// [`AuthorError`] when there is nothing to run: the component cannot be loaded, or the file of cases is wrong.
///
/// # Cancel safety
/// Dropping the future drops the instance of the case under way; the file of cases is only written after the last.
pub async fn test(options: &TestOptions) -> Result<TestReport, AuthorError> {
    let facts = Facts::read(&options.file)?;
    let class = facts.known_class()?;
    let (text, cases) = vectors::read(&options.vectors, class)?;
    let place = Place { class, plugin: facts.plugin.clone(), folder: facts.folder(), limits: options.limits };
    let mut bench = Bench { place, script: Arc::default(), loaded: None, time: Duration::ZERO };
    bench.time = bench.place.time()?;
    let rise = options.fuel_rise_percent.unwrap_or(FUEL_RISE_PERCENT);
    let mut reports = Vec::with_capacity(cases.len());
    for case in cases {
        let mut report = bench.run(case).await?;
        if !options.is_fuel_updated {
            report.problems.extend(fuel_risen(&report, rise));
        }
        reports.push(report);
    }
    let failed = reports.iter().filter(|report| !report.problems.is_empty()).count();
    let mut is_fuel_updated = false;
    if options.is_fuel_updated {
        is_fuel_updated = update_fuel(options, &text, &reports)?;
    }
    let passed = reports.len() - failed;
    Ok(TestReport { plugin: facts.plugin, sha256: facts.sha256, cases: reports, passed, failed, is_fuel_updated })
}

/// The component, loaded with what the case under way grants it.
struct Bench {
    place: Place,
    script: Arc<Script>,
    loaded: Option<(Grant, LoadedPlugins)>,
    time: Duration,
}

/// What a case sets and grants, in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    settings: String,
    secrets: BTreeMap<String, String>,
    allow_http: Vec<String>,
}

impl Grant {
    fn of(case: &Case) -> Self {
        let settings = Value::Object(case.settings.clone()).to_string();
        Self { settings, secrets: case.secrets.clone(), allow_http: case.allow_http.clone() }
    }

    fn configured(&self) -> PluginConfig {
        let secret = |(name, value): (&String, &String)| (name.clone(), Secret::new(value.clone()));
        PluginConfig {
            settings: self.settings.clone(),
            secrets: self.secrets.iter().map(secret).collect(),
            allow_http: self.allow_http.clone(),
            ..PluginConfig::default()
        }
    }
}

impl Bench {
    async fn run(&mut self, case: Case) -> Result<CaseReport, AuthorError> {
        let grant = Grant::of(&case);
        let loaded = match self.loaded.take() {
            Some((same, loaded)) if same == grant => loaded,
            // Plugins are told their settings when they are loaded.
            Some(_) | None => self.place.load(grant.configured(), Arc::clone(&self.script)).await?,
        };
        self.script.begin(&case);
        let counters = loaded.plugins.first().map(|plugin| Arc::clone(&plugin.counters)).unwrap_or_default();
        let calls_before = counters.snapshot().calls();
        let started = Instant::now();
        let ended = match case.call() {
            Ok(call) => {
                let (class, script, time) = (self.place.class, &self.script, self.time);
                Subject { class, loaded: &loaded, script, time }.perform(call).await
            }
            Err(reason) => Ended::Impossible(reason),
        };
        let took = started.elapsed();
        let report = report(case, ended, self.script.end(), &counters, calls_before, took);
        self.loaded = Some((grant, loaded));
        Ok(report)
    }
}

fn report(
    case: Case,
    ended: Ended,
    played: Played,
    counters: &PluginCounters,
    calls_before: u64,
    took: Duration,
) -> CaseReport {
    let after = counters.snapshot();
    let was_called = after.calls() > calls_before;
    let mut problems = judge(&case, &ended);
    problems.extend(played.problems);
    CaseReport {
        name: case.name,
        call: case.call,
        problems,
        fuel: was_called.then_some(after.fuel_last),
        fuel_recorded: case.fuel,
        time_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        memory_bytes: if was_called { after.memory_bytes_last } else { 0 },
        http_requests: played.http_requests,
        password_checks: played.password_checks,
        key_lookups: played.key_lookups,
    }
}

fn judge(case: &Case, ended: &Ended) -> Vec<String> {
    match (ended, &case.expect, &case.fault) {
        (Ended::Impossible(reason), _, _) => vec![reason.clone()],
        (Ended::Result(found), Some(expected), _) => differences(expected, found),
        (Ended::Result(found), None, Some(code)) => vec![format!("expected the fault {code}, found {found}")],
        (Ended::Fault { code, .. }, _, Some(expected)) if code == expected => Vec::new(),
        (Ended::Fault { code, message }, _, Some(expected)) => {
            vec![format!("expected the fault {expected}, found {code}: {message}")]
        }
        (Ended::Fault { code, message }, _, None) => {
            vec![format!("expected a result, found the fault {code}: {message}")]
        }
        (Ended::Result(_), None, None) => vec!["the case expects nothing".to_owned()],
    }
}

fn fuel_risen(report: &CaseReport, percent: u32) -> Option<String> {
    let (used, recorded) = (report.fuel?, report.fuel_recorded?);
    let most = u128::from(recorded) * (100 + u128::from(percent)) / 100;
    (u128::from(used) > most).then(|| {
        format!(
            "it used {} units of fuel, and {} are recorded; {percent} % more are allowed (--update-fuel records it anew)",
            grouped(used),
            grouped(recorded)
        )
    })
}

/// Records the fuel of the cases that passed. True if that changed the file.
fn update_fuel(options: &TestOptions, text: &str, reports: &[CaseReport]) -> Result<bool, AuthorError> {
    let passed = reports.iter().enumerate().filter(|(_, report)| report.problems.is_empty());
    let fuel: BTreeMap<usize, u64> = passed.filter_map(|(at, report)| Some((at, report.fuel?))).collect();
    let path = &options.vectors;
    let written = record::with_fuel(text, &fuel).ok_or_else(|| AuthorError::Vectors {
        path: path.clone(),
        reason: "there is no place in it for the fuel that was used".to_owned(),
    })?;
    if written == text {
        return Ok(false);
    }
    plugin_sdk::pack::write_whole(path, written.as_bytes()).map_err(AuthorError::write(path))?;
    Ok(true)
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            case.fmt(f)?;
        }
        let updated = if self.is_fuel_updated { "; their fuel is recorded" } else { "" };
        writeln!(f, "{}: {} passed, {} failed{updated}", self.plugin, counted(self.passed as u64, "case"), self.failed)
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.problems.is_empty() { "ok" } else { "FAILED" };
        write!(f, "{word:<6}  {} ({})", plain(&self.name), self.call)?;
        match self.fuel {
            Some(fuel) => {
                write!(f, ": fuel {}, {}", grouped(fuel), took(Duration::from_micros(self.time_us)))?;
                write!(f, ", {} KiB, {}", grouped(self.memory_bytes >> 10), counted(self.http_requests, "request"))?;
            }
            None => f.write_str(": not called, as a server would not call it")?,
        }
        for (count, noun) in [(self.password_checks, "password check"), (self.key_lookups, "key lookup")] {
            if count > 0 {
                write!(f, ", {}", counted(count, noun))?;
            }
        }
        writeln!(f)?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "        {}", plain(problem)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case(text: &str) -> Case {
        serde_json::from_str(text).expect("a case")
    }

    fn used(fuel: u64, fuel_recorded: u64) -> CaseReport {
        let case = case(r#"{ "name": "a", "call": "observe" }"#);
        let ended = Ended::Result(Value::Null);
        let counters = PluginCounters::default();
        let report = report(case, ended, Played::default(), &counters, 0, Duration::ZERO);
        CaseReport { fuel: Some(fuel), fuel_recorded: Some(fuel_recorded), ..report }
    }

    #[test]
    fn a_rise_of_fuel_beyond_what_is_allowed_is_a_problem() {
        assert_eq!(fuel_risen(&used(1_200, 1_000), 20), None);
        assert!(fuel_risen(&used(1_201, 1_000), 20).expect("too much").contains("1,201 units of fuel, and 1,000 are"));
        assert!(fuel_risen(&used(1_001, 1_000), 0).is_some());
        assert_eq!(fuel_risen(&used(10, 1_000), 0), None, "less is welcome");
    }

    #[test]
    fn results_and_faults_are_told_apart() {
        let expects = case(r#"{ "name": "a", "call": "observe", "expect": { "x": 1 } }"#);
        let faults = case(r#"{ "name": "a", "call": "observe", "fault": "node.bad_reply" }"#);
        let fault = |code: &str| Ended::Fault { code: code.to_owned(), message: "m".to_owned() };
        assert_eq!(judge(&expects, &Ended::Result(json!({ "x": 1 }))), [""; 0]);
        assert_eq!(judge(&expects, &fault("a.b")), ["expected a result, found the fault a.b: m"]);
        assert_eq!(judge(&faults, &fault("node.bad_reply")), [""; 0]);
        assert_eq!(judge(&faults, &fault("a.b")), ["expected the fault node.bad_reply, found a.b: m"]);
        assert_eq!(judge(&faults, &Ended::Result(json!(1))), ["expected the fault node.bad_reply, found 1"]);
    }
}

use crate::api::batch::{self, BatchLimits, Ended, Rolling, Why, Work};
use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::orders::{WAIT_DEFAULT, Wish, give, millis, note_override};
use crate::api::input::{Input, json};
use crate::api::view;
use crate::api::wire::Problem;
use crate::api::wire::bulk::{BulkEnd, BulkItem, BulkLine, BulkPlan, BulkRequest, BulkTarget, BulkWait, Selection};
use crate::auth::{Action, allows};
use crate::config::OrdersConfig;
use crate::model::{CommandReport, Glob, NodeStatus, Object, Operation, Outcome, ProcessId, ProcessState};
use crate::node::Patience;
use crate::store::AuditOutcome;
use crate::task::{Place, TaskKind};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Uri};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const SELECTIONS_MAX: usize = 64;
/// Of the digest; 16 bytes do not meet by chance.
const PLAN_ID_BYTES: usize = 16;
const PATTERN_BYTES_MAX: usize = 1_024;
/// Unless asked otherwise; or the most that may be asked for if that is less.
const AT_ONCE_DEFAULT: u64 = 8;
const WAIT_MIN_MS: u64 = 500;
/// As above.
const TIMEOUT_DEFAULT_MS: u64 = 300_000;
const STEP_TIME_MAX_MS: u64 = 600_000;
/// An order is answered so long before its item is given up, so that what is known of it by then is told.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// How long a batch goes on telling its client after the host was told to stop.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// After so long without a line there is one that says so: a proxy lets go of a connection that is silent.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Lines on their way to a client. While it does not read them nothing more is begun.
const LINES_MAX: usize = 16;

/// An order to many processes
///
/// The selections are made a list first; with `dry_run` that is all. Otherwise the answer is JSON lines
/// (`application/x-ndjson`): the plan, one line for each process as it ends, and how many ended in which way. Permission,
/// validators and audit are as for single orders, one by one. A client that leaves ends the batch: what was not sent by
/// then is not sent, what was sent goes on.
#[utoipa::path(post, path = "/api/v1/bulk", tag = "processes",
    request_body(content = BulkRequest, content_type = "application/json"),
    responses((status = 200, body = BulkPlan, description = "With `dry_run`: what is meant"),
        (status = 202, body = BulkLine, content_type = "application/x-ndjson", description = "One line after the other"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn order(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let snapshot = edge.snapshot();
    let most = &snapshot.config.orders;
    let wish: BulkRequest = json(&headers, body, &snapshot.config.server).await?;
    let mut input = Input::new(&uri);
    let (operation, limits) = check(&mut input, &wish, most);
    let asked = input.finish()?;
    edge.admit_deed((&caller, &facts), Action::ProcessControl, ("process.bulk", &wish.operation), asked).await?;
    let operation = operation.ok_or_else(|| ApiError::Malformed("there is no such operation".into()))?;
    let targets = resolve(&edge, &caller, &wish.select, most.batch_items_max)?;
    let plan =
        BulkPlan { id: plan_id(operation, &targets), operation: operation.as_str().to_owned(), items: targets.clone() };
    if let Some(agreed) = wish.plan.filter(|agreed| *agreed != plan.id) {
        return Err(ApiError::PlanChanged { plan: agreed });
    }
    if wish.dry_run {
        return Ok(Json(plan).into_response());
    }
    let place = edge.batches.try_take().ok_or_else(|| ApiError::BatchesFull { limit: edge.batches.count() })?;
    let (lines, told) = mpsc::channel(LINES_MAX);
    let orders =
        Orders { edge: Arc::clone(&edge), caller, facts, operation, reason: wish.r#override, begun: Mutex::default() };
    edge.tasks.group(TaskKind::Request).named("bulk", orders.run(plan, targets, limits, lines, place));
    let lines =
        stream::unfold(
            told,
            |mut told| async move { told.recv().await.map(|line| (Ok::<Bytes, Infallible>(line), told)) },
        );
    let kind = (CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok((http::StatusCode::ACCEPTED, [kind], Body::from_stream(lines)).into_response())
}

/// Notes everything that the caller chose, and what is wrong with it.
fn check(input: &mut Input, wish: &BulkRequest, most: &OrdersConfig) -> (Option<Operation>, BatchLimits) {
    input.body("operation", &wish.operation);
    let operation = Operation::ALL.into_iter().find(|known| known.as_str() == wish.operation);
    if operation.is_none() {
        let known = Operation::ALL.map(Operation::as_str).join("`, `");
        input.problem("/body/operation", "invalid", format!("one of `{known}` was expected"));
    }
    if let Some(plan) = &wish.plan {
        input.body("plan", plan);
        if plan.len() != PLAN_ID_BYTES * 2 || !plan.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            input.problem("/body/plan", "invalid", "the `id` of a plan was expected".into());
        }
    }
    if wish.select.is_empty() || wish.select.len() > SELECTIONS_MAX {
        input.problem("/body/select", "out_of_range", format!("1 to {SELECTIONS_MAX} selections were expected"));
    }
    for (index, selection) in wish.select.iter().enumerate() {
        check_selection(input, index, selection);
    }
    if let Some(reason) = &wish.r#override {
        note_override(input, reason);
    }
    let mut number = |name: &str, value: Option<u64>, default: u64, range: std::ops::RangeInclusive<u64>| {
        let value = value.unwrap_or(default.min(*range.end()));
        input.body(name, &value.to_string());
        if !range.contains(&value) {
            let (low, high) = (range.start(), range.end());
            let message = format!("a whole number from {low} to {high} was expected");
            input.problem(&format!("/body/{name}"), "out_of_range", message);
        }
        value
    };
    let mut count =
        |name: &str, value, default, range| usize::try_from(number(name, value, default, range)).unwrap_or(1);
    let at_once = count("at_once", wish.at_once, AT_ONCE_DEFAULT, 1..=most.batch_at_once_max as u64);
    let targets_max = most.batch_items_max as u64;
    let sizes = wish.rolling.as_ref().map(|rolling| {
        let size = count("rolling/size", Some(rolling.size), 1, 1..=targets_max);
        (size, count("rolling/failures_max", rolling.failures_max, 0, 0..=targets_max))
    });
    let mut time = |name: &str, value, default, range| Duration::from_millis(number(name, value, default, range));
    let item = time("wait_ms", wish.wait_ms, millis(WAIT_DEFAULT), WAIT_MIN_MS..=millis(most.wait_max));
    let batch = time("timeout_ms", wish.timeout_ms, TIMEOUT_DEFAULT_MS, 1_000..=millis(most.batch_timeout_max));
    let rolling = wish.rolling.as_ref().zip(sizes).map(|(rolling, (size, failures_max))| {
        let healthy = time("rolling/healthy_ms", rolling.healthy_ms, 0, 0..=STEP_TIME_MAX_MS);
        let pause = time("rolling/pause_ms", rolling.pause_ms, 0, 0..=STEP_TIME_MAX_MS);
        // What is stopped is not healthy, and is to be so; and who watches a process says nothing of its health.
        let comes_up = matches!(operation, Some(Operation::Start | Operation::Restart));
        let healthy = if comes_up { healthy } else { Duration::ZERO };
        Rolling { size, healthy, pause, failures_max }
    });
    (operation, BatchLimits { at_once, item, batch, rolling })
}

fn check_selection(input: &mut Input, index: usize, selection: &Selection) {
    let Selection { node, environment, group, name, state } = selection;
    let members = [("node", node), ("environment", environment), ("group", group), ("name", name), ("state", state)];
    if members.iter().all(|(_, value)| value.is_none()) {
        let message = "it selects nothing; say {\"node\":\"*\"} for everything".to_owned();
        input.problem(&format!("/body/select/{index}"), "invalid", message);
    }
    for (member, value) in members {
        let Some(value) = value else { continue };
        input.body(&format!("select/{index}/{member}"), value);
        if value.is_empty() || value.len() > PATTERN_BYTES_MAX {
            let message = format!("1 to {PATTERN_BYTES_MAX} bytes were expected");
            input.problem(&format!("/body/select/{index}/{member}"), "out_of_range", message);
        }
    }
    if let Some(state) = state
        && !ProcessState::ALL.iter().any(|known| known.as_str() == state)
    {
        input.problem(&format!("/body/select/{index}/state"), "invalid", "a process's state was expected".into());
    }
}

/// Every process that one of the selections covers, once, sorted. Those that the caller may neither see nor order about
/// are not there for him.
fn resolve(edge: &Edge, caller: &Caller, select: &[Selection], items_max: usize) -> Result<Vec<BulkTarget>, ApiError> {
    let select: Vec<Matcher<'_>> = select.iter().map(Matcher::new).collect();
    let (mut targets, rights) = (Vec::new(), &caller.principal().rights);
    for node in edge.pool.nodes() {
        let status = node.status();
        let (node, environment) = (&status.id, status.environment.as_deref());
        if !rights.touch(Object::Node { node, environment }) {
            continue;
        }
        for observed in status.processes.iter() {
            let (id, state) = (&observed.process.id, observed.process.state);
            let object = Object::Group { node, environment, group: id.group() };
            let may = |action| allows(rights, action, object);
            if (may(Action::ProcessRead) || may(Action::ProcessControl))
                && select.iter().any(|matcher| matcher.covers(&status, id, state))
            {
                let (node, process) = (status.id.to_string(), id.to_string());
                targets.push(BulkTarget { node, process, state: state.as_str().to_owned() });
            }
        }
    }
    match targets.len() {
        0 => Err(ApiError::NothingSelected),
        count if count > items_max => Err(ApiError::TooManySelected { count, limit: items_max }),
        _ => Ok(targets),
    }
}

/// What stands for a plan, so that one can be agreed to.
fn plan_id(operation: Operation, targets: &[BulkTarget]) -> String {
    let mut digest = Sha256::new();
    digest.update(operation.as_str());
    for target in targets {
        for name in [&target.node, &target.process] {
            digest.update(name.len().to_be_bytes());
            digest.update(name);
        }
    }
    digest.finalize().iter().take(PLAN_ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

struct Matcher<'a> {
    node: Option<Glob>,
    environment: Option<Glob>,
    group: Option<Glob>,
    name: Option<Glob>,
    state: Option<&'a str>,
}

impl<'a> Matcher<'a> {
    fn new(selection: &'a Selection) -> Self {
        let glob = |text: &Option<String>| text.as_deref().map(Glob::new);
        Self {
            node: glob(&selection.node),
            environment: glob(&selection.environment),
            group: glob(&selection.group),
            name: glob(&selection.name),
            state: selection.state.as_deref(),
        }
    }

    fn covers(&self, node: &NodeStatus, id: &ProcessId, state: ProcessState) -> bool {
        let fits = |glob: &Option<Glob>, text: &str| glob.as_ref().is_none_or(|glob| glob.matches(text));
        let environment = node.environment.as_deref();
        fits(&self.node, node.id.as_str())
            && self.environment.as_ref().is_none_or(|glob| environment.is_some_and(|text| glob.matches(text)))
            && fits(&self.group, id.group())
            && fits(&self.name, id.name())
            && self.state.is_none_or(|wanted| wanted == state.as_str())
    }
}

/// The orders of one batch.
struct Orders {
    edge: Arc<Edge>,
    caller: Caller,
    facts: Facts,
    operation: Operation,
    reason: Option<String>,
    /// Those whose turn came: what becomes of them is on the record by itself.
    begun: Mutex<BTreeSet<BulkTarget>>,
}

type Answer = Result<CommandReport, ApiError>;

impl Work for Orders {
    type Target = BulkTarget;
    type Answer = Answer;
    /// Process id and start: another run is not the one that was started.
    type Run = (Option<u32>, Option<u64>);

    async fn give(&self, target: BulkTarget, limit: Duration) -> Answer {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(target.clone());
        let mut input = Input::new(&Uri::default());
        input.path("node", &target.node);
        let process = ProcessId::parse(&target.process);
        input.path("process", &target.process);
        if let Some(reason) = &self.reason {
            input.body("override", reason);
        }
        let asked = input.finish()?;
        let process = process.map_err(|error| ApiError::Malformed(format!("{}: {error}", target.process)))?;
        let wish = Wish {
            operation: self.operation,
            node: target.node,
            process,
            wait: limit.saturating_sub(ANSWER_MARGIN),
            reason: self.reason.clone(),
            patience: Patience::until(Instant::now() + limit),
        };
        give(&self.edge, &self.caller, &self.facts, asked, wish).await
    }

    fn is_failure(&self, answer: &Answer) -> bool {
        !matches!(answer.as_ref().map(|report| report.outcome), Ok(Outcome::Done | Outcome::Unchanged))
    }

    fn health(&self, target: &BulkTarget) -> Option<Self::Run> {
        let status = self.edge.pool.node(&target.node).ok()?.status();
        let id = ProcessId::parse(&target.process).ok()?;
        let process = &status.processes.iter().find(|seen| seen.process.id == id)?.process;
        let is_well = status.state.is_live() && process.state == ProcessState::Running;
        is_well.then_some((process.pid, process.started_ms))
    }
}

impl Orders {
    /// Carries the batch out and tells of it until nobody listens.
    async fn run(
        self,
        plan: BulkPlan,
        targets: Vec<BulkTarget>,
        limits: BatchLimits,
        lines: mpsc::Sender<Bytes>,
        _place: Place,
    ) {
        tracing::info!(request_id = self.facts.request_id, operation = %self.operation, targets = targets.len(), "a batch begins");
        let (told, mut ends) = mpsc::channel(LINES_MAX);
        let mut open: BTreeSet<BulkTarget> = targets.iter().cloned().collect();
        let mut tally = BulkEnd { total: targets.len(), ..BulkEnd::default() };
        let stop = self.edge.stop.clone();
        let telling = async {
            write(&lines, &BulkLine::Plan(plan)).await;
            loop {
                let next = timeout(SILENCE_MAX, ends.recv()).await;
                let Ok(next) = next else {
                    write(&lines, &BulkLine::Wait(BulkWait { open: open.len() })).await;
                    continue;
                };
                let Some((target, end)) = next else { break };
                open.remove(&target);
                self.note_not_sent(&target, &end).await;
                let item = self.item(target, end);
                count(&mut tally, &item.outcome);
                write(&lines, &BulkLine::Item(item)).await;
            }
            write(&lines, &BulkLine::End(tally)).await;
        };
        let working = async {
            batch::run(&self, targets, &limits, &told, &stop).await;
            drop(told);
        };
        // A client that does not read is waited for only as long as there is time for it.
        let ended = async {
            stop.cancelled().await;
            sleep(FAREWELL_MAX).await;
        };
        let why = tokio::select! {
            biased;
            () = lines.closed() => "request.caller_left",
            ((), ()) = async { tokio::join!(telling, working) } => return,
            () = ended => "host.shutting_down",
        };
        tracing::info!(request_id = self.facts.request_id, why, "a batch ends early");
        let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        for target in open.difference(&begun) {
            self.record(target, why).await;
        }
    }

    /// What was planned and never sent is on the record too.
    async fn note_not_sent(&self, target: &BulkTarget, end: &Ended<Answer>) {
        if let Ended::NotBegun(why) = end {
            self.record(target, code(*why)).await;
        }
    }

    async fn record(&self, target: &BulkTarget, reason: &str) {
        let (what, target) = (format!("process.{}", self.operation), format!("{}/{}", target.node, target.process));
        let recorded = self.edge.record(&self.caller, &self.facts, &what, &target, AuditOutcome::Refused, reason).await;
        if let Err(error) = recorded {
            tracing::error!(%error, order = target, "an order that was not sent is not on the record");
        }
    }

    fn item(&self, target: BulkTarget, end: Ended<Answer>) -> BulkItem {
        let BulkTarget { node, process, .. } = target;
        let operation = self.operation.as_str().to_owned();
        let said = |outcome: &str, code: &str, message: String| BulkItem {
            node: node.clone(),
            process: process.clone(),
            operation: operation.clone(),
            outcome: outcome.to_owned(),
            state: None,
            code: Some(code.to_owned()),
            message,
            took_ms: None,
        };
        match end {
            Ended::Answered(Ok(report)) => answered(&report, None),
            Ended::Unhealthy(Ok(report)) => answered(&report, Some("it did not stay in that run for long enough")),
            Ended::Answered(Err(error)) | Ended::Unhealthy(Err(error)) => {
                let problem = error.problem(&self.facts.request_id);
                let reasons = problem.errors.iter().map(|e| format!("; {}: {}", e.pointer, e.message));
                said("refused", error.code(), problem.detail + &reasons.collect::<String>())
            }
            Ended::TimedOut => said("unknown", "bulk.item_timed_out", "no answer within `wait_ms`".to_owned()),
            Ended::Left(why) => said("unknown", code(why), "it was under way when the batch ended".to_owned()),
            Ended::NotBegun(why) => said("not-sent", code(why), "its turn did not come".to_owned()),
        }
    }
}

fn answered(report: &CommandReport, unwell: Option<&str>) -> BulkItem {
    let view = view::command(report);
    BulkItem {
        node: view.node,
        process: view.process,
        operation: view.operation,
        outcome: if unwell.is_some() { Outcome::Failed.as_str().to_owned() } else { view.outcome },
        state: Some(view.state),
        code: unwell.map(|_| "bulk.unhealthy".to_owned()),
        message: unwell.map_or(view.message, str::to_owned),
        took_ms: Some(view.took_ms),
    }
}

const fn code(why: Why) -> &'static str {
    match why {
        Why::BatchOver => "bulk.timed_out",
        Why::TooManyFailures => "bulk.aborted",
        Why::Stopping => "host.shutting_down",
    }
}

fn count(tally: &mut BulkEnd, outcome: &str) {
    let counter = match outcome {
        "done" => &mut tally.done,
        "unchanged" => &mut tally.unchanged,
        "in-progress" => &mut tally.in_progress,
        "refused" => &mut tally.refused,
        "unknown" => &mut tally.unknown,
        "not-sent" => &mut tally.not_sent,
        _ => &mut tally.failed,
    };
    *counter += 1;
}

async fn write(lines: &mpsc::Sender<Bytes>, line: &BulkLine) {
    match serde_json::to_vec(line) {
        Ok(mut text) => {
            text.push(b'\n');
            drop(lines.send(text.into()).await); // who left is seen elsewhere
        }
        Err(error) => tracing::error!(%error, "a line of a batch could not be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NodeId, NodeState};
    use std::time::UNIX_EPOCH;

    fn status(name: &str, environment: Option<&str>) -> NodeStatus {
        NodeStatus {
            id: NodeId::parse(name).expect("a name"),
            environment: environment.map(str::to_owned),
            adapter: "node-x".to_owned(),
            state: NodeState::Live,
            reason: None,
            since: UNIX_EPOCH,
            observed_at: None,
            version: String::new(),
            identification: String::new(),
            info: None,
            processes: Arc::from([]),
            revision: 1,
        }
    }

    fn selection(json: &str) -> Selection {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn every_member_of_a_selection_has_to_fit() {
        let (prod, none) = (status("web-1", Some("prod")), status("web-2", None));
        let id = ProcessId::parse("app:web_00").expect("an id");
        let covers =
            |json: &str, node: &NodeStatus| Matcher::new(&selection(json)).covers(node, &id, ProcessState::Running);
        for (json, on_prod, on_none) in [
            (r#"{"node":"web-*"}"#, true, true),
            (r#"{"node":"web"}"#, false, false),
            (r#"{"environment":"*"}"#, true, false),
            (r#"{"environment":"prod","group":"app","name":"web_*","state":"running"}"#, true, false),
            (r#"{"node":"*","state":"stopped"}"#, false, false),
            (r#"{"node":"*","group":"other"}"#, false, false),
        ] {
            assert_eq!((covers(json, &prod), covers(json, &none)), (on_prod, on_none), "{json}");
        }
    }

    fn most() -> OrdersConfig {
        OrdersConfig {
            wait_max: Duration::from_secs(60),
            batches_max: 16,
            batch_items_max: 1_000,
            batch_at_once_max: 32,
            batch_timeout_max: Duration::from_secs(3_600),
        }
    }

    /// Each bound of the settings is the one that a request meets, and the one that holds where it says nothing.
    #[test]
    fn what_a_request_may_ask_for_is_what_the_settings_say() {
        let most = OrdersConfig {
            wait_max: Duration::from_secs(2),
            batch_items_max: 5,
            batch_at_once_max: 3,
            batch_timeout_max: Duration::from_secs(9),
            ..most()
        };
        let limits = |more: &str| {
            let text = format!(r#"{{"operation":"stop","select":[{{"node":"*"}}]{more}}}"#);
            let mut input = Input::new(&Uri::default());
            let (_, limits) = check(&mut input, &serde_json::from_str(&text).expect("JSON"), &most);
            input.finish().map(|_| limits).map_err(|error| error.problem("").errors.remove(0).pointer)
        };
        let silent = limits("").expect("legal");
        assert_eq!((silent.at_once, silent.item, silent.batch), (3, Duration::from_secs(2), Duration::from_secs(9)));
        assert!(limits(r#","at_once":3,"wait_ms":2000,"timeout_ms":9000,"rolling":{"size":5}"#).is_ok());
        for (more, pointer) in [
            (r#","at_once":4"#, "/body/at_once"),
            (r#","wait_ms":2001"#, "/body/wait_ms"),
            (r#","timeout_ms":9001"#, "/body/timeout_ms"),
            (r#","rolling":{"size":6}"#, "/body/rolling/size"),
        ] {
            assert_eq!(limits(more), Err(pointer.to_owned()));
        }
    }

    #[test]
    fn a_plan_stands_for_what_is_done_to_whom_and_not_for_states() {
        let target = |node: &str, process: &str, state: &str| BulkTarget {
            node: node.into(),
            process: process.into(),
            state: state.into(),
        };
        let id = |operation, target| plan_id(operation, &[target]);
        let plan = id(Operation::Stop, target("n", "a:b", "running"));
        assert_eq!(plan.len(), PLAN_ID_BYTES * 2);
        assert_eq!(id(Operation::Stop, target("n", "a:b", "stopped")), plan);
        assert_ne!(id(Operation::Start, target("n", "a:b", "running")), plan);
        assert_ne!(id(Operation::Stop, target("na", ":b", "running")), plan, "names do not run together");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let wish: BulkRequest = serde_json::from_str(
            r#"{"operation":"dance","plan":"x","select":[{},{"node":"","state":"asleep"}],"at_once":0,"wait_ms":1,"timeout_ms":1,
                "rolling":{"size":0,"healthy_ms":600001}}"#,
        )
        .expect("JSON");
        let mut input = Input::new(&Uri::default());
        check(&mut input, &wish, &most());
        let Err(ApiError::Invalid(problems)) = input.finish() else { panic!("refused") };
        let mut pointers: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(
            pointers,
            [
                "/body/at_once",
                "/body/operation",
                "/body/plan",
                "/body/rolling/healthy_ms",
                "/body/rolling/size",
                "/body/select/0",
                "/body/select/1/node",
                "/body/select/1/state",
                "/body/timeout_ms",
                "/body/wait_ms"
            ]
        );
    }
}

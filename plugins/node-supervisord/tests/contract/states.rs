use crate::node::{Node, id, wait_for};
use node_supervisord::Supervisord;
use plugin_sdk::NodeAdapter;
use plugin_sdk::adapter::{Operation, Outcome, ProcessState};

#[test]
fn s10_s20_s26_one_request_observes_everything() {
    let node = Node::start();
    let mut link = node.link();
    let snapshot = Supervisord::observe(&mut link).expect("a snapshot");
    assert_eq!(link.requests.len(), 1);
    assert_eq!((snapshot.version.as_str(), snapshot.identification.as_str()), ("4.3.0", "contract"));
    assert_eq!(snapshot.processes.len(), 12);
    let process = snapshot.processes.iter().find(|process| process.id == id("web", "web_01")).expect("web:web_01");
    assert_eq!((&process.state, process.native_state.as_str()), (&ProcessState::Stopped, "STOPPED"));
    assert_eq!((process.pid, process.started_ms, process.uptime_ms, process.exit_status), (None, None, None, None));
    assert_eq!(process.message, "");
}

#[test]
fn s1_the_full_name_finds_a_grouped_process_and_the_bare_one_does_not() {
    let node = Node::start();
    let ids = vec![id("web", "web_00"), id("web_00", "web_00"), id("cat", "cat"), id("no", "no"), id("web", "*")];
    let found = Supervisord::observe_some(&mut node.link(), ids).expect("processes");
    let found: Vec<_> = found.into_iter().map(|process| process.id).collect();
    assert_eq!(found, [id("web", "web_00"), id("cat", "cat")]);
}

#[test]
fn s10_a_running_process_tells_pid_start_and_uptime_by_the_nodes_clock() {
    let node = Node::start();
    let cat = id("cat", "cat");
    assert_eq!(Supervisord::run(&mut node.link(), Operation::Start, cat.clone()), Ok(Outcome::Accepted));
    let starting = node.process(&cat);
    assert_eq!(starting.state, ProcessState::Starting);
    let running = node.wait_for_state(&cat, &ProcessState::Running);
    assert_eq!(running.pid, starting.pid);
    assert!(running.pid.is_some() && running.started_ms > Some(1_700_000_000_000));
    assert_eq!(running.started_ms.map(|ms| ms % 1000), Some(0), "supervisord counts in seconds");
    assert!(running.uptime_ms.is_some_and(|ms| ms <= 20_000), "{:?}", running.uptime_ms);
    assert_eq!((running.exit_status, running.message.as_str()), (None, ""));
}

#[test]
fn an_ended_process_tells_its_exit_status() {
    let node = Node::start();
    let ends = id("ends", "ends");
    assert_eq!(Supervisord::run(&mut node.link(), Operation::Start, ends.clone()), Ok(Outcome::Accepted));
    let exited = node.wait_for_state(&ends, &ProcessState::Exited);
    assert_eq!((exited.exit_status, exited.pid, exited.uptime_ms), (Some(3), None, None));
    assert_eq!(exited.message, "Bad exit code 3");
}

#[test]
fn s7_an_early_exit_is_backoff_and_then_fatal_with_the_reason() {
    let node = Node::start();
    for (name, state) in [("crash", ProcessState::Backoff), ("gives-up", ProcessState::Fatal)] {
        let id = id(name, name);
        // It may be over before the reply is made; then the order itself tells of the early exit.
        match Supervisord::run(&mut node.link(), Operation::Start, id.clone()) {
            Ok(outcome) => assert_eq!(outcome, Outcome::Accepted),
            Err(fault) => assert_eq!(fault.code, "process.spawn_error"),
        }
        let process = node.wait_for_state(&id, &state);
        assert!(process.message.contains("Exited too quickly"), "{}", process.message);
        assert_eq!(process.exit_status, None);
    }
}

#[test]
fn s9_every_method_is_refused_while_the_node_shuts_down() {
    let node = Node::start();
    let slow = node.start_slow();
    node.shut_down();
    let fault = wait_for("a refusal", || Supervisord::observe(&mut node.link()).err());
    assert_eq!(fault.code, "node.shutting_down");
    let fault = Supervisord::run(&mut node.link(), Operation::Start, slow).expect_err("a refusal");
    assert_eq!(fault.code, "node.shutting_down");
}

#[test]
fn hints_of_a_real_main_log_name_what_changed() {
    let node = Node::start();
    let ends = id("ends", "ends");
    Supervisord::run(&mut node.link(), Operation::Start, ends.clone()).expect("started");
    node.wait_for_state(&ends, &ProcessState::Exited);
    let log = wait_for("the main log to tell", || {
        let log = std::fs::read(node.folder().join("main.log")).ok()?;
        Some(log).filter(|log| String::from_utf8_lossy(log).contains("exited: ends"))
    });
    let hints = Supervisord::read_hints(Vec::new(), log);
    assert_eq!(hints.names, ["ends"]);
    assert_eq!(Supervisord::hint_request().map(|request| request.path), Some("/mainlogtail".to_owned()));
}

#[test]
fn a_nudge_is_one_request_and_answers_nobody() {
    let node = Node::start();
    let mut link = node.link();
    assert!(Supervisord::observe_some(&mut link, Vec::new()).expect("answered").is_empty());
    assert_eq!(link.requests.len(), 1);
}

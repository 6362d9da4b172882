//! The adapter as an ordinary library, against a scripted node. `vectors.json` tests the component.

use super::*;
use plugin_sdk::Failure;

/// A node that gives one answer, and remembers what it was asked.
struct Node {
    answer: Result<Response, Failure>,
    asked: Vec<String>,
}

impl Exchange for Node {
    fn send(&mut self, request: Request) -> Result<Response, Failure> {
        self.asked.push(format!("{} {}", request.method, request.path));
        self.answer.clone()
    }
}

fn node(status: u16, body: &str) -> Node {
    Node { answer: Ok(Response { status, headers: Vec::new(), body: body.into() }), asked: Vec::new() }
}

fn id(name: &str) -> ProcessId {
    ProcessId { group: name.to_owned(), name: name.to_owned() }
}

#[test]
fn processes_have_their_states() {
    let mut node = node(
        200,
        r#"{ "manager": "m", "processes": [{ "name": "a", "state": "running", "pid": 7 }, { "name": "b", "state": "odd" }] }"#,
    );
    let found = Adapter::observe(&mut node).expect("a snapshot").processes;
    assert_eq!(node.asked, ["GET /processes"]);
    let found: Vec<_> = found.iter().map(|process| (process.id.name.as_str(), process.state.clone(), process.pid)).collect();
    assert_eq!(found, [("a", ProcessState::Running, Some(7)), ("b", ProcessState::Unknown, None)]);
}

#[test]
fn an_order_names_its_process_once() {
    let mut node = node(200, "{}");
    assert_eq!(Adapter::run(&mut node, Operation::Stop, id("a/b c")), Ok(Outcome::Accepted));
    assert_eq!(node.asked, ["POST /processes/a%2Fb%20c/stop"]);
}

#[test]
fn what_is_so_already_is_no_failure_and_an_unknown_process_is_one() {
    assert_eq!(Adapter::run(&mut node(409, ""), Operation::Start, id("a")), Ok(Outcome::Unchanged));
    let fault = Adapter::run(&mut node(404, ""), Operation::Start, id("a")).expect_err("a fault");
    assert_eq!(fault.code, "process.not_found");
}

#[test]
fn a_node_that_talks_nonsense_or_nothing_is_a_fault() {
    assert_eq!(Adapter::observe(&mut node(200, "<html>")).expect_err("a fault").code, "node.bad_reply");
    let mut silent = Node { answer: Err(Failure::TimedOut), asked: Vec::new() };
    assert_eq!(Adapter::observe(&mut silent).expect_err("a fault").code, "node.timed_out");
}

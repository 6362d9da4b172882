use crate::node::{Node, id, post};
use node_supervisord::Supervisord;
use plugin_sdk::adapter::{Operation, Outcome, ProcessState};
use plugin_sdk::{Exchange, NodeAdapter};

#[test]
fn s2_no_name_ever_widens_to_a_group() {
    let node = Node::start();
    for (group, name) in [("web", "*"), ("web", ""), ("", "web"), ("", ""), ("*", "*"), ("web:*", "x"), ("web:", "*")] {
        let mut link = node.link();
        let fault = Supervisord::run(&mut link, Operation::Start, id(group, name)).expect_err("refused");
        assert_eq!(fault.code, "process.not_found", "{group}:{name}");
        assert!(link.requests.is_empty(), "{group}:{name} was sent");
    }
    for (group, name) in [("*", "web_00"), ("all", "all"), ("web", "all"), ("web_00", "web_00"), ("web", "web_0*")] {
        let fault = Supervisord::run(&mut node.link(), Operation::Start, id(group, name)).expect_err("refused");
        assert_eq!(fault.code, "process.not_found", "{group}:{name}");
    }
    assert!(node.states().iter().all(|(_, state)| *state == ProcessState::Stopped));
}

#[test]
fn s2_the_whole_group_would_have_started_otherwise() {
    let node = Node::start();
    let body = "<methodCall><methodName>supervisor.startProcess</methodName><params><param><value>web:*</value></param>\
                <param><value><boolean>0</boolean></value></param></params></methodCall>";
    let reply = node.link().send(post(body)).expect("a reply");
    assert_eq!(
        String::from_utf8_lossy(&reply.body).matches("<i4>80</i4>").count()
            + String::from_utf8_lossy(&reply.body).matches("<int>80</int>").count(),
        2
    );
    let started = node.states().into_iter().filter(|(_, state)| *state == ProcessState::Starting).count();
    assert_eq!(started, 2);
}

#[test]
fn an_order_is_one_request_and_concerns_one_process() {
    let node = Node::start();
    let mut link = node.link();
    assert_eq!(Supervisord::run(&mut link, Operation::Start, id("web", "web_01")), Ok(Outcome::Accepted));
    assert_eq!(link.requests.len(), 1);
    node.wait_for_state(&id("web", "web_01"), &ProcessState::Running);
    assert_eq!(node.process(&id("web", "web_00")).state, ProcessState::Stopped);
}

#[test]
fn names_with_xml_in_them_round_trip() {
    let node = Node::start();
    let odd = id("o<&>\"d'", "o<&>\"d'");
    assert_eq!(Supervisord::run(&mut node.link(), Operation::Start, odd.clone()), Ok(Outcome::Accepted));
    assert_eq!(node.wait_for_state(&odd, &ProcessState::Running).id, odd);
}

#[test]
fn s9_starting_what_runs_changes_nothing() {
    let node = Node::start();
    let cat = id("cat", "cat");
    Supervisord::run(&mut node.link(), Operation::Start, cat.clone()).expect("started");
    let before = node.wait_for_state(&cat, &ProcessState::Running);
    assert_eq!(Supervisord::run(&mut node.link(), Operation::Start, cat.clone()), Ok(Outcome::Unchanged));
    assert_eq!(node.process(&cat).pid, before.pid);
}

#[test]
fn s5_stopping_what_does_not_run_is_told_apart_from_stopped() {
    let node = Node::start();
    let slow = id("slow", "slow");
    let stop = || Supervisord::run(&mut node.link(), Operation::Stop, slow.clone());
    assert_eq!(stop().expect_err("it never ran").code, "process.not_running");
    node.start_slow();
    assert_eq!(stop(), Ok(Outcome::Accepted));
    assert_eq!(node.process(&slow).state, ProcessState::Stopping);
    assert_eq!(stop().expect_err("it is stopping").code, "process.not_running");
    let stopped = node.wait_for_state(&slow, &ProcessState::Stopped);
    assert_eq!(stopped.exit_status, Some(-1), "ended by a signal");
}

#[test]
fn s6_a_start_while_stopping_is_told_to_have_done_nothing() {
    let node = Node::start();
    let slow = node.start_slow();
    let start = || Supervisord::run(&mut node.link(), Operation::Start, slow.clone());
    Supervisord::run(&mut node.link(), Operation::Stop, slow.clone()).expect("stopping");
    assert_eq!(start().expect_err("supervisord says true and does nothing").code, "process.stopping");
    node.wait_for_state(&slow, &ProcessState::Stopped);
    assert_eq!(start(), Ok(Outcome::Accepted));
}

#[test]
fn s8_a_program_that_cannot_start_says_why_at_once() {
    let node = Node::start();
    for (name, code) in [("missing", "process.no_file"), ("plain", "process.not_executable")] {
        let fault = Supervisord::run(&mut node.link(), Operation::Start, id(name, name)).expect_err("a fault");
        assert_eq!(fault.code, code);
    }
}

#[test]
fn operations_of_a_later_version_are_not_guessed_at() {
    let node = Node::start();
    let fault = Supervisord::run(&mut node.link(), Operation::Other("signal".to_owned()), id("cat", "cat"));
    assert_eq!(fault.expect_err("a fault").code, "operation.unknown");
}

use super::*;
use crate::script::{Script, answers, fault, info, members, reply, string};
use plugin_sdk::Failure;
use plugin_sdk::adapter::ProcessState;

fn running() -> String {
    members(&[("statecode", "<int>1</int>".to_owned()), ("statename", string("RUNNING"))])
}

fn list(infos: &[String]) -> String {
    let values: String = infos.iter().map(|info| format!("<value>{info}</value>\n")).collect();
    format!("<array><data>\n{values}</data></array>")
}

/// Observes a node that gives these answers: state, version, identification, processes.
fn observe(parts: [String; 4]) -> Result<Snapshot, Fault> {
    let mut link = Script::new(|calls: Vec<crate::script::ReadCall>| {
        let methods: Vec<_> = calls.iter().map(|(method, _)| method.as_str()).collect();
        let expected = [
            "supervisor.getState",
            "supervisor.getSupervisorVersion",
            "supervisor.getIdentification",
            "supervisor.getAllProcessInfo",
        ];
        assert_eq!(methods, expected);
        answers(&parts)
    });
    let snapshot = everything(&mut link);
    assert_eq!(link.requests, 1);
    snapshot
}

fn observe_processes(infos: &[String]) -> Snapshot {
    observe([running(), string("4.3.0"), string("supervisor"), list(infos)]).expect("a snapshot")
}

#[test]
fn every_state_code_has_its_word_and_uptime_only_while_alive() {
    let expected = [
        (0, ProcessState::Stopped, false),
        (10, ProcessState::Starting, true),
        (20, ProcessState::Running, true),
        (30, ProcessState::Backoff, false),
        (40, ProcessState::Stopping, true),
        (100, ProcessState::Exited, false),
        (200, ProcessState::Fatal, false),
        (1000, ProcessState::Unknown, false),
        (77, ProcessState::Unknown, false),
    ];
    for (code, state, is_up) in expected {
        let snapshot = observe_processes(&[info("g", "n", code, "NATIVE")]);
        let process = &snapshot.processes[0];
        assert_eq!((&process.state, process.native_state.as_str()), (&state, "NATIVE"), "{code}");
        assert_eq!((process.uptime_ms, process.started_ms), (is_up.then_some(10_000), Some(1_000_000)), "{code}");
    }
}

#[test]
fn a_clock_that_was_turned_back_gives_no_negative_uptime() {
    let info = info("g", "n", 20, "RUNNING").replace("<int>1010</int>", "<int>10</int>");
    assert_eq!(observe_processes(&[info]).processes[0].uptime_ms, Some(0));
}

#[test]
fn a_senseless_entry_is_shown_as_unknown_and_the_rest_as_it_is() {
    let bare = members(&[("name", string("bare")), ("group", string("g"))]);
    let nonsense =
        info("g", "odd", 20, "RUNNING").replace("<int>20</int>", "<nil/>").replace("<int>42</int>", "<int>-3</int>");
    let nameless = members(&[("group", string("g")), ("state", "<int>20</int>".to_owned())]);
    let snapshot = observe_processes(&[bare, nonsense, nameless, string("what"), info("g", "good", 20, "RUNNING")]);
    let states: Vec<_> = snapshot.processes.iter().map(|p| (p.id.name.as_str(), p.state.clone(), p.pid)).collect();
    let expected = [
        ("bare", ProcessState::Unknown, None),
        ("odd", ProcessState::Unknown, None),
        ("good", ProcessState::Running, Some(42)),
    ];
    assert_eq!(states, expected);
    assert_eq!(snapshot.extra, [("skipped".to_owned(), "2".to_owned())]);
}

#[test]
fn over_long_texts_are_cut_and_over_long_names_passed_over() {
    let long = "ä".repeat(2_000);
    let wordy = info("g", "n", 20, &long).replace(
        "<name>spawnerr</name>\n<value><string></string>",
        &format!("<name>spawnerr</name>\n<value><string>{long}</string>"),
    );
    let snapshot = observe_processes(&[
        wordy,
        info("g", &"n".repeat(256), 20, "RUNNING"),
        info("g", &"n".repeat(255), 20, "RUNNING"),
    ]);
    assert_eq!(snapshot.processes.len(), 2);
    assert_eq!((snapshot.processes[0].native_state.len(), snapshot.processes[0].message.len()), (64, 1024));
}

#[test]
fn a_fault_in_place_of_a_version_is_no_reason_to_fail() {
    let snapshot = observe([running(), fault(1, "UNKNOWN_METHOD"), string("me"), list(&[])]).expect("a snapshot");
    assert_eq!((snapshot.version.as_str(), snapshot.identification.as_str()), ("", "me"));
}

#[test]
fn a_node_that_shuts_down_says_so_in_either_way() {
    for code in [0, -1] {
        let state = members(&[("statecode", format!("<int>{code}</int>"))]);
        let fault = observe([state, string(""), string(""), list(&[])]).expect_err("a fault");
        assert_eq!(fault.code, "node.shutting_down");
    }
    let down = || fault(6, "SHUTDOWN_STATE");
    assert_eq!(observe([down(), down(), down(), down()]).expect_err("a fault").code, "node.shutting_down");
}

#[test]
fn replies_that_are_no_snapshot_are_told_apart() {
    let ask = |response: Result<plugin_sdk::Response, Failure>| {
        let mut response = Some(response);
        everything(&mut Script::new(|_| response.take().expect("asked once"))).expect_err("a fault").code
    };
    let faulty = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>1</int></value></member>\
                  </struct></value></fault></methodResponse>";
    for (response, code) in [
        (reply(401, b"<html>"), "node.unauthenticated"),
        (reply(404, b"<html>"), "node.wrong_endpoint"),
        (reply(302, b""), "node.wrong_endpoint"),
        (reply(200, b"<!DOCTYPE html><html></html>"), "node.wrong_endpoint"),
        (reply(200, b"{}"), "node.wrong_endpoint"),
        (reply(200, faulty.as_bytes()), "node.wrong_endpoint"),
        (reply(500, b"<html>"), "node.bad_reply"),
        (reply(200, b"<methodResponse><params>"), "node.bad_reply"),
        (answers(&[string("too few")]), "node.bad_reply"),
        (answers(&[running(), string(""), string(""), string("no list")]), "node.bad_reply"),
        (Err(Failure::TimedOut), "node.timed_out"),
        (Err(Failure::Unreachable("refused".to_owned())), "node.unreachable"),
        (Err(Failure::TooLarge(9)), "node.bad_reply"),
        (Err(Failure::Protocol("no HTTP".to_owned())), "node.bad_reply"),
        (Err(Failure::Other("new".to_owned())), "node.unreachable"),
    ] {
        assert_eq!(ask(response), code);
    }
}

#[test]
fn some_leaves_out_what_is_unknown_and_passes_other_faults_on() {
    let id = |name: &str| ProcessId { group: "g".to_owned(), name: name.to_owned() };
    let ids = [id("a"), id("gone"), id("*")];
    let mut link = Script::new(|calls: Vec<crate::script::ReadCall>| {
        let names: Vec<_> = calls.iter().map(|(_, parameters)| parameters[0].as_str()).collect();
        assert_eq!(names, ["g:a", "g:gone"], "a wildcard is never sent");
        answers(&[info("g", "a", 20, "RUNNING"), fault(10, "BAD_NAME: g:gone")])
    });
    let found = some(&mut link, &ids).expect("processes");
    assert_eq!(found.len(), 1);
    let mut link = Script::new(|_| answers(&[fault(6, "SHUTDOWN_STATE"), fault(6, "SHUTDOWN_STATE")]));
    assert_eq!(some(&mut link, &ids).expect_err("a fault").code, "node.shutting_down");
}

#[test]
fn asking_for_nobody_is_one_cheap_request() {
    let mut link = Script::new(|calls: Vec<crate::script::ReadCall>| {
        let methods: Vec<_> = calls.iter().map(|(method, _)| method.as_str()).collect();
        assert_eq!(methods, ["supervisor.getState"]);
        answers(&[running()])
    });
    assert_eq!(some(&mut link, &[]).expect("answered").len(), 0);
    assert_eq!(link.requests, 1);
}

use super::*;
use crate::script::{ReadCall, Script, answers, fault, info, members, string};

fn start(order: String, after: String) -> Result<Outcome, Fault> {
    let mut link = Script::new(|calls: Vec<ReadCall>| {
        let order_sent = ("supervisor.startProcess".to_owned(), vec!["g:n".to_owned(), "false".to_owned()]);
        assert_eq!(calls, [order_sent, ("supervisor.getProcessInfo".to_owned(), vec!["g:n".to_owned()])]);
        answers(&[order.clone(), after.clone()])
    });
    let outcome = run(&mut link, &Operation::Start, &ProcessId { group: "g".to_owned(), name: "n".to_owned() });
    assert_eq!(link.requests, 1, "an order is sent once, whatever comes back");
    outcome
}

fn yes() -> String {
    "<boolean>1</boolean>".to_owned()
}

#[test]
fn every_fault_of_supervisord_has_its_code() {
    for (number, code) in [
        (1, "node.wrong_endpoint"),
        (2, "plugin.bad_request"),
        (6, "node.shutting_down"),
        (10, "process.not_found"),
        (20, "process.no_file"),
        (21, "process.not_executable"),
        (30, "node.fault"),
        (40, "process.stopping"),
        (50, "process.spawn_error"),
        (70, "process.not_running"),
        (90, "group.already_added"),
        (91, "group.still_running"),
        (92, "node.cannot_reread"),
        (12345, "node.fault"),
    ] {
        let fault = start(fault(number, "TEXT: /some/path"), info("g", "n", 0, "STOPPED")).expect_err("a fault");
        assert_eq!(fault.code, code);
        assert!(!fault.message.contains("/some/path"), "supervisord's own text is for the log");
    }
    assert_eq!(start(fault(60, "ALREADY_STARTED"), info("g", "n", 20, "RUNNING")), Ok(Outcome::Unchanged));
}

#[test]
fn a_yes_counts_only_if_the_process_is_on_its_way() {
    for (state, is_accepted) in [(10, true), (20, true), (30, true), (100, true), (40, false), (0, false)] {
        let outcome = start(yes(), info("g", "n", state, "X"));
        assert_eq!(
            outcome.map_err(|fault| fault.code),
            if is_accepted { Ok(Outcome::Accepted) } else { Err("process.stopping".to_owned()) }
        );
    }
    assert_eq!(start(yes(), fault(10, "BAD_NAME")), Ok(Outcome::Accepted), "it may have been removed meanwhile");
}

#[test]
fn a_failed_spawn_is_explained_by_supervisord() {
    let why = members(&[("name", string("n")), ("group", string("g")), ("spawnerr", string("Exited too quickly"))]);
    let fault = start(fault(50, "SPAWN_ERROR: g:n"), why).expect_err("a fault");
    assert_eq!(fault.message, "the program did not start: Exited too quickly");
}

#[test]
fn an_answer_about_a_whole_group_is_never_taken_for_yes() {
    let fault = start("<array><data></data></array>".to_owned(), info("g", "n", 20, "RUNNING")).expect_err("a fault");
    assert_eq!(fault.code, "node.bad_reply");
}

fn act(operation: Operation, sent: (&str, &[&str]), said: String) -> Result<Outcome, String> {
    let mut link = Script::new(|calls: Vec<ReadCall>| {
        let parameters = sent.1.iter().map(|&parameter| parameter.to_owned()).collect();
        assert_eq!(calls, [(format!("supervisor.{}", sent.0), parameters)]);
        answers(std::slice::from_ref(&said))
    });
    let outcome = run(&mut link, &operation, &ProcessId { group: "g".to_owned(), name: "n".to_owned() });
    assert_eq!(link.requests, 1, "it is sent once, whatever comes back");
    outcome.map_err(|fault| fault.code)
}

#[test]
fn signals_input_and_clearing_go_to_the_one_process() {
    let signal = |said| act(Operation::Signal("HUP".to_owned()), ("signalProcess", &["g:n", "HUP"]), said);
    assert_eq!(signal(yes()), Ok(Outcome::Accepted));
    assert_eq!(signal(fault(70, "NOT_RUNNING: g:n")), Err("process.not_running".to_owned()));
    assert_eq!(signal(fault(11, "BAD_SIGNAL: HUP")), Err("process.bad_signal".to_owned()));
    // "\u{3}é\r\n" in base64: XML could write neither the first nor the last two.
    let input = |said| act(Operation::SendInput("\u{3}é\r\n".into()), ("sendProcessStdin", &["g:n", "A8OpDQo="]), said);
    assert_eq!(input(yes()), Ok(Outcome::Accepted));
    assert_eq!(input(fault(20, "NO_FILE: g:n")), Err("process.no_input".to_owned()));
    assert_eq!(input(fault(70, "NOT_RUNNING: g:n")), Err("process.not_running".to_owned()));
    assert_eq!(act(Operation::ClearLogs, ("clearProcessLogs", &["g:n"]), yes()), Ok(Outcome::Accepted));
    assert_eq!(
        act(Operation::ClearLogs, ("clearProcessLogs", &["g:n"]), fault(10, "g:n")),
        Err("process.not_found".to_owned())
    );
}

#[test]
fn input_that_is_no_text_is_not_sent() {
    let mut link = Script::new(|_: Vec<ReadCall>| panic!("nothing is sent"));
    let id = ProcessId { group: "g".to_owned(), name: "n".to_owned() };
    let refused = run(&mut link, &Operation::SendInput(vec![0xff]), &id).expect_err("refused");
    assert_eq!(refused.code, "process.input_not_text");
}

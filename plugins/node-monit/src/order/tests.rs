use super::*;
use crate::script::{Script, page, process_service, report};

const RUNNING: &str = "<status>0</status><monitor>1</monitor><pendingaction>0</pendingaction><pid>7</pid>";
const LEFT_ALONE: &str = "<status>0</status><monitor>0</monitor><pendingaction>0</pendingaction>";

/// The outcome, and the forms that were sent.
fn ordered(operation: Operation, members: &str, status: u16, said: &str) -> (Result<Outcome, Fault>, Vec<String>) {
    let document = report(&process_service("a b", members), "");
    let mut link = Script::new(|request| match request.method.as_str() {
        "POST" => page(status, said),
        _ => page(200, &document),
    });
    let id = ProcessId { group: "a b".to_owned(), name: "a b".to_owned() };
    let outcome = run(&mut link, &operation, &id);
    let posts = link.sent.iter().filter(|request| request.method == "POST");
    let forms = posts.map(|request| {
        assert_eq!(request.path, "/_doaction");
        let has = |name: &str, value: &str| request.headers.contains(&(name.to_owned(), value.to_owned()));
        assert!(has("cookie", "securitytoken=omnivisor") && has("content-type", "application/x-www-form-urlencoded"));
        String::from_utf8(request.body.clone()).expect("text")
    });
    (outcome, forms.collect())
}

#[test]
fn an_order_is_one_form_with_the_token_of_its_cookie() {
    for (operation, members, word) in [
        (Operation::Start, LEFT_ALONE, "start"),
        (Operation::Stop, RUNNING, "stop"),
        (Operation::Restart, RUNNING, "restart"),
        (Operation::Monitor, LEFT_ALONE, "monitor"),
        (Operation::Unmonitor, RUNNING, "unmonitor"),
    ] {
        let (outcome, forms) = ordered(operation, members, 302, "");
        assert_eq!(outcome, Ok(Outcome::Accepted), "{word}");
        assert_eq!(forms, [format!("securitytoken=omnivisor&action={word}&service=a%20b")]);
    }
}

#[test]
fn what_is_as_asked_is_left_alone() {
    for (operation, members) in
        [(Operation::Start, RUNNING), (Operation::Monitor, RUNNING), (Operation::Unmonitor, LEFT_ALONE)]
    {
        assert_eq!(ordered(operation, members, 302, ""), (Ok(Outcome::Unchanged), Vec::new()));
    }
}

#[test]
fn what_monit_would_take_and_not_do_is_not_sent() {
    for operation in [Operation::Stop, Operation::Restart] {
        let (outcome, forms) = ordered(operation, LEFT_ALONE, 302, "");
        assert_eq!((outcome.expect_err("refused").code.as_str(), forms), ("process.not_monitored", Vec::new()));
    }
}

#[test]
fn an_order_never_takes_the_place_of_one_that_monit_has_not_finished() {
    let pending = |action: &str| RUNNING.replace("<pendingaction>0", &format!("<pendingaction>{action}"));
    assert_eq!(ordered(Operation::Restart, &pending("2"), 302, ""), (Ok(Outcome::Accepted), Vec::new()));
    for (operation, action, code) in [
        (Operation::Start, "3", "process.stopping"),
        (Operation::Stop, "2", "process.action_pending"),
        (Operation::Unmonitor, "6", "process.action_pending"),
    ] {
        let (outcome, forms) = ordered(operation, &pending(action), 302, "");
        assert_eq!((outcome.expect_err("refused").code.as_str(), forms), (code, Vec::new()));
    }
}

#[test]
fn every_refusal_has_its_code() {
    for (status, said, code) in [
        (400, "There is no service named \"a b\"", "process.not_found"),
        (400, "Invalid action", "node.bad_reply"),
        (401, "Unauthorized", "node.unauthenticated"),
        (403, "Invalid CSRF Token", "plugin.bad_request"),
        (403, "You do not have sufficient privileges to access this page", "node.read_only"),
        (503, "", "node.bad_reply"),
    ] {
        let (outcome, forms) = ordered(Operation::Stop, RUNNING, status, said);
        assert_eq!(outcome.expect_err("refused").code, code, "{status} {said}");
        assert_eq!(forms.len(), 1, "an order is sent once, whatever comes back");
    }
}

#[test]
fn what_is_not_there_and_what_nobody_knows_is_never_sent() {
    let document =
        report(&process_service("web", RUNNING), "<servicegroup name=\"www\"><service>web</service></servicegroup>");
    let mut link = Script::new(|_| page(200, &document));
    for (group, name) in [("web", "web"), ("www", "webb"), ("www", "*"), ("www", "")] {
        let id = ProcessId { group: group.to_owned(), name: name.to_owned() };
        assert_eq!(run(&mut link, &Operation::Stop, &id).expect_err("refused").code, "process.not_found");
    }
    let id = ProcessId { group: "www".to_owned(), name: "web".to_owned() };
    let fault = run(&mut link, &Operation::Other("signal".to_owned()), &id).expect_err("refused");
    assert_eq!(fault.code, "operation.unknown");
    assert!(link.sent.iter().all(|request| request.method == "GET"));
}

#[test]
fn a_name_goes_back_in_the_bytes_in_which_it_came() {
    let report = Report { is_bytewise: true, ..Report::default() };
    assert_eq!(spelled(&report, "n\u{e4}me"), b"n\xe4me");
    assert_eq!(spelled(&Report::default(), "n\u{e4}me"), "n\u{e4}me".as_bytes());
}

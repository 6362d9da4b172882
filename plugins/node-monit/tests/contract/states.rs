use crate::node::{Node, Service, id, is_alive, is_monitored, kill};
use plugin_sdk::adapter::{Operation, Outcome, ProcessState};

#[test]
fn what_runs_has_its_number_and_no_complaint() {
    let node = Node::start(&[Service::quiet("web")]);
    let web = node.wait_for_state(&id("web", "web"), &ProcessState::Running);
    assert_eq!((web.pid, web.native_state.as_str(), web.message.as_str()), (Some(node.pid(0)), "OK", ""));
    assert!(web.uptime_ms.is_some() && web.started_ms.is_none() && is_monitored(&web), "{web:?}");
}

#[test]
fn what_is_killed_comes_back_by_itself() {
    let node = Node::start(&[Service::quiet("web")]);
    let web = id("web", "web");
    let before = node.wait_for_state(&web, &ProcessState::Running).pid;
    kill(node.pid(0));
    let after =
        node.wait_until("another run", &web, |process| process.state == ProcessState::Running && process.pid != before);
    assert_eq!(after.pid, Some(node.pid(0)));
}

#[test]
fn a_program_that_does_not_start_says_so_and_is_tried_again() {
    let node = Node::start(&[Service::waiting("bad").start("exit 3")]);
    let bad = id("bad", "bad");
    assert_eq!(node.run(Operation::Start, &bad), Ok(Outcome::Accepted));
    let seen = node.wait_for_state(&bad, &ProcessState::Backoff);
    assert_eq!(seen.message, "Execution failed | Does not exist");
    assert!(is_monitored(&seen));
}

#[test]
fn of_what_it_does_not_watch_monit_says_nothing_even_if_it_runs() {
    let node = Node::start(&[Service::quiet("web")]);
    let web = id("web", "web");
    node.wait_for_state(&web, &ProcessState::Running);
    assert_eq!(node.run(Operation::Unmonitor, &web), Ok(Outcome::Accepted));
    let seen = node.wait_until("left alone", &web, |process| !is_monitored(process));
    assert_eq!((seen.state, seen.pid, seen.native_state.as_str()), (ProcessState::Unknown, None, "Not monitored"));
    assert!(is_alive(node.pid(0)));
    for operation in [Operation::Stop, Operation::Restart] {
        assert_eq!(node.run(operation, &web).expect_err("refused").code, "process.not_monitored");
    }
}

#[test]
fn monit_takes_a_stop_or_restart_of_what_it_does_not_watch_and_does_nothing() {
    let node = Node::start(&[Service::quiet("web"), Service::quiet("other")]);
    let web = id("web", "web");
    node.wait_for_state(&web, &ProcessState::Running);
    node.run(Operation::Unmonitor, &web).expect("taken");
    node.wait_until("left alone", &web, |process| !is_monitored(process));
    let before = node.pid(0);
    for (action, is_monitored_after) in [("stop", false), ("restart", true)] {
        node.order("web", action);
        let over = |it: &plugin_sdk::adapter::Process| !it.native_state.contains("pending");
        node.wait_until("over", &web, |it| over(it) && is_monitored(it) == is_monitored_after);
        assert!(is_alive(before) && node.pid(0) == before, "{action}");
    }
}

#[test]
fn a_stop_that_does_not_work_looks_like_one_that_does() {
    let node = Node::start(&[Service::quiet("stuck").stop("exit 0")]);
    let stuck = id("stuck", "stuck");
    node.wait_for_state(&stuck, &ProcessState::Running);
    assert_eq!(node.run(Operation::Stop, &stuck), Ok(Outcome::Accepted));
    node.wait_until("over", &stuck, |process| process.native_state == "Not monitored");
    assert!(is_alive(node.pid(0)), "so monit's silence may not be taken for an end");
}

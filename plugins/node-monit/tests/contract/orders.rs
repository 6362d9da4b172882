use crate::node::{Node, Service, id, is_alive, is_monitored, wait_for};
use node_monit::Monit;
use plugin_sdk::NodeAdapter;
use plugin_sdk::adapter::{Operation, Outcome, ProcessState};

#[test]
fn each_order_has_its_effect() {
    let node = Node::start(&[Service::waiting("web"), Service::waiting("other")]);
    let web = id("web", "web");
    assert_eq!(node.run(Operation::Start, &web), Ok(Outcome::Accepted));
    assert_eq!(node.process(&web).state, ProcessState::Starting, "what is pending shows at once");
    let first = node.wait_for_state(&web, &ProcessState::Running).pid;
    assert_eq!(node.run(Operation::Start, &web), Ok(Outcome::Unchanged));

    assert_eq!(node.run(Operation::Restart, &web), Ok(Outcome::Accepted));
    let second = node.wait_until("restarted", &web, |it| it.state == ProcessState::Running && it.pid != first).pid;
    assert_eq!(second, Some(node.pid(0)));

    assert_eq!(node.run(Operation::Unmonitor, &web), Ok(Outcome::Accepted));
    node.wait_until("left alone", &web, |it| !is_monitored(it));
    assert_eq!(node.run(Operation::Unmonitor, &web), Ok(Outcome::Unchanged));
    assert_eq!(node.run(Operation::Monitor, &web), Ok(Outcome::Accepted));
    assert_eq!(node.wait_for_state(&web, &ProcessState::Running).pid, second, "it ran all the time");
    assert_eq!(node.run(Operation::Monitor, &web), Ok(Outcome::Unchanged));

    assert_eq!(node.run(Operation::Stop, &web), Ok(Outcome::Accepted));
    wait_for("its end", || (!is_alive(node.pid(0))).then_some(()));
    assert!(!is_monitored(&node.wait_for_state(&web, &ProcessState::Unknown)), "a stop leaves it alone as well");
    assert_eq!(node.process(&id("other", "other")).state, ProcessState::Unknown);
}

#[test]
fn an_order_would_take_the_place_of_the_one_before_and_is_refused() {
    let node = Node::start(&[Service::quiet("slow").stop("sleep 2; kill \"$(cat \"$1.pid\")\"")]);
    let slow = id("slow", "slow");
    node.wait_for_state(&slow, &ProcessState::Running);
    assert_eq!(node.run(Operation::Stop, &slow), Ok(Outcome::Accepted));
    assert_eq!(node.process(&slow).state, ProcessState::Stopping);
    assert_eq!(node.run(Operation::Start, &slow).expect_err("refused").code, "process.stopping");
    assert_eq!(node.run(Operation::Stop, &slow), Ok(Outcome::Accepted), "it is on its way already");
    node.wait_for_state(&slow, &ProcessState::Unknown);
    assert!(!is_alive(node.pid(0)), "the stop was carried out");

    assert_eq!(node.run(Operation::Start, &slow), Ok(Outcome::Accepted));
    node.wait_for_state(&slow, &ProcessState::Running);
    assert_eq!(node.run(Operation::Restart, &slow), Ok(Outcome::Accepted));
    assert_eq!(node.run(Operation::Unmonitor, &slow).expect_err("refused").code, "process.action_pending");
}

#[test]
fn a_restart_whose_stop_does_not_work_leaves_all_as_it_was() {
    let node = Node::start(&[Service::quiet("stuck").stop("exit 0")]);
    let stuck = id("stuck", "stuck");
    let before = node.wait_for_state(&stuck, &ProcessState::Running);
    assert_eq!(node.run(Operation::Restart, &stuck), Ok(Outcome::Accepted));
    assert_eq!(node.process(&stuck).native_state, "OK - restart pending");
    let after = node.wait_until("done with", &stuck, |it| it.native_state == "OK");
    assert_eq!((after.state, after.pid), (before.state, before.pid));
}

#[test]
fn a_service_of_another_kind_or_group_is_never_touched() {
    let node =
        Node::start_with(&[Service::waiting("web").with("group www")], "check file hosts with path /etc/hosts\n");
    for (group, name) in [("web", "web"), ("hosts", "hosts"), ("www", "*"), ("www", ""), ("www", "web&service=x")] {
        let mut link = node.link();
        let fault = Monit::run(&mut link, Operation::Start, id(group, name)).expect_err("refused");
        assert_eq!(fault.code, "process.not_found", "{group}:{name}");
        assert!(link.requests.iter().all(|request| request.method == "GET"), "{group}:{name} was sent");
    }
}

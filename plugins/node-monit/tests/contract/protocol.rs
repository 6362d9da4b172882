use crate::node::{Node, Service, id, wait_for};
use node_monit::Monit;
use plugin_sdk::NodeAdapter;
use plugin_sdk::adapter::{Operation, Outcome, ProcessState};

#[test]
fn a_form_without_the_cookie_of_its_token_is_refused() {
    let node = Node::start(&[Service::waiting("web")]);
    let mut link = node.link();
    link.without = Some("cookie");
    let fault = Monit::run(&mut link, Operation::Start, id("web", "web")).expect_err("refused");
    assert_eq!(fault.code, "plugin.bad_request");
    assert_eq!(node.run(Operation::Start, &id("web", "web")), Ok(Outcome::Accepted), "with it, any token will do");
}

#[test]
fn a_wrong_password_and_one_for_looking_only_are_told_apart() {
    let node = Node::start(&[Service::waiting("web")]);
    for (user, password) in [("fleet", "wrong"), ("nobody", "wrong")] {
        let mut link = node.link_as(user, password);
        assert_eq!(Monit::observe(&mut link).expect_err("refused").code, "node.unauthenticated");
    }
    assert_eq!(Monit::observe(&mut node.guest()).expect("may look").processes.len(), 1);
    let fault = Monit::run(&mut node.guest(), Operation::Start, id("web", "web")).expect_err("refused");
    assert_eq!(fault.code, "node.read_only");
}

#[test]
fn other_pages_are_no_report() {
    let node = Node::start(&[]);
    for (path, code) in
        [("/", "node.wrong_endpoint"), ("/nothing", "node.wrong_endpoint"), ("/_ping", "node.wrong_endpoint")]
    {
        let mut link = node.link();
        link.path = Some(path);
        assert_eq!(Monit::observe(&mut link).expect_err("no report").code, code, "{path}");
    }
}

#[test]
fn a_nudge_is_answered_without_a_report() {
    let node = Node::start(&[Service::waiting("web")]);
    let mut link = node.link();
    assert_eq!(Monit::observe_some(&mut link, Vec::new()), Ok(Vec::new()));
    assert_eq!(link.requests.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), ["/_ping"]);
}

#[test]
fn names_that_monit_does_not_escape_round_trip() {
    let name = "a&b <c> 'q' \u{fc}%2F";
    let node = Node::start(&[Service::waiting(name).with("group farm"), Service::waiting("plain").with("group farm")]);
    let odd = id("farm", name);
    assert_eq!(node.process(&odd).state, ProcessState::Unknown);
    assert_eq!(node.run(Operation::Start, &odd), Ok(Outcome::Accepted));
    assert_eq!(node.wait_for_state(&odd, &ProcessState::Running).pid, Some(node.pid(0)));
    assert_eq!(node.process(&id("farm", "plain")).state, ProcessState::Unknown);
}

#[test]
fn only_processes_are_shown_with_the_nodes_own_name_and_version() {
    let lines = "check system box\ncheck file hosts with path /etc/hosts\ncheck program true with path \"/bin/true\"\nif status != 0 then alert\n";
    let node = Node::start_with(&[Service::waiting("web").with("group www\ngroup front")], lines);
    let snapshot = wait_for("a report", || Monit::observe(&mut node.link()).ok());
    assert!(snapshot.version.starts_with("5."), "{}", snapshot.version);
    assert!(!snapshot.identification.is_empty());
    let ids: Vec<_> = snapshot.processes.iter().map(|process| process.id.clone()).collect();
    assert_eq!(ids, [id("front", "web")]);
}

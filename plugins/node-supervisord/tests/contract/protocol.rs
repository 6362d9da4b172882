use crate::node::{Node, id, post, wait_for};
use node_supervisord::Supervisord;
use plugin_sdk::adapter::ProcessState;
use plugin_sdk::{Exchange, NodeAdapter};

#[test]
fn s19_missing_credentials_are_called_so() {
    let node = Node::start_with("username=ada\npassword=secret");
    let fault = Supervisord::observe(&mut node.link()).expect_err("401");
    assert_eq!(fault.code, "node.unauthenticated");
    // Let it shut down with the right ones, as nothing else can ask it.
    let mut shutdown = post("<methodCall><methodName>supervisor.shutdown</methodName></methodCall>");
    shutdown.headers.push(("authorization".to_owned(), "Basic YWRhOnNlY3JldA==".to_owned()));
    let reply = node.link().send(shutdown).expect("a reply");
    assert_eq!(reply.status, 200);
}

#[test]
fn another_page_of_the_node_is_the_wrong_endpoint() {
    let node = Node::start();
    for path in ["/", "/nothing-here", "/index.html"] {
        let mut link = node.link();
        link.path = Some(path);
        let fault = Supervisord::observe(&mut link).expect_err("no XML-RPC");
        assert_eq!(fault.code, "node.wrong_endpoint", "{path}: {}", fault.message);
    }
}

#[test]
fn a_dead_node_is_unreachable() {
    let node = Node::start();
    node.shut_down();
    let fault = wait_for("the node to end", || {
        Supervisord::observe(&mut node.link()).err().filter(|fault| fault.code != "node.shutting_down")
    });
    assert_eq!(fault.code, "node.unreachable");
}

#[test]
fn s10_more_processes_than_one_request_takes_are_asked_for_in_several() {
    let node = Node::start();
    let mut link = node.link();
    let ids = vec![id("cat", "cat"); 300];
    let found = Supervisord::observe_some(&mut link, ids).expect("processes");
    assert_eq!((found.len(), link.requests.len()), (300, 2));
    assert!(found.iter().all(|process| process.state == ProcessState::Stopped));
}

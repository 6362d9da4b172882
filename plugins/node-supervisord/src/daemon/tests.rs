use super::*;
use crate::script::{ReadCall, Script, answers, fault, string};

fn list(values: &[String]) -> String {
    let values: String = values.iter().map(|value| format!("<value>{value}</value>\n")).collect();
    format!("<array><data>\n{values}</data></array>")
}

fn read(said: String) -> Result<ConfigurationChanges, Fault> {
    let mut link = Script::new(|calls: Vec<ReadCall>| {
        assert_eq!(calls, [("supervisor.reloadConfig".to_owned(), vec![])]);
        answers(std::slice::from_ref(&said))
    });
    reread(&mut link)
}

fn order(operation: NodeOperation, method: &str, said: String) -> Result<Outcome, String> {
    let mut link = Script::new(|calls: Vec<ReadCall>| {
        let methods: Vec<_> = calls.iter().map(|(method, _)| method.as_str()).collect();
        assert_eq!(methods, [format!("supervisor.{method}")]);
        answers(std::slice::from_ref(&said))
    });
    let outcome = run(&mut link, &operation).map_err(|fault| fault.code);
    assert_eq!(link.requests, 1, "an order is sent once, whatever comes back");
    outcome
}

#[test]
fn three_lists_inside_one_are_read() {
    let names = |names: &[&str]| list(&names.iter().map(|name| string(name)).collect::<Vec<_>>());
    let said = list(&[list(&[names(&["a", "b<&>"]), names(&[]), names(&["old"])])]);
    let changes = read(said).expect("three lists");
    let expected = (vec!["a".to_owned(), "b<&>".to_owned()], vec!["old".to_owned()]);
    assert_eq!((changes.added, changes.removed), expected);
    assert!(changes.changed.is_empty());
    assert_eq!(read(list(&[names(&[])])).expect_err("too few").code, "node.bad_reply");
}

#[test]
fn what_is_wrong_with_the_files_reaches_who_asked() {
    let fault = read(fault(92, "CANT_REREAD: Section [program:x] does not specify a command")).expect_err("a fault");
    assert_eq!((&fault.kind, fault.code.as_str()), (&plugin_sdk::FaultKind::Caller, "node.cannot_reread"));
    assert!(fault.message.ends_with("configuration: Section [program:x] does not specify a command"), "{fault:?}");
}

#[test]
fn groups_come_and_go_by_their_names() {
    let yes = || "<boolean>1</boolean>".to_owned();
    let add = || NodeOperation::AddGroup("g".to_owned());
    let remove = || NodeOperation::RemoveGroup("g".to_owned());
    assert_eq!(order(add(), "addProcessGroup", yes()), Ok(Outcome::Accepted));
    assert_eq!(order(add(), "addProcessGroup", fault(90, "ALREADY_ADDED: g")), Ok(Outcome::Unchanged));
    assert_eq!(order(add(), "addProcessGroup", fault(10, "BAD_NAME: g")), Err("group.not_found".to_owned()));
    assert_eq!(order(remove(), "removeProcessGroup", yes()), Ok(Outcome::Accepted));
    let running = order(remove(), "removeProcessGroup", fault(91, "STILL_RUNNING: g"));
    assert_eq!(running, Err("group.still_running".to_owned()));
    assert_eq!(order(NodeOperation::Restart, "restart", yes()), Ok(Outcome::Accepted));
    let twice = order(NodeOperation::Shutdown, "shutdown", fault(6, "SHUTDOWN_STATE"));
    assert_eq!(twice, Err("node.shutting_down".to_owned()));
}

use super::*;
use crate::script::{ReadCall, Script, answers, fault, info, members, string};

fn list(values: &[String]) -> String {
    let values: String = values.iter().map(|value| format!("<value>{value}</value>\n")).collect();
    format!("<array><data>\n{values}</data></array>")
}

fn member(name: &str, status: i64) -> String {
    members(&[
        ("name", string(name)),
        ("group", string("g")),
        ("status", format!("<int>{status}</int>")),
        ("description", string("OK")),
    ])
}

fn order(operation: GroupOperation, order: String, after: &[String]) -> Result<Vec<MemberOutcome>, Fault> {
    let method = if operation == GroupOperation::Start { "startProcessGroup" } else { "stopProcessGroup" };
    let mut link = Script::new(|calls: Vec<ReadCall>| {
        let sent = (format!("supervisor.{method}"), vec!["g".to_owned(), "false".to_owned()]);
        assert_eq!(calls, [sent, ("supervisor.getAllProcessInfo".to_owned(), vec![])]);
        answers(&[order.clone(), list(after)])
    });
    let outcome = run(&mut link, &operation, "g");
    assert_eq!(link.requests, 1, "an order is sent once, whatever comes back");
    outcome
}

fn codes(outcomes: Vec<MemberOutcome>) -> Vec<(String, Result<Outcome, String>)> {
    outcomes.into_iter().map(|member| (member.id.name, member.outcome.map_err(|fault| fault.code))).collect()
}

#[test]
fn each_process_of_a_group_has_its_own_outcome() {
    let said = list(&[member("a", 80), member("b", 80), member("c", 50), member("d", 60)]);
    let after = [info("g", "a", 10, "STARTING"), info("g", "b", 40, "STOPPING"), info("other", "a", 40, "STOPPING")];
    let outcomes = order(GroupOperation::Start, said, &after).expect("taken");
    let expected = [
        ("a".to_owned(), Ok(Outcome::Accepted)),
        ("b".to_owned(), Err("process.stopping".to_owned())),
        ("c".to_owned(), Err("process.spawn_error".to_owned())),
        ("d".to_owned(), Ok(Outcome::Unchanged)),
    ];
    assert_eq!(codes(outcomes), expected);
    let said = list(&[member("a", 80), member("b", 70)]);
    let outcomes = order(GroupOperation::Stop, said, &[info("g", "a", 40, "STOPPING")]).expect("taken");
    let expected = [("a".to_owned(), Ok(Outcome::Accepted)), ("b".to_owned(), Ok(Outcome::Unchanged))];
    assert_eq!(codes(outcomes), expected);
}

#[test]
fn a_group_that_is_not_there_is_no_process_that_is_not_there() {
    for (number, code) in [(10, "group.not_found"), (6, "node.shutting_down"), (1, "node.wrong_endpoint")] {
        let fault = order(GroupOperation::Stop, fault(number, "BAD_NAME: g"), &[]).expect_err("a fault");
        assert_eq!(fault.code, code);
    }
    let mut link = Script::new(|_: Vec<ReadCall>| panic!("nothing is sent"));
    for group in ["", "a:b", "a\0"] {
        assert_eq!(run(&mut link, &GroupOperation::Stop, group).expect_err("refused").code, "group.not_found");
    }
}

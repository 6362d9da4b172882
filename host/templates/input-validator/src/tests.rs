//! The validator as an ordinary library. `vectors.json` tests the component.

use super::*;
use plugin_sdk::validator::Field;

fn stop(process: &str) -> Vec<Violation> {
    let fields = vec![Field { pointer: "/path/process".to_owned(), value: process.to_owned() }];
    let operation = Operation {
        name: "process.stop".to_owned(),
        is_mutating: true,
        principal: None,
        targets: Vec::new(),
        fields,
        at_ms: 0,
        extra: Vec::new(),
    };
    Validator::validate(operation).expect("a verdict")
}

#[test]
fn what_is_kept_is_not_stopped() {
    let found = stop("web:keep-00");
    assert_eq!(found.iter().map(|violation| violation.code.as_str()).collect::<Vec<_>>(), ["kept_running"]);
}

#[test]
fn everything_else_goes_on() {
    assert_eq!(stop("web:web_00"), []);
    assert_eq!(stop("keep-group:web_00"), []);
}

//! What the validators together make of one request.

use crate::model::{OperationRequest, Violation};
use crate::plugin::{JudgeError, PluginSet};
use std::sync::Arc;

/// What came of asking every validator.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Everything that any of them found, in the order in which they are configured.
    pub(super) violations: Vec<Violation>,
    /// The first failure of one whose policy is to refuse.
    pub(super) failure: Option<JudgeError>,
    /// Those that failed and whose policy is to let the request go on.
    pub(super) let_through: Vec<(String, JudgeError)>,
}

/// Asks every validator of the set, whatever the ones before it said.
///
/// One after the other: on one task they would share the thread anyway, and each would pay for the others' work from its
/// own time.
pub(super) async fn judge(plugins: &PluginSet, request: &Arc<OperationRequest>) -> Judged {
    let mut judged = Judged::default();
    for validator in &plugins.validators {
        match validator.validate(Arc::clone(request)).await {
            Ok(violations) => judged.violations.extend(violations),
            Err(failure) if plugins.lenient.contains(validator.name()) => {
                judged.let_through.push((validator.name().to_owned(), failure));
            }
            Err(failure) => drop(judged.failure.get_or_insert(failure)),
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{BoxFuture, PluginFailure, Validator};
    use std::time::UNIX_EPOCH;

    /// A validator that always answers the same.
    struct Script(&'static str, Result<Vec<Violation>, JudgeError>);

    impl Validator for Script {
        fn name(&self) -> &str {
            self.0
        }

        fn validate(&self, _: Arc<OperationRequest>) -> BoxFuture<'_, Result<Vec<Violation>, JudgeError>> {
            Box::pin(async { self.1.clone() })
        }
    }

    fn violation(code: &str) -> Violation {
        Violation { pointer: String::new(), code: code.to_owned(), message: "no".to_owned() }
    }

    fn finds(name: &'static str, code: &str) -> Script {
        Script(name, Ok(vec![violation(code)]))
    }

    fn failure(plugin: &str) -> JudgeError {
        JudgeError::Plugin(PluginFailure::OutOfStack { plugin: plugin.to_owned() })
    }

    fn fails(name: &'static str) -> Script {
        Script(name, Err(failure(name)))
    }

    async fn judged(scripts: Vec<Script>, lenient: &[&str]) -> Judged {
        let validators = scripts.into_iter().map(|script| Arc::new(script) as Arc<dyn Validator>).collect();
        let lenient = lenient.iter().map(|name| (*name).to_owned()).collect();
        let request = OperationRequest {
            name: "node.list".to_owned(),
            is_mutating: false,
            requester: None,
            targets: vec![],
            fields: vec![],
            at: UNIX_EPOCH,
        };
        judge(&PluginSet { validators, lenient, ..PluginSet::default() }, &Arc::new(request)).await
    }

    #[tokio::test]
    async fn all_violations_are_gathered_in_order() {
        let judged = judged(vec![finds("a", "one"), Script("b", Ok(vec![])), finds("c", "two")], &[]).await;
        assert_eq!(judged, Judged { violations: vec![violation("one"), violation("two")], ..Judged::default() });
    }

    #[tokio::test]
    async fn the_first_failure_refuses_and_the_others_are_asked_all_the_same() {
        let judged = judged(vec![finds("a", "one"), fails("b"), fails("c"), finds("d", "two")], &[]).await;
        let violations = vec![violation("one"), violation("two")];
        assert_eq!(judged, Judged { violations, failure: Some(failure("b")), let_through: vec![] });
    }

    #[tokio::test]
    async fn a_failure_that_is_allowed_stops_nothing_and_hides_nothing() {
        let judged = judged(vec![fails("a"), finds("b", "one"), fails("c")], &["a"]).await;
        let let_through = vec![("a".to_owned(), failure("a"))];
        assert_eq!(judged, Judged { violations: vec![violation("one")], failure: Some(failure("c")), let_through });
    }

    #[tokio::test]
    async fn violations_refuse_whatever_the_policy_for_failures_is() {
        let judged = judged(vec![finds("a", "one")], &["a"]).await;
        assert_eq!(judged.violations, [violation("one")]);
    }
}

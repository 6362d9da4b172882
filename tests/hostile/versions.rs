//! Components of every released version of a contract go on serving, beside each other. Some are kept whole, as they were
//! built; the others are made from text against the frozen files of their own version.

use crate::component::{World, build, from_fixture, good, released};
use crate::place::{Node, Place};
use omnivisor::config::{OnFailure, PluginConfig};
use omnivisor::model::{
    Ability, ConfigChanges, FaultKind, GroupOperation, LogChannel, NodeId, NodeOperation, Operation, OperationRequest,
    ProcessAct, ProcessId, Requester, Role, Signal, Target, Violation,
};
use omnivisor::plugin::{AdapterError, JudgeError, LoadError, PluginFailure};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;

fn restart() -> anyhow::Result<OperationRequest> {
    let target = Target {
        node: NodeId::parse("web-1")?,
        environment: Some("production".to_owned()),
        process: Some(ProcessId::parse("web:web_00")?),
    };
    Ok(OperationRequest {
        name: "process.restart".to_owned(),
        is_mutating: true,
        requester: Some(Requester {
            name: "ann".to_owned(),
            role: Role::Operator,
            strategy: "auth-local".to_owned(),
            permissions: vec!["process.control".to_owned(), "node.read".to_owned()],
        }),
        targets: vec![target],
        fields: vec![],
        at: UNIX_EPOCH + Duration::from_millis(5),
    })
}

fn violation(pointer: &str, code: &str, message: &str) -> Violation {
    Violation { pointer: pointer.to_owned(), code: code.to_owned(), message: message.to_owned() }
}

#[tokio::test]
async fn validators_of_both_versions_judge_the_same_request_side_by_side() -> anyhow::Result<()> {
    let place = Place::new()?
        .validator("old", &from_fixture(World::Validate, "tells-what-it-sees-0.1.0")?)?
        .validator("new", &from_fixture(World::ValidateV02, "tells-what-it-sees-0.2.0")?)?
        .validator("content", &good(World::ValidateV02)?)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let request = Arc::new(restart()?);
    let mut judged = vec![];
    for validator in &loaded.set.validators {
        judged.extend(validator.validate(Arc::clone(&request)).await?);
    }
    // The old one knows who asks by name alone; the new one sees role, permissions, environment and time.
    let expected =
        [violation("/old", "process.restart", "ann"), violation("operator", "process.control", "production")];
    assert_eq!(judged, expected);

    let looks = Arc::new(OperationRequest { is_mutating: false, ..restart()? });
    let new = loaded.set.validators.get(1).expect("three were loaded");
    assert_eq!(new.validate(looks).await, Ok(vec![]), "it was told that nothing would change");
    Ok(())
}

#[tokio::test]
async fn a_component_of_the_first_release_serves_as_it_was_built() -> anyhow::Result<()> {
    let place = Place::new()?.validator("kept", &released("validate-0.1.0")?)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let kept = loaded.set.validators.first().expect("one was loaded");
    let judged = kept.validate(Arc::new(restart()?)).await;
    assert_eq!(judged, Ok(vec![violation("/old", "process.restart", "ann")]));
    let stop = OperationRequest { name: "process.stop".to_owned(), ..restart()? };
    assert_eq!(kept.validate(Arc::new(stop)).await, Ok(vec![]), "it did not ask to see that");
    let read = OperationRequest { name: "session.read".to_owned(), ..restart()? };
    let failure = kept.validate(Arc::new(read)).await;
    assert!(matches!(failure, Err(JudgeError::Plugin(PluginFailure::Trapped { .. }))), "{failure:?}");
    Ok(())
}

#[tokio::test]
async fn nobody_who_asks_is_nobody_in_both_versions() -> anyhow::Result<()> {
    let place = Place::new()?.validator("old", &from_fixture(World::Validate, "tells-what-it-sees-0.1.0")?)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let old = loaded.set.validators.first().expect("one was loaded");
    let login = OperationRequest { name: "session.login".to_owned(), requester: None, targets: vec![], ..restart()? };
    assert_eq!(old.validate(Arc::new(login)).await, Ok(vec![violation("/old", "session.login", "")]));
    Ok(())
}

#[tokio::test]
async fn a_validator_that_does_not_take_its_settings_is_not_loaded_and_says_why() -> anyhow::Result<()> {
    let refuses = from_fixture(World::ValidateV02, "refuses-to-describe-0.2.0")?;
    let place = Place::new()?.validator("refuses", &refuses)?;
    let errors = place.load().await.map(|_| ()).expect_err("its settings make no sense to it");
    let [error @ LoadError::Description { .. }] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(error.to_string(), "plugin `refuses` describes itself wrongly: `windows` is missing");
    Ok(())
}

#[tokio::test]
async fn only_those_that_the_operator_named_may_fail_without_refusing() -> anyhow::Result<()> {
    let mut place = Place::new()?
        .validator("strict", &good(World::Validate)?)?
        .validator("lenient", &good(World::ValidateV02)?)?
        .validator("plain", &good(World::ValidateV02)?)?;
    let with = |on_failure| PluginConfig { on_failure, ..PluginConfig::default() };
    place.config.grants.insert("strict".to_owned(), with(OnFailure::Refuse));
    place.config.grants.insert("lenient".to_owned(), with(OnFailure::Allow));
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    assert_eq!(loaded.set.lenient.iter().collect::<Vec<_>>(), ["lenient"]);
    Ok(())
}

/// Names `signal` besides, and takes it only if its name has three letters, of which the first is an `H`.
const SIGNALS: &str = r#"
(data (i32.const 1456) "\00\08\00\00\04\00\00\00\00\0c\00\00\03\00\00\00\10\08\00\00\02\00\00\00\00\00\00\00\00\00\00\00")
(data (i32.const 3072) "\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00\05\00\00\00\00\00\00\00\00\00\00\00")
(func $run (param i32 i32 i32 i32 i32 i32 i32) (result i32)
  (if (i32.ne (local.get 0) (i32.const 5)) (then (unreachable)))
  (if (i32.ne (local.get 2) (i32.const 3)) (then (unreachable)))
  (if (i32.ne (i32.load8_u (local.get 1)) (i32.const 72)) (then (unreachable)))
  (i32.const 0))
"#;

#[tokio::test]
async fn adapters_of_both_versions_serve_side_by_side() -> anyhow::Result<()> {
    let place = Place::new()?
        .adapter("kept", &released("adapter-0.1.0")?)?
        .adapter("old", &good(World::Adapter)?)?
        .adapter("new", &build(World::AdapterV02, SIGNALS)?)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let adapter = |name: &str| loaded.set.adapters.get(name).cloned().expect("it was loaded");
    let (link, until) = (|| Arc::new(Node::Answers), Instant::now() + Duration::from_secs(20));
    let id = || ProcessId::parse("g:p").expect("a name");
    let hup = || ProcessAct::Signal(Signal::parse("HUP").expect("known"));
    for name in ["kept", "old", "new"] {
        let seen = adapter(name).observe(link(), until).await?;
        let names: Vec<_> = seen.processes.iter().map(|process| process.id.to_string()).collect();
        assert_eq!(names, ["g:p"], "{name}");
        assert_eq!(adapter(name).info().log_channels, ["stdout", "stderr"], "{name}");
    }
    for name in ["kept", "old"] {
        let old = adapter(name);
        assert_eq!(old.info().operations, [Operation::Start, Operation::Stop]);
        assert!(old.info().abilities.is_empty(), "it has no words for them");
        assert_eq!(old.run(link(), until, Operation::Stop, id()).await, Ok(true));
        let refused = old.act(link(), until, hup(), id()).await;
        assert!(
            matches!(&refused, Err(AdapterError::Fault(fault)) if fault.kind == FaultKind::Unsupported),
            "{refused:?}"
        );
        assert!(old.run_group(link(), until, GroupOperation::Stop, "g".to_owned()).await.is_err());
        assert!(old.run_node(link(), until, NodeOperation::Shutdown).await.is_err());
        assert!(old.reread(link(), until).await.is_err() && old.read_node_log(link(), until, 9).await.is_err());
        assert_eq!(old.follow_request(until, id(), LogChannel::Stdout).await, Ok(None));
    }
    let new = adapter("new");
    assert_eq!(new.info().abilities.iter().copied().collect::<Vec<_>>(), [Ability::Signal]);
    assert_eq!(new.act(link(), until, hup(), id()).await, Ok(true));
    let stop = new.act(link(), until, ProcessAct::Signal(Signal::parse("STOP").expect("known")), id()).await;
    assert!(matches!(stop, Err(AdapterError::Plugin(PluginFailure::Trapped { .. }))), "the name reaches it: {stop:?}");
    assert_eq!(new.run_group(link(), until, GroupOperation::Start, "g".to_owned()).await, Ok(vec![]));
    assert_eq!(new.run_node(link(), until, NodeOperation::AddGroup("g".to_owned())).await, Ok(true));
    assert_eq!(new.reread(link(), until).await, Ok(ConfigChanges::default()));
    assert_eq!(new.read_node_log(link(), until, 9).await, Ok(vec![]));
    assert_eq!(new.follow_request(until, id(), LogChannel::Stderr).await, Ok(None));
    Ok(())
}

//! Components of every released version of a contract go on serving, beside each other. Some are kept whole, as they were
//! built; the others are made from text against the frozen files of their own version.

use crate::component::{World, from_fixture, good, released};
use crate::place::Place;
use omnivisor::config::{OnFailure, PluginConfig};
use omnivisor::model::{NodeId, OperationRequest, ProcessId, Requester, Role, Target, Violation};
use omnivisor::plugin::{JudgeError, LoadError, PluginFailure};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

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

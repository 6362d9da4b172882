//! Generations on their way out: calls that do not end by themselves, and callers who alone would bring one down.

use crate::component::{World, build};
use crate::logged::Logged;
use crate::place::{Node, Place};
use crate::swaps::{NAME, Rig, says};
use omnivisor::plugin::{
    Adapter, AdapterError, GenerationState, JudgeError, PluginEventKind, PluginFailure, QuarantineReach, SwapResult,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const TIME: Duration = Duration::from_millis(500);

/// Asks its node, computes for some milliseconds, and answers.
fn slow(word: &str) -> anyhow::Result<Vec<u8>> {
    build(
        World::Adapter,
        &format!(
            r#"(data (i32.const 3000) "{word}")
               (data (i32.const 4096) "GET/")
               (func $observe (result i32) (local $left i32)
                 (call $send (i32.const 4096) (i32.const 3) (i32.const 4099) (i32.const 1)
                   (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4304))
                 (local.set $left (i32.const 20000000))
                 (loop $again
                   (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                   (br_if $again (local.get $left)))
                 (i32.const 1104))"#
        ),
    )
}

fn adapter(rig: &Rig) -> anyhow::Result<Arc<dyn Adapter>> {
    rig.set.borrow().adapters.get(NAME).cloned().ok_or_else(|| anyhow::anyhow!("no adapter"))
}

async fn observe(adapter: Arc<dyn Adapter>, node: Node) -> Result<usize, AdapterError> {
    let observed = adapter.observe(Arc::new(node), Instant::now() + Duration::from_secs(60)).await;
    observed.map(|observation| observation.processes.len())
}

// By the real clock, and with the call on a thread of its own, which the host's function keeps for itself.
#[tokio::test]
async fn a_call_that_outstays_its_generation_is_revoked_told_and_forgotten_when_it_is_put_back() -> anyhow::Result<()> {
    let logged = Logged::start();
    let mut place = Place::new()?.adapter(NAME, &slow("one")?)?;
    (place.config.adapter_limits.fuel, place.config.adapter_limits.time) = (10_000_000_000, TIME);
    let rig = Rig::of(place).await?;
    let held_for = TIME + Duration::from_millis(1_500);
    let held = adapter(&rig)?;
    let call = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        anyhow::Ok(runtime.block_on(observe(held, Node::Blocks(held_for))))
    });
    rig.until("the call runs", |report| report.active.in_flight == 1).await?;
    assert_eq!(rig.install(&slow("two")?).await?, SwapResult::Activated);
    let is = |state| {
        move |report: &omnivisor::plugin::PluginReport| {
            report.previous.as_ref().is_some_and(|previous| previous.state == state)
        }
    };
    rig.until("it drains", is(GenerationState::Draining)).await?;
    let previous = rig.until("it has drained", is(GenerationState::Retired)).await?.previous.expect("it stays linked");
    assert_eq!(previous.in_flight, 0);
    assert!(previous.drain.is_some_and(|drain| drain > TIME + Duration::from_secs(1)), "{:?}", previous.drain);
    let ended = call.join().map_err(|_| anyhow::anyhow!("the call's thread panicked"))??;
    assert!(matches!(ended, Err(AdapterError::Plugin(PluginFailure::TimedOut { .. }))), "{ended:?}");
    let lines = logged.lines();
    let is_told = |line: &String| line.contains("calls of a generation out of service are ended");
    assert_eq!(lines.iter().filter(|line| is_told(line)).count(), 1, "{lines:#?}");

    // What was revoked serves again, for longer than a tick.
    assert_eq!(rig.roll_back().await?, SwapResult::RolledBack);
    assert_eq!(rig.platform.report(NAME)?.active.id, 1);
    for _ in 0..3 {
        assert_eq!(observe(adapter(&rig)?, Node::Answers).await, Ok(1));
    }
    Ok(())
}

/// Traps for those whose name has three letters: the length is the fifth argument.
fn traps_for_three_letters() -> anyhow::Result<Vec<u8>> {
    build(
        World::Validate,
        "(func $validate (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (if (i32.eq (local.get 4) (i32.const 3)) (then (unreachable))) (i32.const 0))",
    )
}

async fn trap(rig: &Rig, who: &str) {
    let said = rig.ask(who).await;
    assert!(matches!(said, Err(JudgeError::Plugin(PluginFailure::Trapped { .. }))), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn one_caller_alone_has_no_generation_rolled_back_that_serves_the_others() -> anyhow::Result<()> {
    let rig = Rig::start(&says("one")?).await?;
    rig.install(&traps_for_three_letters()?).await?;
    assert_eq!(rig.ask("robert").await?, "");
    for _ in 0..5 {
        trap(&rig, "ann").await;
    }
    assert!(matches!(rig.ask("ann").await, Err(JudgeError::Plugin(PluginFailure::Quarantined { .. }))));
    assert_eq!(rig.ask("robert").await?, "");
    let report = rig.platform.report(NAME)?;
    assert_eq!((report.active.id, report.quarantine, report.refused.len()), (2, QuarantineReach::Caller, 0));
    assert!(report.active.is_on_probation, "{report:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_second_caller_who_fails_has_it_rolled_back_and_nobody_is_refused() -> anyhow::Result<()> {
    let mut rig = Rig::start(&says("one")?).await?;
    rig.install(&traps_for_three_letters()?).await?;
    assert_eq!(rig.ask("robert").await?, "");
    for _ in 0..5 {
        trap(&rig, "ann").await;
    }
    // With this one between them they are not in a row; the quarantine would now be everybody's.
    assert_eq!(rig.ask("robert").await?, "");
    trap(&rig, "bob").await;
    for who in ["robert", "ann", "bob"] {
        assert_eq!(rig.ask(who).await?, "one", "{who}");
    }
    rig.until_event(PluginEventKind::RolledBack).await?;
    let report = rig.platform.report(NAME)?;
    assert_eq!((report.active.id, report.quarantine, report.refused.len()), (1, QuarantineReach::None, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_only_caller_there_is_has_it_rolled_back_after_three_failures() -> anyhow::Result<()> {
    let mut rig = Rig::start(&says("one")?).await?;
    rig.install(&traps_for_three_letters()?).await?;
    for _ in 0..3 {
        trap(&rig, "ann").await;
    }
    assert_eq!(rig.ask("ann").await?, "one");
    rig.until_event(PluginEventKind::RolledBack).await?;
    Ok(())
}

//! Orders to groups and to the supervisor itself, with the clock held still.

use super::script::{Script, process};
use super::{Rig, command, patience};
use crate::model::{
    Ability, ConfigChanges, EventBody, GroupChange, GroupCommand, NodeState, Operation, Outcome, Process, ProcessAct,
    ProcessId, ProcessState, Signal,
};
use crate::node::NodeError;
use std::time::Duration;
use tokio::time::sleep;

const ALL: [Ability; 9] = [
    Ability::Signal,
    Ability::ClearLogs,
    Ability::GroupStart,
    Ability::GroupStop,
    Ability::Reread,
    Ability::AddGroup,
    Ability::RemoveGroup,
    Ability::RestartNode,
    Ability::ShutdownNode,
];
const LONG: Duration = Duration::from_secs(15);

fn member(group: &str, name: &str, state: ProcessState) -> Process {
    Process { id: ProcessId::reported(group, name), ..process(name, state) }
}

async fn rig(processes: Vec<Process>) -> Rig {
    Rig::start_script(Script::new(processes, &[Operation::Start, Operation::Stop], &ALL)).await
}

fn group(group: &str, operation: Operation, wait: Duration) -> GroupCommand {
    GroupCommand { group: group.to_owned(), operation, wait }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_restarted_by_one_order_each_and_only_when_all_of_it_has_stopped() {
    let up = ProcessState::Running;
    let rig = rig(vec![member("g", "a", up), member("g", "b", up), member("other", "a", up)]).await;
    let report = rig.node.command_group(group("g", Operation::Restart, LONG), patience()).await.expect("done");
    assert_eq!((report.outcome, report.items.len()), (Outcome::Done, 2));
    assert!(report.took >= Duration::from_secs(3), "the stop takes that long: {:?}", report.took);
    assert_eq!(rig.script.told(), ["stop g", "start g"]);
    use ProcessState::{Running, Stopped};
    let (stop, start) = ((Operation::Stop, Running), (Operation::Start, Stopped));
    assert_eq!(rig.script.sent(), [stop, stop, start, start], "both were seen stopped before either was started");
}

#[tokio::test(start_paused = true)]
async fn a_slow_group_is_in_progress_and_its_restart_goes_on_without_its_caller() {
    let rig = rig(vec![member("g", "a", ProcessState::Running)]).await;
    let order = group("g", Operation::Restart, Duration::from_secs(1));
    let report = rig.node.command_group(order, patience()).await.expect("taken");
    assert_eq!(report.outcome, Outcome::InProgress);
    let second = rig.node.command_group(group("g", Operation::Stop, LONG), patience()).await;
    assert!(matches!(second, Err(NodeError::NodeBusy { .. })), "{second:?}");
    rig.sent_is(&super::RESTARTED).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_as_asked_already_is_left_alone() {
    let rig = rig(vec![member("g", "a", ProcessState::Stopped), member("g", "b", ProcessState::Running)]).await;
    let report = rig.node.command_group(group("g", Operation::Stop, LONG), patience()).await.expect("done");
    let outcomes: Vec<_> = report.items.iter().map(|item| (item.process.name(), item.outcome)).collect();
    assert_eq!(outcomes, [("a", Outcome::Unchanged), ("b", Outcome::Done)]);
    let report = rig.node.command_group(group("g", Operation::Stop, LONG), patience()).await.expect("done");
    assert_eq!((report.outcome, rig.script.told()), (Outcome::Unchanged, vec!["stop g".to_owned()]));
    let nobody = rig.node.command_group(group("no", Operation::Stop, LONG), patience()).await;
    assert!(matches!(nobody, Err(NodeError::UnknownGroup { .. })), "{nobody:?}");
}

#[tokio::test(start_paused = true)]
async fn orders_that_would_cross_are_refused_and_others_are_not() {
    let up = ProcessState::Running;
    let rig = rig(vec![member("g", "p", up), member("other", "p", up)]).await;
    let (slow, node) = (rig.node.clone(), rig.node.clone());
    let stopping =
        rig.tracker.spawn(async move { slow.command_group(group("g", Operation::Stop, LONG), patience()).await });
    sleep(Duration::from_millis(500)).await;
    let inside = rig.order(Operation::Start, LONG).await;
    assert!(matches!(inside, Err(NodeError::NodeBusy { .. })), "{inside:?}");
    let restart = node.restart(patience()).await;
    assert!(matches!(restart, Err(NodeError::NodeBusy { .. })), "{restart:?}");
    // A signal is what helps against a stop that hangs.
    let kill = ProcessAct::Signal(Signal::parse("KILL").expect("known"));
    assert_eq!(node.act(ProcessId::reported("g", "p"), kill, patience()).await, Ok(()));
    let mut outside = command(Operation::Stop, LONG);
    outside.process = ProcessId::reported("other", "p");
    assert_eq!(node.command(outside, patience()).await.expect("another group").outcome, Outcome::Done);
    assert_eq!(stopping.await.expect("no panic").expect("done").outcome, Outcome::Done);
    assert_eq!(rig.order(Operation::Start, LONG).await.expect("free again").outcome, Outcome::Done);

    let busy = rig.node.clone();
    let starting = rig.tracker.spawn(async move { busy.command(command(Operation::Stop, LONG), patience()).await });
    sleep(Duration::from_millis(500)).await;
    let crossing = node.command_group(group("g", Operation::Start, LONG), patience()).await;
    assert!(matches!(crossing, Err(NodeError::ProcessBusy { .. })), "{crossing:?}");
    starting.await.expect("no panic").expect("done");
}

#[tokio::test(start_paused = true)]
async fn an_update_stops_before_it_removes_and_does_one_group_after_the_other() {
    let up = ProcessState::Running;
    let rig = rig(vec![member("old", "p", up), member("new", "p", up), member("same", "p", up)]).await;
    let files = ConfigChanges { added: vec!["more".into()], changed: vec!["new".into()], removed: vec!["old".into()] };
    rig.script.change(|script| script.files = files.clone());
    assert_eq!(rig.node.reread(patience()).await, Ok(files));
    let report = rig.node.update(LONG, patience()).await.expect("done");
    let groups: Vec<_> = report.groups.iter().map(|g| (g.group.as_str(), g.change, g.outcome)).collect();
    let expected = [
        ("old", GroupChange::Removed, Outcome::Done),
        ("new", GroupChange::Changed, Outcome::Done),
        ("more", GroupChange::Added, Outcome::Done),
    ];
    assert_eq!((report.outcome, groups.as_slice()), (Outcome::Done, expected.as_slice()));
    let told = ["stop old", "remove old", "stop new", "remove new", "add new", "add more"];
    assert_eq!(rig.script.told(), told);
    let listed: Vec<_> = rig.node.status().processes.iter().map(|p| p.process.id.to_string()).collect();
    assert_eq!(listed, ["more:p", "new:p", "same:p"], "the answer comes when the list is as it tells");
    let files = ConfigChanges { added: vec!["bad".into(), "good".into()], ..ConfigChanges::default() };
    rig.script.change(|script| script.files = files);
    let report = rig.node.update(LONG, patience()).await.expect("as far as it goes");
    let groups: Vec<_> = report.groups.iter().map(|g| (g.group.as_str(), g.outcome)).collect();
    assert_eq!(groups, [("bad", Outcome::Failed), ("good", Outcome::Done)], "the next one is begun all the same");
    assert!(report.outcome == Outcome::Failed && report.groups[0].message.contains("it is not there"));
    rig.script.change(|script| script.files = ConfigChanges::default());
    let report = rig.node.update(LONG, patience()).await.expect("nothing to do");
    assert_eq!((report.outcome, report.groups.len()), (Outcome::Unchanged, 0));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_was_told_to_restart_is_shutting_down_and_comes_back_without_a_word_of_its_processes() {
    let mut rig = rig(vec![member("g", "p", ProcessState::Running)]).await;
    rig.node.restart(patience()).await.expect("taken");
    assert_eq!(rig.node.status().state, NodeState::ShuttingDown);
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.node.status().state, NodeState::ShuttingDown, "silence is what is expected");
    }
    rig.script.change(|script| script.is_silent = false);
    rig.state_is(NodeState::LivePoll).await;
    let mut told = vec![];
    while let Ok(event) = rig.events.try_recv() {
        told.push(match event.body {
            EventBody::Node(status) => status.state.as_str().to_owned(),
            EventBody::Process { after, .. } => format!("process {}", after.process.state.as_str()),
            EventBody::ProcessRemoved(_) | EventBody::NodeRemoved => "removed".to_owned(),
        });
    }
    assert_eq!(told, ["process running", "live-poll", "shutting-down", "live-poll"]);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_does_not_come_back_is_unreachable_after_a_minute() {
    let rig = rig(vec![member("g", "p", ProcessState::Running)]).await;
    rig.node.shut_down(patience()).await.expect("taken");
    sleep(Duration::from_secs(50)).await;
    assert_eq!(rig.node.status().state, NodeState::ShuttingDown);
    let more = rig.state_is(NodeState::Unreachable).await;
    assert!(more < Duration::from_secs(20), "{more:?}");
}

/// Events about the node itself in one minute, with such a row of calls over and over.
async fn news_in_a_minute(absent: &[bool]) -> usize {
    let mut rig = rig(vec![member("g", "p", ProcessState::Running)]).await;
    sleep(Duration::from_secs(5)).await;
    while rig.events.try_recv().is_ok() {}
    rig.script.change(|script| script.absent = absent.to_vec());
    sleep(Duration::from_secs(60)).await;
    let mut news = 0;
    while let Ok(event) = rig.events.try_recv() {
        news += usize::from(matches!(event.body, EventBody::Node(_)));
    }
    news
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_up_and_down_does_not_flood_the_feed() {
    assert_eq!(news_in_a_minute(&[false]).await, 0, "nothing happens, nothing is told");
    assert_eq!(news_in_a_minute(&[true, false]).await, 0, "one lost call is no news, however often");
    // Two lost calls 250 ms apart, and a good one: the worst there is. Down and up again takes an interval of polling, a
    // tenth less at most, and two pauses.
    let worst = news_in_a_minute(&[true, true, false]).await;
    assert!((60..=2 * 60_000 / (900 + 2 * 250) + 2).contains(&worst), "{worst}");
}

#[tokio::test(start_paused = true)]
async fn what_an_adapter_does_not_name_is_never_sent() {
    let script = Script::new(vec![process("p", ProcessState::Running)], &[Operation::Stop], &[Ability::GroupStop]);
    let rig = Rig::start_script(script).await;
    let id = || ProcessId::reported("g", "p");
    let refusals = [
        rig.node.act(id(), ProcessAct::ClearLogs, patience()).await.err(),
        rig.node.act(id(), ProcessAct::SendInput(vec![1]), patience()).await.err(),
        rig.node.command_group(group("g", Operation::Start, LONG), patience()).await.err(),
        rig.node.command_group(group("g", Operation::Restart, LONG), patience()).await.err(),
        rig.node.command_group(group("g", Operation::Monitor, LONG), patience()).await.err(),
        rig.node.reread(patience()).await.err(),
        rig.node.update(LONG, patience()).await.err(),
        rig.node.restart(patience()).await.err(),
        rig.node.shut_down(patience()).await.err(),
        rig.node.read_node_log(100, patience()).await.err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(NodeError::Unsupported { .. })), "{refusal:?}");
    }
    assert!(rig.script.told().is_empty() && rig.script.sent().is_empty());
}

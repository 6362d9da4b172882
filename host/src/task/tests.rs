use crate::task::{Consequence, Stage, TaskKind, Tasks};
use proptest::prelude::*;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_counted_and_has_the_consequence_of_its_kind() {
    for kind in TaskKind::ALL {
        let tasks = Tasks::new();
        let joined = tasks.group(kind).named("a", async { panic!("on purpose") }).await;
        assert!(joined.expect_err("it panicked").is_panic());
        let figures = tasks.figures();
        let of_kind = figures.iter().find(|figures| figures.kind == kind).expect("every kind");
        assert_eq!((of_kind.running, of_kind.panics), (0, 1), "{kind}");
        let broken = timeout(Duration::from_secs(1), tasks.broken()).await.ok();
        let ends = kind.consequence() == Consequence::Ends;
        assert_eq!(broken.map(|broken| broken.kind), ends.then_some(kind));
        assert_eq!(tasks.left(), (0, vec![]));
    }
}

#[test]
fn what_is_said_of_a_task_takes_little_room_beside_it() {
    let future = async {
        let much = std::hint::black_box([1_u8; 4096]);
        tokio::task::yield_now().await;
        much.len()
    };
    let alone = size_of_val(&future);
    let guarded = Tasks::new().group(TaskKind::Feed).guarded("a".into(), future);
    assert!(size_of_val(&guarded) <= alone + 160, "{} of {alone}", size_of_val(&guarded));
}

#[tokio::test]
async fn what_is_left_behind_has_a_name() {
    let tasks = Tasks::new();
    let stop = CancellationToken::new();
    let (owner, ended) = (tasks.group(TaskKind::Owner), stop.clone());
    let task = owner.named("web-1", async move { ended.cancelled().await });
    assert_eq!(tasks.left(), (1, vec!["owner web-1".to_owned()]));
    stop.cancel();
    task.await.expect("it ends");
    tasks.ended(Stage::Core).await;
    assert_eq!(tasks.left(), (0, vec![]));
}

proptest! {
    /// Any tasks, some of which panic and some of which start others, are gone once their stages have ended, and not before.
    #[test]
    fn p19_every_kind_of_task_is_cancelled_and_gone(
        plan in prop::collection::vec((0..TaskKind::ALL.len(), 0..3_u8, 0..50_u64), 1..40),
    ) {
        runtime().block_on(async {
            let (tasks, stop) = (Tasks::new(), CancellationToken::new());
            for (index, (kind, way, after)) in plan.iter().enumerate() {
                let group = tasks.group(TaskKind::ALL[*kind]);
                let (stop, child, after, way) = (stop.clone(), group.clone(), Duration::from_millis(*after), *way);
                group.named(&format!("t{index}"), async move {
                    stop.cancelled().await;
                    tokio::time::sleep(after).await;
                    match way {
                        0 => {}
                        1 => panic!("on purpose"),
                        _ => drop(child.spawn(async move { tokio::time::sleep(after).await })),
                    }
                });
            }
            let running: usize = tasks.figures().iter().map(|figures| figures.running).sum();
            prop_assert_eq!(running, plan.len());
            prop_assert!(timeout(Duration::from_secs(5), tasks.ended(Stage::Edge)).await.is_ok() ==
                plan.iter().all(|(kind, _, _)| TaskKind::ALL[*kind].stage() == Stage::Core));
            stop.cancel();
            for stage in [Stage::Edge, Stage::Core] {
                prop_assert!(timeout(Duration::from_secs(1), tasks.ended(stage)).await.is_ok(), "{:?}", tasks);
            }
            prop_assert_eq!(tasks.left(), (0, vec![]));
            let panics: u64 = tasks.figures().iter().map(|figures| figures.panics).sum();
            prop_assert_eq!(panics, plan.iter().filter(|(_, way, _)| *way == 1).count() as u64);
            Ok(())
        })?;
    }
}
